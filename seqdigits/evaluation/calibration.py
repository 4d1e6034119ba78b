"""Finds on validation what makes confidences true, and how sure a digit must be to be read:
`python -m seqdigits calibrate --config configs/X.py --workdir W [--checkpoint best] [--examples N]`.

First the least score of a digit, with which most numbers are right. Then logits are divided by one temperature (Guo et al. 2017,
arXiv:1706.04599, section 4.2), the one under which the confidences of the digits are likeliest, given which of them are right.
And the logit of a number's confidence is moved along a line (Platt 1999), the one under which that of the numbers are
likeliest; the order of numbers stays. Nothing is trained.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from seqdigits.config_checks.validate import validate
from seqdigits.core.files import make_folder, write_atomically
from seqdigits.core.interrupt import Stop
from seqdigits.evaluation.calibration_objective import CalibrationObjective, Settings
from seqdigits.evaluation.restore import restore
from seqdigits.visualization import reliability

COOLEST, HOTTEST = 0.0625, 8.0
"""Temperatures are looked for between these."""
_MIN_SCORES = tuple(round(0.05 * i, 2) for i in range(2, 19))


def calibrate(
    config: ConfigDict, workdir: Path, *, which: str, examples: int, stop: Stop | None = None
) -> dict[str, Any]:
    """Calibrates a checkpoint on validation; writes `W/evaluation/calibration.json` and `W/evaluation/reliability.svg`.

    Args:
      config: see restore.restore.
      workdir: of the run.
      which: see restore.restore.
      examples: of validation, at most.
      stop: ends it early.

    Returns:
      What is in calibration.json: settings and figures, `before` and `after`.

    Raises:
      UserError: no such checkpoint, or the workdir cannot be written.
      Stopped: `stop` was set before the end.
    """

    validate(config)
    restored = restore(config, workdir, which, "validation")
    make_folder(workdir / "evaluation")
    decode = config.decode
    judge = CalibrationObjective(config, restored, examples, stop)
    now = Settings(decode.temperature, decode.min_score, decode.platt_scale, decode.platt_bias)
    best = Settings(1.0, decode.min_score)
    if config.model.name == "dense_detector":
        right = {
            s: judge.metrics(Settings(1.0, s))["sequence_accuracy"] for s in sorted({*_MIN_SCORES, decode.min_score})
        }
        best = Settings(1.0, max(right, key=lambda s: (right[s], -abs(s - decode.min_score))))
    best = best._replace(temperature=best_temperature(lambda t: judge.digit_loss(best._replace(temperature=t))))
    platt_scale, platt_bias = best_line(lambda a, b: judge.loss(best._replace(platt_scale=a, platt_bias=b)))
    best = best._replace(platt_scale=platt_scale, platt_bias=platt_bias)
    before, after = judge.metrics(now), judge.metrics(best)
    found = {
        "checkpoint": which,
        "step": restored.step,
        "dense_detector": config.model.name == "dense_detector",
        "before": {**now._asdict(), **before},
        "after": {**best._asdict(), **after},
    }
    write_atomically(workdir / "evaluation" / "calibration.json", json.dumps(found, indent=1))
    write_atomically(workdir / "evaluation" / "reliability.svg", reliability.reliability(before, after))
    return found


def best_temperature(loss: Callable[[float], float]) -> float:
    """Where `loss` is least between COOLEST and HOTTEST: the best of half octaves, then a golden section between its
    neighbors, to 0.5%. Four digits.

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


def best_line(loss: Callable[[float, float], float]) -> tuple[float, float]:
    """Slope and offset where `loss` is least, from 1 and 0 on (Nelder and Mead 1965); four digits.

    >>> best_line(lambda platt_scale, platt_bias: (math.log(platt_scale) - math.log(0.5)) ** 2 + (platt_bias - 2) ** 2)
    (0.5, 2.0)
    """
    from scipy import optimize

    found = optimize.minimize(
        lambda x: loss(math.exp(min(max(x[0], -4.0), 4.0)), min(max(x[1], -50.0), 50.0)),
        np.zeros(2),
        method="Nelder-Mead",
        options={"xatol": 1e-4, "fatol": 1e-7, "maxfev": 150, "initial_simplex": [[0.0, 0.0], [0.5, 0.0], [0.0, 1.0]]},
    )
    platt_scale, platt_bias = math.exp(min(max(found.x[0], -4.0), 4.0)), min(max(found.x[1], -50.0), 50.0)
    return float(f"{platt_scale:.4g}"), float(f"{platt_bias:.4g}") + 0.0
