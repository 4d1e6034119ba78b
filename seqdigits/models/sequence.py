"""Models that say a fixed number of positions: features of the whole image, then a head a position."""

from __future__ import annotations

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from seqdigits.core.types import Outputs
from seqdigits.models.layer_spec import Layer
from seqdigits.models.ops import flatten
from seqdigits.models.pixels import PixelNormalization
from seqdigits.models.recurrent import Attention, Gru
from seqdigits.models.stack import Base, Stack


class SequenceModel(Base):
    """Pixel normalization, convolutions, then one vector a position by one of three ways, then a dense head each.

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
        x = PixelNormalization(self.pixels, name="pixels")(image)
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
