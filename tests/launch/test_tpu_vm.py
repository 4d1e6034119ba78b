"""launch/tpu_vm.sh and launch/sky_sweep.sh: the commands that they print, and what they do when a TPU is taken away."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests" / "golden" / "launch"
RUN = ["--config", "configs/quickstart.py", "--workdir", "/mnt/seqdigits/runs/quickstart"]


def _call(*command: str, path: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {
        k: v for k, v in os.environ.items() if k not in ("ZONE", "TYPE", "VERSION", "SHARE", "SPOT", "DRY_RUN")
    }
    inherited |= {"SEQDIGITS_COMMIT": "0123456789", "TMPDIR": "/tmp", "PATH": f"{path}:{os.environ['PATH']}"}
    return subprocess.run(
        ["bash", *command], cwd=ROOT, env=inherited | environment, capture_output=True, text=True, timeout=60
    )


@pytest.mark.parametrize(
    ("golden", "command", "environment"),
    [
        (
            "tpu_vm_train",
            ["launch/tpu_vm.sh", "train", "digits", *RUN, "--config.note=it's a b"],
            {"SHARE": "gs://my-runs"},
        ),
        (
            "tpu_vm_sweep",
            [
                "launch/tpu_vm.sh",
                "sweep",
                "digits",
                "/mnt/seqdigits/runs",
                "configs/quickstart.py",
                "configs/strip5_gru.py",
            ],
            {
                "SHARE": "10.0.0.2:/share",
                "SPOT": "0",
                "ZONE": "us-east5-a",
                "TYPE": "v6e-16",
                "VERSION": "v2-alpha-tpuv6e",
            },
        ),
        (
            "sky_sweep",
            [
                "launch/sky_sweep.sh",
                "my-runs",
                "configs/quickstart.py",
                "configs/strip5_gru.py",
                "--",
                "--config.seed=1",
            ],
            {},
        ),
    ],
)
def test_dry_run_prints_the_commands(golden: str, command: list[str], environment: dict[str, str]) -> None:
    """UPDATE_GOLDEN=1 writes the files anew."""
    result = _call(*command, DRY_RUN="1", **environment)
    assert (result.returncode, result.stderr) == (0, "")
    file = GOLDEN / f"{golden}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        file.parent.mkdir(exist_ok=True)
        file.write_text(result.stdout)
    assert result.stdout == file.read_text()


GCLOUD = """#!/usr/bin/env bash
# Answers like gcloud. Line n of $FOLDER/polls is the answer to the n-th question about the run.
cd "$FOLDER"
case "$*" in
  *" ssh "*"echo \\"run "*)
    answer=$(head -n 1 polls)
    sed -i 1d polls
    echo "poll" >>calls
    if [[ $answer == gone ]]; then echo PREEMPTED >state; exit 255; fi
    [[ $answer != unreachable ]] || exit 255
    if [[ $answer == outage ]]; then echo now >outages; exit 255; fi
    printf "$answer"
    ;;
  *" ssh "*is-active\\ seqdigits) echo "active?" >>calls; [[ -e active ]] ;;
  *" ssh "*"systemctl start"*) echo start >>calls ;;
  *" ssh "*"uv venv"*) echo install >>calls ;;
  *" ssh "*journalctl*) echo "the last lines of the log" ;;
  *" scp "*) ;;
  *" describe "*)
    if [[ -s outages ]]; then sed -i 1d outages; echo "ERROR: no network" >&2; exit 1; fi
    cat state 2>/dev/null || { echo "ERROR: (gcloud.compute.tpus.tpu-vm.describe) NOT_FOUND: Resource" >&2; exit 1; }
    ;;
  *" create "*)
    echo create >>calls
    [[ ! -e state ]] || { echo ALREADY_EXISTS >&2; exit 1; }
    echo READY >state
    ;;
  *" delete "*) echo delete >>calls; rm -f state ;;
  *) echo "unexpected: $*" >>calls; exit 9 ;;
