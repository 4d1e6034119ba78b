"""Steps whose loss or gradient is not finite: how they are counted, and what is saved when they stop a run.

With `optim.skip_nonfinite` = 0, such a step updates the state, and the run stops at the next log line, evaluation or
checkpoint. With K > 0 the step is skipped and counted, and the run stops once K steps in a row were skipped.
`TrainState.first_nonfinite` is the first step of these: the first of the run for 0, of the current series for K.

A run that stops leaves the batch of that step in `W/nonfinite/`, and for K > 0 the state before it, which the skipped
steps did not change. Both are .npz files of plain arrays. No checkpoint is written. The same command resumes from the last
one and repeats the steps since then, so that it stops at the same step again, unless optim.skip_nonfinite is raised.
"""

from __future__ import annotations

import dataclasses
import io
import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax import Array
from ml_collections import ConfigDict

from seqdigits.checkpoint import weights
from seqdigits.checkpoint.layout import checkpoints_folder
from seqdigits.config.saved import to_json
from seqdigits.core.errors import UserError
from seqdigits.core.files import make_folder, write_atomically
from seqdigits.core.rng import RngStream, stream_key
from seqdigits.data.source import DataSource
from seqdigits.metrics import averages
from seqdigits.parallel.devices import Devices
from seqdigits.parallel.processes import from_main, is_main
from seqdigits.training.train_step import TrainState


def compute(sums: averages.Averages) -> dict[str, float]:
    """Returns the averages over the steps that were not skipped, and `skipped_steps` if there were any.

    A skipped step counts in `loss` alone. If all were skipped, there are no averages.

    Args:
      sums: TrainState.sums, on the host.
    """
    steps, done = int(sums["loss"].count), int(sums["gradient_norm"].count)
    values = averages.compute({**sums, "loss": sums["loss"].replace(count=done)}) if done else {}
    return values | ({"skipped_steps": steps - done} if steps > done else {})


class NonfiniteLoss(UserError):
    """The loss or its gradient is not finite, in more steps than optim.skip_nonfinite allows."""


@dataclass(frozen=True)
class NonfiniteGuard:
    """Stops a run at steps that are not finite.

    Attributes:
      config: the complete config.
      workdir: the folder of the run.
      source: the training split.
      arrays: the arrays of the source, on the devices.
      devices: the devices of the run.
    """

    config: ConfigDict
    workdir: Path
    source: DataSource
    arrays: dict[str, Array]
    devices: Devices

    def check(self, state: TrainState) -> None:
        """Refuses a state that more steps led to which are not finite than optim.skip_nonfinite allows.

        Every process must call it. Process 0 writes the files.

        Raises:
          NonfiniteLoss: with the step, the files, and how to resume.
        """
        most = self.config.optim.skip_nonfinite
        step, first = (int(x) for x in jax.device_get((state.step, state.first_nonfinite)))
        if first < 0 or (most and step - first < most):
            return
        folder = self.workdir / "nonfinite"
        batch_file, state_file = folder / f"batch-{first}.npz", folder / f"state-{first}.npz"
        batch = self._batch(first)
        if is_main():
            make_folder(folder)
            buffer = io.BytesIO()
            np.savez_compressed(buffer, allow_pickle=False, **batch)
            write_atomically(batch_file, buffer.getvalue())
            if most:
                self._save_state(state_file, state, first)
        from_main(np.zeros(1))  # no process ends before the files are written
        found = f"numpy.load shows the images, digits, boxes and indices of its batch: {batch_file}"
        if most:
            problem = f"not finite at step {first} and in {most} steps in a row, as many as optim.skip_nonfinite allows"
            found += f". The state before it is {state_file}, a file of weights for --checkpoint and init.path."
            remedy = "raise optim.skip_nonfinite, and it may get past them; or"
        else:
            problem = f"not finite at step {first}"
            found += "."
            remedy = (
                "set optim.skip_nonfinite=3, and such steps are skipped; with 1 the state before the step is saved; or"
            )
        raise NonfiniteLoss(
            f"the loss or its gradient is {problem}. Earlier checkpoints are in {checkpoints_folder(self.workdir)}. {found} "
            f"The same command resumes from the last checkpoint and stops again: {remedy} try a smaller "
            "optim.learning_rate, or optim.clip_norm=1, in a new --workdir."
        )

    def _batch(self, step: int) -> dict[str, np.ndarray]:
        """Returns the batch of a step without padding: image, digits, boxes, index, and number and ignored where the data have them."""
        host_batch = self.devices.shard_batch(next(self.source.batches(step, self.config.train.batch_size)))
        key = stream_key(self.config.seed, RngStream.AUGMENT)
        batch = self.devices.jit(partial(self.source.make, key=key, train=True))(self.arrays, host_batch)
        rows = np.asarray(batch.index) >= 0
        arrays = {field.name: getattr(batch, field.name) for field in dataclasses.fields(batch)}
        return {name: np.asarray(value)[rows] for name, value in arrays.items() if value is not None}

    def _save_state(self, path: Path, state: TrainState, step: int) -> None:
        names = ("params", "batch_stats", "input_stats", "opt_state", "average")
        about: dict[str, Any] = {"step": step, "config": json.loads(to_json(self.config))}
        weights.save(path, {name: getattr(state, name) for name in names}, about)
