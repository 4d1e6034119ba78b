"""Several processes: how they meet, what they say when a launch is wrong, and how they end together."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import ROOT

from seqdigits.core.errors import TryAgain, UserError
from seqdigits.core.interrupt import Stop
from seqdigits.parallel import distributed
from seqdigits.parallel.distributed import Launch, detect

PROCESS = """
import os, sys, time
from seqdigits.core import app

def main(stop):
    from seqdigits.core.errors import UserError
    from seqdigits.core.interrupt import Stopped
    from seqdigits.parallel import distributed
    from seqdigits.parallel.processes import agree_to_stop, from_main
    distributed.connect(distributed.detect(None, None, None, os.environ), stop)
    import jax, numpy as np
    text = from_main(np.array([7 + jax.process_index(), jax.process_count()])).tolist()
    os.write(2, f"met {text}\\n".encode())
    print("only process 0 prints")
    if sys.argv[1] == "error" and jax.process_index() == 1:
        raise UserError("no such thing")
    if sys.argv[1] == "same error":
        raise UserError(f"all find this {time.sleep(1.5 * (1 - jax.process_index()))}")
    if sys.argv[1] == "slow end" and jax.process_index() == 0:
        time.sleep(4)
    if sys.argv[1].startswith("slow end"):
        return
    if sys.argv[1] == "bug" and jax.process_index() == 1:
        raise ZeroDivisionError
    step = 0
    while sys.argv[1] != "meet":
        time.sleep(0.02)
        step += 1
        if agree_to_stop(stop):
            os.write(2, f"stopped at {step}\\n".encode())
            raise Stopped

