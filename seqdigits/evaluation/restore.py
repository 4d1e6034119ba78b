"""Restores what is evaluated: the latest or best checkpoint of a workdir, a step, a path, or weights."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import flax.linen as nn
import jax
from ml_collections import ConfigDict

from seqdigits.checkpoint import pretrained
from seqdigits.checkpoint.layout import find_checkpoint
from seqdigits.checkpoint.load import load_variables
from seqdigits.config.defaults import diff_configs
from seqdigits.core import params
from seqdigits.core.errors import UserError
from seqdigits.core.types import Variables
from seqdigits.data.create import create_source
from seqdigits.models.build import build, init_variables
from seqdigits.parallel.devices import Devices


class Restored(NamedTuple):
    """A model with what a checkpoint holds.

    Attributes:
      path, step: of the checkpoint.
      different: where the config differs from that of the run, in data and reading.
      model, devices: of the config.
      variables: on the devices.
    """

    path: Path
    step: int
    different: list[str]
    model: nn.Module
    devices: Devices
    variables: Variables


def restore(config: ConfigDict, workdir: Path, which: str, split: str) -> Restored:
    """Restores a checkpoint, and says which, and what is otherwise than in training.

    Args:
      config: validated, with the model of the run; its data may be others than it was trained on.
      workdir: of the run.
      which: latest, best, a step, a path W/checkpoints/STEP, a file of weights (.npz), or the name of weights that come with
        the package, where nothing of that name lies in the working directory.
      split: one that there is: photographs of your own may all be in one.

    Raises:
      UserError: no such checkpoint, damaged, or of another model.
    """
    shipped = pretrained.find(which)
    path = shipped or (Path(which) if which.endswith(".npz") else find_checkpoint(workdir, which))
    found, meta = load_variables(path)
    other_model = diff_configs(config, meta["config"], ("model",))
    if config.model.name == "dense_detector":  # how its cells are read hangs on this
        other_model += [
            line for line in diff_configs(config, meta["config"], ("loss",)) if line.startswith("loss.target:")
        ]
    if other_model:
        raise UserError(f"{path} is of another model:\n  " + "\n  ".join(other_model) + "\nTake those back.")
    different = diff_configs(config, meta["config"], ("data", "decode"))
    spec = create_source(config, split).spec
    model = build(config, spec)
    _check(found, jax.eval_shape(lambda: init_variables(model, spec, config.seed)), path)
    devices = Devices(config.parallel)
    placed = devices.replicate(found)
    print(f"evaluating {path}, step {meta['step']:,}", flush=True)
    if different:
        print("otherwise than in training:\n  " + "\n  ".join(different), flush=True)
    return Restored(path, meta["step"], different, model, devices, placed)


def _check(found: Variables, template: Variables, path: Path) -> None:
    """Refuses variables that are not of the model's shapes."""
    expected, has = params.shapes(template), params.shapes(found)
    for name in sorted(expected.keys() | has.keys()):
        if expected.get(name) != has.get(name):
            raise UserError(
                f"{path} is of another model: {name} is {has.get(name, 'missing')} there and "
                f"{expected.get(name, 'not there')} in this config. Use the config that it was trained with."
            )
