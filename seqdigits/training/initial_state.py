"""What a run starts from: its newest checkpoint, or a state that is initialized, at random or from another run."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from seqdigits.checkpoint import warm_start
from seqdigits.checkpoint.layout import all_steps, checkpoints_folder
from seqdigits.checkpoint.load import load_variables, origin
from seqdigits.checkpoint.manager import Checkpoints
from seqdigits.config.defaults import to_json
from seqdigits.core.types import Variables
from seqdigits.data.create import create_source
from seqdigits.data.image_size import as_evaluated, trains_as_evaluated
from seqdigits.data.source import DataSource
from seqdigits.parallel.devices import Devices
from seqdigits.training import input_stats
from seqdigits.training.train_step import TrainState


@dataclass
class Progress:
    """What is saved beside the state.

    Attributes:
      best: step, metric and value of the best checkpoint; None before the first evaluation.
      evaluation_due: whether the evaluation at the saved step was stopped before its end.
      seconds: of training up to the saved step.
      initialized_from: path, step and config of the run that parameters were initialized from; None where there is none.
    """

    best: dict[str, Any] | None = None
    evaluation_due: bool = False
    seconds: float = 0.0
    initialized_from: dict[str, Any] | None = None

    def meta(self, config: ConfigDict, step: int, seconds: float) -> dict[str, Any]:
        """What is saved at a step, as JSON."""
        return {
            "step": step,
            "best": self.best,
            "evaluation_due": self.evaluation_due,
            "seconds": seconds,
            "config": json.loads(to_json(config)),
            "initialized_from": self.initialized_from,
        }


def initial_variables(config: ConfigDict, workdir: Path) -> tuple[Variables | None, dict[str, Any] | None]:
    """Loads what a new run is initialized from, with what is known of it; None, None for nothing, or a run that resumes."""
    if not config.init.path or all_steps(checkpoints_folder(workdir)):
        return None, None
    found, meta = load_variables(Path(config.init.path))
    return found, {"path": config.init.path, **origin(meta)}


def restore(checkpoints: Checkpoints, shapes: TrainState, devices: Devices) -> tuple[TrainState, Progress] | None:
    """Restores the newest checkpoint; None where there is none."""
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
    devices: Devices,
) -> TrainState:
    """Returns the state before step 0 with what another run learned, and with the statistics of the images."""
    known: Variables = {}
    if initial is not None:
        mine = {name: getattr(state, name) for name in ("params", "batch_stats", "input_stats")}
        begun = warm_start.initialize_from(mine, initial, config.init)
        known = devices.replicate(begun.pop("input_stats"))
        average = devices.replicate(begun) if state.average else {}
        state = state.replace(**devices.replicate(begun), average=average)
    missing = {name: part for name, part in state.input_stats.items() if name not in known}
    if missing:
        like = trains_as_evaluated(config.data)
        read = source if like else create_source(as_evaluated(config), "train")
        read_arrays = arrays if like else devices.replicate(read.arrays)
        known |= input_stats.measure(config, read, read_arrays, devices, missing)
    return state.replace(input_stats=known)
