"""Kills training runs with kill -9 at random moments and resumes them: `python -m tests.chaos --rounds 20`.

In each round a run is killed once or several times, and started again with the same command until it is done. A run is
of one process or of two, and computes its examples or streams them from TFRecords. A kill is aimed at one of five phases:
imports, compilation, training, an evaluation, or the write of a checkpoint. Of two processes one or both are killed; the
other one must end by itself. A round passes if the run resumed, its metrics.jsonl has the lines of an undisturbed run of
the same kind, and the SHA-256 of all arrays of the last checkpoint is that of the undisturbed run.

The last line is `N passed, M failed`. Exit status: 0 all rounds passed, 1 some failed, 2 a wrong flag.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import random
import shutil
import signal
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent))  # as pytest does for its tests

from absl import logging
from training_runs import (
    EVALUATED,
    LOG_EVERY,
    SAVE_EVERY,
    STEPS,
    Failed,
    Kind,
    Run,
    difference,
    prepare_records,
    sealed,
    unsealed,
)

from seqdigits.core.progress import duration

HAS_TENSORFLOW = importlib.util.find_spec("tensorflow") is not None  # which streamed runs need
ALL_KINDS = (Kind(1, False), Kind(2, True), Kind(1, True), Kind(2, False))
KINDS = tuple(kind for kind in ALL_KINDS if HAS_TENSORFLOW or not kind.streamed)
PHASES = ("train", "import", "save", "compile", "evaluate")
SURVIVOR_LIMIT = 30.0
"""Seconds within which a process must end after another one of its run was killed."""
JAX_ABORTS = "Terminating process because the JAX distributed service detected fatal errors"
"""What JAX says before it aborts a process that lost process 0."""


@dataclass(frozen=True)
class Aim:
    """The planned moment of a kill.

    Attributes:
      phase: one of PHASES.
      step: the step of training, evaluation or save; STEPS + 1 is the evaluation after the last step.
      fraction: how much of the phase is over, 0 to 1, by the durations of earlier runs.
      victims: ranks of the processes that are killed.
    """

    phase: str
    step: int
    fraction: float
    victims: tuple[int, ...]

    def __str__(self) -> str:
        at = f" {self.step}" if self.phase in ("train", "evaluate", "save") else ""
        return f"{self.phase}{at} {self.fraction:.0%}"


@dataclass
class Kill:
    """What a kill hit, and what it cost.

    Attributes:
      processes: number of processes of the run.
      victims: ranks of the killed processes.
      phase: the phase that was hit, by what the run printed and left on disk.
      moment: the same in words.
      others_ended: seconds until the other processes had ended; None if all were killed.
      lost: steps between the last log line before the kill and the step that the run resumed from.
      again: seconds from the restart to the end of its first step; None if there was none.
    """

    processes: int
    victims: tuple[int, ...]
    phase: str
    moment: str
    others_ended: float | None = None
    lost: int | None = None
    again: float | None = None

    def __str__(self) -> str:
        who = "" if self.processes == 1 else f" of process {' and '.join(map(str, self.victims))}"
        parts = [f"{self.moment}{who}"]
        if self.others_ended is not None:
            parts.append(f"the other ended after {self.others_ended:.1f} s")
        if self.lost is not None:
            parts.append(f"{self.lost} steps lost")
        if self.again is not None:
            parts.append(f"training again after {self.again:.1f} s")
        return ", ".join(parts)


@dataclass
class Durations:
    """Seconds that the phases of a kind of run took when last seen; `cold` = nothing was compiled before."""

    seconds: dict[str, float] = field(default_factory=dict)

    def learn(self, run: Run, cold: bool) -> None:
        """Takes the durations from the output of a run."""
        ready, first = run.seen("training to step"), run.seen("^first step after")
        last, reported = run.seen("^  validation .*"), run.seen("^sequence_accuracy")
        if ready:
            self.seconds["import"] = ready - run.began
        if ready and first:
            self.seconds[f"compile {cold}"] = first - ready
        for step in EVALUATED:
            began = run.seen(f"^step +{step}/")
            if began and last and last > began:
                self.seconds[f"evaluate {cold}"] = last - began
        steps = [at for s in range(LOG_EVERY, STEPS, LOG_EVERY) if (at := run.seen(f"^step +{s}/"))]
        if len(steps) > 2:
            self.seconds["train"] = statistics.median(b - a for a, b in itertools.pairwise(steps))
        if reported and (end := run.seen(f"^step +{STEPS}/")):
            self.seconds["report"] = reported - end

    def of(self, aim: Aim, run: Run, cold: bool) -> float:
        """Returns how long the phase of an aim lasts, from now on."""
        if aim.phase == "evaluate" and run.evaluations():
            return self.seconds.get("report", 0.3) / 2  # a later evaluation of a process, or that after the last step
        name = f"{aim.phase} {cold}" if aim.phase in ("compile", "evaluate") else aim.phase
        return self.seconds.get(name, {"save": 0.2, "import": 4.0, "train": 0.05}.get(aim.phase, 1.0))


def draw(rng: random.Random, kind: Kind, phase: str) -> list[Aim]:
    """Draws the kills of a round. The first phase is given; the run has a checkpoint before at least one of them."""

    def aim(phase: str) -> Aim:
        step = {
            "save": rng.randrange(2 * SAVE_EVERY, STEPS + 1, SAVE_EVERY),
            "evaluate": rng.choice((*EVALUATED, STEPS + 1)),
        }.get(phase, rng.randrange(2 * SAVE_EVERY + 2, STEPS, LOG_EVERY))
        ranks = range(kind.processes)
        victims = rng.choice([tuple(ranks), *((rank,) for rank in ranks)]) if kind.processes > 1 else (0,)
        return Aim(phase, step, round(rng.random(), 2), victims)

    aims = [aim(phase)]
    if phase in ("import", "compile"):  # at the first start of the run, or when it resumes
        aims.insert(rng.choice((0, 1)), aim(rng.choice(("train", "save", "evaluate"))))
    elif rng.random() < 0.2:
        aims.append(aim(rng.choice(PHASES)))
        if aims[1].phase not in ("import", "compile"):
            aims.sort(key=lambda aim: aim.step)
    return aims


def wait_for(run: Run, aim: Aim, durations: Durations, cold: bool) -> bool:
    """Waits for the moment of a kill, at most to the end of its phase; False if the run ended before it."""
    began, is_over = {
        "import": (lambda: True, run.is_ready),
        "compile": (run.is_ready, lambda: run.logged() > 0 or run.seen("steps are done") is not None),
        "train": (lambda: run.is_trained(aim.step), lambda: run.is_trained(aim.step + LOG_EVERY)),
        "evaluate": (
            lambda: any(run.is_evaluating(step) for step in EVALUATED if step >= aim.step) or _is_saved(run, STEPS),
            lambda: run.is_reported() or not (run.is_evaluating(run.logged()) or _is_saved(run, STEPS)),
        ),
        "save": (lambda: any(step >= aim.step for step in unsealed(run.workdir)), lambda: not unsealed(run.workdir)),
    }[aim.phase]
    if not run.wait_for(began, str(aim)):
        return False
    until = time.monotonic() + aim.fraction * durations.of(aim, run, cold)
    while time.monotonic() < until and not is_over() and run.processes[0].poll() is None:
        time.sleep(0.0005)
    return run.processes[0].poll() is None


def _is_saved(run: Run, step: int) -> bool:
    return run.is_ready() and step in sealed(run.workdir)


def kill(run: Run, aim: Aim) -> Kill:
    """Kills processes of a run, and waits for the end of the others.

    Before they have met, processes cannot know of one another's end; then a launcher ends them, whose place this takes.
    """
    is_ready = run.is_ready()
    at = run.signal(signal.SIGKILL, aim.victims)
    others = tuple(rank for rank in range(run.kind.processes) if rank not in aim.victims)
    if others and not is_ready:
        time.sleep(0.5)
        run.signal(signal.SIGTERM, others)
    try:
        statuses = run.statuses(SURVIVOR_LIMIT)
    except Failed as e:
        raise Failed(f"after kill -9 of process {aim.victims[0]} at {aim}: {e}") from None
    ended = time.monotonic() - at if others else None
    for rank in others:
        is_done = statuses[rank] == 0 and STEPS in sealed(run.workdir)
        # When process 0 is lost, JAX may abort another one before it can end by itself (docs/running.md).
        is_aborted = statuses[rank] == -signal.SIGABRT and 0 in aim.victims and JAX_ABORTS in run.output()
        if statuses[rank] != 75 and not is_done and not is_aborted:
            message = (
                f"process {rank} ended with {statuses[rank]} instead of 75 after kill -9 of {aim.victims[0]} at {aim}"
            )
            raise Failed(f"{message}\n{run.output()}")
    phase, moment = hit(run, aim.phase)
    return Kill(run.kind.processes, aim.victims, phase, f"{moment}, {at - run.began:.2f} s after the start", ended)


def hit(run: Run, aimed: str) -> tuple[str, str]:
    """Returns the phase in which a run was killed, and the moment in words.

    Saves are written while the run trains. Then the phase that was aimed at counts.
    """
    if not run.is_ready():
        return "import", "import"
    step, writing, is_finished = run.logged(), unsealed(run.workdir), run.seen("steps are done") is not None
    saving = f", saving step {writing[-1]}" if writing else ""
    if not is_finished and run.seen("^first step after") is None:
        return "compile", "compile"
    if step in EVALUATED and run.is_evaluating(step):
        return "evaluate", f"evaluation of step {step}{saving}"
    if writing and aimed != "train":
        return "save", f"save of step {writing[-1]}"
    if is_finished or step == STEPS:
        return "evaluate", "end" if run.is_reported() else "evaluation at the end"
    return "train", f"training after step {step}{saving}"


def note_cost(kills: list[Kill], logged: int, run: Run) -> bool:
    """Notes what the kills before a start of the run cost, if it came to the point of resuming; returns whether it did.

    Args:
      kills: the kills before this start.
      logged: the last step that was logged before it.
      run: the start.
    """
    resumed, first = run.resumed_from(), run.seen("^first step after")
    if resumed is None:
        return False
    for one in kills:
        if one.lost is None:  # of several kills without training in between, the first one cost steps
            one.lost, logged = max(0, logged - resumed), resumed
    if kills and first:
        kills[-1].again = first - run.began
    return True


class Chaos:
    """The rounds and what they share: records, compiled programs, undisturbed runs."""

    def __init__(self, folder: Path, seed: int):
        self.folder, self.seed = folder, seed
        self.kills: list[tuple[Kill, bool]] = []
        self._durations: dict[Kind, Durations] = defaultdict(Durations)

    def undisturbed(self, kind: Kind) -> Path:
        """Returns the folder of the undisturbed run of a kind, which is done when first asked for."""
        workdir = self.folder / f"undisturbed, {kind}"
        if STEPS not in sealed(workdir):
            if kind.streamed and not self._records.exists():
                prepare_records(self._records)
            began = time.monotonic()
            with Run(kind, workdir, self._records, self._cache) as run:
                run.succeed()
                self._durations[kind].learn(run, cold=True)
            print(f"undisturbed run, {kind}: {time.monotonic() - began:.0f} s", flush=True)
        return workdir

    def round(self, number: int) -> str:
        """Plays a round; returns what it did, as a line.

        Raises:
          Failed: the run did not resume, or its end differs from that of the undisturbed run.
        """
        kind, phase = KINDS[number % len(KINDS)], PHASES[number % len(PHASES)]
        rng = random.Random(f"{self.seed} {number}")
        expected, aims = self.undisturbed(kind), draw(rng, kind, phase)
        workdir, durations = self.folder / f"round {number + 1}", self._durations[kind]
        cold = phase == "compile" and rng.random() < 0.5  # nothing is compiled before: the kill hits real compilation
        cache = self.folder / f"compiled in round {number + 1}" if cold else self._cache
        head = f"{kind}{', cold' if cold else ''}: aimed at {', then '.join(map(str, aims))}"
        kills: list[Kill] = []
        logged = 0
        try:
            for aim in [*aims, None]:
                with Run(kind, workdir, self._records, cache) as run:
                    earlier = list(kills)
                    if aim is None or not wait_for(run, aim, durations, cold):
                        run.succeed()
                        if not cold:
                            durations.learn(run, cold=False)
                        note_cost(earlier, logged, run)
                        break
                    kills.append(kill(run, aim))
                    if note_cost(earlier, logged, run):
                        logged = run.logged()
            if not kills:
                raise Failed("no kill hit a run that then resumed")
            if different := difference(workdir, expected):
                raise Failed(different)
        except (Failed, AssertionError) as e:
            self.kills += [(kill, False) for kill in kills]
            raise Failed(f"{head}\n{'; '.join(map(str, kills))}\n{e}") from None
        self.kills += [(kill, True) for kill in kills]
        shutil.rmtree(workdir)
        return f"{head}; killed at {'; '.join(map(str, kills))}"

    @property
    def _records(self) -> Path:
        return self.folder / "records"

    @property
    def _cache(self) -> Path:
        return self.folder / "compiled"


def table(kills: list[tuple[Kill, bool]]) -> str:
    """Returns a table in Markdown: what each fault cost, as median and maximum over all rounds."""

    def both(values: Iterable[float | None], unit: str) -> str:
        known = [value for value in values if value is not None]
        return f"{statistics.median(known):.3g} / {max(known):.3g} {unit}" if known else ""

    rows = defaultdict(list)
    for one, is_survived in kills:
        who = "one process" if one.processes == 1 else "one of two" if len(one.victims) == 1 else "both of two"
        rows[who, one.phase].append((one, is_survived))
        rows["all", "any"].append((one, is_survived))
    lines = [
        "| kill -9 of | during | injected | survived | work lost, median / max | until training again | other process ended |",
        "|---|---|---|---|---|---|---|",
    ]
    for (who, phase), entries in sorted(rows.items()):
        some = [one for one, _ in entries]
        cells = (
            who,
            phase,
            str(len(some)),
            str(sum(is_survived for _, is_survived in entries)),
            both((one.lost for one in some), "steps"),
            both((one.again for one in some), "s"),
            both((one.others_ended for one in some), "s"),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> int:
    """Runs the command; returns its exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__.split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=None, help="repeats the kills of an earlier command")
    arguments = parser.parse_args()
    logging.set_verbosity(logging.ERROR)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(75))  # so that the runs are killed and the folder is removed
    seed = random.randrange(10**6) if arguments.seed is None else arguments.seed
    without = "" if HAS_TENSORFLOW else "; without TensorFlow nothing is streamed"
    print(f"{arguments.rounds} rounds, --seed {seed}{without}", flush=True)
    chaos, failed, began = Chaos(Path(tempfile.mkdtemp(prefix="chaos-")), seed), 0, time.monotonic()
    try:
        for number in range(arguments.rounds):
            start = time.monotonic()
            try:
                verdict, line = "passed", chaos.round(number)
            except Failed as e:
                verdict, line = "FAILED", str(e)
                failed += 1
            now = time.monotonic()
            left = duration((now - began) / (number + 1) * (arguments.rounds - number - 1))
            print(
                f"round {number + 1}/{arguments.rounds} {verdict} in {now - start:.0f} s, {left} left: {line}",
                flush=True,
            )
    finally:
        if failed:
            print(f"the failed runs are in {chaos.folder}")
        else:
            shutil.rmtree(chaos.folder, ignore_errors=True)
    print(f"\n{table(chaos.kills)}\n\n{arguments.rounds - failed} passed, {failed} failed", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