app.run("__main__:main")
"""


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def connected(port):
    """A connection to the port, once something listens there."""
    deadline = time.monotonic() + 60
    while True:
        try:
            return socket.create_connection(("localhost", port))
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.1)


class Processes:
    """Processes that meet, do what `task` says, and end."""

    def __init__(self, path, task, ranks, sizes, port=None, seconds=60):
        script = path / "process.py"
        script.write_text(PROCESS)
        port = port or free_port()
        self.all = []
        for rank, size in zip(ranks, sizes, strict=True):
            env = {
                **os.environ,
                "PYTHONPATH": str(ROOT),
                "SEQDIGITS_COORDINATOR": f"localhost:{port}",
                "SEQDIGITS_NUM_PROCESSES": str(size),
                "SEQDIGITS_PROCESS_ID": str(rank),
                "SEQDIGITS_START_SECONDS": str(seconds),
            }
            self.all.append(
                subprocess.Popen(
                    [sys.executable, str(script), task],
                    env=env,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )
            )

    def wait_until_met(self):
        for process in self.all:
            while "met [7," not in (line := process.stderr.readline()):
                assert line, process.communicate()

    def ends(self, timeout=120):
        """Status, standard output and standard error of each."""
        try:
            outputs = [process.communicate(timeout=timeout) for process in self.all]
        finally:
            for process in self.all:
                process.kill()
        return [(process.returncode, *output) for process, output in zip(self.all, outputs, strict=True)]


def test_processes_meet_and_only_the_first_prints(tmp_path):
    one, two = Processes(tmp_path, "meet", (0, 1), (2, 2)).ends()
    assert one[0] == two[0] == 0
    assert "met [7, 2]" in one[2]
    assert "met [7, 2]" in two[2]
    assert "only process 0 prints" in one[1]
    assert "only process 0 prints" not in two[1]


def meet(*processes, seconds=10.0, port=None):
    """Lets processes meet, each a thread that is told its number and how many there are; returns the error of each, or None."""
    port = port or free_port()

    def end(process):
        number, size = process
        wait = distributed._call if number else distributed._listen
        try:
            links = wait(Launch(f"localhost:{port}", size, number), seconds, Stop())
        except (UserError, TryAgain) as e:
            return type(e), str(e)
        for link in links.values():
            link.socket.close()
        return None

    with ThreadPoolExecutor(len(processes)) as threads:
        return list(threads.map(end, processes))


def test_all_are_told_to_go_on():
    assert meet((0, 3), (2, 3), (1, 3)) == [None] * 3


def test_same_number_twice_is_refused():
    for kind, message in meet((0, 3), (1, 3), (1, 3)):
        assert kind is UserError
        assert message.startswith("two processes have --process_id 1: one on")


def test_other_number_of_processes_is_refused():
    for kind, message in meet((0, 2), (1, 3)):
        assert kind is UserError
        assert message.startswith("the processes differ in --num_processes: 3 in process 1 on")


def test_missing_process_is_named():
    for kind, message in meet((0, 3), (2, 3), seconds=1.5):
        assert kind is TryAgain
        assert message.startswith("process 1 of 3 did not connect to process 0 within 1.5 s")


def test_missing_coordinator_is_named(tmp_path):
    ((status, _, error),) = Processes(tmp_path, "meet", (1,), (2,), seconds=2).ends()
    assert status == 75
    assert "found no process 0 at localhost:" in error
    assert "Connection refused" in error


def test_port_in_use_is_named():
    with socket.create_server(("", 0)) as server:
        port = server.getsockname()[1]
        ((kind, message),) = meet((0, 2), port=port)
    assert kind is UserError
    assert f"process 0 cannot listen on port {port}: Address already in use" in message


def test_stranger_on_the_port_does_not_disturb(tmp_path):
    port = free_port()
    processes = Processes(tmp_path, "meet", (0,), (2,), port)
    with connected(port) as stranger:
        stranger.sendall(b"GET / HTTP/1.1\r\n\r\n")
    with connected(port) as stranger:
        stranger.sendall(b'{"error": "not ours"}\n')
    processes.all += Processes(tmp_path, "meet", (1,), (2,), port).all
    assert [status for status, _, _ in processes.ends()] == [0, 0]


@pytest.mark.parametrize("killed", [0, 2])
def test_lost_process_ends_the_others_within_seconds(tmp_path, killed):
    processes = Processes(tmp_path, "work", (0, 1, 2), (3, 3, 3))
    processes.wait_until_met()
    processes.all[killed].send_signal(signal.SIGKILL)
    began = time.monotonic()
    ends = processes.ends()
    assert time.monotonic() - began < 20
    for rank, (status, _, error) in enumerate(ends):
        if rank == killed:
            continue
        assert status == 75, error
        assert f"process {killed} on" in error
        assert "was lost; the same command resumes from the last checkpoint" in error


def test_error_that_all_find_is_printed_by_all(tmp_path):
    for status, _, error in Processes(tmp_path, "same error", (0, 1), (2, 2)).ends():
        assert status == 2
        assert "error: all find this" in error
        assert "stopped:" not in error


@pytest.mark.parametrize("killed", [0, 1])
def test_process_lost_at_the_end_ends_the_others(tmp_path, killed):
    """Process 1 has done its work and waits for process 0, which still writes."""
    processes = Processes(tmp_path, "slow end", (0, 1), (2, 2))
    processes.wait_until_met()
    time.sleep(1)
    processes.all[killed].send_signal(signal.SIGKILL)
    began = time.monotonic()
    end = processes.ends()[1 - killed]
    assert time.monotonic() - began < 15
    # A process that is lost after it has done its work is not missed.
    assert end[0] == (75 if killed == 0 else 0), end[2]
    assert ("process 0 on" in end[2]) == (killed == 0)


def test_second_process_0_at_another_address_is_refused(tmp_path):
    port = free_port()
    first = Processes(tmp_path, "meet", (0,), (2,), port)
    with connected(port) as second:  # its own port is on another host
        second.sendall(b'{"process_id": 0, "num_processes": 2, "host": "other", "token": "x"}\n')
        assert "two processes have --process_id 0: one on" in second.recv(4096).decode()
    assert first.ends()[0][0] == 2


def test_ctrl_c_while_waiting_is_130(tmp_path):
    with socket.create_server(("localhost", 0)) as server:
        server.settimeout(60)
        processes = Processes(tmp_path, "meet", (1,), (2,), server.getsockname()[1])
        connection, _ = server.accept()
        with connection:
            assert b'"process_id": 1' in connection.recv(4096)  # and waits for the answer
            processes.all[0].send_signal(signal.SIGINT)
            assert processes.ends()[0][0] == 130


def test_devices_are_not_restricted_by_a_launcher(monkeypatch):
    """With an explicit place, JAX must not take one GPU of the node as it would under Slurm."""
    given = {}
    monkeypatch.setattr(distributed, "_call", lambda *_: {})
    monkeypatch.setattr(distributed.jax.distributed, "initialize", lambda *_, **options: given.update(options))
    monkeypatch.setattr(distributed.sys, "stdout", sys.stdout)
    distributed.connect(Launch("a:1", 2, 1), Stop())
    assert given == {"local_device_ids": None, "cluster_detection_method": "deactivate"}


@pytest.mark.parametrize(("task", "status"), [("error", 2), ("bug", 1)])
def test_error_of_one_process_ends_the_others_with_its_status(tmp_path, task, status):
    one, two = Processes(tmp_path, task, (0, 1), (2, 2)).ends()
    assert two[0] == status
    assert ("error: no such thing" if task == "error" else "ZeroDivisionError") in two[2]
    assert one[0] == status
    assert f"ended with status {status}; its output says why" in one[2]


@pytest.mark.parametrize(
    ("number", "rank", "status"),
    [(signal.SIGTERM, 0, 75), (signal.SIGUSR1, 1, 75), (signal.SIGINT, 1, 130)],
    ids=["TERM", "USR1", "INT"],
)
def test_signal_to_one_process_stops_all_at_the_same_step(tmp_path, number, rank, status):
    processes = Processes(tmp_path, "work", (0, 1), (2, 2))
    processes.wait_until_met()
    processes.all[rank].send_signal(number)
    ends = processes.ends()
    assert [end[0] for end in ends] == [status, status]
    steps = {line for _, _, error in ends for line in error.splitlines() if line.startswith("stopped at")}
    assert len(steps) == 1


def test_launch_is_read_from_flags_and_environment():
    assert detect(None, None, None, {}) is None
    assert detect("a:1", 2, 1, {}) == Launch("a:1", 2, 1)
    environment = {"SEQDIGITS_COORDINATOR": "a:1", "SEQDIGITS_NUM_PROCESSES": "4", "JOB_COMPLETION_INDEX": "3"}
    assert detect(None, None, None, environment) == Launch("a:1", 4, 3)
    assert detect(None, None, None, environment | {"SEQDIGITS_PROCESS_ID": "2"}) == Launch("a:1", 4, 2)
    assert detect("b:1", None, 0, environment) == Launch("b:1", 4, 0)
    # Under sbatch without srun, and in a pod of a Job of single processes, there is one process.
    assert detect(None, None, None, {"SLURM_JOB_ID": "1", "SLURM_NTASKS": "2", "SLURM_PROCID": "0"}) is None
    assert detect(None, None, None, {"JOB_COMPLETION_INDEX": "3"}) is None


def test_launch_is_detected_under_srun(monkeypatch):
    environment = {
        "SLURM_JOB_ID": "17",
        "SLURM_STEP_NODELIST": "node[001,007-015],host2",
        "SLURM_NTASKS": "4",
        "SLURM_PROCID": "3",
        "SLURM_LOCALID": "1",
        "SLURM_STEP_NUM_NODES": "2",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    launch = detect(None, None, None, os.environ)
    assert launch.coordinator.startswith("node001:")
    assert (launch.num_processes, launch.process_id) == (4, 3)


@pytest.fixture
def no_launcher(monkeypatch):
    """An environment in which JAX finds no launcher."""
    for name in os.environ:
        if name.startswith(("SLURM_", "OMPI_", "TPU_", "KUBERNETES_")):
            monkeypatch.delenv(name)


def test_launch_is_detected_under_mpirun(no_launcher, monkeypatch):
    environment = {
        "OMPI_MCA_orte_hnp_uri": "1531576320.0;tcp://10.96.0.1,10.148.0.1:34911",
        "OMPI_COMM_WORLD_SIZE": "4",
        "OMPI_COMM_WORLD_RANK": "3",
        "OMPI_COMM_WORLD_LOCAL_RANK": "1",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    launch = detect(None, None, None, os.environ)
    assert launch.coordinator.startswith("10.96.0.1:")
    assert launch[1:] == (4, 3, [1])


def test_auto_without_a_launcher_is_refused(no_launcher):
    with pytest.raises(
        UserError, match=r"^--coordinator auto: JAX detects no launcher here\..* give --coordinator HOST"
    ):
        detect("auto", None, None, os.environ)


PLACE = ("a:1", 2, 1, None)


@pytest.mark.parametrize(
    ("coordinator", "environment", "is_asked"),
    [
        (None, {}, False),
        (None, {"OMPI_COMM_WORLD_SIZE": "1"}, False),
        (None, {"OMPI_COMM_WORLD_SIZE": "2"}, True),
        (None, {"TPU_WORKER_HOSTNAMES": "localhost"}, False),
        (None, {"TPU_WORKER_HOSTNAMES": ""}, False),
        (None, {"TPU_WORKER_HOSTNAMES": "host-0,host-1"}, True),
        (None, {"SLURM_STEP_NODELIST": "n1", "SLURM_NTASKS": "1"}, False),
        (None, {"SLURM_STEP_NODELIST": "n[1-2]", "SLURM_NTASKS": "2"}, True),
        ("auto", {}, True),
        (None, {"SEQDIGITS_COORDINATOR": "auto"}, True),
    ],
)
def test_jax_is_asked_only_where_there_is_a_launcher(monkeypatch, coordinator, environment, is_asked):
    asked = []
    monkeypatch.setattr(
        distributed.ClusterEnv, "auto_detect_unset_distributed_params", lambda *_: asked.append(_) or PLACE
    )
    assert detect(coordinator, None, None, environment) == (Launch(*PLACE) if is_asked else None)
    assert len(asked) == is_asked


@pytest.mark.parametrize("unknown", range(3))
def test_launch_that_jax_detects_in_part_is_refused(monkeypatch, unknown):
    found = tuple(None if i == unknown else value for i, value in enumerate(PLACE))
    monkeypatch.setattr(distributed.ClusterEnv, "auto_detect_unset_distributed_params", lambda *_: found)
    with pytest.raises(UserError, match="--coordinator auto: JAX detects no launcher here"):
        detect(None, None, None, {"OMPI_COMM_WORLD_SIZE": "2"})


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ((None, 2, 0), "--num_processes and --process_id: --coordinator HOST:PORT .* is missing"),
        (("a:1", 2, None), "--process_id is missing"),
        (("a", 2, 0), "--coordinator a: HOST:PORT is allowed"),
        (("a:x", 2, 0), "--coordinator a:x: HOST:PORT is allowed"),
        (("a:1", 2, 2), "--process_id 2: 0 to 1 is allowed with --num_processes 2"),
        (("a:1", 0, 0), "--num_processes = 0: an integer from 1"),
        (("a:1", 2, -1), "--process_id = -1: an integer from 0"),
    ],
)
def test_launch_refuses_invalid_flags(flags, message):
    with pytest.raises(UserError, match=message):
        detect(*flags, {})


def test_launch_refuses_an_invalid_environment():
    with pytest.raises(UserError, match="SEQDIGITS_PROCESS_ID = x: an integer from 0 to 10,000 is allowed"):
        detect("a:1", 2, None, {"SEQDIGITS_PROCESS_ID": "x"})
    with pytest.raises(UserError, match="coordinator HOST:PORT .* is missing"):
        detect(None, None, None, {"SEQDIGITS_NUM_PROCESSES": "2"})
