"""Trains an experiment, or evaluates a checkpoint: `python -m seqdigits.main --config CONFIG --workdir W`."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path

from absl import flags
from ml_collections import ConfigDict

from seqdigits.config.flags import experiment_arguments, experiment_flags, parse
from seqdigits.core import interrupt
from seqdigits.core.errors import UserError
from seqdigits.core.jax_settings import prepare_jax
from seqdigits.evaluation.evaluate import evaluate_checkpoint
from seqdigits.parallel import distributed
from seqdigits.training.loop import train_and_evaluate

USAGE = """python -m seqdigits.main --config CONFIG --workdir W [--config.key=value ...] [--profile STEPS]
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
    flags.DEFINE_integer(
        "profile",
        None,
        "train: writes a trace of so many steps, after compilation, for TensorBoard and Perfetto",
        lower_bound=1,
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
    profile = values["profile"].value or 0
    if profile and values["mode"].value != "train":
        raise UserError(f"--profile {profile} traces training steps. Leave it out, or leave out --mode evaluate.")
    prepare_jax()
    coordinator, num_processes, process_id = (
        values[name].value for name in ("coordinator", "num_processes", "process_id")
    )
    distributed.connect(distributed.detect(coordinator, num_processes, process_id, os.environ), stop)

    config, workdir = values["config"].value, Path(values["workdir"].value)
    if values["mode"].value == "train":
        train_and_evaluate(config, workdir, stop, profile=profile)
        print(next_steps(sys.argv, workdir, config))
    else:
        splits = tuple(values["split"].value)
        evaluate_checkpoint(config, workdir, which=values["checkpoint"].value, splits=splits, stop=stop)


def next_steps(argv: list[str], workdir: Path, config: ConfigDict) -> str:
    """Returns what is printed after a run: commands, and a picture of predictions.

    In the commands, PICTURE and N are for the user to fill in; all else runs as it is printed, in the same folder.

    Args:
      argv: the command line of the run, program first.
      workdir: the folder of the run.
      config: of the run.
    """
    python, seqdigits = _programs()
    experiment = experiment_arguments(argv[1:])
    run = [*python, "-m", "seqdigits.main"]
    without_steps = [word for word in experiment if not word.startswith("--config.train.steps=")]
    commands = [
        ("read a picture with the pretrained weights", [*seqdigits, "predict", "PICTURE"]),
        ("show the curves of the run", [*python, "-m", "tensorboard.main", "--logdir", str(workdir)]),
        ("evaluate the best checkpoint", [*run, *experiment, "--mode", "evaluate", "--checkpoint", "best"]),
        ("calibrate its confidences", [*seqdigits, "calibrate", *experiment]),
    ]
    if config.model.name == "dense_detector":
        by_this = [*seqdigits, "predict", "PICTURE", "--workdir", str(workdir)]
        commands.insert(1, ("the same with the network of this run", by_this))
    longer = "to train longer: a new --workdir, --config.train.steps=N and --config.optim.decay_steps=N"
    if config.optim.schedule != "cosine":  # which ends at optim.decay_steps, so that a longer run is a new one
        longer = ""
        commands.append(("train longer, to step N", [*run, *without_steps, "--config.train.steps=N"]))
    lines = ["", "Next steps"]
    lines += [line for what, command in commands for line in (f"  {what}:", f"    {shlex.join(command)}")]
    lines += [f"  {longer}"] if longer else []
    unseen = [split for split in config.evaluate.splits if split != "train"]
    if unseen:
        picture = workdir / "evaluation" / f"{unseen[-1]}_first.png"
        lines += ["", f"Predictions of {unseen[-1]} examples, true boxes green, predicted boxes red:", str(picture)]
    return "\n".join(lines)


def _programs() -> tuple[list[str], list[str]]:
    """Returns how a shell runs Python and `seqdigits` of this environment: by name if it is activated, else by path."""
    folder, name = Path(sys.executable).parent, Path(sys.executable).name
    found = shutil.which(name)
    if found and Path(found).parent.absolute() == folder:
        prefix = ""
    else:
        prefix = f"{folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder}/"
    python = [f"{prefix}{name}"]
    is_installed = (folder / "seqdigits").exists()
    return python, [f"{prefix}seqdigits"] if is_installed else [*python, "-m", "seqdigits"]
