"""Signals at any moment of a run: it saves, ends with its status, and the same command resumes to the same bits."""

import os
import signal
import subprocess
import sys
import time

import pytest
from conftest import ROOT
from training_runs import SAVE_EVERY, STEPS, Kind, Run, difference, sealed, unsealed

from seqdigits.checkpoint.layout import checkpoints_folder
from seqdigits.checkpoint.manifest import verify

pytestmark = pytest.mark.slow

ONE, TWO = Kind(1), Kind(2)
STATUS = {signal.SIGTERM: 75, signal.SIGUSR1: 75, signal.SIGINT: 130}
GRACE_SECONDS = 25


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Holds the compiled programs and the undisturbed runs."""
    return tmp_path_factory.mktemp("signals")


@pytest.fixture(scope="module")
def undisturbed(folder):
    """`undisturbed(ONE)`: the workdir of a run that nothing disturbs."""

    def done(kind):
        workdir = folder / str(kind)
        if not workdir.exists():
            with Run(kind, workdir, folder, folder / "compiled") as run:
                run.succeed()
        return workdir

    return done


def wait_for_moment(run, moment, step):
    began = {
        "import": lambda: True,
        "compile": run.is_ready,
        "train": lambda: run.is_trained(step),
        "evaluate": lambda: run.is_evaluating(step),
        "save": lambda: any(unfinished >= step for unfinished in unsealed(run.workdir)),
    }[moment]
    assert run.wait_for(began, moment), run.output()
    if moment == "import":
        time.sleep(1.0)  # the signals are blocked some 0.1 s after the start, the imports take seconds


def assert_saved_or_intact(run, workdir):
    """Nothing is left half-written, and a step that was reported as saved is there."""
    steps = sealed(workdir)
    assert not unsealed(workdir), run.output()
    for step in steps:
        verify(checkpoints_folder(workdir) / str(step))
    for line in run.output(0).splitlines():
        if line.startswith("saved step "):
            assert int(line.split()[2]) == steps[-1], run.output()


# Each signal at each moment. The moments follow one another in one run, each at a start of its own.
MOMENTS = (("import", 0), ("compile", 0), ("train", 4), ("evaluate", 12), ("save", 20), ("train", 30))
SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)


@pytest.mark.parametrize("shift", [0, *(pytest.param(shift, marks=pytest.mark.soak) for shift in (1, 2))])
def test_run_resumes_after_signals_at_all_moments(tmp_path, folder, undisturbed, shift):
    expected = undisturbed(ONE)
    for number, (moment, step) in enumerate(MOMENTS):
        sent = SIGNALS[(number + shift) % 3]
        with Run(ONE, tmp_path, folder, folder / "compiled") as run:
            wait_for_moment(run, moment, step)
            at = run.signal(sent)
            assert run.statuses() == [STATUS[sent]], f"{sent.name} at {moment}\n{run.output()}"
            assert time.monotonic() - at < GRACE_SECONDS + 15, run.output()
            assert "Traceback" not in run.output()
        assert_saved_or_intact(run, tmp_path)
    assert 0 < sealed(tmp_path)[-1] < STEPS
    with Run(ONE, tmp_path, folder, folder / "compiled") as run:
        run.succeed()
    assert difference(tmp_path, expected) == ""


def test_signal_during_evaluation_after_last_step_keeps_finished_run(tmp_path, folder, undisturbed):
    expected = undisturbed(ONE)
    with Run(ONE, tmp_path, folder, folder / "compiled") as run:
        assert run.wait_for(lambda: STEPS in sealed(tmp_path), "last save")
        run.signal(signal.SIGTERM)
        assert run.statuses()[0] in (75, 0), run.output()  # 0: it was nearly done
    with Run(ONE, tmp_path, folder, folder / "compiled") as run:
        run.succeed()
    assert difference(tmp_path, expected) == ""


def test_grace_period_ends_a_run_that_compiles_for_long(tmp_path, folder):
    """Compiled without a cache, with all optimizations, a step takes many seconds: longer than the grace period."""
    with Run(ONE, tmp_path, folder, folder / "compiled") as run:
        assert run.wait_for(lambda: run.is_trained(2 * SAVE_EVERY), "training")
        run.signal(signal.SIGTERM)
        assert run.statuses() == [75], run.output()
    steps = sealed(tmp_path)
    environment = {"SEQDIGITS_GRACE_SECONDS": "1", "JAX_DISABLE_MOST_OPTIMIZATIONS": "0"}
    with Run(ONE, tmp_path, folder, tmp_path / "nothing compiled", **environment) as run:
        assert run.wait_for(run.is_ready, "compilation")
        at = run.signal(signal.SIGTERM)
        assert run.statuses() == [75], run.output()
        assert time.monotonic() - at < 6
        assert run.seen("^first step after") is None, run.output()
        assert "the same command" in run.output()
    assert sealed(tmp_path) == steps
    assert_saved_or_intact(run, tmp_path)
    with Run(ONE, tmp_path, folder, folder / "compiled") as run:
        run.succeed()
        assert run.resumed_from() == steps[-1]


def test_all_processes_stop_at_same_step_if_one_is_signalled(tmp_path, folder, undisturbed):
    expected = undisturbed(TWO)
    for sent, rank, step in ((signal.SIGTERM, 1, 4), (signal.SIGUSR1, 0, 14), (signal.SIGINT, 1, 24)):
        with Run(TWO, tmp_path, folder, folder / "compiled") as run:
            assert run.wait_for(lambda run=run, step=step: run.is_trained(step), "training")
            run.signal(sent, (rank,))
            assert run.statuses() == [STATUS[sent]] * 2, run.output()
            assert "saved step " in run.output(0)
        assert_saved_or_intact(run, tmp_path)
    with Run(TWO, tmp_path, folder, folder / "compiled") as run:
        run.succeed()
    assert difference(tmp_path, expected) == ""


def test_killed_process_ends_the_others_within_seconds(tmp_path, folder, undisturbed):
    expected = undisturbed(TWO)
    for rank, step in ((1, 12), (0, 24)):  # process 0 is the coordinator too
        with Run(TWO, tmp_path, folder, folder / "compiled") as run:
            assert run.wait_for(lambda run=run, step=step: run.is_trained(step), "training")
            at = run.signal(signal.SIGKILL, (rank,))
            assert run.statuses()[1 - rank] == 75, run.output()
            assert time.monotonic() - at < 20, run.output()
            assert "lost" in run.output(1 - rank), run.output()
            assert "the same command" in run.output(1 - rank), run.output()
    with Run(TWO, tmp_path, folder, folder / "compiled") as run:
        run.succeed()
        assert run.resumed_from() >= 2 * SAVE_EVERY
    assert difference(tmp_path, expected) == ""


REPRODUCE = (
    "reproduce",
    "strip4_row_gru",
    "--set",
    "data.digits=uci",
    "--set",
    "train.log_every=1",
    "--set",
    "train.batch_size=8",
)
PREPARE = (
    "prepare",
    str(ROOT / "configs" / "canvas_variable.py"),
    "--config.data.digits=uci",
    "--workers=2",
    "--shards=400",
)


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT], ids=lambda s: s.name)
@pytest.mark.parametrize("name", ["reproduce", "prepare"])
def test_other_commands_end_with_the_same_statuses(tmp_path, folder, name, sent):
    if name == "prepare":
        pytest.importorskip("tensorflow")
        arguments = (*PREPARE, f"--config.data.records={tmp_path}", "--config.data.train_examples=100000")
    else:
        arguments = (*REPRODUCE, "--out", str(tmp_path / "results"), "--workdirs", str(tmp_path / "runs"))
    env = {**os.environ, "JAX_COMPILATION_CACHE_DIR": str(folder / "compiled")}
    process = subprocess.Popen(
        [sys.executable, "-m", "seqdigits", *arguments],
        cwd=ROOT,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        began = "*.done" if name == "prepare" else "metrics.jsonl"
        while not list(tmp_path.rglob(began)):
            assert process.poll() is None
            time.sleep(0.01)
        os.killpg(process.pid, sent)  # as a terminal and a cluster do
        output, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == STATUS[sent], output
    assert "rerun the same command to resume" in output
    assert "Traceback" not in output