esac
"""


@pytest.fixture
def train(tmp_path: Path) -> Callable[..., tuple[int, list[str], str]]:
    """`train(answers)`: the exit status, the calls of gcloud in order, and what was printed."""
    (tmp_path / "gcloud").write_text(GCLOUD)
    (tmp_path / "gcloud").chmod(0o755)

    def train(answers: list[str]) -> tuple[int, list[str], str]:
        (tmp_path / "polls").write_text("\n".join(answers) + "\n")
        environment = {"FOLDER": str(tmp_path), "POLL_SECONDS": "0", "SHARE": "gs://my-runs", "TMPDIR": str(tmp_path)}
        result = _call("launch/tpu_vm.sh", "train", "digits", *RUN, path=str(tmp_path), **environment)
        return result.returncode, (tmp_path / "calls").read_text().split("\n")[:-1], result.stdout + result.stderr

    return train


def test_finished_run_deletes_the_tpu(train: Callable[..., tuple[int, list[str], str]]) -> None:
    status, calls, printed = train(
        ["run active 0 0\\nrun activating 75 70", "unreachable", "run inactive 0 71\\nrun inactive 0 72"]
    )
    assert status == 0
    assert calls == ["create", "install", "start", "poll", "poll", "poll", "delete"]
    assert "no answer, state READY" in printed
    assert printed.endswith("the last lines of the log\n")


def test_preempted_tpu_is_replaced(train: Callable[..., tuple[int, list[str], str]]) -> None:
    status, calls, printed = train(["run active 0 0", "gone", "run active 0 0", "run inactive 0 71"])
    assert status == 0
    once = ["create", "install", "start", "poll", "poll", "delete"]
    assert calls == once + once
    assert "digits: PREEMPTED, replaced" in printed


def test_outage_of_the_network_is_no_preemption(
    train: Callable[..., tuple[int, list[str], str]], tmp_path: Path
) -> None:
    (tmp_path / "state").write_text("READY\n")
    (tmp_path / "active").touch()
    (tmp_path / "outages").write_text("first\n")
    status, calls, printed = train(["outage", "run inactive 0 71"])
    assert status == 0
    assert calls == ["active?", "poll", "poll", "delete"]
    assert printed.count("its state is not known: ERROR: no network") == 2
    assert "no answer, state not known" in printed


def test_stopped_run_is_not_started_again(train: Callable[..., tuple[int, list[str], str]]) -> None:
    status, calls, _ = train(["run failed 75 71 disabled\nrun failed 75 72 disabled"])
    assert status == 130
    assert calls == ["create", "install", "start", "poll", "delete"]


def test_user_error_ends_the_run(train: Callable[..., tuple[int, list[str], str]]) -> None:
    status, calls, _ = train(["run activating 75 70\\nrun failed 2 71"])
    assert status == 2
    assert calls[-1] == "delete"


def test_running_service_is_followed(train: Callable[..., tuple[int, list[str], str]], tmp_path: Path) -> None:
    (tmp_path / "state").write_text("READY\n")
    (tmp_path / "active").touch()
    status, calls, _ = train(["run inactive 0 71"])
    assert status == 0
    assert calls == ["active?", "poll", "delete"]


@pytest.mark.parametrize(
    "answer",
    [
        "run inactive 0 0",
        "run inactive 0 0\\nrun inactive 0 71",
        "run inactive 0 71\\nrun inactive 0 0",
        "run inactive",
    ],
)
def test_rebooted_worker_is_waited_for(train: Callable[..., tuple[int, list[str], str]], answer: str) -> None:
    """Before its service has come up, `systemctl show` has no time at which it ended."""
    status, calls, _ = train([answer, "run active 0 0\\nrun activating 75 70", "run inactive 0 81\\nrun inactive 0 82"])
    assert status == 0
    assert calls == ["create", "install", "start", "poll", "poll", "poll", "delete"]


@pytest.mark.parametrize("answer", ["", "no state\\n"])
def test_answer_without_state_is_no_end(train: Callable[..., tuple[int, list[str], str]], answer: str) -> None:
    status, calls, printed = train([answer, "run failed 1 71"])
    assert status == 1
    assert calls == ["create", "install", "start", "poll", "poll", "delete"]
    assert "an answer without the state of the service" in printed


def _unit() -> str:
    """Returns the unit that `start` writes, with the names of a worker."""
    script = (ROOT / "launch" / "tpu_vm.sh").read_text()
    (unit,) = re.findall(r"seqdigits\.service >/dev/null <<END\n(.*?)^END$", script, re.DOTALL | re.MULTILINE)
    return unit.replace("\\$(id -un)", "root").replace("\\$HOME", "/root")


def test_systemd_starts_a_lost_worker_again() -> None:
    lines = _unit().splitlines()
    assert "RestartForceExitStatus=75 SIGKILL SIGABRT" in lines
    assert lines[-2:] == ["[Install]", "WantedBy=multi-user.target"]
    assert "sudo systemctl -q enable seqdigits" in (ROOT / "launch" / "tpu_vm.sh").read_text()


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    (tmp_path / "seqdigits.service").write_text(_unit())
    result = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(tmp_path / "seqdigits.service")],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "seqdigits.service" not in result.stderr


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["launch/tpu_vm.sh"], "NAME is ''"),
        (["launch/tpu_vm.sh", "train", "My_TPU"], "NAME is 'My_TPU'"),
        (["launch/tpu_vm.sh", "fly", "digits"], "'fly' is not an action"),
        (["launch/tpu_vm.sh", "install", "digits"], "SHARE is not set"),
        (["launch/tpu_vm.sh", "train", "digits", "--config", "configs/quickstart.py"], "SHARE is not set"),
        (["launch/tpu_vm.sh", "sweep", "digits", "runs"], "no config is given"),
        (["launch/tpu_vm.sh", "sweep", "digits", "runs", "configs/no.py"], "config configs/no.py: no such file"),
        (
            [
                "launch/tpu_vm.sh",
                "sweep",
                "digits",
                "runs",
                "seqdigits/cli/train.py",
                "configs/../seqdigits/cli/train.py",
            ],
            "would share the TPU digits-train",
        ),
        (["launch/sky_sweep.sh"], "BUCKET and configs are missing"),
        (["launch/sky_sweep.sh", "bucket"], "no config is given"),
        (["launch/sky_sweep.sh", "bucket", "configs/quickstart.py", "--", "--a=(1, 2)"], "flag --a=(1, 2) has a blank"),
        (["launch/sky_sweep.sh", "bucket", "configs/no.py"], "config configs/no.py: no such file"),
        (
            ["launch/sky_sweep.sh", "bucket", "configs/quickstart.py", "./configs/quickstart.py"],
            "would share the workdir runs/quickstart",
        ),
    ],
)
def test_wrong_use_is_refused(command: list[str], message: str) -> None:
    result = _call(*command, DRY_RUN="1")
    assert (result.returncode, result.stdout) == (2, "")
    assert message in result.stderr
