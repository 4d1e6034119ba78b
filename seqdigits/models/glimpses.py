"""A reader that looks at small parts of an image, one after another, and learns where to look from whether it read right.

The deep recurrent attention model of Ba et al. 2014, "Multiple object recognition with visual attention", arXiv:1412.7755.
"""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from seqdigits.core.types import Outputs
from seqdigits.models.layer_spec import Layer
from seqdigits.models.ops import flatten
from seqdigits.models.pixels import PixelNormalization
from seqdigits.models.recurrent import GRUCell
from seqdigits.models.stack import Base, Stack

CONTEXT_STRIDE = 4
"""The context network sees the image reduced by this factor."""


class GlimpseModel(Base):
    """Classifies each of L positions after N glimpses of its own.

    A glimpse is a square of S pixels of the image, and the square of 2S pixels around it, reduced to S. The product of its
    features and of those of its location is the input of a first recurrent layer, whose state the classifier reads after every
    N glimpses. The state of a second recurrent layer, above it, decides on the next location. It starts from the context: a
    small network on the reduced image, which the classifier does not see. In evaluation, a location is the one that the second
    layer names. In training, it is drawn from a normal distribution around it, and cannot be differentiated: its log density
    is an output, for the score function (REINFORCE, Williams 1992), with a baseline that is predicted from the same state.

    As in the paper, with two differences: both recurrent layers are GRUs, not LSTMs, and every image has L positions. After the
    last digit the end symbol, NO_DIGIT, is to be read at each of the rest.

    Attributes:
      pixels: kind of PixelNormalization.
      encoder: layers from a glimpse [B, S, S, 2C] to its features.
      context: layers from the reduced image to the features of the context.
      gru_units: u, units of each GRU, and of the features that are multiplied.
      head: layers of the classifier before its last dense layer to K.
      glimpses: N, number of glimpses for each position.
      glimpse_size: S, in pixels.
      glimpse_deviation: standard deviation of a location in training, in halves of the image.
      remat: see Stack, of the encoder.
      positions: L.
      num_classes: K.
    """

    pixels: str = "unit"
    encoder: tuple[Layer, ...] = ()
    context: tuple[Layer, ...] = ()
    gru_units: int = 0
    head: tuple[Layer, ...] = ()
    glimpses: int = 1
    glimpse_size: int = 16
    glimpse_deviation: float = 0.1
    remat: bool = False
    positions: int = 1
    num_classes: int = 10

    @nn.compact
    def __call__(self, image: Array, *, train: bool, mask: Array) -> Outputs:
        """Predicts the positions of image u8 [B, H, W, C] with mask bool [B].

        Returns:
          Outputs with digit_logits, location_log_density and baselines.
        """
        common = {"kernel_init": self.kernels(), "bias_init": self.biases(), "dtype": self.dtype}
        x = PixelNormalization(self.pixels, name="pixels")(image)
        context = Stack(**self.common, layers=self.context, name="context")
        encoder = Stack(**self.common, layers=self.encoder, remat=self.remat, name="encoder")
        of_glimpse = nn.Dense(self.gru_units, **common, name="what")
        # Biases of 1: at first, the product is about the features of the glimpse. With 0 it is near 0, and hardly trained.
        of_location = nn.Dense(self.gru_units, **{**common, "bias_init": nn.initializers.ones}, name="where")
        lower, upper = (GRUCell(self.gru_units, self.dtype, name=name) for name in ("lower", "upper"))
        emission, baseline = nn.Dense(2, name="emission"), nn.Dense(1, name="baseline")
        head = (*self.head, Layer("dense", features=self.num_classes))
        classify = Stack(**{**self.common, "float32_output": True}, layers=head, name="head")

        padded = pad(x, self.glimpse_size)
        features = flatten(context(reduce(x, CONTEXT_STRIDE), train=train, mask=mask))
        state = jnp.zeros((image.shape[0], self.gru_units), jnp.float32)
        upper_state = nn.tanh(nn.Dense(self.gru_units, **common, name="initial")(features)).astype(jnp.float32)
        logits, densities, baselines = [], [], []
        for _ in range(self.positions):
            for _ in range(self.glimpses):
                mean = nn.tanh(emission(upper_state))  # [B, 2], x and y, -1..1 from edge to edge
                location = mean
                if train:
                    noise = jax.random.normal(self.make_rng("dropout"), mean.shape)
                    location = jax.lax.stop_gradient(mean + self.glimpse_deviation * noise)
                densities.append(-jnp.sum(jnp.square((location - mean) / self.glimpse_deviation), axis=-1) / 2)
                baselines.append(baseline(jax.lax.stop_gradient(upper_state))[:, 0])
                glimpse = look(padded, location, self.glimpse_size)
                what = nn.relu(of_glimpse(flatten(encoder(glimpse, train=train, mask=mask))))
                where = nn.relu(of_location(jax.lax.stop_gradient(location)))
                state = lower(state, what * where)
                upper_state = upper(upper_state, state)
            logits.append(classify(state, train=train, mask=mask))
        shape = (-1, self.positions, self.glimpses)
        return Outputs(
            digit_logits=jnp.stack(logits, axis=1),
            location_log_density=jnp.stack(densities, axis=1).reshape(shape),
            baselines=jnp.stack(baselines, axis=1).reshape(shape),
        )


