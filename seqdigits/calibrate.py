"""Finds on validation what makes confidences true, and how sure a digit must be to be read:
`python -m seqdigits.calibrate --config configs/X.py --workdir W [--checkpoint best] [--examples N]`.

Logits are divided by one temperature (Guo et al. 2017, arXiv:1706.04599, section 4.2): the one under which the confidences of
the numbers are likeliest, given which of them are right. Nothing is trained, and what is read stays the same.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seqdigits import interrupt
from seqdigits.interrupt import Stop

if TYPE_CHECKING:  # JAX must not be there before signals are taken care of
    from ml_collections import ConfigDict

USAGE = "python -m seqdigits.calibrate --config configs/X.py --workdir W [--checkpoint best] [--examples N]"
COOLEST, HOTTEST = 0.25, 8.0
"""Temperatures are looked for between these."""
_MIN_SCORES = tuple(round(0.05 * i, 2) for i in range(2, 19))


def _main(stop: Stop) -> None:
    from absl import flags

    from seqdigits import command_line

    values = command_line.experiment_flags()
    flags.DEFINE_string("workdir", None, "the run's folder", flag_values=values)
    which = "latest, best, a step, a path, weights (.npz), or the name of weights that come with the package"
    flags.DEFINE_string("checkpoint", "best", which, flag_values=values)
    flags.DEFINE_integer(
        "examples", 4_000, "of validation, at most", lower_bound=1, upper_bound=2**31 - 1, flag_values=values
    )
    command_line.parse(values, sys.argv, USAGE, needed=("config", "workdir"))
    command_line.prepare_jax()
    workdir, which = Path(values["workdir"].value), values["checkpoint"].value
    calibrate(values["config"].value, workdir, which=which, examples=values["examples"].value, stop=stop)


def calibrate(
    config: ConfigDict, workdir: Path, *, which: str, examples: int, stop: Stop | None = None
) -> dict[str, Any]:
    """Calibrates a checkpoint on validation; prints what was found with the flags to use, and writes
    `W/evaluation/calibration.json` and `W/evaluation/reliability.png`.

    Args:
      config: see evaluate.restore.
      workdir: of the run.
      which: see evaluate.restore.
      examples: of validation, at most.
      stop: ends it early.

    Returns:
      What is in calibration.json: temperature, min_score (None of what is no reader), and the figures `before` and `after`,
      and `with_min_score`.

    Raises:
      UserError: no such checkpoint, or the workdir cannot be written.
      Stopped: `stop` was set before the end.
    """
    from seqdigits import diagrams, pictures
    from seqdigits.evaluate import restore
    from seqdigits.judge import Judge
    from seqdigits.validation import validate
    from seqdigits.writers import make_folder, write_atomically

    validate(config)
    make_folder(workdir / "evaluation")
    restored = restore(config, workdir, which, "validation")
    read = config.read
    judge = Judge(config, restored, examples, stop)
    before = judge.figures(read.temperature, read.min_score)
    temperature = best_temperature(lambda t: judge.loss(t, read.min_score))
    after = judge.figures(temperature, read.min_score)
    min_score, with_min_score = None, None
    if config.model.name == "reader":
        scores = {s: judge.figures(temperature, s) for s in sorted({*_MIN_SCORES, read.min_score})}
        min_score = max(scores, key=lambda s: (scores[s]["sequence_accuracy"], -abs(s - read.min_score)))
        with_min_score = scores[min_score]
    found = {
        "checkpoint": which,
        "step": restored.step,
        "temperature": temperature,
        "min_score": min_score,
        "before": {"temperature": read.temperature, "min_score": read.min_score, **before},
        "after": after,
        "with_min_score": with_min_score,
    }
    write_atomically(workdir / "evaluation" / "calibration.json", json.dumps(found, indent=1))
    picture = diagrams.reliability(before, after)
    write_atomically(workdir / "evaluation" / "reliability.png", pictures.png(picture))
    print(text(found), flush=True)
    return found


def text(found: dict[str, Any]) -> str:
    """What `calibrate` found, for a person."""
    columns = {"before": found["before"], "after": found["after"]}
    if found["with_min_score"]:
        columns["with min_score"] = found["with_min_score"]
    lines = [f"validation, {found['before']['examples']:,} examples", " " * 26 + "".join(f"{c:>16}" for c in columns)]
    for name in ("sequence_accuracy", "negative_log_likelihood", *_SHARES):
        cells = ("-" if f[name] is None else f"{f[name]:.4f}" for f in columns.values())
        lines.append(f"{name:<26}" + "".join(f"{cell:>16}" for cell in cells))
    temperature = found["temperature"]
    lines += ["", f"--config.read.temperature={temperature:g}"]
    if not COOLEST * 1.02 < temperature < HOTTEST / 1.02:
        lines[-1] += "  (the end of what was searched: trust it little)"
    if found["min_score"] is not None:
        lines.append(f"--config.read.min_score={found['min_score']:g}")
    return "\n".join(lines)


_SHARES = ("calibration_error", "digit_calibration_error", "coverage_at_98")


def best_temperature(loss: Callable[[float], float]) -> float:
    """Where `loss` is least between COOLEST and HOTTEST: the best of half octaves, then a golden section between its
    neighbours, to 0.5%. Four digits.

    >>> best_temperature(lambda t: (math.log(t) - math.log(1.7)) ** 2)
    1.7
    """
    steps = round(2 * math.log2(HOTTEST / COOLEST))
    grid = [math.log(COOLEST) + i * math.log(2) / 2 for i in range(steps + 1)]
    losses = [loss(math.exp(t)) for t in grid]
    best = losses.index(min(losses))
    low, high = grid[max(best - 1, 0)], grid[min(best + 1, steps)]
    known = {grid[best]: losses[best]}

    def at(t: float) -> float:
        known.setdefault(t, loss(math.exp(t)))
        return known[t]

    golden = (math.sqrt(5) - 1) / 2
    while high - low > 0.005:
        left, right = high - golden * (high - low), low + golden * (high - low)
        if at(left) <= at(right):
            high = right
        else:
            low = left
    return float(f"{math.exp(min(known, key=lambda t: known[t])):.4g}")


if __name__ == "__main__":
    interrupt.run(_main)
