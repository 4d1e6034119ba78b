"""The trials of a search: one journal file that all its workers share, and the folder of each trial.

    SEARCH/search.json     what identifies the search: config, space, metric, seed
    SEARCH/journal.log     Optuna's journal: the trials, their parameters, scores and states
    SEARCH/lock            held for moments, by the worker that takes a trial or writes results
    SEARCH/trials/NNNN/    the workdir of a trial; search-lock in it is held by the worker that runs the trial

The folder may be on a file system that several machines share: neither lock relies on flock.
A trial is created under the lock of the search, so that their number is exact. A trial whose worker has ended is
still "running" in the journal, and the next worker resumes it in its workdir.
"""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ml_collections import ConfigDict

from seqdigits.config.defaults import LOWER_IS_BETTER, get
from seqdigits.config.saved import diff_configs, to_json
from seqdigits.core.errors import UserError, short
from seqdigits.core.files import make_folder, write_atomically
from seqdigits.core.interrupt import Stop, Stopped
from seqdigits.training.lock import InUse, InUseElsewhere, Lock, is_free
from seqdigits.tuning.space import Space, Value

if TYPE_CHECKING:
    import optuna

_NAME = "search"  # of the study in the journal
_TRIAL_LOCK = "search-lock"
_COMPARED_KEYS = ("train.steps", "evaluate.every", "evaluate.examples")
"""Keys that may change when a run resumes, but not within a search: scores could not be compared."""
_UNPRUNED = 5
"""Number of complete trials before the first one is pruned."""

STATES = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed", "RUNNING": "running"}
"""Optuna's states of a trial, and their names in tables and files."""


@dataclass
class Cost:
    """What a trial has cost so far, over all workers that ran it.

    Attributes:
      seconds: wall-clock time.
      core_seconds: CPU time of all threads of the workers.
    """

    seconds: float = 0.0
    core_seconds: float = 0.0


@dataclass(frozen=True)
class Row:
    """A trial, as tables, charts and files show it.

    Attributes:
      number: of the trial, from 0.
      state: complete | pruned | failed | running.
      values: of the parameters, by name.
      score: the best value of the metric in the trial; None before its first evaluation.
      step: the step of that value.
      steps: the last step that was trained.
      cost: of the trial.
      problem: why it failed; "" if it did not.
      end: time of its end, in seconds since 1970; None while it runs.
    """

    number: int
    state: str
    values: dict[str, Value]
    score: float | None
    step: int | None
    steps: int
    cost: Cost
    problem: str = ""
    end: float | None = None


@dataclass
class Claimed:
    """A trial that this worker runs, with its lock.

    Attributes:
      trial: Optuna's trial.
      values: of the parameters, by name.
      workdir: of its run.
      lock: of the trial.
      before: what earlier workers spent on it.
    """

    trial: optuna.trial.Trial
    values: dict[str, Value]
    workdir: Path
    lock: Lock
    before: Cost = field(default_factory=Cost)
    _began: tuple[float, float] = field(default_factory=lambda: (time.monotonic(), time.process_time()))

    @property
    def number(self) -> int:
        """Returns the number of the trial."""
        return self.trial.number

    def report(self, step: int, score: float) -> None:
        """Records the score of an evaluation; a step that was recorded before a restart keeps its score."""
        self.lock.check()
        if step not in self._frozen().intermediate_values:
            self.trial.report(score, step)
        self.trial.set_user_attr("steps", step)
        self.record_cost()

    def record_cost(self) -> None:
        """Records the cost up to now."""
        seconds, core_seconds = time.monotonic() - self._began[0], time.process_time() - self._began[1]
        self.trial.set_user_attr("seconds", round(self.before.seconds + seconds, 3))
        self.trial.set_user_attr("core_seconds", round(self.before.core_seconds + core_seconds, 3))

    def _frozen(self) -> optuna.trial.FrozenTrial:
        return self.trial.study.get_trials(deepcopy=False)[self.number]