def pad(x: Array, size: int) -> Array:
    """Adds `size` pixels of 0 on each side of f32 [B, H, W, C], for `look`."""
    return jnp.pad(x, ((0, 0), (size, size), (size, size), (0, 0)))


def look(padded: Array, location: Array, size: int) -> Array:
    """Cuts out glimpses at two scales.

    Args:
      padded: f32 [B, H + 2S, W + 2S, C], from `pad`.
      location: f32 [B, 2], x and y of the centers, -1..1 from edge to edge of the image; beyond it, the edge counts.
      size: S, even, in pixels.

    Returns:
      f32 [B, S, S, 2C]: the square of S pixels, and that of 2S pixels by the means of 2x2 pixels.
    """
    limits = jnp.array([padded.shape[2] - 2 * size, padded.shape[1] - 2 * size])  # W, H
    corner = jnp.clip(jnp.round((location + 1) / 2 * limits), 0, limits).astype(jnp.int32)  # of the large square

    def cut(image: Array, corner: Array) -> Array:
        return jax.lax.dynamic_slice(image, (corner[1], corner[0], 0), (2 * size, 2 * size, image.shape[2]))

    large = jax.vmap(cut)(padded, corner)
    start, end = size // 2, size // 2 + size
    return jnp.concatenate([large[:, start:end, start:end], reduce(large, 2)], axis=-1)


def reduce(x: Array, size: int) -> Array:
    """Reduces f32 [B, H, W, C] to the means of size x size pixels; an incomplete row or column at the end is left out."""
    return nn.avg_pool(x, (size, size), (size, size))


def policy_loss(location_log_density: Array, baselines: Array, correct: Array) -> Array:
    """Returns the loss whose gradient is that of the expected reward by the score function, negated: f32 [B].

    The reward of a glimpse is 1 where the digit of its position is right, else 0. The difference of it and the baseline is not
    differentiated (Ba et al. 2014, arXiv:1412.7755, section 3).

    Args:
      location_log_density: f32 [B, L, G].
      baselines: f32 [B, L, G], the expected rewards.
      correct: bool [B, L].

    >>> float(policy_loss(jnp.array([[[-1.0, -2.0]]]), jnp.array([[[0.25, 0.5]]]), jnp.array([[True]]))[0])
    1.75
    """
    advantage = jax.lax.stop_gradient(correct[..., None] - baselines)
    return -jnp.sum(advantage * location_log_density, axis=(1, 2))


def baseline_loss(baselines: Array, correct: Array) -> Array:
    """Returns the mean squared error of the baselines f32 [B, L, G], for correct bool [B, L]: f32 [B].

    >>> float(baseline_loss(jnp.array([[[0.5, 1.0]]]), jnp.array([[True]]))[0])
    0.125
    """
    return jnp.mean(jnp.square(correct[..., None] - baselines), axis=(1, 2))
