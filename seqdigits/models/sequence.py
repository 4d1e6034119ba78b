"""Models that say a fixed number of positions: features of the whole image, then a head a position."""

from __future__ import annotations

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from seqdigits.batch import Outputs
from seqdigits.models.layers import Base, Layer, Stack, flatten
from seqdigits.models.pixels import Pixels


class SequenceModel(Base):
    """Pixels, convolutions, then one vector a position by one of three ways, then a dense head each.

    Attributes:
      pixels: kind of the first layer.
      encoder: layers from the image to the features.
      steps: how the features become a vector a position: `heads` = the same flat features for each; `gru` = a GRU reads the
        flat features L times; `attention` = a GRU looks at the feature map anew for each position; `row_gru` = a GRU reads the rows of the feature map from top to bottom, and its last state is
        cut into L parts.
      gru_units: of the GRUs.
      head: layers of each position's head before its last dense layer to K.
      shared_head: whether the positions share one head.
      box_head: layers of the localization head before its last dense layer to 4; None = no localization. It sees the flat
        features.
      positions: L.
      num_classes: K.
    """

    pixels: str = "unit"
    encoder: tuple[Layer, ...] = ()
    steps: str = "heads"
    gru_units: int = 0
    head: tuple[Layer, ...] = ()
    shared_head: bool = False
    box_head: tuple[Layer, ...] | None = None
    positions: int = 1
    num_classes: int = 10

    @nn.compact
    def __call__(self, image: Array, *, train: bool, mask: Array) -> Outputs:
        """image u8 [B, H, W, C], mask bool [B] -> Outputs with digit_logits, and box if there is a box head."""
        x = Pixels(self.pixels, name="pixels")(image)
        x = Stack(**self.common, layers=self.encoder, name="encoder")(x, train=train, mask=mask)
        vectors = self._vectors(x)  # [B, L, F]
        head = (*self.head, Layer("dense", features=self.num_classes))
        if self.shared_head:
            shared = Stack(**self.common, layers=head, name="head")
            rows = vectors.reshape(-1, vectors.shape[-1])  # [B*L, F]
            logits = shared(rows, train=train, mask=jnp.repeat(mask, self.positions))
            logits = logits.reshape(-1, self.positions, self.num_classes)
        else:
            heads = [Stack(**self.common, layers=head, name=f"head_{i}") for i in range(self.positions)]
            logits = jnp.stack([h(vectors[:, i], train=train, mask=mask) for i, h in enumerate(heads)], axis=1)
        box = None
        if self.box_head is not None:
            to_box = (*self.box_head, Layer("dense", features=4))
            box = Stack(**self.common, layers=to_box, name="box_head")(flatten(x), train=train, mask=mask)
        return Outputs(digit_logits=logits, box=box)

    def _vectors(self, x: Array) -> Array:
        if self.steps == "row_gru":
            rows = x.reshape(x.shape[0], x.shape[1], -1)  # [B, h, w*F]
            last = Gru(units=self.gru_units, name="gru")(rows)[:, -1]
            return last.reshape(x.shape[0], self.positions, -1)
        if self.steps == "attention":
            return Attention(units=self.gru_units, repeats=self.positions, name="attention")(x)  # [B, L, units]
        x = flatten(x)  # [B, F]
        if self.steps == "gru":
            return Gru(units=self.gru_units, repeats=self.positions, name="gru")(x)  # [B, L, units]
        return jnp.broadcast_to(x[:, None], (x.shape[0], self.positions, x.shape[1]))


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
