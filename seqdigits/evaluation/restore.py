"""Restores a model for evaluation from a checkpoint or from a file of weights."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import jax
from ml_collections import ConfigDict

from seqdigits.checkpoint import pretrained
from seqdigits.checkpoint.layout import find_checkpoint
from seqdigits.checkpoint.load import load_variables
from seqdigits.config.saved import diff_configs
from seqdigits.core import params
from seqdigits.core.errors import UserError
from seqdigits.core.types import Variables
from seqdigits.data.create import create_source
from seqdigits.models.build import build, init_variables
from seqdigits.models.stack import Base
from seqdigits.parallel.devices import Devices


class Restored(NamedTuple):
    """A model with the variables of a checkpoint.

    Attributes:
      path, step: the file or folder of the checkpoint, and its step.
      different: the keys of `data` and `decode` whose values differ from the training config, as "key: old -> new".
      model, devices: the model and the devices that the config describes.
      variables: the collections of the model, placed on the devices.
    """

    path: Path
    step: int
    different: list[str]
    model: Base
    devices: Devices
    variables: Variables


def restore(config: ConfigDict, workdir: Path, which: str, split: str) -> Restored:
    """Restores a checkpoint; prints its path and the config values that differ from training.

    Args:
      config: validated, with the model of the run; its data may differ from the training data.
      workdir: the folder of the run.
      which: latest, best, a step, a path W/checkpoints/STEP, a file of weights (.npz), or the name of pretrained
        weights. A file of that name in the working directory takes precedence.
      split: a split that is not empty, whose shapes the model gets: custom photos may all be in one split.

    Raises:
      UserError: the checkpoint does not exist, is damaged, or belongs to another model.
    """
    packaged = pretrained.find(which)
    path = packaged or (Path(which) if which.endswith(".npz") else find_checkpoint(workdir, which))
    variables, meta = load_variables(path)
    of_model = diff_configs(config, meta["config"], ("model",))
    computed_otherwise = [line for line in of_model if line.startswith("model.compute_dtype:")]
    other_model = [line for line in of_model if not line.startswith(("model.compute_dtype:", "model.remat:"))]
    if config.model.name == "dense_detector":  # decoding of its cells depends on loss.target
        other_model += [
            line for line in diff_configs(config, meta["config"], ("loss",)) if line.startswith("loss.target:")
        ]
    if other_model:
        raise UserError(
            f"{path} belongs to another model:\n  "
            + "\n  ".join(other_model)
            + "\nSet these keys back to the values of the checkpoint."
        )
    different = computed_otherwise + diff_configs(config, meta["config"], ("data", "decode"))
    spec = create_source(config, split).spec
    devices = Devices(config.parallel)
    model = build(config, spec, devices.axis)
    _check(variables, jax.eval_shape(lambda: init_variables(model, spec, config.seed)), path)
    placed = devices.replicate(variables)
    print(f"evaluating {path}, step {meta['step']:,}", flush=True)
    if different:
        print("differs from the training config:\n  " + "\n  ".join(different), flush=True)
    return Restored(path, meta["step"], different, model, devices, placed)


def _check(variables: Variables, template: Variables, path: Path) -> None:
    """Raises a UserError if a variable is missing or has another shape than the model expects."""
    expected, saved = params.shapes(template), params.shapes(variables)
    for name in sorted(expected.keys() | saved.keys()):
        if expected.get(name) != saved.get(name):
            raise UserError(
                f"{path} belongs to another model: {name} is {saved.get(name, 'missing')} in the checkpoint and "
                f"{expected.get(name, 'missing')} in this config. Use the config that it was trained with."
            )
