"""launch/slurm.sbatch on a real Slurm, started here: two nodes of two CPUs on this machine.

Debian: apt-get install slurm-wlm munge
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tiny_run import FLAGS, environment, table

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "launch" / "slurm.sbatch"
MISSING = [
    name for name in ("slurmctld", "slurmd", "munged", "sbatch") if not shutil.which(name, path="/usr/sbin:/usr/bin")
]

pytestmark = [
    pytest.mark.soak,
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}; Debian: slurm-wlm, munge"),
    pytest.mark.skipif(os.geteuid() != 0, reason="slurmd runs jobs as root"),
]

# Nodes claim two CPUs, whatever the machine has. Only the first one has a name that is an address, too: jobs of one node run there.
CONFIG = """
ClusterName=test
SlurmctldHost={host}
SlurmctldPort={ctld}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=10
MpiDefault=none
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
NodeName={host} NodeHostname={host} NodeAddr=127.0.0.1 Port={first} CPUs=2 Weight=1
NodeName={host}-2 NodeHostname={host} NodeAddr=127.0.0.1 Port={second} CPUs=2 Weight=2
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP PriorityTier=1 GraceTime=20
PartitionName=urgent Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=2
"""

STUB = """
import os, signal, sys, time
signals = {signal.SIGTERM, signal.SIGINT, signal.SIGUSR1}
signal.pthread_sigmask(signal.SIG_BLOCK, signals)
rank = int(os.environ["SLURM_PROCID"])
print("rank", rank, "of", os.environ["SLURM_NTASKS"], sys.argv[1:], flush=True)
open(f"ready{rank}-{os.environ.get('SLURM_RESTART_COUNT', 0)}", "w").close()
exec(os.environ["STUB"])
"""
STOP = "received = signal.sigtimedwait(signals, 60); print('got', received and received.si_signo, flush=True); "


def _wait_for(condition: Callable[[], object], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} seconds: {what}"
        time.sleep(0.2)


class Slurm:
    """A controller and two nodes, with SLURM_CONF in `environment`."""

    def __init__(self, folder: Path) -> None:
        ports = {}
        with contextlib.ExitStack() as sockets:
            for name in ("ctld", "first", "second"):
                free = sockets.enter_context(socket.socket())
                free.bind(("127.0.0.1", 0))
                ports[name] = free.getsockname()[1]
        for name in ("state", "munge"):
            (folder / name).mkdir(mode=0o700)
        folder.chmod(0o755)
        (folder / "slurm.conf").write_text(CONFIG.format(host=socket.gethostname(), folder=folder, **ports))
        key = folder / "munge" / "key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)
        self.environment = environment()
        self.environment |= {"SLURM_CONF": str(folder / "slurm.conf"), "PATH": f"/usr/sbin:{os.environ['PATH']}"}
        self.daemons = []
        munged = ["munged", "--foreground", "--force", f"--socket={folder}/munge.socket", f"--key-file={key}"]
        munged += [
            f"--pid-file={folder}/munge/pid",
            f"--seed-file={folder}/munge/seed",
            f"--log-file={folder}/munge/log",
        ]
        self._start(munged)
        _wait_for((folder / "munge.socket").exists, 20, "munged")
        self._start(["slurmctld", "-D"])
        for node in (socket.gethostname(), f"{socket.gethostname()}-2"):
            self._start(["slurmd", "-D", "-N", node])
        _wait_for(
            lambda: self.run("sinfo", "-h", "-p", "main", "-o", "%D %T").strip() == "2 idle", 60, "two idle nodes"
        )

    def _start(self, command: list[str]) -> None:
        self.daemons.append(
            subprocess.Popen(command, env=self.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        )

    def stop(self) -> None:
        self.run("scancel", "--user=root")
        time.sleep(2)
        for daemon in reversed(self.daemons):
            daemon.terminate()
            daemon.wait(30)

    def run(self, *command: str, **options: object) -> str:
        result = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=60, **options)
        return result.stdout + result.stderr

    def submit(self, folder: Path, *command: str, **environment: str) -> str:
        """Returns the job's number."""
        defaults = {"PYTHON": sys.executable, "PYTHONPATH": str(folder)}
        result = subprocess.run(
            ["sbatch", "--parsable", "--output=out.txt", *command],
            cwd=folder,
            env=self.environment | defaults | environment,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert result.returncode == 0, result.stderr
        return result.stdout.strip()

    def job(self, number: str) -> dict[str, str]:
        words = self.run("scontrol", "--oneliner", "show", "job", number).split()
        return dict(word.split("=", 1) for word in words if "=" in word)

    def wait(self, number: str, state: str, seconds: float) -> dict[str, str]:
        _wait_for(
            lambda: self.job(number).get("JobState") == state, seconds, f"job {number} {state}: {self.job(number)}"
        )
        return self.job(number)

    def start_soon(self, number: str) -> None:
        """A requeued job waits for two minutes; shortens that.

        In the second in which it was ended, a node would refuse the job as already killed.
        """

        def requeued() -> bool:
            job = self.job(number)
            return job["JobState"] == "PENDING" and job["Restarts"] == "1"

        _wait_for(requeued, 60, f"job {number} requeued")
        self.run("scontrol", "update", f"JobId={number}", "StartTime=now+5")


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    slurm = Slurm(tmp_path_factory.mktemp("slurm"))
    yield slurm
    slurm.stop()


@pytest.fixture
def stub(tmp_path: Path) -> Path:
    (tmp_path / "seqdigits").mkdir()
    (tmp_path / "seqdigits" / "main.py").write_text(STUB)
    return tmp_path


def _ready(folder: Path, count: int, restart: int = 0) -> None:
    _wait_for(lambda: len(list(folder.glob(f"ready*-{restart}"))) == count, 30, "the processes")


def test_signalled_job_is_requeued_and_done(slurm: Slurm, stub: Path) -> None:
    code = "restarted = 'SLURM_RESTART_COUNT' in os.environ; " + STOP.replace("60", "0 if restarted else 60")
    code += "sys.exit(75 if received else 0)"
    number = slurm.submit(stub, "--ntasks-per-node=2", str(SCRIPT), "--workdir", "a b", STUB=code)
    _ready(stub, 2)
    slurm.run("scancel", "--signal=USR1", number)
    slurm.start_soon(number)
    slurm.wait(number, "COMPLETED", 60)
    out = (stub / "out.txt").read_text()
    assert "rank 1 of 2 ['--workdir', 'a b']" in out
    assert out.count(f"got {signal.SIGUSR1.value}") == 2
    assert f"job {number}: saved, requeued" in out
    assert f"job {number}, start 1: 2 processes on {socket.gethostname()}" in out


def test_training_is_signalled_requeued_and_ends_like_an_undisturbed_one(slurm: Slurm, tmp_path: Path) -> None:
    """Two processes; the first start gets the signal that comes before the end of the time."""

    def submit(name: str) -> tuple[str, Path]:
        out = tmp_path / f"{name}.txt"
        flags = [*FLAGS, f"--workdir={tmp_path / name}"]
        return slurm.submit(ROOT, "--ntasks-per-node=2", f"--output={out}", str(SCRIPT), *flags), out

    number, undisturbed = submit("undisturbed")
    slurm.wait(number, "COMPLETED", 900)
    number, out = submit("run")
    _wait_for(lambda: out.exists() and "step     120/" in out.read_text(), 900, "step 120")
    slurm.run("scancel", "--signal=USR1", number)
    slurm.start_soon(number)
    slurm.wait(number, "COMPLETED", 900)
    assert "rerun the same command to resume" in out.read_text()
    assert "resumed from step" in out.read_text()
    assert table(out.read_text()) == table(undisturbed.read_text())


def test_user_error_takes_precedence_and_is_not_requeued(slurm: Slurm, stub: Path) -> None:
    number = slurm.submit(stub, "--ntasks-per-node=2", str(SCRIPT), STUB="sys.exit((2, 75)[rank])")
    assert slurm.wait(number, "FAILED", 60)["ExitCode"] == "2:0"


def test_preempted_job_saves_and_is_requeued(slurm: Slurm, stub: Path) -> None:
    code = (
        "'SLURM_RESTART_COUNT' in os.environ and sys.exit(0); "
        + STOP
        + "time.sleep(3); print('saved', flush=True); sys.exit(75)"
    )
    number = slurm.submit(stub, "--ntasks-per-node=2", str(SCRIPT), STUB=code)
    _ready(stub, 2)
    urgent = slurm.submit(stub, "--partition=urgent", "--ntasks=4", "--output=urgent.txt", "--wrap=true")
    slurm.wait(urgent, "COMPLETED", 120)
    slurm.start_soon(number)
    slurm.wait(number, "COMPLETED", 60)
    out = (stub / "out.txt").read_text()
    assert out.count(f"got {signal.SIGTERM.value}") == out.count("saved\n") == 2


def test_job_at_the_end_of_its_time_is_requeued(slurm: Slurm, stub: Path) -> None:
    code = STOP.replace("60", "0 if 'SLURM_RESTART_COUNT' in os.environ else 300") + "sys.exit(75 if received else 0)"
    number = slurm.submit(stub, "--ntasks-per-node=2", "--time=3", str(SCRIPT), STUB=code)
    _ready(stub, 2)
    _wait_for(lambda: f"got {signal.SIGUSR1.value}" in (stub / "out.txt").read_text(), 180, "SIGUSR1")
    slurm.start_soon(number)
    slurm.wait(number, "COMPLETED", 60)


@pytest.mark.parametrize("name", ["SIGKILL", "SIGABRT"])
def test_killed_process_is_requeued(slurm: Slurm, stub: Path, name: str) -> None:
    code = "'SLURM_RESTART_COUNT' in os.environ and sys.exit(0); time.sleep(2); "
    code += f"rank == 0 and os.kill(os.getpid(), signal.{name}); sys.exit(75)"
    number = slurm.submit(stub, "--ntasks-per-node=2", str(SCRIPT), STUB=code)
    slurm.start_soon(number)
    slurm.wait(number, "COMPLETED", 60)


def test_cancelled_job_is_not_requeued(slurm: Slurm, stub: Path) -> None:
    number = slurm.submit(stub, "--ntasks-per-node=2", str(SCRIPT), STUB=STOP + "sys.exit(75)")
    _ready(stub, 2)
    slurm.run("scancel", number)
    slurm.wait(number, "CANCELLED", 60)
    time.sleep(5)
    assert slurm.job(number)["JobState"] == "CANCELLED"
    assert (stub / "out.txt").read_text().count(f"got {signal.SIGTERM.value}") == 2


def test_processes_with_a_node_each_are_told_the_coordinator(slurm: Slurm, stub: Path) -> None:
    """JAX's own detection would give each of them one GPU."""
    code = "print(*(os.environ[f'SEQDIGITS_{k}'] for k in ('COORDINATOR', 'NUM_PROCESSES', 'PROCESS_ID')), flush=True)"
    number = slurm.submit(stub, "--nodes=2", "--ntasks-per-node=1", str(SCRIPT), STUB=code)
    slurm.wait(number, "COMPLETED", 60)
    lines = (stub / "out.txt").read_text().splitlines()
    coordinator = f"{socket.gethostname()}:{20_000 + int(number)}"
    assert {line for line in lines if line.startswith(coordinator)} == {f"{coordinator} 2 0", f"{coordinator} 2 1"}


def test_restarts_are_limited(slurm: Slurm, stub: Path) -> None:
    number = slurm.submit(stub, str(SCRIPT), STUB="sys.exit(75)", SEQDIGITS_MAX_RESTARTS="0")
    assert slurm.wait(number, "FAILED", 60)["ExitCode"] == "75:0"
    assert "raise SEQDIGITS_MAX_RESTARTS" in (stub / "out.txt").read_text()


def test_sweep_is_an_array(slurm: Slurm, stub: Path) -> None:
    flags = ["sweep", "runs", "configs/a.py", "configs/b.py", "--", "--config.seed=1"]
    slurm.submit(stub, "--array=0-1%1", "--output=out-%a.txt", str(SCRIPT), *flags, STUB="pass")
    _wait_for(lambda: not slurm.run("squeue", "-h").strip(), 60, "an empty queue")
    for i, name in enumerate("ab"):
        expected = f"rank 0 of 1 ['--config', 'configs/{name}.py', '--workdir', 'runs/{name}', '--config.seed=1']"
        assert expected in (stub / f"out-{i}.txt").read_text()


def test_array_of_another_size_is_refused(slurm: Slurm, stub: Path) -> None:
    number = slurm.submit(stub, "--array=2", str(SCRIPT), "sweep", "runs", "a.py", "b.py", STUB="pass")
    assert slurm.wait(f"{number}_2", "FAILED", 60)["ExitCode"] == "2:0"
    assert "array task '2' has no config: submit 2 configs with --array=0-1" in (stub / "out.txt").read_text()


def test_two_configs_of_one_workdir_are_refused(slurm: Slurm, stub: Path) -> None:
    number = slurm.submit(stub, "--array=0", str(SCRIPT), "sweep", "runs", "x/a.py", "y/a.py", STUB="pass")
    assert slurm.wait(f"{number}_0", "FAILED", 60)["ExitCode"] == "2:0"
    assert "config y/a.py: two configs of that name would share the workdir runs/a" in (stub / "out.txt").read_text()
