"""The state that a run starts from: its newest checkpoint, random values, or another run."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from seqdigits.checkpoint import warm_start
from seqdigits.checkpoint.load import load_variables, origin
from seqdigits.checkpoint.manager import Checkpoints
from seqdigits.config.saved import to_json
from seqdigits.core.types import Variables
from seqdigits.data.create import create_source
from seqdigits.data.evaluated_config import as_evaluated, trains_as_evaluated
from seqdigits.data.photos import svhn
from seqdigits.data.source import DataSource
from seqdigits.evaluation.evaluator import Evaluator
from seqdigits.parallel.devices import Devices
from seqdigits.training import input_stats
from seqdigits.training.train_step import TrainState


@dataclass
class Progress:
    """The progress of a run, saved with its state in the `meta` of a checkpoint.

    Attributes:
      best: step, metric and value of the best checkpoint, which is never deleted; None before the first evaluation.
      evaluation_due: whether the evaluation at the saved step was stopped before its end.
      seconds: the seconds of training up to the saved step.
      initialized_from: path, step and config of the run that parameters were initialized from; None if randomly
        initialized.
    """

    best: dict[str, Any] | None = None
    evaluation_due: bool = False
    seconds: float = 0.0
    initialized_from: dict[str, Any] | None = None

    def meta(self, config: ConfigDict, step: int, seconds: float) -> dict[str, Any]:
        """Returns the `meta` of the checkpoint of a step, as JSON."""
        return {
            "step": step,
            "best": self.best,
            "evaluation_due": self.evaluation_due,
            "seconds": seconds,
            "config": json.loads(to_json(config)),
            "initialized_from": self.initialized_from,
        }


def initial_variables(config: ConfigDict) -> tuple[Variables | None, dict[str, Any] | None]:
    """Loads the variables that a new run is initialized from (`init.path`), with their origin.

    Returns:
      The variables, and the entries of Progress.initialized_from; None, None if `init.path` is empty.
    """
    if not config.init.path:
        return None, None
    variables, meta = load_variables(Path(config.init.path))
    if other := _other_held_out(config, meta["config"]["data"]):
        print(
            f"note: {config.init.path} was trained with {other}, so it may have seen photographs that are held out here. Figures of "
            "validation may be too good; those of test are not concerned.",
            flush=True,
        )
    return variables, {"path": config.init.path, **origin(meta)}


def _other_held_out(config: ConfigDict, earlier: dict[str, Any]) -> str:
    """Returns the keys and values by which the weights' house numbers held out for validation are others; "" if there are none."""
    data = config.data
    of_photographs = {"photograph", "crop"}
    if not all(
        one.get("composition") in of_photographs and one.get("photographs") in svhn.PHOTOGRAPHS
        for one in (data, earlier)
    ):
        return ""
    keys = [key for key in ("photographs", "max_length") if data[key] != earlier.get(key)]
    return ", ".join(f"data.{key} = {earlier.get(key)}" for key in keys)


def restore(checkpoints: Checkpoints, shapes: TrainState, devices: Devices) -> tuple[TrainState, Progress] | None:
    """Restores the newest checkpoint onto the devices; None if there is none."""
    template = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=devices.replicated), shapes)
    restored = checkpoints.restore(template)
    if restored is None:
        return None
    state, meta = restored
    return state, Progress(meta["best"], meta["evaluation_due"], meta["seconds"], meta.get("initialized_from"))


def initialize(
    state: TrainState,
    initial: Variables | None,
    config: ConfigDict,
    source: DataSource,
    arrays: dict[str, jax.Array],
    train_evaluator: Evaluator | None,
    devices: Devices,
) -> TrainState:
    """Returns the state before step 0, with the variables of another run and the image statistics.

    Args:
      state: the randomly initialized state.
      initial: the variables of another run; None = keep the random ones.
      config: the complete config.
      source: the training split.
      arrays: the arrays of the source, on the devices.
      train_evaluator: of the training split, if there is one; its images need not be loaded again.
      devices: the devices of the run.
    """
    known: Variables = {}
    if initial is not None:
        own = {name: getattr(state, name) for name in ("params", "batch_stats", "input_stats")}
        merged = warm_start.initialize_from(own, initial, config.init)
        known = devices.replicate(merged.pop("input_stats"))
        average = devices.replicate(merged) if state.average else {}
        state = state.replace(**devices.replicate(merged), average=average)
    missing = {name: part for name, part in state.input_stats.items() if name not in known}
    if missing:
        # The statistics describe images as the model is evaluated on them.
        if train_evaluator is not None:
            source, arrays = train_evaluator.source, train_evaluator.arrays
        elif not trains_as_evaluated(config.data):
            source = create_source(as_evaluated(config), "train")
            arrays = devices.replicate(source.arrays)
        known |= input_stats.measure(config, source, arrays, devices, missing)
    return state.replace(input_stats=known)
