"""Calibrates a checkpoint on validation: `seqdigits calibrate CONFIG --workdir W`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from absl import flags

from seqdigits.config.flags import experiment_flags, parse, with_config
from seqdigits.core.console import render_table
from seqdigits.core.interrupt import Stop
from seqdigits.core.jax_settings import prepare_jax
from seqdigits.evaluation.calibration import MAX_TEMPERATURE, MIN_TEMPERATURE, calibrate

USAGE = "seqdigits calibrate CONFIG --workdir W [--checkpoint best] [--examples N] [--nofit_min_score]"


def command_line() -> flags.FlagValues:
    """Returns the flags of the command."""
    values = experiment_flags()
    flags.DEFINE_string("workdir", None, "the folder of the run", flag_values=values)
    which = "latest, best, a step, a path, weights (.npz), or the name of pretrained weights"
    flags.DEFINE_string("checkpoint", "best", which, flag_values=values)
    flags.DEFINE_integer(
        "examples",
        4_000,
        "number of validation examples, at most",
        lower_bound=1,
        upper_bound=2**31 - 1,
        flag_values=values,
    )
    flags.DEFINE_bool("fit_min_score", True, "whether to select decode.min_score too", flag_values=values)
    return values


def main(stop: Stop) -> None:
    """Runs `seqdigits calibrate`."""
    values = command_line()
    parse(values, with_config(sys.argv), USAGE, __doc__, needed=("config", "workdir"))
    prepare_jax()
    workdir, which = Path(values["workdir"].value), values["checkpoint"].value
    found = calibrate(
        values["config"].value,
        workdir,
        which=which,
        examples=values["examples"].value,
        fit_min_score=values["fit_min_score"].value,
        stop=stop,
    )
    print(text(found), flush=True)


def text(found: dict[str, Any]) -> str:
    """Returns the metrics before and after, and the flags that apply the calibration: as text for standard output."""
    columns = {name: found[name] for name in ("before", "after")}
    rows = [
        (name, *("-" if metrics[name] is None else f"{metrics[name]:.4f}" for metrics in columns.values()))
        for name in ("sequence_accuracy", "negative_log_likelihood", *_SHARES)
    ]
    lines = [f"validation, {found['before']['examples']:,} examples", render_table(("", *columns), rows)]
    after = found["after"]
    flags = {key: f"--config.decode.{key}={after[key]:g}" for key in ("temperature", "platt_scale", "platt_bias")}
    if not MIN_TEMPERATURE * 1.02 < after["temperature"] < MAX_TEMPERATURE / 1.02:
        lines += ["", "The temperature is at the end of the search range, so it is unreliable."]
    if found["fits_min_score"]:
        flags["min_score"] = f"--config.decode.min_score={after['min_score']:g}"
    return "\n".join([*lines, "", *flags.values()])


_SHARES = ("calibration_error", "digit_calibration_error", "coverage_at_98")
