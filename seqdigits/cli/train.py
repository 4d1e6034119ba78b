"""Trains an experiment, or evaluates a checkpoint: `python -m seqdigits.main --config configs/X.py --workdir W`."""

from __future__ import annotations

import sys
from pathlib import Path

from seqdigits.config.flags import experiment_flags, next_steps, parse, prepare_jax
from seqdigits.core import interrupt
from seqdigits.evaluation.evaluate import evaluate_checkpoint
from seqdigits.training.loop import train_and_evaluate

USAGE = """python -m seqdigits.main --config configs/X.py --workdir W [--config.key=value ...]
       the same with --mode evaluate [--split validation,test] [--checkpoint latest|best|STEP|PATH|FILE.npz|NAME]"""


def main(stop: interrupt.Stop) -> None:
    """Runs `seqdigits.main`: trains or evaluates."""
    from absl import flags

    values = experiment_flags()
    flags.DEFINE_string("workdir", None, "the folder of the run; a run resumes from it", flag_values=values)
    flags.DEFINE_enum("mode", "train", ["train", "evaluate"], "what to do", flag_values=values)
    flags.DEFINE_list("split", [], "evaluate: splits; default: evaluate.splits of the config", flag_values=values)
    flags.DEFINE_string(
        "checkpoint",
        "latest",
        "evaluate: latest, best, a step, a path, weights (.npz), or the name of pretrained weights "
        "(python -m seqdigits pretrained lists them)",
        flag_values=values,
    )
    parse(values, sys.argv, USAGE, needed=("config", "workdir"))
    prepare_jax()

    config, workdir = values["config"].value, Path(values["workdir"].value)
    if values["mode"].value == "train":
        train_and_evaluate(config, workdir, stop)
        print(next_steps(sys.argv, workdir, config.optim.schedule == "cosine"))
    else:
        splits = tuple(values["split"].value)
        evaluate_checkpoint(config, workdir, which=values["checkpoint"].value, splits=splits, stop=stop)
