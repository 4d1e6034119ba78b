"""The dense detector: every cell of a grid says which digit has its center there, or none, and where its box is."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from seqdigits.core.constants import NO_DIGIT
from seqdigits.core.types import Outputs
from seqdigits.models.layer_spec import Layer, largest_stride, total_stride
from seqdigits.models.pixels import PixelNormalization
from seqdigits.models.stack import Base, Stack


class DenseDetector(Base):
    """A fully convolutional network: any image size, any number of digits. An image whose sides are no multiples of the
    largest stride is continued to the right and below, its edge repeated.

    Attributes:
      pixels: kind of the first layer.
      encoder: layers from the image to a feature map; its stride is the size of a cell.
      halvings: how often the image is also read at half the size of before, and at three quarters of each of these sizes
        and of its own, for digits larger than those that were trained on; not in training. The cells of all sizes are then
        one list, see Outputs.looks.
    """

    pixels: str = "unit"
    encoder: tuple[Layer, ...] = ()
    octaves: int = 0

    @nn.compact
    def __call__(self, image: Array, *, train: bool, mask: Array) -> Outputs:
        """image u8 [B, H, W, C], mask bool [B] -> Outputs with cell_logits and cell_boxes, and the mean box as box."""
        encoder = Stack(**self.common, layers=self.encoder, name="encoder")
        digits = nn.Dense(NO_DIGIT + 1, kernel_init=self.kernels(), bias_init=_mostly_none, name="digits")
        place = nn.Dense(4, kernel_init=self.kernels(), name="place")
        stride, most = total_stride(self.encoder), largest_stride(self.encoder)

        def look(x: Array, times: float = 1) -> tuple[Array, Array]:
            """Cells of an image that is so many times smaller than `image`; boxes in pixels of `image`."""
            x = encoder(_continued(x, most), train=train, mask=mask)  # [B, h, w, F]
            return digits(x), _boxes(place(x), stride) * times

        x = PixelNormalization(self.pixels, name="pixels")(image)
        logits, boxes = look(x)
        scales = [(logits, boxes)]
        if self.octaves and not train:
            scales.append(look(_three_quarters(x), 4 / 3))
            for halved in range(1, self.octaves + 1):
                x = _halve(x)
                scales += [look(x, 2**halved), look(_three_quarters(x), 2**halved * 4 / 3)]
            logits, boxes = (
                jnp.concatenate([part.reshape(len(image), -1, 1, part.shape[-1]) for part in parts], axis=1)
                for parts in zip(*scales, strict=True)
            )  # [B, all cells, 1, 11], [B, all cells, 1, 4]
        mean_box = self.variable("input_stats", "mean_box", jnp.zeros, (4,))
        return Outputs(
            box=jnp.broadcast_to(mean_box.value, (image.shape[0], 4)),
            cell_logits=logits,
            cell_boxes=boxes,
            stride=stride,
            scales=tuple(part.shape[1] * part.shape[2] for part, _ in scales),
        )


def _continued(x: Array, multiple: int) -> Array:
    """[B, H, W, C] continued to the right and below, its edge repeated, to sides that are multiples."""
    return jnp.pad(x, ((0, 0), (0, -x.shape[1] % multiple), (0, -x.shape[2] % multiple), (0, 0)), mode="edge")


def _halve(x: Array) -> Array:
    """Each 2 x 2 places as their mean: f32 [B, H, W, C] -> [B, ceil(H / 2), ceil(W / 2), C], the edge repeated."""
    x = _continued(x, 2)
    batch, height, width, channels = x.shape
    return x.reshape(batch, height // 2, 2, width // 2, 2, channels).mean((2, 4))


def _three_quarters(x: Array) -> Array:
    """Each 4 x 4 places as 3 x 3, triangles over what they cover: f32 [B, H, W, C] -> [B, 3 ceil(H / 4), 3 ceil(W / 4), C],
    the edge repeated."""
    x = _continued(x, 4)
    batch, height, width, channels = x.shape
    return jax.image.resize(x, (batch, height * 3 // 4, width * 3 // 4, channels), "linear")


def _mostly_none(key: Array, shape: tuple[int, ...], dtype: jnp.dtype = jnp.float32) -> Array:
    """Biases with which a cell says NO_DIGIT at 0.97, as nearly every cell is right to: else the first steps are spent on
    learning that (Lin et al. 2017, arXiv:1708.02002, section 3.3)."""
    del key
    return jnp.zeros(shape, dtype).at[NO_DIGIT].set(jnp.log(0.97 / 0.003))


def _boxes(place: Array, stride: int) -> Array:
    """f32 [B, h, w, 4], offsets in cells and logarithms of sizes in cells -> cxcywh in pixels."""
    rows, columns = jnp.arange(place.shape[1]), jnp.arange(place.shape[2])
    grid = jnp.stack(jnp.meshgrid(columns, rows), axis=-1) + 0.5  # [h, w, 2], x and y
    center = (grid + place[..., :2]) * stride
    size = jnp.exp(jnp.clip(place[..., 2:], -4.0, 6.0)) * stride
    return jnp.concatenate([center, size], axis=-1)
