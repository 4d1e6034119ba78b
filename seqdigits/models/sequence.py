"""Models that say a fixed number of positions: one vector for the whole image, then a head a position."""

from __future__ import annotations

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from seqdigits.batch import Outputs
from seqdigits.models.layers import Init, Layer, Stack, flatten
from seqdigits.models.pixels import Pixels


class SequenceModel(Init):
    """Pixels, convolutions, then either one head a position on the same features, or a GRU that unrolls the positions.

    Attributes:
      pixels: kind of the first layer.
      encoder: layers from the image to the features; a feature map is flattened.
      gru_units: 0 = none.
      head: layers of each position's head before its last dense layer to K; weights per position.
      box_head: layers of the localization head before its last dense layer to 4; None = no localization.
      positions: L.
      num_classes: K.
    """

    pixels: str = "unit"
    encoder: tuple[Layer, ...] = ()
    gru_units: int = 0
    head: tuple[Layer, ...] = ()
    box_head: tuple[Layer, ...] | None = None
    positions: int = 1
    num_classes: int = 10

    @nn.compact
    def __call__(self, image: Array, *, train: bool, mask: Array) -> Outputs:
        """image u8 [B, H, W, C], mask bool [B] -> Outputs with digit_logits, and box if there is a box head."""
        inits = {"kernel_init": self.kernel_init, "bias_init": self.bias_init}
        x = Pixels(self.pixels, name="pixels")(image)
        x = flatten(Stack(**inits, layers=self.encoder, name="encoder")(x, train=train, mask=mask))  # [B, F]
        if self.gru_units:
            steps = Gru(units=self.gru_units, steps=self.positions, name="gru")(x)  # [B, L, units]
        else:
            steps = jnp.broadcast_to(x[:, None], (x.shape[0], self.positions, x.shape[1]))
        head = (*self.head, Layer("dense", features=self.num_classes))
        positions = [
            Stack(**inits, layers=head, name=f"head_{i}")(steps[:, i], train=train, mask=mask)
            for i in range(self.positions)
        ]
        logits = jnp.stack(positions, axis=1)  # [B, L, K]
        box = None
        if self.box_head is not None:
            to_box = (*self.box_head, Layer("dense", features=4))
            box = Stack(**inits, layers=to_box, name="box_head")(x, train=train, mask=mask)
        return Outputs(digit_logits=logits, box=box)


class Gru(nn.Module):
    """A gated recurrent unit (Cho et al. 2014, arXiv:1406.1078, equations 5 to 8) that reads the same features at every
    step: f32 [B, F] -> f32 [B, steps, units], from a state of zeros.

    The reset gate acts before the recurrent product, as in the original and in TensorFlow 1, which makes 3u(F+u+1)
    parameters, and weights and biases begin as TensorFlow 1 has them. What the features give is the same at every step,
    so it is computed once.

    Attributes:
      units: u.
      steps: how often the features are read.
    """

    units: int
    steps: int

    @nn.compact
    def __call__(self, x: Array) -> Array:
        given = nn.Dense(
            3 * self.units, kernel_init=nn.initializers.glorot_uniform(), bias_init=_open_gates, name="input"
        )(x)
        cell = nn.scan(
            _GruStep,
            variable_broadcast="params",
            split_rngs={"params": False},
            in_axes=nn.broadcast,
            out_axes=1,
            length=self.steps,
        )
        start = jnp.zeros((x.shape[0], self.units), x.dtype)
        _, states = cell(units=self.units, name="recurrent")(start, given)
        return states


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
