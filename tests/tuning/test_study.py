"""The trials of a search, without training: their exact number, and trials whose worker has ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading

import pytest
from conftest import ROOT

from seqdigits.core.errors import UserError
from seqdigits.core.interrupt import Stop, Stopped
from seqdigits.tuning import study as study_module
from seqdigits.tuning.space import Parameter, Space
from seqdigits.tuning.study import Study

SPACE = Space(
    (
        Parameter("optim.learning_rate", low=1e-4, high=1.0, log=True),
        Parameter("train.batch_size", low=8, high=32, step=8),
        Parameter("optim.name", choices=("adam", "adamw")),
    ),
    {},
)


@pytest.fixture
def open_study(tmp_path, small_config):
    """`open_study()`: the search of the test, as a new worker sees it."""

    def call(overrides=None, space=SPACE, seed=0, stop=None):
        return Study(tmp_path / "search", small_config(overrides), space, seed, stop or Stop())

    return call


def complete(study, claimed, score):
    claimed.report(2, score)
    claimed.report(4, score / 2)
    study.finish(claimed, "complete", score)


def test_two_workers_run_each_trial_once(open_study):
    one, other = open_study(), open_study()
    held = [one.claim(5), other.claim(5), one.claim(5)]
    assert [claimed.number for claimed in held] == [0, 1, 2]
    complete(one, held[0], 0.5)
    assert [other.claim(5).number, one.claim(5).number] == [3, 4]
    assert (one.claim(5), other.claim(5)) == (None, None)  # the other four still run
    assert [row.state for row in other.rows()] == ["complete", "running", "running", "running", "running"]
    assert other.claim(6).number == 5  # a larger number extends the search


def test_threads_at_the_same_moment_run_each_trial_once(open_study):
    ran, workers = [], [open_study() for _ in range(4)]

    def work(study):
        while (claimed := study.claim(9)) is not None:
            ran.append(claimed.number)
            complete(study, claimed, 0.5)

    threads = [threading.Thread(target=work, args=(study,)) for study in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(ran) == list(range(9))
    assert [row.state for row in open_study().rows()] == ["complete"] * 9


def test_a_trial_that_ends_while_it_is_looked_at_stops_no_worker(open_study, monkeypatch):
    """Its worker finishes it, or another one adopts it, after it was seen to run with a free lock."""
    one, other = open_study(), open_study()
    first, second = one.claim(9), one.claim(9)

    def is_free(path):
        if path.parent == first.workdir:
            complete(one, first, 0.5)
        return True  # the lock of the second is held by now

    monkeypatch.setattr(study_module, "is_free", is_free)
    assert other.claim(9).number == 2
    assert [row.state for row in one.rows()] == ["complete", "running", "running"]
    second.lock.release()


def test_a_worker_that_waits_for_the_lock_of_the_search_can_be_stopped(open_study):
    stop = Stop()
    waiting = open_study(stop=stop)
    with open_study().exclusive():
        threading.Timer(0.2, stop.set).start()
        for wait in (lambda: waiting.claim(9), lambda: open_study(stop=stop)):
            with pytest.raises(Stopped):
                wait()
    assert waiting.claim(9).number == 0  # a lock that is free is taken all the same


KILLED = """
import os, signal, sys
sys.path.insert(0, "tests/tuning"); sys.path.insert(0, "tests")
from pathlib import Path
from conftest import SMALL
from seqdigits.config import base_config
from seqdigits.core.interrupt import Stop
from seqdigits.tuning.space import Parameter
from seqdigits.tuning.study import Study
from test_study import SPACE

config = base_config()
config.update_from_flattened_dict(SMALL)
study = Study(Path(sys.argv[1]), config, SPACE, 0, Stop())
if sys.argv[2] == "drawing":
    def suggest(self, trial, suggest=Parameter.suggest):
        if self.name == "train.batch_size":
            os.kill(os.getpid(), signal.SIGKILL)
        return suggest(self, trial)
    Parameter.suggest = suggest
claimed = study.claim(2)
claimed.report(2, 0.25)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("moment", ["drawing", "training"])
def test_a_trial_whose_worker_was_killed_is_resumed(open_study, tmp_path, small_config, moment):
    """Killed while it drew the parameters, under the lock of the search, or later: the trial gets the same ones."""
    undisturbed = Study(tmp_path / "undisturbed", small_config(), SPACE, 0, Stop()).claim(2)
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path / "search"), moment],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    study = open_study()
    assert [row.state for row in study.rows()] == ["running"]
    claimed = study.claim(2)
    assert (claimed.number, claimed.values) == (0, undisturbed.values)
    if moment == "training":
        assert claimed.before.seconds > 0
        claimed.report(2, 0.75)  # the evaluation of before counts
        assert study.rows()[0].score == 0.25
        assert study.rows()[0].cost.seconds > claimed.before.seconds
    assert study.claim(2).number == 1
    assert study.claim(2) is None


