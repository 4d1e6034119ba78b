"""Trains an experiment, or evaluates a checkpoint: `python -m seqdigits.main --config CONFIG --workdir W`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from absl import flags

from seqdigits.config.flags import experiment_flags, next_steps, parse, prepare_jax
from seqdigits.core import interrupt
from seqdigits.evaluation.evaluate import evaluate_checkpoint
from seqdigits.parallel import distributed
from seqdigits.training.loop import train_and_evaluate

USAGE = """python -m seqdigits.main --config CONFIG --workdir W [--config.key=value ...]
       the same with --mode evaluate [--split validation,test] [--checkpoint latest|best|STEP|PATH|FILE.npz|NAME]
       the same in each of N processes with [--coordinator HOST:PORT --num_processes N --process_id R]"""


def command_line() -> flags.FlagValues:
    """Returns the flags of the command."""
    values = experiment_flags()
    flags.DEFINE_string("workdir", None, "the folder of the run; a run resumes from it", flag_values=values)
    flags.DEFINE_enum("mode", "train", ["train", "evaluate"], "what to do", flag_values=values)
    flags.DEFINE_list("split", [], "evaluate: splits; default: evaluate.splits of the config", flag_values=values)
    flags.DEFINE_string(
        "checkpoint",
        "latest",
        "evaluate: latest, best, a step, a path, weights (.npz), or the name of pretrained weights "
        "(seqdigits pretrained lists them)",
        flag_values=values,
    )
    flags.DEFINE_string(
        "coordinator",
        None,
        "several processes: HOST:PORT of process 0; or auto: detected (Slurm, Open MPI 4, Cloud TPU). "
        "Default: $SEQDIGITS_COORDINATOR",
        flag_values=values,
    )
    flags.DEFINE_integer("num_processes", None, "their number; default: $SEQDIGITS_NUM_PROCESSES", flag_values=values)
    flags.DEFINE_integer("process_id", None, "0 to N - 1; default: $SEQDIGITS_PROCESS_ID", flag_values=values)
    return values


def main(stop: interrupt.Stop) -> None:
    """Runs `seqdigits.main`: trains or evaluates."""
    values = command_line()
    parse(values, sys.argv, USAGE, __doc__, needed=("config", "workdir"))
    prepare_jax()
    coordinator, num_processes, process_id = (
        values[name].value for name in ("coordinator", "num_processes", "process_id")
    )
    distributed.connect(distributed.detect(coordinator, num_processes, process_id, os.environ), stop)

    config, workdir = values["config"].value, Path(values["workdir"].value)
    if values["mode"].value == "train":
        train_and_evaluate(config, workdir, stop)
        print(next_steps(sys.argv, workdir, config.optim.schedule == "cosine"))
    else:
        splits = tuple(values["split"].value)
        evaluate_checkpoint(config, workdir, which=values["checkpoint"].value, splits=splits, stop=stop)
