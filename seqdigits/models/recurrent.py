"""Recurrent decoders: a GRU that is unrolled over positions, with or without attention over the feature map."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jax import Array


class GRU(nn.Module):
    """A gated recurrent unit (Cho et al. 2014, arXiv:1406.1078, equations 5 to 8) that returns its states.

    The first state is zeros. The reset gate is applied before the recurrent product, as in the paper, in TensorFlow 1 and
    in Keras 2, so that there are 3u(F+u+1) parameters. Gates and initialization are those of `cell`. The
    contribution of the inputs to the gates does not depend on the state. It is therefore computed for all steps at
    once, and only once where every step has the same input.

    Attributes:
      units: u.
      repeats: number of steps that read one input f32 [B, F] -> f32 [B, repeats, u]. With 0 the input has a time
        axis: f32 [B, T, F] -> f32 [B, T, u].
      dtype: of products and gates. The state is float32, because it accumulates over the steps.
      cell: a key of CELLS.
    """

    units: int
    repeats: int = 0
    dtype: Any = jnp.float32
    cell: str = "tensorflow1"

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Returns the state after every step: f32 [B, F] or f32 [B, T, F] -> f32 [B, steps, u]."""
        cell, bias_init = CELLS[self.cell]
        projected = _input_layer(self.units, self.dtype, bias_init)(x)
        step = nn.scan(
            cell,
            variable_broadcast="params",
            split_rngs={"params": False},
            in_axes=nn.broadcast if self.repeats else 1,
            out_axes=1,
            length=self.repeats or x.shape[1],
        )
        initial = jnp.zeros((x.shape[0], self.units), jnp.float32)
        _, states = step(units=self.units, dtype=self.dtype, name="recurrent")(initial, projected)
        return states


class AttentionGRU(nn.Module):
    """A GRU that attends to the positions of a feature map at every step.

    Additive attention (Bahdanau et al. 2014, arXiv:1409.0473, section 3.1; for images Xu et al. 2015, arXiv:1502.03044,
    section 4.2). The weight of a position depends on its features, its coordinates and the state of the GRU. The input
    of a step is the weighted mean of all positions.

    Attributes:
      units: u, of the GRU and of the queries and keys.
      repeats: L, number of steps.
      dtype: of products and gates. The state and the attention weights are computed in float32.
    """

    units: int
    repeats: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Returns the state after every step: f32 [B, h, w, F] -> f32 [B, L, u]."""
        batch, h, w, _ = x.shape
        rows, columns = jnp.linspace(-1, 1, h), jnp.linspace(-1, 1, w)
        coordinates = jnp.stack(jnp.meshgrid(columns, rows), axis=-1).astype(x.dtype)  # [h, w, 2]
        x = jnp.concatenate([x, jnp.broadcast_to(coordinates, (batch, h, w, 2))], axis=-1)
        values = x.reshape(batch, h * w, -1)
        keys = nn.Dense(self.units, dtype=self.dtype, name="keys")(values)
        step = nn.scan(
            _AttentionStep,
            variable_broadcast="params",
            split_rngs={"params": False},
            in_axes=(nn.broadcast, nn.broadcast),
            out_axes=1,
            length=self.repeats,
        )
        initial = jnp.zeros((batch, self.units), jnp.float32)
        _, states = step(units=self.units, dtype=self.dtype, name="steps")(initial, values, keys)
        return states


class _AttentionStep(nn.Module):
    units: int
    dtype: Any

    @nn.compact
    def __call__(self, state: Array, values: Array, keys: Array) -> tuple[Array, Array]:
        query = nn.Dense(self.units, use_bias=False, dtype=self.dtype, name="query")(state)
        score = nn.Dense(1, use_bias=False, dtype=self.dtype, name="score")(nn.tanh(keys + query[:, None]))[..., 0]
        weights = nn.softmax(score.astype(jnp.float32)).astype(self.dtype)  # [B, h*w]
        attended = jnp.einsum("bp,bpf->bf", weights, values)
        projected = _input_layer(self.units, self.dtype, _gate_bias)(attended)
        return _GRUStep(units=self.units, dtype=self.dtype, name="recurrent")(state, projected)


class GRUCell(nn.Module):
    """One step of the unit of GRU: its state f32 [B, u] and an input f32 [B, F] -> the next state f32 [B, u].

    Attributes:
      units: u.
      dtype: of products and gates.
    """

    units: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, state: Array, x: Array) -> Array:
        """Returns the next state."""
        projected = _input_layer(self.units, self.dtype, _gate_bias)(x)
        state, _ = _GRUStep(units=self.units, dtype=self.dtype, name="recurrent")(state, projected)
        return state


class _GRUStep(nn.Module):
    units: int
    dtype: Any

    @nn.compact
    def __call__(self, state: Array, projected: Array) -> tuple[Array, Array]:
        gate_input, candidate_input = projected[:, : 2 * self.units], projected[:, 2 * self.units :]
        dense = {"use_bias": False, "dtype": self.dtype, "kernel_init": nn.initializers.glorot_uniform()}
        gates = nn.sigmoid(gate_input + nn.Dense(2 * self.units, **dense, name="gates")(state))
        reset, update = gates[:, : self.units], gates[:, self.units :]
        candidate = nn.tanh(candidate_input + nn.Dense(self.units, **dense, name="candidate")(reset * state))
        state = update * state + (1 - update) * candidate
        return state, state


class _KerasStep(nn.Module):
    units: int
    dtype: Any

    @nn.compact
    def __call__(self, state: Array, projected: Array) -> tuple[Array, Array]:
        # One kernel of orthonormal rows: three square ones of their own would be larger by the square root of 3.
        kernel = self.param("kernel", nn.initializers.orthogonal(), (self.units, 3 * self.units)).astype(self.dtype)
        of_gates, of_candidate = kernel[:, : 2 * self.units], kernel[:, 2 * self.units :]
        gate_input, candidate_input = projected[:, : 2 * self.units], projected[:, 2 * self.units :]
        gates = jnp.clip(0.2 * (gate_input + state.astype(self.dtype) @ of_gates) + 0.5, 0, 1)  # hard sigmoid
        reset, update = gates[:, : self.units], gates[:, self.units :]
        candidate = nn.tanh(candidate_input + (reset * state).astype(self.dtype) @ of_candidate)
        state = update * state + (1 - update) * candidate
        return state, state


def _gate_bias(_key: Array, shape: tuple[int, ...], dtype: jnp.dtype = jnp.float32) -> Array:
    """Returns initial biases of [reset, update, candidate]: 1, 1 and 0, so that the state is kept at first."""
    return jnp.ones(shape, dtype).at[2 * shape[0] // 3 :].set(0)


def _input_layer(units: int, dtype: Any, bias_init: nn.initializers.Initializer) -> nn.Dense:
    """Returns the layer "input", which takes the input of a step to its parts of both gates and of the candidate."""
    kernel_init = nn.initializers.glorot_uniform()
    return nn.Dense(3 * units, kernel_init=kernel_init, bias_init=bias_init, dtype=dtype, name="input")


CELLS: dict[str, tuple[type[nn.Module], nn.initializers.Initializer]] = {
    "tensorflow1": (_GRUStep, _gate_bias),
    "keras2": (_KerasStep, nn.initializers.zeros),
}
"""The allowed values of `model.gru_cell` -> the step, and the initializer of the biases of its input.

tensorflow1: logistic gates, glorot uniform kernels, biases of 1 for the gates and 0 for the candidate. keras2: hard sigmoid
gates, one orthogonal recurrent kernel for gates and candidate, biases of 0, as GRU(reset_after=False) of Keras 2.
"""
