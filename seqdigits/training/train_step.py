"""The train step: a pure function of the state, the arrays of the source, and which examples."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import flax.linen as nn
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


class TrainState(struct.PyTreeNode):
    """Everything that a run is made of; what is saved and restored.

    Attributes:
      step: i32 [], updates done.
      params, batch_stats, input_stats: the model's collections.
      opt_state: the optimizer's.
      average: moving average of params and batch_stats, or {} when it is off.
      sums: metrics since the last log line, as totals and counts.
      first_nonfinite: i32 [], the first step whose loss or gradient is not finite, or -1.
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
        """The collections to evaluate with: the moving average where there is one."""
        raw = {"params": self.params, "batch_stats": self.batch_stats}
        return {**(self.average or raw), "input_stats": self.input_stats}


@dataclass(frozen=True)
class TrainStep:
    """The train step of one run: a model and a config.

    Attributes:
      config: the whole config.
      model: from models.build, with the same axis.
      axis: name of the axis that the batch is split over where each device runs these steps on its own part of it (pmap);
        None where they see the whole batch.
    """

    config: ConfigDict
    model: nn.Module
    axis: str | None = None

    def init(self, source: DataSource) -> TrainState:
        """The state before step 0; input_stats still to be filled. Traceable.

        Raises:
          UserError: a pattern of the config fits no parameter.
        """
        variables = init_variables(self.model, source.spec, self.config.seed)
        params.check(variables["params"], self.config.loss.l2_params, "loss.l2_params")
        params.check(variables["params"], self.config.optim.freeze, "optim.freeze")
        if all(jax.tree.leaves(params.matching(variables["params"], self.config.optim.freeze))):
            raise UserError(
                f"optim.freeze = {self.config.optim.freeze!r} fits every parameter: nothing would be trained."
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
        batch = jax.eval_shape(lambda a, h: self._make(a, h, source), source.spec.arrays, source.spec.host_batch(1))
        alone = TrainStep(self.config, self.model.clone(axis=None))  # no devices to add up over
        after = jax.eval_shape(lambda s, b: alone._update(s, b)[1], state, batch)
        return state.replace(sums=averages.zeros_like(after))

    def train(
        self, state: TrainState, arrays: dict[str, Array], host_batches: dict[str, Array], source: DataSource
    ) -> TrainState:
        """One update with hosts i32 [B], or S updates with hosts i32 [S, B], scanned over."""
        if host_batches["index"].ndim == 1:
            return self.train_on(state, self._make(arrays, host_batches, source))

        def body(state: TrainState, host_batch: dict[str, Array]) -> tuple[TrainState, None]:
            return self.train(state, arrays, host_batch, source), None

        return jax.lax.scan(body, state, host_batches)[0]

    def train_on(self, state: TrainState, batch: Batch) -> TrainState:
        """One update on a batch that is already made."""
        state, values = self._update(state, batch)
        return state.replace(sums=averages.merge(state.sums, values))

    def _make(self, arrays: dict[str, Array], host_batch: dict[str, Array], source: DataSource) -> Batch:
        return source.make(arrays, host_batch, stream_key(self.config.seed, RngStream.AUGMENT), train=True)

    def _over_devices(self, tree: Any) -> Any:
        """The sum over all parts of the batch."""
        return jax.lax.psum(tree, self.axis) if self.axis else tree

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
        bad = ~(jnp.isfinite(loss) & jnp.isfinite(norm)) & (state.first_nonfinite < 0)
        state = state.replace(
            step=state.step + 1,
            params=new_params,
            batch_stats=batch_stats,
            opt_state=opt_state,
            average=average,
            first_nonfinite=jnp.where(bad, state.step, state.first_nonfinite),
        )
        each = {f"loss/{name}": term for name, term in terms.items() if term.ndim}
        whole = {f"loss/{name}": term for name, term in terms.items() if not term.ndim}
        values = self._over_devices(averages.averages(each, batch.mask))
        return state, values | averages.averages({"loss": loss, **whole, "gradient_norm": norm}, batch.mask)

    def _gradient(self, state: TrainState, batch: Batch) -> tuple[Array, dict[str, Array], Variables, Variables]:
        """Loss f32 [], its terms unweighted (f32 [B], of the parameters themselves f32 []), the new batch_stats, and the
        gradient, over all devices."""
        config = self.config.loss
        dropout = jax.random.fold_in(stream_key(self.config.seed, RngStream.DROPOUT), state.step)
        if self.axis:
            dropout = jax.random.fold_in(dropout, jax.lax.axis_index(self.axis))
        box = bx.enclosing_box(batch.boxes, batch.digits != NO_DIGIT)
        count = jnp.maximum(self._over_devices(jnp.sum(batch.mask)), 1)

        def loss_fn(trained: Variables) -> tuple[Array, Any]:
            outputs, updated = self.model.apply(
                {
                    "params": optim.freeze(trained, self.config.optim.freeze),
                    "batch_stats": state.batch_stats,
                    "input_stats": state.input_stats,
                },
                batch.image,
                train=True,
                mask=batch.mask,
                rngs={"dropout": dropout},
                mutable=["batch_stats"],
            )
            terms = losses.per_example(outputs, batch, box, config)
            return losses.total(terms, batch.mask, count, config), (terms, updated.get("batch_stats", {}))

        # Each device differentiates its own part of the sum; a sum over devices within would count it D times.
        (loss, (terms, batch_stats)), grads = jax.value_and_grad(loss_fn, has_aux=True)(state.params)
        loss, grads = self._over_devices((loss, grads))
        if config.l2:
            trained = partial(optim.freeze, frozen=self.config.optim.freeze)
            l2, l2_grads = jax.value_and_grad(lambda p: losses.l2(trained(p), config.l2_params))(state.params)
            loss, terms = loss + config.l2 * l2, terms | {"l2": l2}
            grads = jax.tree.map(lambda g, of_l2: g + config.l2 * of_l2, grads, l2_grads)
        return loss, terms, batch_stats, grads
