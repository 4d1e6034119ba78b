"""What happens to one batch: training and evaluation steps, pure functions of their arguments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from flax import struct
from jax import Array
from ml_collections import ConfigDict

from seqdigits import boxes as bx
from seqdigits import losses, metrics, optim, reading
from seqdigits.batch import NO_DIGIT, Batch, Outputs, Reading, Spec, Variables
from seqdigits.data.sources import Source
from seqdigits.models.build import init_variables
from seqdigits.streams import Stream, stream_key


class TrainState(struct.PyTreeNode):
    """Everything that a run is made of; what is saved and restored.

    Attributes:
      step: i32 [], updates done.
      params, batch_stats, input_stats: the model's collections.
      opt_state: the optimiser's.
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
    sums: metrics.Averages
    first_nonfinite: Array

    def variables(self) -> Variables:
        """The collections to evaluate with: the moving average where there is one."""
        raw = {"params": self.params, "batch_stats": self.batch_stats}
        return {**(self.average or raw), "input_stats": self.input_stats}


@dataclass(frozen=True)
class Steps:
    """The steps of one run: a model, the source it trains on, and a config.

    Attributes:
      config: the whole config.
      model: from models.build.
    """

    config: ConfigDict
    model: nn.Module

    def init(self, source: Source) -> TrainState:
        """The state before step 0; input_stats still to be filled. Traceable."""
        variables = init_variables(self.model, source.spec, self.config.seed)
        trained = {name: variables[name] for name in ("params", "batch_stats")}
        state = TrainState(
            step=jnp.zeros((), jnp.int32),
            **variables,
            opt_state=optim.optimizer(self.config.optim).init(variables["params"]),
            average=jax.tree.map(jnp.copy, trained) if self.config.optim.moving_average else {},
            sums={},
            first_nonfinite=jnp.full((), -1, jnp.int32),
        )
        host = {name: jax.ShapeDtypeStruct((1,), jnp.int32) for name in ("index", "position")}
        batch = jax.eval_shape(lambda a, h: self._make(a, h, source), source.spec.arrays, host)
        after = jax.eval_shape(lambda s, b: self._update(s, b)[1], state, batch)
        return state.replace(sums=metrics.zeros_like(after))

    def train(self, state: TrainState, arrays: dict[str, Array], hosts: dict[str, Array], source: Source) -> TrainState:
        """`steps_per_call` updates: hosts i32 [S, B], or [B] where S = 1."""
        if self.config.train.steps_per_call == 1:
            return self.train_one(state, arrays, hosts, source)

        def body(state: TrainState, host: dict[str, Array]) -> tuple[TrainState, None]:
            return self.train_one(state, arrays, host, source), None

        return jax.lax.scan(body, state, hosts)[0]

    def train_on(self, state: TrainState, batch: Batch) -> TrainState:
        """One update on a batch that is already made."""
        state, values = self._update(state, batch)
        return state.replace(sums=metrics.merge(state.sums, values))

    def evaluate(
        self, variables: Variables, arrays: dict[str, Array], host: dict[str, Array], source: Source
    ) -> metrics.Tally:
        """Counts one batch."""
        return metrics.tally(*self.read(variables, arrays, host, source))

    def read(
        self, variables: Variables, arrays: dict[str, Array], host: dict[str, Array], source: Source
    ) -> tuple[Batch, Outputs, Reading]:
        """Makes one batch and reads it."""
        batch = source.make(arrays, host, stream_key(self.config.seed, Stream.AUGMENT), train=False)
        return batch, *self.read_batch(variables, batch, source.spec)

    def read_batch(self, variables: Variables, batch: Batch, spec: Spec) -> tuple[Outputs, Reading]:
        """Reads a batch that is already made."""
        outputs = self.model.apply(variables, batch.image, train=False, mask=batch.mask)
        return outputs, reading.read(outputs, reading.limits(self.config, spec))

    def train_one(
        self, state: TrainState, arrays: dict[str, Array], host: dict[str, Array], source: Source
    ) -> TrainState:
        """One update: host i32 [B]."""
        return self.train_on(state, self._make(arrays, host, source))

    def _make(self, arrays: dict[str, Array], host: dict[str, Array], source: Source) -> Batch:
        return source.make(arrays, host, stream_key(self.config.seed, Stream.AUGMENT), train=True)

    def _update(self, state: TrainState, batch: Batch) -> tuple[TrainState, metrics.Averages]:
        dropout = jax.random.fold_in(stream_key(self.config.seed, Stream.DROPOUT), state.step)
        box = bx.hull(batch.boxes, batch.digits != NO_DIGIT)

        def loss_fn(params: Variables) -> tuple[Array, Any]:
            outputs, updated = self.model.apply(
                {"params": params, "batch_stats": state.batch_stats, "input_stats": state.input_stats},
                batch.image,
                train=True,
                mask=batch.mask,
                rngs={"dropout": dropout},
                mutable=["batch_stats"],
            )
            terms = losses.per_example(outputs, batch, box, self.config.loss)
            loss = losses.total(terms, batch.mask, self.config.loss)
            return loss, (terms, updated.get("batch_stats", {}))

        (loss, (terms, batch_stats)), grads = jax.value_and_grad(loss_fn, has_aux=True)(state.params)
        norm = optax.tree.norm(grads)
        updates, opt_state = optim.optimizer(self.config.optim).update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        average = state.average
        if self.config.optim.moving_average:
            current = {"params": params, "batch_stats": batch_stats}
            average = optim.move_average(average, current, self.config.optim.moving_average, state.step)
        bad = ~(jnp.isfinite(loss) & jnp.isfinite(norm)) & (state.first_nonfinite < 0)
        state = state.replace(
            step=state.step + 1,
            params=params,
            batch_stats=batch_stats,
            opt_state=opt_state,
            average=average,
            first_nonfinite=jnp.where(bad, state.step, state.first_nonfinite),
        )
        values = {f"loss/{name}": term for name, term in terms.items()}
        return state, metrics.averages({"loss": loss, **values, "gradient_norm": norm}, batch.mask)
