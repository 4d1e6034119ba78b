"""Calibrates the confidences of a checkpoint on the validation split.

`seqdigits calibrate CONFIG --workdir W [--checkpoint best] [--examples N] [--nofit_min_score]`

1. `decode.min_score`: the least score of a digit with which the most predictions are exact matches. With --nofit_min_score that
   of the config stays: for weights that read other pictures than those of validation.
2. `decode.temperature`: the logits are divided by one temperature (Guo et al. 2017, arXiv:1706.04599, section 4.2). It
   minimizes the negative log likelihood of the correctness of digits, given their confidence.
3. `decode.platt_scale` and `decode.platt_bias`: the logit of a number's confidence is mapped by a line (Platt 1999). It
   minimizes the negative log likelihood of the correctness of numbers. The ranking of numbers does not change.

Nothing is trained.
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

MIN_TEMPERATURE, MAX_TEMPERATURE = 0.0625, 8.0
"""The range in which temperatures are searched."""
_MIN_SCORES = tuple(round(0.05 * i, 2) for i in range(2, 19))


def calibrate(
    config: ConfigDict,
    workdir: Path,
    *,
    which: str,
    examples: int,
    fit_min_score: bool = True,
    stop: Stop | None = None,
) -> dict[str, Any]:
    """Calibrates a checkpoint; writes `W/evaluation/calibration.json` and `W/evaluation/reliability.svg`.

    Args:
      config: see restore.restore.
      workdir: the folder of the run.
      which: see restore.restore.
      examples: the maximum number of validation examples.
      fit_min_score: whether the dense detector gets another decode.min_score than the config's.
      stop: ends the calibration early.

    Returns:
      The contents of calibration.json: the settings and metrics, `before` and `after`.

    Raises:
      UserError: the checkpoint does not exist, or the workdir is not writable.
      Stopped: `stop` was set before the end.
    """
    validate(config)
    restored = restore(config, workdir, which, "validation")
    make_folder(workdir / "evaluation")
    decode = config.decode
    objective = CalibrationObjective(config, restored, examples, stop)
    current = Settings(decode.temperature, decode.min_score, decode.platt_scale, decode.platt_bias)
    best = Settings(1.0, decode.min_score)
    fit_min_score = fit_min_score and config.model.name == "dense_detector"
    if fit_min_score:
        accuracy = {
            s: objective.metrics(Settings(1.0, s))["sequence_accuracy"]
            for s in sorted({*_MIN_SCORES, decode.min_score})
        }
        # Of equally good thresholds the one nearest to the config's.
        best = Settings(1.0, max(accuracy, key=lambda s: (accuracy[s], -abs(s - decode.min_score))))
    best = best._replace(temperature=fit_temperature(lambda t: objective.digit_loss(best._replace(temperature=t))))
    platt_scale, platt_bias = fit_platt_scaling(
        lambda scale, bias: objective.loss(best._replace(platt_scale=scale, platt_bias=bias))
    )
    best = best._replace(platt_scale=platt_scale, platt_bias=platt_bias)
    before, after = objective.metrics(current), objective.metrics(best)
    result = {
        "checkpoint": which,
        "step": restored.step,
        "fits_min_score": fit_min_score,
        "before": {**current._asdict(), **before},
        "after": {**best._asdict(), **after},
    }
    write_atomically(workdir / "evaluation" / "calibration.json", json.dumps(result, indent=1))
    write_atomically(workdir / "evaluation" / "reliability.svg", reliability.reliability(before, after))
    return result


def fit_temperature(loss: Callable[[float], float]) -> float:
    """Returns the temperature of least `loss` between MIN_TEMPERATURE and MAX_TEMPERATURE, to four digits.

    The loss is first computed on a grid of half octaves. A golden section search between the neighbors of the best grid
    point then narrows the logarithm of the temperature to 0.5%.

    >>> fit_temperature(lambda t: (math.log(t) - math.log(1.7)) ** 2)
    1.7
    """
    steps = round(2 * math.log2(MAX_TEMPERATURE / MIN_TEMPERATURE))
    grid = [math.log(MIN_TEMPERATURE) + i * math.log(2) / 2 for i in range(steps + 1)]
    losses = [loss(math.exp(t)) for t in grid]
    best = losses.index(min(losses))
    low, high = grid[max(best - 1, 0)], grid[min(best + 1, steps)]
    known = dict(zip(grid, losses, strict=True))

    def at(t: float) -> float:
        if t not in known:
            known[t] = loss(math.exp(t))
        return known[t]

    # This golden section search stays ours instead of scipy.optimize.minimize_scalar. Its "golden" and "brent" methods
    # need three points of which the middle one has the least loss; there are none if the best grid point is an end of
    # the range. Its "bounded" method returns other digits, so saved calibrations could not be reproduced.
    # Here the best of all computed points is returned, so that the result is never worse than the grid.
    golden = (math.sqrt(5) - 1) / 2
    left, right = high - golden * (high - low), low + golden * (high - low)
    while high - low > 0.005:
        if at(left) <= at(right):
            high, right = right, left
            left = high - golden * (high - low)
        else:
            low, left = left, right
            right = low + golden * (high - low)
    return float(f"{math.exp(min(known, key=lambda t: known[t])):.4g}")


def fit_platt_scaling(loss: Callable[[float, float], float]) -> tuple[float, float]:
    """Returns the scale and the bias of least `loss`, to four digits each.

    The search starts from 1 and 0 (Nelder and Mead 1965). The logarithm of the scale is clipped to -4..4, the bias to
    -50..50.

    >>> fit_platt_scaling(lambda scale, bias: (math.log(scale) - math.log(0.5)) ** 2 + (bias - 2) ** 2)
    (0.5, 2.0)
    """
    from scipy import optimize

    result = optimize.minimize(
        lambda x: loss(math.exp(min(max(x[0], -4.0), 4.0)), min(max(x[1], -50.0), 50.0)),
        np.zeros(2),
        method="Nelder-Mead",
        options={"xatol": 1e-4, "fatol": 1e-7, "maxfev": 150, "initial_simplex": [[0.0, 0.0], [0.5, 0.0], [0.0, 1.0]]},
    )
    platt_scale, platt_bias = math.exp(min(max(result.x[0], -4.0), 4.0)), min(max(result.x[1], -50.0), 50.0)
    # Adding 0.0 turns -0.0 into 0.0.
    return float(f"{platt_scale:.4g}"), float(f"{platt_bias:.4g}") + 0.0
