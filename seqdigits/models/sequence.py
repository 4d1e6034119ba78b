"""Models with a fixed number of positions: features of the whole image, then one head per position."""

from __future__ import annotations

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from seqdigits.core.types import Outputs
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
    positions: int = 1
    num_classes: int = 10

    @nn.compact
    def __call__(self, image: Array, *, train: bool, mask: Array) -> Outputs:
        """Predicts the positions of image u8 [B, H, W, C] with mask bool [B].

        Returns:
          Outputs with digit_logits, and with box if there is a box head.
        """
        x = PixelNormalization(self.pixels, name="pixels")(image)
        encoder = Stack(**self.common, layers=self.encoder, remat=self.remat, name="encoder")
        x = encoder(x, train=train, mask=mask)
        vectors = self._decode(x)  # [B, L, F]
        head = (*self.head, Layer("dense", features=self.num_classes))
        common = {**self.common, "float32_output": True}
        if self.shared_head:
            shared = Stack(**common, layers=head, name="head")
            rows = vectors.reshape(-1, vectors.shape[-1])  # [B*L, F]
            logits = shared(rows, train=train, mask=jnp.repeat(mask, self.positions))
            logits = logits.reshape(-1, self.positions, self.num_classes)
        else:
            heads = [Stack(**common, layers=head, name=f"head_{i}") for i in range(self.positions)]
            logits = jnp.stack(
                [head_i(vectors[:, i], train=train, mask=mask) for i, head_i in enumerate(heads)], axis=1
            )
        box = None
        if self.box_head is not None:
            box_head = (*self.box_head, Layer("dense", features=4))
            box = Stack(**common, layers=box_head, name="box_head")(flatten(x), train=train, mask=mask)
        return Outputs(digit_logits=logits, box=box)

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
            gru = GRU(
                units=self.gru_units, repeats=self.positions, dtype=self.dtype, cell=self.gru_cell, name="gru"
            )
            return gru(x)  # [B, L, units]
        return jnp.broadcast_to(x[:, None], (x.shape[0], self.positions, x.shape[1]))
