"""Models with a fixed number of positions: features of the whole image, then one head per position."""

from __future__ import annotations

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from seqdigits.core.constants import NO_DIGIT
from seqdigits.core.types import Outputs
from seqdigits.decoding.cells import log_softmax, log_sum_exp
from seqdigits.models.layer_spec import Layer
from seqdigits.models.ops import flatten
from seqdigits.models.pixels import PixelNormalization
from seqdigits.models.recurrent import GRU, AttentionGRU
from seqdigits.models.stack import Base, Stack


class SequenceModel(Base):
    """A classifier for each of L positions.

    Pixel normalization and an encoder are followed by a decoder that gives one vector per position, and by a dense head
    per position.

    Attributes:
      pixels: kind of PixelNormalization.
      encoder: layers from the image to the features.
      decoder: how the features become one vector per position:
        `heads`: all positions share the flat features.
        `gru`: a GRU reads the flat features L times, and its states are the vectors.
        `attention`: a GRU attends to the feature map at each of L steps, and its states are the vectors.
        `row_gru`: a GRU reads the rows of the feature map from top to bottom, and its last state is split into L
          vectors.
      gru_units: units of the GRU.
      gru_cell: its cell, see recurrent.CELLS; not of `attention`.
      head: layers of each position's head before its last dense layer to K.
      shared_head: whether all positions share one head.
      box_head: layers of the localization head before its last dense layer to 4, on the flat features. None disables
        localization.
      remat: whether the encoder recomputes its activations, see Stack.
      length_head: whether the number of digits is classified too, on the flat features, see Outputs.length_logits. The heads of
        the positions then classify the ten digits, given that the number is long enough.
      positions: L.
      num_classes: K.
    """

    pixels: str = "unit"
    encoder: tuple[Layer, ...] = ()
    decoder: str = "heads"
    gru_units: int = 0
    gru_cell: str = "tensorflow1"
    head: tuple[Layer, ...] = ()
    shared_head: bool = False
    box_head: tuple[Layer, ...] | None = None
    remat: bool = False
    length_head: bool = False
    positions: int = 1
    num_classes: int = 10

    @nn.compact
    def __call__(self, image: Array, *, train: bool, mask: Array) -> Outputs:
        """Predicts the positions of image u8 [B, H, W, C] with mask bool [B].

        Returns:
          Outputs with digit_logits, with length_logits if there is a length head, and with box if there is a box head.
        """
        x = PixelNormalization(self.pixels, name="pixels")(image)
        encoder = Stack(**self.common, layers=self.encoder, remat=self.remat, name="encoder")
        x = encoder(x, train=train, mask=mask)
        vectors = self._decode(x)  # [B, L, F]
        classes = NO_DIGIT if self.length_head else self.num_classes
        head = (*self.head, Layer("dense", features=classes))
        common = {**self.common, "float32_output": True}
        if self.shared_head:
            shared = Stack(**common, layers=head, name="head")
            rows = vectors.reshape(-1, vectors.shape[-1])  # [B*L, F]
            logits = shared(rows, train=train, mask=jnp.repeat(mask, self.positions))
            logits = logits.reshape(-1, self.positions, classes)
        else:
            heads = [Stack(**common, layers=head, name=f"head_{i}") for i in range(self.positions)]
            logits = jnp.stack(
                [head_i(vectors[:, i], train=train, mask=mask) for i, head_i in enumerate(heads)], axis=1
            )
        length = None
        if self.length_head:
            length_head = (Layer("dense", features=self.positions + 2),)
            length = Stack(**common, layers=length_head, name="length_head")(flatten(x), train=train, mask=mask)
            logits = position_log_probabilities(length, logits)
        box = None
        if self.box_head is not None:
            box_head = (*self.box_head, Layer("dense", features=4))
            box = Stack(**common, layers=box_head, name="box_head")(flatten(x), train=train, mask=mask)
        return Outputs(digit_logits=logits, length_logits=length, box=box)

    def _decode(self, x: Array) -> Array:
        if self.decoder == "row_gru":
            rows = x.reshape(x.shape[0], x.shape[1], -1)  # [B, h, w*F]
            last = GRU(units=self.gru_units, dtype=self.dtype, cell=self.gru_cell, name="gru")(rows)[:, -1]
            return last.reshape(x.shape[0], self.positions, -1)
        if self.decoder == "attention":
            gru = AttentionGRU(units=self.gru_units, repeats=self.positions, dtype=self.dtype, name="attention")
            return gru(x)  # [B, L, units]
        x = flatten(x)  # [B, F]
        if self.decoder == "gru":
            gru = GRU(units=self.gru_units, repeats=self.positions, dtype=self.dtype, cell=self.gru_cell, name="gru")
            return gru(x)  # [B, L, units]
        assert self.decoder == "heads", "there is no other decoder"
        return jnp.broadcast_to(x[:, None], (x.shape[0], self.positions, x.shape[1]))


def position_log_probabilities(length_logits: Array, digit_logits: Array) -> Array:
    """Returns the log probability of each digit at each position, and of NO_DIGIT there.

    After Goodfellow et al. 2013, arXiv:1312.6082, section 4: the length and the digits are independent given the image.

    Args:
      length_logits: f32 [B, L + 2], of 0, 1, .., L digits, and of more.
      digit_logits: f32 [B, L, 10], of the digit at a position, given that there is one.

    Returns:
      f32 [B, L, 11]: log P(length > i) + log P(digit i), and log P(length <= i) for NO_DIGIT, with i = 0, .., L - 1.

    >>> length, digits = jnp.log(jnp.array([[0.2, 0.5, 0.3]])), jnp.log(jnp.array([[[0.5, 0.5] + [1e-9] * 8]]))
    >>> [round(float(p), 3) for p in jnp.exp(position_log_probabilities(length, digits))[0, 0, jnp.array([0, 1, 10])]]
    [0.4, 0.4, 0.2]
    """
    log_length, positions = log_softmax(length_logits), range(digit_logits.shape[1])
    ended = jnp.stack([log_sum_exp(log_length[:, : i + 1]) for i in positions], axis=1)
    longer = jnp.stack([log_sum_exp(log_length[:, i + 1 :]) for i in positions], axis=1)
    digits = longer[..., None] + log_softmax(digit_logits)
    return jnp.concatenate([digits, ended[..., None]], axis=-1)
