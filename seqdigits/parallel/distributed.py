"""Joins the processes of a run: one each on several hosts, or several on one host.

Before JAX connects the processes, they meet on the coordinator's port: process 0 listens, and every other process says
hello. What is wrong with a launch (a process that is missing, a number that two processes have, another number of
processes) is thus reported in words; JAX would abort. The connections stay open: when a process dies, the system
closes its connection, and all others end within a second, although their next collective operation would never return.
A host that vanishes without closing its connections is noticed by TCP keepalive after 15 seconds, see _KEEPALIVE.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import select
import selectors
import signal
import socket
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, NoReturn

import jax
from jax._src.clusters import ClusterEnv  # what jax.distributed.initialize() detects is not public

from seqdigits.core.arguments import seconds_from_environment
from seqdigits.core.errors import TryAgain, UserError
from seqdigits.core.interrupt import RESUMABLE, Stop, Stopped

TIMEOUT_SECONDS = 300
"""How long processes wait for each other at the start; $SEQDIGITS_START_SECONDS overrides it."""
_KEEPALIVE = {"TCP_KEEPIDLE": 5, "TCP_KEEPINTVL": 2, "TCP_KEEPCNT": 5}
"""Seconds of silence before the first probe, seconds between probes, and their number."""
_MAX_PROCESSES = 10_000
_END_SECONDS = 10
"""How long a process waits for others that end, or after an error of another one for its own end."""


class Launch(NamedTuple):
    """The place of this process in a run: `coordinator` HOST:PORT of process 0, and the devices it may use on its host."""

    coordinator: str
    num_processes: int
    process_id: int
    local_devices: Sequence[int] | None = None


def detect(
    coordinator: str | None, num_processes: int | None, process_id: int | None, environment: Mapping[str, str]
) -> Launch | None:
    """Returns the launch that the flags or the environment describe; None for a single process.

    Args:
      coordinator: HOST:PORT of process 0; "auto" = JAX detects the launcher (Slurm, Open MPI 4, Cloud TPU); None =
        $SEQDIGITS_COORDINATOR, or else auto under a launcher of several processes, or else a single process.
      num_processes: None = $SEQDIGITS_NUM_PROCESSES.
      process_id: 0 to num_processes - 1; None = $SEQDIGITS_PROCESS_ID, or else the index that Kubernetes gives a pod
        of an Indexed Job.
      environment: os.environ.

    Raises:
      UserError: a value is missing or is not allowed.
    """
    coordinator = coordinator or environment.get("SEQDIGITS_COORDINATOR")
    names = {
        "--num_processes": (num_processes, ("SEQDIGITS_NUM_PROCESSES",), 1),
        "--process_id": (process_id, ("SEQDIGITS_PROCESS_ID", "JOB_COMPLETION_INDEX"), 0),
    }
    numbers: dict[str, int] = {}
    for flag, (given, variables, low) in names.items():
        variable = next((name for name in variables if environment.get(name)), None)
        text = str(given) if given is not None else environment[variable] if variable else None
        if text is None:
            continue
        source = flag if given is not None else str(variable)
        if not text.isdecimal() or not low <= int(text) <= _MAX_PROCESSES:
            raise UserError(f"{source} = {text}: an integer from {low} to {_MAX_PROCESSES:,} is allowed.")
        numbers[flag] = int(text)
    if not coordinator:
        given_flags = [flag for flag, (given, _, _) in names.items() if given is not None]
        if given_flags or environment.get("SEQDIGITS_NUM_PROCESSES") or environment.get("SEQDIGITS_PROCESS_ID"):
            what = " and ".join(given_flags) or "SEQDIGITS_NUM_PROCESSES or SEQDIGITS_PROCESS_ID"
            raise UserError(f"{what}: --coordinator HOST:PORT (or SEQDIGITS_COORDINATOR) is missing.")
        if not _has_launcher(environment):
            return None
        coordinator = "auto"
    if coordinator == "auto":
        return _detected_by_jax()
    if missing := names.keys() - numbers.keys():
        raise UserError(f"--coordinator {coordinator}: {' and '.join(sorted(missing))} is missing. Give all three.")
    host, _, port = coordinator.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise UserError(f"--coordinator {coordinator}: HOST:PORT is allowed, for example 10.0.0.1:7000, or auto.")
    launch = Launch(coordinator, numbers["--num_processes"], numbers["--process_id"])
    if launch.process_id >= launch.num_processes:
        raise UserError(
            f"--process_id {launch.process_id}: 0 to {launch.num_processes - 1} is allowed with --num_processes "
            f"{launch.num_processes}."
        )
    return launch


def _has_launcher(environment: Mapping[str, str]) -> bool:
    """Returns whether a launcher that JAX detects started several processes."""
    srun = "SLURM_STEP_NODELIST" in environment and environment.get("SLURM_NTASKS", "1") != "1"
    mpirun = environment.get("OMPI_COMM_WORLD_SIZE", "1") != "1"
    tpu_pod = "," in environment.get("TPU_WORKER_HOSTNAMES", "")
    return srun or mpirun or tpu_pod


def _detected_by_jax() -> Launch:
    found = ClusterEnv.auto_detect_unset_distributed_params(None, None, None, None, None, TIMEOUT_SECONDS)
    coordinator, num_processes, process_id, local_devices = found
    if coordinator is None or num_processes is None or process_id is None:
        raise UserError(
            "--coordinator auto: JAX detects no launcher here. It knows Slurm (srun), Open MPI 4 (mpirun) and Cloud TPU; "
            "elsewhere give --coordinator HOST:PORT --num_processes N --process_id R."
        )
    return Launch(coordinator, num_processes, process_id, local_devices)


def connect(launch: Launch | None, stop: Stop) -> None:
    """Connects this process to the others of the run; must be called before anything uses a device.

    Afterwards `stop.announce` tells the others how this process ends, and only process 0 writes to standard output.

    Args:
      launch: from detect; None does nothing.
      stop: of the command.

    Raises:
      UserError: two processes have the same number, or the processes differ in their number.
      TryAgain: a process did not come in time.
    """
    if launch is None or launch.num_processes == 1:
        return
    seconds = seconds_from_environment("SEQDIGITS_START_SECONDS", TIMEOUT_SECONDS)
    links = (_call if launch.process_id else _listen)(launch, seconds, stop)
    watch = _Watch(launch, links, stop)
    stop.announce = watch.announce
    threading.Thread(target=watch.run, daemon=True, name="peers").start()
    jax.distributed.initialize(
        *launch[:3],
        local_device_ids=launch.local_devices,
        cluster_detection_method="deactivate",  # JAX would take one GPU of a node under Slurm, although it is told its place
    )
    if launch.process_id:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 (open until the process ends)


class _Link:
    """A connection to another process: lines of JSON."""

    def __init__(self, connection: socket.socket):
        self.socket = connection
        connection.settimeout(5)  # of a send or receive that should not wait
        self.hello: dict[str, Any] = {}
        self.early: list[dict[str, Any]] = []  # messages that came together with the answer of process 0
        self._received = b""
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _KEEPALIVE.items():
            if hasattr(socket, name):  # not on macOS
                connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)

    def send(self, **message: Any) -> None:
        """Sends a message; does nothing if the other side is gone."""
        with contextlib.suppress(OSError):
            self.socket.sendall(json.dumps(message).encode() + b"\n")

    def receive(self) -> list[dict[str, Any]] | None:
        """Returns the messages that have arrived; None if the connection is closed or its content is no message."""
        try:
            data = self.socket.recv(65536)
        except OSError:
            return None
        if not data or len(self._received) > 65536:
            return None
        *lines, self._received = (self._received + data).split(b"\n")
        try:
            messages = [json.loads(line) for line in lines]
        except ValueError:
            return None
        return messages if all(isinstance(message, dict) for message in messages) else None


class _Wait:
    """Waits for other processes until a deadline; `what` says what for, on standard error, every 10 seconds."""

    def __init__(self, seconds: float, stop: Stop):
        self.what, self._stop = "", stop
        self._said = time.monotonic()
        self._deadline = self._said + seconds

    def goes_on(self, extra: float = 0.0) -> bool:
        """Returns whether the deadline, put off by some extra seconds, is ahead."""
        if self._stop.is_set():
            raise Stopped
        now = time.monotonic()
        if now - self._said > 10:
            self._said = now
            print(f"{self.what}; {self._deadline - now:.0f} s left", file=sys.stderr, flush=True)
        return now < self._deadline + extra


def _listen(launch: Launch, seconds: float, stop: Stop) -> dict[int, _Link]:
    """Waits for the other processes, and tells them that all are here, or what is wrong.

    Returns:
      The connection to each of them.
    """
    links: dict[int, _Link] = {}
    unknown: set[_Link] = set()
    wait = _Wait(seconds, stop)
    own_token, to_self = secrets.token_hex(8), None
    with _server(launch) as server, selectors.DefaultSelector() as selector, contextlib.ExitStack() as stack:
        selector.register(server, selectors.EVENT_READ)
        with contextlib.suppress(OSError):  # reaches another process 0 if the address is that of another host
            to_self = _Link(socket.create_connection(_address(launch), timeout=2))
            stack.callback(to_self.socket.close)
            to_self.send(process_id=0, num_processes=launch.num_processes, host=socket.gethostname(), token=own_token)
            selector.register(to_self.socket, selectors.EVENT_READ, to_self)
        while len(links) < launch.num_processes - 1:
            wait.what = f"process 0 is waiting for {_missing(launch, links)}"
            if not wait.goes_on():
                problem = f"{_missing(launch, links)} did not connect to process 0 within {seconds:g} s"
                for link in links.values():
                    link.send(lost=problem)
                raise TryAgain(f"{problem}. Start all processes at about the same time.")
            for key, _ in selector.select(0.5):
                if key.fileobj is server:
                    link = _Link(server.accept()[0])
                    unknown.add(link)
                    selector.register(link.socket, selectors.EVENT_READ, link)
                    continue
                link = key.data
                messages = link.receive()
                if messages == []:
                    continue
                if link is to_self and messages and "error" in messages[0]:
                    raise UserError(str(messages[0]["error"]))
                if messages is None or not _is_hello(messages[0]) or messages[0].get("token") == own_token:
                    selector.unregister(link.socket)  # it gave up, or is none of ours
                    link.socket.close()
                    unknown.discard(link)
                    links = {number: other for number, other in links.items() if other is not link}
                    continue
                link.hello = messages[0]
                if refused := _problem(launch, links, link.hello):
                    for other in (*links.values(), *unknown):
                        other.send(error=refused)
                    raise UserError(refused)
                links[link.hello["process_id"]] = link
                unknown.discard(link)
    for link in unknown:
        link.socket.close()
    for link in links.values():
        link.send(go=True)
    return links


def _is_hello(message: dict[str, Any]) -> bool:
    kinds = {"process_id": int, "num_processes": int, "host": str}
    return all(isinstance(message.get(name), kind) for name, kind in kinds.items())


def _problem(launch: Launch, links: dict[int, _Link], hello: dict[str, Any]) -> str | None:
    """Returns what is wrong with a process that says hello to process 0; None if it may join."""
    number, host = hello["process_id"], hello["host"]
    if hello["num_processes"] != launch.num_processes:
        return (
            f"the processes differ in --num_processes: {hello['num_processes']} in process {number} on {host}, "
            f"{launch.num_processes} in process 0 on {socket.gethostname()}. Start all with the same number."
        )
    if number in links or number == 0:
        other = links[number].hello["host"] if number in links else socket.gethostname()
        return (
            f"two processes have --process_id {number}: one on {other} and one on {host}. Give each another number, 0 to "
            f"{launch.num_processes - 1}."
        )
    return None


def _call(launch: Launch, seconds: float, stop: Stop) -> dict[int, _Link]:
    """Connects to process 0, again and again until the deadline, and waits for its answer.

    Returns:
      The connection to process 0.
    """
    name = f"process {launch.process_id}"
    reason = "nothing listens there yet"
    wait = _Wait(seconds, stop)
    hello = {"process_id": launch.process_id, "num_processes": launch.num_processes, "host": socket.gethostname()}
    while wait.goes_on():
        wait.what = f"{name} is waiting for process 0 at {launch.coordinator}: {reason}"
        try:
            link = _Link(socket.create_connection(_address(launch), timeout=2))
        except OSError as e:
            reason = e.strerror or str(e)
            time.sleep(0.2)
            continue
        link.send(**hello)
        wait.what = f"{name} and process 0 are waiting for other processes"
        answer: list[dict[str, Any]] | None = []
        while answer == [] and wait.goes_on(10):  # process 0 says first who is missing
            if select.select([link.socket], [], [], 0.5)[0]:
                answer = link.receive()
        if answer == []:
            break
        if answer is None or not answer[0].keys() & {"error", "lost", "go"}:
            reason = "what listens there does not answer as process 0 of a run that starts"
            link.socket.close()  # process 0 of an earlier start that is ending, or another program
            time.sleep(0.5)
            continue
        if "error" in answer[0]:
            raise UserError(answer[0]["error"])
        if "lost" in answer[0]:
            raise TryAgain(answer[0]["lost"])
        link.early = answer[1:]
        return {0: link}
    raise TryAgain(
        f"{name} found no process 0 at {launch.coordinator} within {seconds:g} s: {reason}. Is the address right, is process 0 "
        "running, and is the port open?"
    )


def _address(launch: Launch) -> tuple[str, int]:
    host, _, port = launch.coordinator.rpartition(":")
    return host.strip("[]"), int(port)


def _server(launch: Launch) -> socket.socket:
    port = _address(launch)[1]
    family = socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET
    try:
        return socket.create_server(("", port), family=family, backlog=1024, dualstack_ipv6=family == socket.AF_INET6)
    except OSError as e:
        raise UserError(
            f"--coordinator {launch.coordinator}: process 0 cannot listen on port {port}: {e.strerror}. Another process 0 or "
            "another program uses it; use another port."
        ) from e


def _missing(launch: Launch, links: dict[int, _Link]) -> str:
    missing = [str(number) for number in range(1, launch.num_processes) if number not in links]
    shown = ", ".join(missing[:8]) + (f" and {len(missing) - 8} more" if len(missing) > 8 else "")
    return f"process{'es' if len(missing) > 1 else ''} {shown} of {launch.num_processes}"


class _Watch:
    """Watches the connections, and ends this process when another one was lost."""

    def __init__(self, launch: Launch, links: dict[int, _Link], stop: Stop):
        self._launch, self._links, self._stop = launch, links, stop
        self._host = socket.gethostname()
        self._done: set[int] = set()  # processes that have announced status 0
        self._is_done, self._is_ending = threading.Event(), threading.Event()
        self._all_done, self._all_closed = threading.Event(), threading.Event()

    def announce(self, status: int) -> None:
        """Tells the other processes that this one ends with a status, and waits until it may.

        With status 0 all wait until all are done: one that is lost meanwhile ends the others with RESUMABLE, because the run
        may lack something. Process 0 always ends last, because JAX aborts the others without it.
        """
        (self._is_ending if status else self._is_done).set()
        for link in self._links.values():
            link.send(status=status, process=self._launch.process_id, host=self._host)
        if status == 0:
            if self._launch.process_id == 0:
                self._check_all_done()
            self._all_done.wait()
            self._is_ending.set()
        if self._launch.process_id == 0:
            self._all_closed.wait(_END_SECONDS + 5)

    def run(self) -> None:
        """Reads the connections until all are closed."""
        ended: set[int] = set()
        with selectors.DefaultSelector() as selector:
            for number, link in self._links.items():
                selector.register(link.socket, selectors.EVENT_READ, number)
                for message in link.early:
                    self._receive(number, message)
            while selector.get_map():
                for key, _ in selector.select():
                    number, link = key.data, self._links[key.data]
                    messages = link.receive()
                    for message in messages or ():
                        ended.add(number)
                        self._receive(number, message)
                    if messages is None:
                        selector.unregister(link.socket)
                        # When all stop, the last message of a process may be lost with its connection.
                        is_stopping = self._stop.is_set() and self._is_ending.wait(_END_SECONDS)
                        if number not in ended and not is_stopping and not self._is_ending.is_set():
                            host = link.hello.get("host") or _address(self._launch)[0]
                            self._end(f"process {number} on {host} was lost", RESUMABLE)
        self._all_closed.set()

    def _receive(self, number: int, message: dict[str, Any]) -> None:
        """Handles the end of another process, which may be reported by process 0."""
        if message.get("all_done"):
            self._all_done.set()
            return
        status = message["status"]
        if status == 0:
            self._done.add(number)
            self._check_all_done()
            return
        if self._stop.is_set() and status in (RESUMABLE, 128 + signal.SIGINT):
            return  # all processes stop at the same step
        if self._is_ending.is_set():
            return
        if text := message.get("text"):  # process 0 tells of a third process
            self._end(text, status)
        if not self._is_ending.wait(_END_SECONDS):  # all may find the same error, such as a loss that is not finite
            name = f"process {message['process']} on {message['host']}"
            self._end(f"{name} ended with status {status}; its output says why", status)

    def _check_all_done(self) -> None:
        """Lets all processes end once all are done; process 0 decides."""
        if self._launch.process_id == 0 and self._is_done.is_set() and self._done == self._links.keys():
            for link in self._links.values():
                link.send(all_done=True)
            self._all_done.set()

    def _end(self, text: str, status: int) -> NoReturn:
        """Reports a lost process, tells the others, and ends this process."""
        for link in self._links.values() if self._launch.process_id == 0 else ():
            link.send(status=status, text=text)
        again = "; the same command resumes from the last checkpoint" if status == RESUMABLE else ""
        os.write(2, f"\nstopped: {text}{again}.\n".encode())
        # JAX would abort the others, with a stack trace, if process 0 were gone before them.
        deadline = time.monotonic() + 1
        for link in self._links.values() if self._launch.process_id == 0 else ():
            link.socket.settimeout(max(deadline - time.monotonic(), 0.01))
            while link.receive() is not None:
                continue
        with contextlib.suppress(Exception):
            sys.stdout.flush()
        os._exit(status)
