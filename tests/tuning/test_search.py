"""Searches with real trainings: what they leave on disk, pruned and failed trials, stops, kills, and parallel workers."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import time
from xml.etree import ElementTree

import pytest
from conftest import ROOT, SMALL, StopAfter

from seqdigits.cli import tune
from seqdigits.config.defaults import base_config, get
from seqdigits.config.registry import load_config
from seqdigits.core.errors import UserError
from seqdigits.core.interrupt import Stop, Stopped
from seqdigits.data.create import create_source
from seqdigits.experiments.run_folder import read_run
from seqdigits.training import loop
from seqdigits.tuning.found_config import config_text
from seqdigits.tuning.search import search
from seqdigits.tuning.space import Parameter, Space, differences, with_settings
from seqdigits.tuning.study import Study

TINY = {
    "model.name": "heads",
    "model.encoder": "conv 3x3x4 /4, relu",
    "loss.digits": 1.0,
    "loss.cells": 0.0,
    "loss.cell_boxes": 0.0,
    "optim.name": "sgd",
}
"""It compiles fast."""

RATES = Space((Parameter("optim.learning_rate", low=1e-3, high=1e-1, log=True),), {})


def loaded(path):
    """The config of a file."""
    spec = importlib.util.spec_from_file_location("found", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.get_config()


def states(folder):
    return [row["state"] for row in json.loads((folder / "result.json").read_text())["table"]]


@pytest.fixture
def without_test_data(monkeypatch):
    """Makes a training fail that opens the test split."""

    def create(config, split):
        assert split != "test"
        return create_source(config, split)

    monkeypatch.setattr(loop, "create_source", create)


def test_a_search_leaves_runs_and_files(small_config, tmp_path, without_test_data, monkeypatch, capsys):
    """Of four trials one is pruned, and one fails because its loss is not finite: its learning rate is too large."""
    rates = (0.01, 0.02, 1e30, 0.03)
    monkeypatch.setattr(Study, "should_prune", lambda self, claimed: claimed.number == 1)
    monkeypatch.setattr(
        Parameter,
        "suggest",
        lambda self, trial: trial.suggest_float(self.name, rates[trial.number], rates[trial.number]),
    )
    space = Space((Parameter("optim.learning_rate", low=0.01, high=1e30),), {})
    config = small_config(TINY | {"evaluate.curves": ("test",), "evaluate.splits": ("validation", "test")})
    folder = tmp_path / "search"
    rows = search(config, None, space, folder, trials=4)
    assert [(row.state, row.steps) for row in rows] == [("complete", 4), ("pruned", 2), ("failed", 0), ("complete", 4)]
    assert [row.values["optim.learning_rate"] for row in rows] == list(rates)
    assert "not finite" in rows[2].problem

    # Each trial is a run of its own, with its config beside it.
    for row in (rows[0], rows[1], rows[3]):
        run = read_run(folder / "trials" / f"{row.number:04}", "trial")
        assert run.config.optim.learning_rate == row.values["optim.learning_rate"]
        assert run.config.seed == config.seed
        assert run.step == row.step
        assert get(loaded(run.workdir / "config.py"), "optim.learning_rate") == run.config.optim.learning_rate
        assert not (run.workdir / "evaluation").exists()

    # The best config is that of the base with the values found; it evaluates what the base evaluates.
    best = max((rows[0], rows[3]), key=lambda row: (row.score, -row.number))
    found = loaded(folder / "best.py")
    expected = with_settings(config, {"optim.learning_rate": best.values["optim.learning_rate"]})
    assert differences(found, expected) == {}

    result = json.loads((folder / "result.json").read_text())
    assert [result[name] for name in ("trials", "complete", "pruned", "failed", "running", "steps")] == [
        4,
        2,
        1,
        1,
        0,
        10,
    ]
    assert result["best"]["trial"] == best.number
    assert min(result["seconds"], result["core_seconds"]) > 0
    picture = (folder / "importance.svg").read_text()
    ElementTree.fromstring(picture.encode())
    assert "trial 1, pruned" in picture

    printed = capsys.readouterr().out
    assert "4 of 4 trials finished (2 complete, 1 pruned, 1 failed, 0 running)" in printed
    assert "trial 2 failed: the loss or its gradient is not finite" in printed
    search(config, None, space, folder, trials=4)  # nothing is left to do
    assert "--- trial" not in capsys.readouterr().out


def test_a_combination_that_is_refused_is_a_failed_trial(small_config, tmp_path):
    space = Space((Parameter("train.accumulate", choices=(3,)),), {})
    (row,) = search(small_config(TINY), None, space, tmp_path, trials=1)
    assert row.state == "failed"
    assert "train.accumulate = 3 does not divide" in row.problem


def test_a_network_that_cannot_be_built_is_a_failed_trial(small_config, tmp_path):
    space = Space((Parameter("model.encoder", choices=("conv 3x3x4 /4, maxout 3",)),), {})
    rows = search(small_config(TINY), None, space, tmp_path, trials=2)
    assert [row.state for row in rows] == ["failed", "failed"]
    assert "maxout 3" in rows[0].problem


@pytest.mark.slow
def test_a_stopped_search_resumes_to_the_same_result(small_config, tmp_path):
    undisturbed = search(small_config(TINY), None, RATES, tmp_path / "undisturbed", trials=2)
    for checks in (4, 6):  # in the first trial, then later
        with pytest.raises(Stopped):
            search(small_config(TINY), None, RATES, tmp_path / "stopped", trials=2, stop=StopAfter(checks))
    assert "running" in states(tmp_path / "stopped")
    rows = search(small_config(TINY), None, RATES, tmp_path / "stopped", trials=2)
    assert [(row.state, row.score, row.step, row.values) for row in rows] == [
        (row.state, row.score, row.step, row.values) for row in undisturbed
    ]


LAYERS = "conv 10x10x8, relu, norm shift, dropout 0.25, pool 2, " * 5
TEXTS = {
    "model.encoder": LAYERS,
    "model.head": LAYERS[:95],
    "model.box_head": LAYERS[:109],
    "model.context": LAYERS[:90],
}


def test_the_config_file_of_a_named_config_keeps_its_schedule():
    config = with_settings(
        load_config("strip5_batchnorm"),
        {"optim.learning_rate": 0.002, **TEXTS, "train.steps": 30},
    )
    text = config_text(config, "strip5_batchnorm", "What it is.", keep_resumable=False)
    assert 'load_config("strip5_batchnorm")' in text
    assert "train.steps" not in text
    assert "config.train.steps = 30\n" in config_text(config, "strip5_batchnorm", "What it is.")
    for style in ("check", "format"):
        command = [sys.executable, "-m", "ruff", style, *(["--check"] if style == "format" else []), "-"]
        command += ["--stdin-filename", str(ROOT / "configs" / "found.py")]
        done = subprocess.run(command, input=text, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["quickstart", "--trials=2"], "--space is missing"),
        (["quickstart", "--space=a.toml"], "--trials is missing"),
        (["quickstart", "--space=a.toml", "--trials=0"], "trials"),
        (
            ["quickstart", "--space=absent.toml", "--trials=1"],
            "--space absent.toml: no such file. Name a TOML file, or one of configs/spaces: strip5_batchnorm.",
        ),
        (["quickstrat", "--space=a.toml", "--trials=1"], "Did you mean quickstart"),
    ],
)
def test_an_invalid_command_is_refused(monkeypatch, arguments, message):
    monkeypatch.setattr(sys, "argv", ["seqdigits tune", *arguments])
    with pytest.raises(UserError, match=re.escape(message)):
        tune.main(Stop())


LINES = ["optim.learning_rate = { low = 1e-3, high = 1e-1, log = true }", "optim.momentum = { low = 0.0, high = 0.9 }"]


class Worker:
    """A worker of a search, in a process of its own."""

    def __init__(self, folder, trials, **overrides):
        space, config = folder / "space.toml", folder / "small.py"
        space.write_text("\n".join(LINES))
        config.write_text(config_text(small(), None, "A small config."))
        self.out = folder / "search"
        command = [sys.executable, "-m", "seqdigits", "tune", str(config), f"--space={space}", f"--trials={trials}"]
        command += [f"--out={self.out}", *(f"--config.{key}={value}" for key, value in overrides.items())]
        self.log = folder / f"log-{time.monotonic_ns()}"
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
        with self.log.open("w") as log:
            self.process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT)

    def wait_for(self, pattern, seconds=300.0):
        deadline = time.monotonic() + seconds
        while not re.search(pattern, self.log.read_text()):
            assert time.monotonic() < deadline, self.log.read_text()
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.02)

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def end(self):
        assert self.process.wait(300) == 0, self.log.read_text()
        return self.log.read_text()


def small():
    config = base_config()
    config.update_from_flattened_dict(SMALL | TINY)
    return config


@pytest.fixture
def start(tmp_path):
    """`start(2, **{"train.steps": 10})`: starts a worker; those that still run at the end of the test are killed."""
    workers = []

    def call(trials, **overrides):
        workers.append(Worker(tmp_path, trials, **overrides))
        return workers[-1]

    yield call
    for worker in workers:
        worker.kill()


LONG = {"train.steps": 400, "train.log_every": 10, "train.checkpoint_every": 20, "evaluate.every": 100}


@pytest.mark.slow
def test_a_killed_search_resumes_its_trial_from_its_checkpoint(start):
    first = start(2, **LONG)
    first.wait_for(r"--- trial 0 of 2(?s:.)*step +1[2-9]0/400")
    first.kill()
    output = start(2, **LONG).end()
    assert re.findall(r"--- trial (\d)", output) == ["0", "1"]
    (resumed,) = re.findall(r"resumed from step (\d+):", output.partition("--- trial 1")[0])
    assert int(resumed) >= 60  # the saves of later steps may not be complete: they go on beside the training
    assert states(first.out) == ["complete", "complete"]
    result = json.loads((first.out / "result.json").read_text())
    assert [row["steps"] for row in result["table"]] == [400, 400]


@pytest.mark.slow
def test_parallel_workers_run_the_exact_number_of_trials(start):
    """Two workers; one is killed and started again, so that its trial is resumed by whoever comes first."""
    steps = {**LONG, "train.steps": 60}
    workers = [start(4, **steps) for _ in range(2)]
    workers[0].wait_for(r"step +20/60")
    workers[0].kill()
    outputs = [workers[0].log.read_text(), start(4, **steps).end(), workers[1].end()]
    assert sorted(path.name for path in (workers[0].out / "trials").iterdir()) == ["0000", "0001", "0002", "0003"]
    assert states(workers[0].out) == ["complete"] * 4  # none is pruned before five are complete
    begun = [number for output in outputs for number in re.findall(r"--- trial (\d)", output)]
    assert sorted(set(begun)) == ["0", "1", "2", "3"]
    assert len(begun) <= 5  # that of the killed one twice