def test_a_trial_depends_on_seed_and_number(open_study, tmp_path, small_config):
    first, second = open_study().claim(9), open_study().claim(9)
    assert first.values != second.values
    again = Study(tmp_path / "again", small_config(), SPACE, 0, Stop())
    assert [again.claim(9).values, again.claim(9).values] == [first.values, second.values]
    assert Study(tmp_path / "other", small_config(), SPACE, 1, Stop()).claim(9).values != first.values


def test_the_score_is_the_best_of_a_trial_and_best_ignores_pruned_ones(open_study):
    study = open_study()
    for score, state in ((0.5, "complete"), (0.9, "pruned"), (0.6, "complete"), (None, "failed")):
        claimed = study.claim(9)
        if score is not None:
            claimed.report(2, score)
            claimed.report(4, 0.1)
        study.finish(claimed, state, score if state == "complete" else None, "too large" if state == "failed" else "")
    rows = study.rows()
    assert [(row.state, row.score, row.step, row.steps, row.problem) for row in rows] == [
        ("complete", 0.5, 2, 4, ""),
        ("pruned", 0.9, 2, 4, ""),
        ("complete", 0.6, 2, 4, ""),
        ("failed", None, None, 0, "too large"),
    ]
    assert study.best().number == 2


def test_a_lower_error_is_better(open_study):
    study = open_study({"train.best_metric": "localization_error"})
    for score in (3.0, 2.0, 4.0):
        complete(study, study.claim(9), score)
    assert [row.score for row in study.rows()] == [1.5, 1.0, 2.0]
    assert study.best().number == 1


def test_a_trial_below_the_median_is_pruned(open_study):
    study = open_study()
    for score in range(5):
        complete(study, study.claim(9), 0.1 * score)
    below, above = study.claim(9), study.claim(9)
    below.report(2, 0.15)
    above.report(2, 0.25)
    assert (study.should_prune(below), study.should_prune(above)) == (True, False)


def test_importances_need_four_different_scores(open_study):
    study = open_study()
    for trial in range(8):
        assert (study.importances() == {}) == (trial < 4)
        claimed = study.claim(9)
        complete(study, claimed, claimed.values["train.batch_size"] / 100)
    found = study.importances()
    assert found.keys() == {parameter.name for parameter in SPACE.parameters}
    assert next(iter(found)) == "train.batch_size"
    assert sum(found.values()) == pytest.approx(1)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"overrides": {"optim.momentum": 0.5}}, "optim.momentum: 0.0 -> 0.5"),
        ({"overrides": {"train.steps": 8}}, "train.steps: 4 -> 8"),
        ({"space": Space(SPACE.parameters[:1], {})}, "--space"),
        ({"seed": 1}, "--seed"),
    ],
)
def test_a_folder_with_another_search_is_refused(open_study, tmp_path, changed, message):
    open_study()
    with pytest.raises(UserError) as e:
        open_study(**changed)
    assert str(e.value).startswith(f"--out {tmp_path / 'search'} holds another search")
    assert message in str(e.value)
    open_study({"train.log_every": 1})  # it may change


def test_a_cut_line_of_the_journal_is_dropped_and_a_damaged_one_named(open_study, tmp_path):
    complete(study := open_study(), study.claim(2), 0.5)
    journal = tmp_path / "search" / "journal.log"
    whole = journal.read_bytes()
    journal.write_bytes(whole + b'{"op_code":4,"wor')
    study = open_study()
    assert journal.read_bytes().startswith(whole)
    assert all(json.loads(line) for line in journal.read_text().splitlines())
    complete(study, study.claim(2), 0.25)
    assert len(open_study().rows()) == 2
    journal.write_bytes(b"{}\n" + journal.read_bytes())
    with pytest.raises(UserError, match=r"journal\.log is damaged"):
        open_study()


def test_a_damaged_identity_is_named(open_study, tmp_path):
    open_study()
    path = tmp_path / "search" / "search.json"
    path.write_text(json.dumps({"seed": 0}))
    with pytest.raises(UserError, match=r"search\.json is damaged"):
        open_study()


def test_without_optuna_the_extra_is_named(open_study, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(UserError, match=r"pip install 'seqdigits\[tune\]'"):
        study_module.import_optuna()
