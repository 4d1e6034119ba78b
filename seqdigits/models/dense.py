"""The dense detector: every cell of a grid predicts a digit at or near it, or none, and the digit's box.

`loss.target` decides which cells are positive for a digit. The outputs of the network become boxes in
`boxes_from_offsets`. The targets of the cells are assigned in `models/targets.py`, their losses are in
`models/losses.py: cell_losses`, and `decoding/cells.py` turns cells into predicted numbers.
"""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from seqdigits.core.constants import NO_DIGIT
from seqdigits.core.types import Outputs
from seqdigits.data import digits
from seqdigits.models.layer_spec import Layer, largest_stride, total_stride
from seqdigits.models.pixels import PixelNormalization
from seqdigits.models.stack import Base, Stack


class DenseDetector(Base):
    """A fully convolutional detector for images of any size with any number of digits.

    An image whose sides are not multiples of the encoder's largest stride is padded on the right and at the bottom by
    repeating its edge.

    Attributes:
      pixels: kind of PixelNormalization.
      encoder: layers from the image to a feature map. The stride of this map is the side of a cell.
      octaves: number of octaves of the image pyramid that is evaluated outside training, for digits larger than those
        of the training set. The scales are 1 and 3/4, and both halved once per octave. All scales share the weights.
        With octaves, the outputs list the cells of all scales one after another, see Outputs.scales.
      remat: whether the encoder recomputes its activations, see Stack.
      mean_jitter: standard deviation of a random number that is added to the normalized pixels of each image in training.
      second_look: layers of a classifier that looks again at the tile of each digit, digits.SIZE pixels wide and high, which
        is cut out of the image; the last layer has 10 features. Empty = none.
    """

    pixels: str = "unit"
    encoder: tuple[Layer, ...] = ()
    octaves: int = 0
    remat: bool = False
    mean_jitter: float = 0.0
    second_look: tuple[Layer, ...] = ()

    @property
    def stride(self) -> int:
        """The side of a cell, in pixels."""
        return total_stride(self.encoder)

    def grid(self, height: int, width: int) -> tuple[int, int]:
        """Returns the number of rows and columns of cells of a training image."""
        multiple = largest_stride(self.encoder)
        return (height + -height % multiple) // self.stride, (width + -width % multiple) // self.stride

    @nn.compact
    def __call__(self, image: Array, *, train: bool, mask: Array, boxes: Array | None = None) -> Outputs:
        """Predicts the cells of image u8 [B, H, W, C] with mask bool [B].

        With `second_look` and boxes f32 [B, M, 4], it also classifies the tiles in their centers. Outside training it does
        nothing else then, because the boxes come from a first call.

        Returns:
          Outputs with cell_logits, cell_boxes and, with boxes, tile_logits; its box is the mean box of the training set.
        """
        normalize = PixelNormalization(self.pixels, name="pixels")
        tile_logits = None
        if self.second_look and (boxes is not None or self.is_initializing()):
            boxes = jnp.zeros((len(image), 1, 4)) if boxes is None else boxes
            classifier = Stack(**self.common, layers=self.second_look, float32_output=True, name="second_look")
            if train:
                boxes = boxes.at[..., :2].add(
                    TILE_JITTER * jax.random.normal(self.make_rng("dropout"), (*boxes.shape[:2], 2))
                )
            present = (mask[:, None] & (boxes[..., 2] > 0)).reshape(-1)
            tiles = normalize(cut_tiles(image, boxes)).reshape(-1, digits.SIZE, digits.SIZE, image.shape[-1])
            tile_logits = classifier(tiles, train=train, mask=present).reshape(*boxes.shape[:2], -1)
            if not train and not self.is_initializing():
                return Outputs(tile_logits=tile_logits)
        encoder = Stack(**self.common, layers=self.encoder, remat=self.remat, name="encoder")
        outputs = {"kernel_init": self.kernels(), "dtype": jnp.float32}  # whatever the encoder computes in
        digit_head = nn.Dense(NO_DIGIT + 1, **outputs, bias_init=_no_digit_bias, name="digits")
        box_head = nn.Dense(4, **outputs, name="place")  # the name in saved weights
        stride, multiple = self.stride, largest_stride(self.encoder)

        def predict_scale(x: Array, shrink: float = 1) -> tuple[Array, Array]:
            """Returns logits and boxes of `image` with its sides divided by `shrink`; boxes in pixels of `image`."""
            x = encoder(_pad_to_multiple(x, multiple), train=train, mask=mask)  # [B, h, w, F]
            return digit_head(x), boxes_from_offsets(box_head(x), stride) * shrink

        x = normalize(image)
        if self.mean_jitter and train:
            x = x + self.mean_jitter * jax.random.normal(self.make_rng("dropout"), (len(image), 1, 1, 1))
        logits, cell_boxes = predict_scale(x)
        scales = [(logits, cell_boxes)]
        if self.octaves and not train:
            scales.append(predict_scale(_three_quarters(x), 4 / 3))
            for octave in range(1, self.octaves + 1):
                x = _halve(x)
                scales += [predict_scale(x, 2**octave), predict_scale(_three_quarters(x), 2**octave * 4 / 3)]
            logits, cell_boxes = (
                jnp.concatenate([part.reshape(image.shape[0], -1, 1, part.shape[-1]) for part in parts], axis=1)
                for parts in zip(*scales, strict=True)
            )  # [B, all cells, 1, 11], [B, all cells, 1, 4]
        mean_box = self.variable("input_stats", "mean_box", jnp.zeros, (4,))
        return Outputs(
            box=jnp.broadcast_to(mean_box.value, (image.shape[0], 4)),
            cell_logits=logits,
            cell_boxes=cell_boxes,
            tile_logits=tile_logits,
            stride=stride,
            scales=tuple(part.shape[1] * part.shape[2] for part, _ in scales),
        )


