"""Recurrent decoders: a GRU that unrolls positions, with or without attention over the feature map."""

from __future__ import annotations

import flax.linen as nn
import jax.numpy as jnp
from jax import Array


class Gru(nn.Module):
    """A gated recurrent unit (Cho et al. 2014, arXiv:1406.1078, equations 5 to 8) that starts from a state of zeros, and
    gives its state after every step.

    The reset gate acts before the recurrent product, as in the original and in TensorFlow 1, which makes 3u(F+u+1)
    parameters, and weights and biases begin as TensorFlow 1 has them. What the inputs give to the gates hangs on no state,
    so it is computed for all steps at once, and only once where the same input is read at every step.

    Attributes:
      units: u.
      repeats: how often one input f32 [B, F] is read -> f32 [B, repeats, u]. 0: the input has steps of its own,
        f32 [B, T, F] -> f32 [B, T, u].
    """

    units: int
    repeats: int = 0

    @nn.compact
    def __call__(self, x: Array) -> Array:
        given = nn.Dense(
            3 * self.units, kernel_init=nn.initializers.glorot_uniform(), bias_init=_open_gates, name="input"
        )(x)
        cell = nn.scan(
            _GruStep,
            variable_broadcast="params",
            split_rngs={"params": False},
            in_axes=nn.broadcast if self.repeats else 1,
            out_axes=1,
            length=self.repeats or x.shape[1],
        )
        start = jnp.zeros((x.shape[0], self.units), x.dtype)
        _, states = cell(units=self.units, name="recurrent")(start, given)
        return states


class Attention(nn.Module):
    """A GRU that chooses before each step where on a feature map to look: the places are weighed by what stands there, by
    where they are, and by its state, and it reads their weighted mean (Bahdanau et al. 2014, arXiv:1409.0473, section 3.1;
    for images Xu et al. 2015, arXiv:1502.03044, section 4.2).

    Attributes:
      units: u, of the GRU and of what places are weighed by.
      repeats: L, steps.
    """

    units: int
    repeats: int

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """x f32 [B, h, w, F] -> f32 [B, L, u]."""
        batch, h, w, _ = x.shape
        rows, columns = jnp.linspace(-1, 1, h), jnp.linspace(-1, 1, w)
        where = jnp.stack(jnp.meshgrid(columns, rows), axis=-1)  # [h, w, 2]
        x = jnp.concatenate([x, jnp.broadcast_to(where, (batch, h, w, 2))], axis=-1)
        places = x.reshape(batch, h * w, -1)
        keys = nn.Dense(self.units, name="keys")(places)
        steps = nn.scan(
            _AttentionStep,
            variable_broadcast="params",
            split_rngs={"params": False},
            in_axes=(nn.broadcast, nn.broadcast),
            out_axes=1,
            length=self.repeats,
        )
        start = jnp.zeros((batch, self.units), x.dtype)
        _, states = steps(units=self.units, name="steps")(start, places, keys)
        return states


class _AttentionStep(nn.Module):
    units: int

    @nn.compact
    def __call__(self, state: Array, places: Array, keys: Array) -> tuple[Array, Array]:
        query = nn.Dense(self.units, use_bias=False, name="query")(state)
        score = nn.Dense(1, use_bias=False, name="score")(nn.tanh(keys + query[:, None]))[..., 0]  # [B, h*w]
        seen = jnp.einsum("bp,bpf->bf", nn.softmax(score), places)
        given = nn.Dense(
            3 * self.units, kernel_init=nn.initializers.glorot_uniform(), bias_init=_open_gates, name="input"
        )(seen)
        return _GruStep(units=self.units, name="recurrent")(state, given)


class _GruStep(nn.Module):
    units: int

    @nn.compact
    def __call__(self, state: Array, given: Array) -> tuple[Array, Array]:
        of_gates, of_candidate = given[:, : 2 * self.units], given[:, 2 * self.units :]
        dense = {"use_bias": False, "kernel_init": nn.initializers.glorot_uniform()}
        gates = nn.sigmoid(of_gates + nn.Dense(2 * self.units, **dense, name="gates")(state))
        reset, update = gates[:, : self.units], gates[:, self.units :]
        candidate = nn.tanh(of_candidate + nn.Dense(self.units, **dense, name="candidate")(reset * state))
        state = update * state + (1 - update) * candidate
        return state, state


def _open_gates(key: Array, shape: tuple[int, ...], dtype: jnp.dtype = jnp.float32) -> Array:
    """Biases of [reset, update, candidate]: 1 for the gates, so that at first the state is kept, 0 for the candidate."""
    del key
    return jnp.ones(shape, dtype).at[2 * shape[0] // 3 :].set(0)
