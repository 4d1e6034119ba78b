"""The trace of training steps: its files parse, it holds the traced steps alone, and it changes nothing."""

import gzip
import json
import re
import sys

import jax
import pytest
from conftest import StopAfter

from seqdigits.cli import train as cli_train
from seqdigits.core.errors import UserError
from seqdigits.core.interrupt import Stop, Stopped
from seqdigits.training.loop import train_and_evaluate
from seqdigits.training.profile import check_profile

CHANGES = {
    "train.steps": 5,
    "train.log_every": 5,
    "train.checkpoint_every": 5,
    "evaluate.every": 5,
    "evaluate.splits": (),
    "data.validation_examples": 8,
}


def trace_folder(workdir):
    (folder,) = (workdir / "tensorboard" / "plugins" / "profile").iterdir()
    return folder


def traced_steps(folder):
    """The steps of the events `train` of a trace."""
    (path,) = folder.glob("*.trace.json.gz")
    with gzip.open(path, "rt") as file:
        events = json.load(file)["traceEvents"]
    assert any(event.get("ph") == "X" and event["dur"] > 0 for event in events)
    return sorted({int(event["args"]["step_num"]) for event in events if event.get("name") == "train"})


def test_trace_has_the_steps_after_the_first_one(small_config, tmp_path, capsys):
    state = train_and_evaluate(small_config(CHANGES), tmp_path, profile=3)
    assert int(state.step) == 5
    folder = trace_folder(tmp_path)
    assert traced_steps(folder) == [1, 2, 3]  # steps done before each; step 0 compiles
    (path,) = folder.glob("*.xplane.pb")  # what TensorBoard's plugin reads
    profile = jax.profiler.ProfileData.from_file(str(path))
    names = [event.name for plane in profile.planes for line in plane.lines for event in line.events]
    assert names.count("train") == 3
    assert not [name for name in names if "backend_compile" in name]
    output = capsys.readouterr().out
    assert f"trace of steps 2 to 4: {folder}\n" in output
    assert "https://ui.perfetto.dev" in output
    assert f"tensorboard --logdir {tmp_path / 'tensorboard'}" in output


def test_stopped_run_keeps_the_trace_so_far(small_config, tmp_path, capsys):
    with pytest.raises(Stopped):
        train_and_evaluate(small_config(CHANGES), tmp_path, StopAfter(2), profile=4)
    done = int(re.search(r"saved step (\d)", capsys.readouterr().out)[1])
    assert 1 < done < 5
    assert traced_steps(trace_folder(tmp_path)) == list(range(1, done))


@pytest.mark.parametrize(
    ("profile", "step", "first_call", "message"),
    [
        (
            100,
            0,
            1,
            "--profile 100 is out of range: 1 to 99. The run has 100 steps left, and the first call, of 1, compiles",
        ),
        (61, 20, 20, "--profile 61 is out of range: 1 to 60"),
        (1, 100, 0, "--profile 1: all 100 steps are done"),
        (1, 99, 1, "--profile 1: the run has 1 step left, and the first call, of 1, compiles; none can be traced"),
    ],
)
def test_profile_of_more_steps_than_are_left_is_refused(small_config, profile, step, first_call, message):
    config = small_config({"train.steps": 100})
    with pytest.raises(UserError, match=message):
        check_profile(profile, step, first_call, config)
    check_profile(0, step, first_call, config)


def test_profile_of_the_steps_that_are_left_is_allowed(small_config):
    check_profile(99, 0, 1, small_config({"train.steps": 100}))


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--profile", "0"], "profile"),
        (["--profile", "many"], "profile"),
        (["--profile", "3", "--mode", "evaluate"], "--profile 3 traces training steps. Leave it out"),
    ],
)
def test_command_refuses_a_bad_profile(monkeypatch, tmp_path, flags, message):
    monkeypatch.setattr(sys, "argv", ["main", "--config", "quickstart", "--workdir", str(tmp_path / "w"), *flags])
    with pytest.raises(UserError, match=message):
        cli_train.main(Stop())
    assert not (tmp_path / "w").exists()