TILE_JITTER = 0.4
"""Standard deviation of the error of the places of tiles in training, in pixels; they are rounded to whole pixels."""


def cut_tiles(image: Array, boxes: Array) -> Array:
    """Cuts a tile of digits.SIZE pixels around the center of each box; beyond the image, its edge is repeated.

    A digit of a canvas or strip is such a tile, so that the tile of a center that is found to half a pixel is exact.

    Args:
      image: u8 [B, H, W, C].
      boxes: f32 [B, M, 4], cxcywh in pixels.

    Returns:
      u8 [B, M, SIZE, SIZE, C].
    """
    corner = jnp.round(boxes[..., :2] - digits.SIZE / 2).astype(jnp.int32)[..., None]  # [B, M, 2, 1]
    steps = jnp.arange(digits.SIZE)
    columns = jnp.clip(corner[:, :, 0] + steps, 0, image.shape[2] - 1)  # [B, M, SIZE]
    rows = jnp.clip(corner[:, :, 1] + steps, 0, image.shape[1] - 1)
    return jax.vmap(lambda image, rows, columns: image[rows[:, :, None], columns[:, None]])(image, rows, columns)


def boxes_from_offsets(offsets: Array, stride: int) -> Array:
    """Returns the boxes of cells, computed from the outputs of the box head.

    The center is an offset from the center of the cell, in cells. The size is the exponential of its logarithm, in
    cells. So zeros are the square of the cell itself. The logarithms are clipped to -4..6, that is sizes
    of 0.018 to 403 cells, which keeps the exponential finite.

    Args:
      offsets: f32 [B, h, w, 4]: x and y offset in cells, logarithm of width and height in cells.
      stride: side of a cell, in pixels.

    Returns:
      f32 [B, h, w, 4], cxcywh in pixels.
    """
    rows, columns = jnp.arange(offsets.shape[1]), jnp.arange(offsets.shape[2])
    cell_centers = jnp.stack(jnp.meshgrid(columns, rows), axis=-1) + 0.5  # [h, w, 2], x and y in cells
    center = (cell_centers + offsets[..., :2]) * stride
    size = jnp.exp(jnp.clip(offsets[..., 2:], -4.0, 6.0)) * stride
    return jnp.concatenate([center, size], axis=-1)


def _no_digit_bias(_key: Array, shape: tuple[int, ...], dtype: jnp.dtype = jnp.float32) -> Array:
    """Returns initial biases with which every cell predicts NO_DIGIT with a probability of 0.97.

    Nearly all cells contain no digit, so training would otherwise spend its first steps on this prior (Lin et al. 2017,
    arXiv:1708.02002, section 3.3).
    """
    return jnp.zeros(shape, dtype).at[NO_DIGIT].set(jnp.log(0.97 / 0.003))


def _pad_to_multiple(x: Array, multiple: int) -> Array:
    """Pads [B, H, W, C] on the right and at the bottom with its edge, to sides that are multiples of `multiple`."""
    return jnp.pad(x, ((0, 0), (0, -x.shape[1] % multiple), (0, -x.shape[2] % multiple), (0, 0)), mode="edge")


def _halve(x: Array) -> Array:
    """Averages blocks of 2 x 2 pixels: f32 [B, H, W, C] -> [B, ceil(H / 2), ceil(W / 2), C].

    Odd sides are padded with the edge.
    """
    x = _pad_to_multiple(x, 2)
    batch, height, width, channels = x.shape
    return x.reshape(batch, height // 2, 2, width // 2, 2, channels).mean((2, 4))


def _three_quarters(x: Array) -> Array:
    """Resizes images to 3/4: f32 [B, H, W, C] -> [B, 3 ceil(H / 4), 3 ceil(W / 4), C].

    Bilinear with antialiasing (a triangle filter). Sides that are not multiples of 4 are padded with the edge.
    """
    x = _pad_to_multiple(x, 4)
    batch, height, width, channels = x.shape
    return jax.image.resize(x, (batch, height * 3 // 4, width * 3 // 4, channels), "linear")
