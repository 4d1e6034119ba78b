"""The train step: a pure function of the state, the arrays of the source, and the indices of the examples."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jax import Array
from ml_collections import ConfigDict

from seqdigits import optim
from seqdigits.core import boxes as bx
from seqdigits.core import params
from seqdigits.core.constants import NO_DIGIT
from seqdigits.core.errors import UserError
from seqdigits.core.rng import RngStream, stream_key
from seqdigits.core.types import Batch, Variables
from seqdigits.data.source import DataSource
from seqdigits.metrics import averages
from seqdigits.models import losses
from seqdigits.models.build import init_variables
from seqdigits.models.dense import DenseDetector
from seqdigits.models.stack import Base
from seqdigits.models.targets import cell_targets
from seqdigits.training.accumulate import accumulate


class TrainState(struct.PyTreeNode):
    """The state of a run; all of it is saved and restored.

    Attributes:
      step: i32 [], the number of updates done.
      params, batch_stats, input_stats: the collections of the model.
      opt_state: the state of the optimizer.
      average: the exponential moving average of params and batch_stats, or {} if optim.moving_average is 0.
      sums: the metrics since the last log line, as totals and counts.
      first_nonfinite: i32 [], the first step whose loss or gradient is not finite, or -1. With optim.skip_nonfinite the
        first of the series of such steps that ends with the last step; see training.nonfinite.
    """

    step: Array
    params: Variables
    batch_stats: Variables
    input_stats: Variables
    opt_state: optax.OptState
    average: Variables
    sums: averages.Averages
    first_nonfinite: Array

    def variables(self) -> Variables:
        """Returns the collections to evaluate with: the moving average if there is one, else the current ones."""
        raw = {"params": self.params, "batch_stats": self.batch_stats}
        return {**(self.average or raw), "input_stats": self.input_stats}


@dataclass(frozen=True)
class TrainStep:
    """The train step of one run, for a config and a model.

    Attributes:
      config: the complete config.
      model: from models.build. If it has an axis, each device runs the step on its own shard of the batch (pmap), and the step
        sums over that axis; else the step sees the complete batch.
    """

    config: ConfigDict
    model: Base

    def init(self, source: DataSource) -> TrainState:
        """Returns the randomly initialized state before step 0; input_stats are filled in later. Traceable.

        Raises:
          UserError: a pattern of loss.l1_params, loss.l2_params or optim.freeze matches no parameter, or optim.freeze matches every
            one.
        """
        variables = init_variables(self.model, source.spec, self.config.seed)
        params.check(variables["params"], self.config.loss.l1_params, "loss.l1_params")
        params.check(variables["params"], self.config.loss.l2_params, "loss.l2_params")
        params.check(variables["params"], self.config.optim.freeze, "optim.freeze")
        if all(jax.tree.leaves(params.matching(variables["params"], self.config.optim.freeze))):
            raise UserError(
                f"optim.freeze = {self.config.optim.freeze!r} matches every parameter, so nothing would be trained. "
                "Use a narrower pattern."
            )
        trained = {name: variables[name] for name in ("params", "batch_stats")}
        state = TrainState(
            step=jnp.zeros((), jnp.int32),
            **variables,
            opt_state=optim.optimizer(self.config.optim).init(variables["params"]),
            average=jax.tree.map(jnp.copy, trained) if self.config.optim.moving_average else {},
            sums={},
            first_nonfinite=jnp.full((), -1, jnp.int32),
        )
        batch = jax.eval_shape(lambda a, h: self._make(a, h, source), source.spec.arrays, source.spec.host_batch(2))
        without_axis = TrainStep(
            self.config, self.model.clone(axis=None)
        )  # psum needs an axis, which is not bound here
        metrics = jax.eval_shape(lambda s, b: without_axis._update(s, b)[1], state, batch)
        return state.replace(sums=averages.zeros_like(metrics))

    def train(
        self, state: TrainState, arrays: dict[str, Array], host_batches: dict[str, Array], source: DataSource
    ) -> TrainState:
        """Returns the state after one update, or after S updates in a scan.

        Args:
          state: the state before.
          arrays: the arrays of the source, on the devices.
          host_batches: index and position, i32 [B] for one update or i32 [S, B] for S; see DataSource.
          source: the training split.
        """
        if host_batches["index"].ndim == 1:
            return self.train_on(state, self._make(arrays, host_batches, source))

        def body(state: TrainState, host_batch: dict[str, Array]) -> tuple[TrainState, None]:
            return self.train(state, arrays, host_batch, source), None

        return jax.lax.scan(body, state, host_batches)[0]

    def train_on(self, state: TrainState, batch: Batch) -> TrainState:
        """Returns the state after one update on a given batch."""
        state, values = self._update(state, batch)
        return state.replace(sums=averages.merge(state.sums, values))

    def _make(self, arrays: dict[str, Array], host_batch: dict[str, Array], source: DataSource) -> Batch:
        return source.make(arrays, host_batch, stream_key(self.config.seed, RngStream.AUGMENT), train=True)

    def _sum_over_devices(self, tree: Any) -> Any:
        """Returns the sum over the shards of the batch; the tree itself without an axis."""
        return jax.lax.psum(tree, self.model.axis) if self.model.axis else tree

    def _update(self, state: TrainState, batch: Batch) -> tuple[TrainState, averages.Averages]:
        loss, terms, batch_stats, grads = self._gradient(state, batch)
        norm = optax.tree.norm(grads)
        updates, opt_state = optim.optimizer(self.config.optim).update(grads, state.opt_state, state.params)
        frozen = self.config.optim.freeze
        new_params = optim.restore_frozen(state.params, optax.apply_updates(state.params, updates), frozen)
        average = state.average
        if self.config.optim.moving_average:
            current = {"params": new_params, "batch_stats": batch_stats}
            average = optim.update_ema(average, current, self.config.optim.moving_average, state.step)
        is_finite = jnp.isfinite(loss) & jnp.isfinite(norm)
        is_first_nonfinite = ~is_finite & (state.first_nonfinite < 0)
        before, state = (
            state,
            state.replace(
                step=state.step + 1,
                params=new_params,
                batch_stats=batch_stats,
                opt_state=opt_state,
                average=average,
                first_nonfinite=jnp.where(is_first_nonfinite, state.step, state.first_nonfinite),
            ),
        )
        per_example = {f"loss/{name}": term for name, term in terms.items() if term.ndim}
        per_batch = {f"loss/{name}": term for name, term in terms.items() if not term.ndim}
        values = self._sum_over_devices(averages.averages(per_example, batch.mask))
        values |= averages.averages({"loss": loss, **per_batch, "gradient_norm": norm}, batch.mask)
        if self.config.optim.skip_nonfinite:
            return self._skip_nonfinite(before, state, values, is_finite)
        return state, values

    def _skip_nonfinite(
        self, before: TrainState, after: TrainState, values: averages.Averages, is_finite: Array
    ) -> tuple[TrainState, averages.Averages]:
        """Returns the state and the metrics after a step that is skipped if it is not finite.

        Once as many steps in a row as optim.skip_nonfinite were skipped, the state no longer changes, so that it can be
        studied: see training.nonfinite.

        Args:
          before: the state before the step.
          after: the state after an update.
          values: the metrics of the step.
          is_finite: bool [], whether the loss and the norm of the gradient are finite.
        """
        first, most = before.first_nonfinite, self.config.optim.skip_nonfinite
        is_stopped = (first >= 0) & (before.step - first >= most)  # a shorter series continues, or is reset to -1
        is_skipped = ~is_finite | is_stopped
        state = jax.tree.map(partial(jnp.where, is_skipped), before, after)
        now = jnp.where(is_finite, -1, after.first_nonfinite)
        state = state.replace(step=after.step, first_nonfinite=jnp.where(is_stopped, first, now))
        return state, averages.skip(values, is_skipped, "loss")

    def _mean_digit_cells(self, batch: Batch, count: Array) -> Array:
        """Returns by what the losses of cells are divided with loss.normalizer = batch: f32 [], over all devices."""
        assert isinstance(self.model, DenseDetector), "config_checks.validate refuses this"
        grid, config = self.model.grid(*batch.image.shape[1:3]), self.config.loss
        weight = cell_targets(batch, grid, self.model.stride, config.target, config.target_radius)[2]
        total = self._sum_over_devices(jnp.sum(jnp.where(batch.mask, jnp.sum(weight, (1, 2)), 0)))
        return losses.mean_digit_cells(total, count)

    def _gradient(self, state: TrainState, batch: Batch) -> tuple[Array, dict[str, Array], Variables, Variables]:
        """Computes the gradient over all devices.

        Returns:
          The loss, f32 []; its unweighted terms, f32 [B], or f32 [] for terms of the parameters (l1, l2); the new
          batch_stats; and the gradient.
        """
        config = self.config.loss
        dropout = jax.random.fold_in(stream_key(self.config.seed, RngStream.DROPOUT), state.step)
        if self.model.axis:
            dropout = jax.random.fold_in(dropout, jax.lax.axis_index(self.model.axis))
        box = bx.enclosing_box(batch.boxes, batch.digits != NO_DIGIT)
        count = jnp.maximum(self._sum_over_devices(jnp.sum(batch.mask)), 1)
        of_batch = {"example": False, "batch": True}[config.normalizer]
        mean_cells = self._mean_digit_cells(batch, count) if of_batch else None

        def loss_fn(
            trained: Variables, batch_stats: Variables, batch: Batch, box: Array, dropout: Array
        ) -> tuple[Array, Any]:
            outputs, updated = self.model.apply(
                {
                    "params": optim.freeze(trained, self.config.optim.freeze),
                    "batch_stats": batch_stats,
                    "input_stats": state.input_stats,
                },
                batch.image,
                train=True,
                mask=batch.mask,
                rngs={"dropout": dropout},
                mutable=["batch_stats"],
                **({"boxes": batch.boxes} if self.config.model.second_look else {}),
            )
            terms = losses.loss_terms(outputs, batch, box, config, mean_cells)
            return losses.total_loss(terms, batch.mask, count, config), (terms, updated.get("batch_stats", {}))

        # Each device differentiates its own shard of the sum. A psum inside loss_fn would count the gradient once per
        # device.
        gradient_of = jax.value_and_grad(loss_fn, has_aux=True)
        inputs = (state.params, state.batch_stats, batch, box, dropout)
        parts = self.config.train.accumulate
        group = 2 if self.config.data.half_scenes else 1  # a photograph and a scene
        gradient = (
            gradient_of(*inputs) if parts == 1 else accumulate(gradient_of, parts, *inputs, self.model.axis, group)
        )
        (loss, (terms, batch_stats)), grads = gradient
        loss, grads = self._sum_over_devices((loss, grads))
        for name, norm in (("l2", losses.l2), ("l1", losses.l1)):
            if weight := config[name]:
                value, gradient_of_norm = self._of_norm(state.params, norm, config[f"{name}_params"])
                loss, terms = loss + weight * value, terms | {name: value}
                grads = jax.tree.map(partial(_add_scaled, weight), grads, gradient_of_norm)
        return loss, terms, batch_stats, grads

    def _of_norm(
        self, variables: Variables, norm: Callable[[Variables, str], Array], pattern: str
    ) -> tuple[Array, Variables]:
        """Returns the norm of the parameters that are trained and match a pattern, and its gradient."""
        frozen = self.config.optim.freeze
        return jax.value_and_grad(lambda p: norm(optim.freeze(p, frozen), pattern))(variables)


def _add_scaled(weight: float, x: Array, y: Array) -> Array:
    return x + weight * y