class Study:
    """The search in a folder, as one worker sees it."""

    def __init__(self, folder: Path, config: ConfigDict, space: Space, seed: int, stop: Stop):
        """Opens the search, or begins it.

        Args:
          folder: SEARCH.
          config: what all trials share, complete.
          space: what they vary.
          seed: of the sampler. The parameters of trial n are drawn with (seed, n).
          stop: ends the waiting for the lock of the search, here and in `claim`.

        Raises:
          UserError: Optuna is missing, the folder cannot be written or holds another search, or its journal is damaged.
          Stopped: `stop` was set while another worker held the lock.
        """
        self._optuna = optuna = import_optuna()
        self.folder, self.space, self.seed, self._stop = folder, space, seed, stop
        self.metric = config.train.best_metric
        self.is_lower_better = self.metric in LOWER_IS_BETTER
        make_folder(folder / "trials", "--out")
        journal = folder / "journal.log"
        with self.exclusive(stop):
            self._check_identity(config)
            # The other lock of Optuna, a symbolic link, cannot be watched on a relative path.
            lock = optuna.storages.journal.JournalFileOpenLock(str(journal))
            lock.acquire()
            try:
                _drop_partial_line(journal)
            finally:
                lock.release()
            try:
                backend = optuna.storages.journal.JournalFileBackend(str(journal), lock_obj=lock)
                self._study = optuna.create_study(
                    storage=optuna.storages.JournalStorage(backend),
                    study_name=_NAME,
                    direction="minimize" if self.is_lower_better else "maximize",
                    pruner=optuna.pruners.MedianPruner(n_startup_trials=_UNPRUNED),
                    load_if_exists=True,
                )
            except (ValueError, KeyError, TypeError, AssertionError) as e:
                raise UserError(
                    f"{journal} is damaged: {short(e)}. Restore it from a copy, or name another --out."
                ) from e

    @contextlib.contextmanager
    def exclusive(self, stop: Stop | None = None) -> Iterator[None]:
        """Waits for the lock of the search, and holds it.

        Args:
          stop: ends the waiting; None = wait, to write what is done.

        Raises:
          Stopped: `stop` was set while another worker held it.
        """
        while True:
            try:
                lock = Lock(self.folder)
                break
            except (InUse, InUseElsewhere):
                if stop is not None and stop.is_set():
                    raise Stopped from None
                time.sleep(0.1)
        try:
            yield
        finally:
            lock.release()

    def workdir(self, number: int) -> Path:
        """Returns the workdir of a trial."""
        return self.folder / "trials" / f"{number:04}"

    def claim(self, trials: int) -> Claimed | None:
        """Takes the next trial: one whose worker has ended, or else a new one if there are fewer than `trials`.

        Of a worker on another machine it is seen within a minute whether it has ended; this is done last.

        Returns:
          The trial; None if there is nothing to run, because all are finished or run elsewhere.

        Raises:
          Stopped: see exclusive.
        """
        with self.exclusive(self._stop):
            for frozen in self._running():
                if is_free(self.workdir(frozen.number) / _TRIAL_LOCK):
                    claimed = self._adopt_if_free(frozen)
                    if claimed is not None:
                        return claimed
            number = len(self._study.get_trials(deepcopy=False))
            if number < trials:
                self._seed_sampler(number, 0)
                workdir = self.workdir(number)
                workdir.mkdir(parents=True, exist_ok=True)
                lock = Lock(workdir, _TRIAL_LOCK)  # before others can see the trial, and adopt it
                return self._claimed(self._study.ask(), lock)
        for frozen in self._running():
            claimed = self._adopt_if_free(frozen)
            if claimed is not None:
                return claimed
        return None

    def rows(self) -> list[Row]:
        """Returns all trials, by number."""
        return [self._row(frozen) for frozen in self._study.get_trials(deepcopy=False)]

    def best(self) -> Row | None:
        """Returns the complete trial with the best score, of equal ones the first; None if there is none."""
        complete = [row for row in self.rows() if row.state == "complete" and row.score is not None]
        sign = -1 if self.is_lower_better else 1
        return max(complete, key=lambda row: sign * (row.score or 0.0), default=None)

    def should_prune(self, claimed: Claimed) -> bool:
        """Returns whether a trial is worse than the median of the complete ones at the same step."""
        return claimed.trial.should_prune()

    def finish(self, claimed: Claimed, state: str, score: float | None = None, problem: str = "") -> None:
        """Records the end of a trial and releases its lock.

        Args:
          claimed: the trial.
          state: complete | pruned | failed.
          score: the score of a complete trial.
          problem: why it failed.

        Raises:
          UserError: another worker has taken the trial over.
        """
        claimed.lock.check()
        if problem:
            claimed.trial.set_user_attr("problem", problem)
        name = next(name for name, ours in STATES.items() if ours == state)
        self._study.tell(claimed.trial, score, state=self._optuna.trial.TrialState[name])
        claimed.lock.release()

    def importances(self) -> dict[str, float]:
        """Returns the share of the variance of the score that each parameter explains, largest first.

        By a random forest over the complete trials (fANOVA; Hutter et al. 2014). Empty with fewer than four of them, or
        if all have the same score.
        """
        scores = [row.score for row in self.rows() if row.state == "complete"]
        if len(scores) < 4 or len(set(scores)) < 2:
            return {}
        evaluator = self._optuna.importance.FanovaImportanceEvaluator(seed=0)
        found = self._optuna.importance.get_param_importances(self._study, evaluator=evaluator)
        return {name: float(share) for name, share in found.items() if math.isfinite(share)}

    def _check_identity(self, config: ConfigDict) -> None:
        """Writes search.json, or refuses a folder that holds another search."""
        path = self.folder / "search.json"
        identity = {"seed": self.seed, "space": self.space.to_json(), "config": json.loads(to_json(config))}
        if not path.exists():
            write_atomically(path, json.dumps(identity, indent=2))
            return
        try:
            saved = json.loads(path.read_text())
            changed = diff_configs(config, saved["config"])
            for key in _COMPARED_KEYS:
                section, _, name = key.partition(".")
                before, now = saved["config"][section][name], get(config, key)
                changed += [f"{key}: {before} -> {now}"] if before != now else []
            changed += [f"--{name}" for name in ("space", "seed") if saved[name] != identity[name]]
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as e:
            raise UserError(f"{path} is damaged: {short(e)}. Restore it from a copy, or name another --out.") from e
        if changed:
            raise UserError(
                f"--out {self.folder} holds another search. These differ:\n  "
                + "\n  ".join(changed)
                + "\nSet them back to the old values, or name another --out."
            )

    def _running(self) -> list[optuna.trial.FrozenTrial]:
        return [frozen for frozen in self._study.get_trials(deepcopy=False) if frozen.state.name == "RUNNING"]

    def _adopt_if_free(self, frozen: optuna.trial.FrozenTrial) -> Claimed | None:
        """Takes over a running trial; None if its worker still runs, or has finished it meanwhile."""
        workdir = self.workdir(frozen.number)
        workdir.mkdir(parents=True, exist_ok=True)
        try:
            lock = Lock(workdir, _TRIAL_LOCK)
        except (InUse, InUseElsewhere):
            return None
        if frozen.number not in {running.number for running in self._running()}:
            lock.release()
            return None
        self._seed_sampler(frozen.number, 0)
        return self._claimed(self._optuna.trial.Trial(self._study, frozen._trial_id), lock)

    def _claimed(self, trial: optuna.trial.Trial, lock: Lock) -> Claimed:
        """Returns a trial with all its parameters; its worker may have ended before it had drawn all of them."""
        values = {}
        for index, parameter in enumerate(self.space.parameters):
            self._seed_sampler(trial.number, index)
            values[parameter.name] = parameter.suggest(trial)
        found = trial.user_attrs
        before = Cost(found.get("seconds", 0.0), found.get("core_seconds", 0.0))
        return Claimed(trial, values, self.workdir(trial.number), lock, before)

    def _seed_sampler(self, trial: int, parameter: int) -> None:
        """Seeds the sampler for a parameter of a trial: trials differ, and workers draw the same value for the same one."""
        state = np.random.SeedSequence([self.seed, trial, parameter]).generate_state(1)
        self._study.sampler = self._optuna.samplers.TPESampler(seed=int(state[0]))

    def _row(self, frozen: optuna.trial.FrozenTrial) -> Row:
        found, scores = frozen.user_attrs, frozen.intermediate_values
        sign = -1 if self.is_lower_better else 1
        step = max(scores, key=lambda step: (sign * scores[step], step), default=None)
        return Row(
            number=frozen.number,
            state=STATES[frozen.state.name],
            values={p.name: p.rounded(frozen.params[p.name]) for p in self.space.parameters if p.name in frozen.params},
            score=None if step is None else scores[step],
            step=step,
            steps=found.get("steps", 0),
            cost=Cost(found.get("seconds", 0.0), found.get("core_seconds", 0.0)),
            problem=found.get("problem", ""),
            end=frozen.datetime_complete.timestamp() if frozen.datetime_complete else None,
        )


def import_optuna() -> Any:
    """Imports Optuna, which only searches need.

    Raises:
      UserError: it is not installed.
    """
    try:
        import optuna
    except ImportError as e:
        raise UserError(
            f"the library Optuna, which chooses the trials, cannot be imported: {e}. Install it: pip install "
            "'seqdigits[tune]'."
        ) from e
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna


def _drop_partial_line(journal: Path) -> None:
    """Removes a last line without an end, which a crash of the machine may leave: what is appended would be unreadable."""
    if not journal.exists():
        return
    content = journal.read_bytes()
    end = content.rfind(b"\n") + 1
    if end < len(content):
        with journal.open("r+b") as file:
            file.truncate(end)
