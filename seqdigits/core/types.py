"""The types that packages exchange: Spec, Batch, Outputs, Prediction.

Letters in all shapes: B batch, H W C image, L positions, K classes, N numbers in an image, h w cells of a grid.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import Array

from seqdigits.core.constants import NO_DIGIT

Variables = dict
"""Flax variable collections: params, batch_stats, input_stats."""


@dataclass(frozen=True)
class Spec:
    """The shapes of a data source, known without opening a file, so that a full step can be traced.

    Attributes:
      image: H, W, C.
      max_length: L.
      min_length: fewest digits in an image.
      num_examples: number of examples; None = endless.
      arrays: shapes and dtypes of the arrays of the source, which are resident on the device.
      payload: shapes and dtypes of what the host provides for each example in addition to index and position.
    """

    image: tuple[int, int, int]
    max_length: int
    min_length: int
    num_examples: int | None
    arrays: dict[str, jax.ShapeDtypeStruct]
    payload: dict[str, jax.ShapeDtypeStruct] = field(default_factory=dict)

    def host_batch(self, rows: int) -> dict[str, jax.ShapeDtypeStruct]:
        """Returns the shapes and dtypes of a host batch of `rows` rows."""
        number = jax.ShapeDtypeStruct((), jnp.int32)
        each = {"index": number, "position": number, **self.payload}
        return {name: jax.ShapeDtypeStruct((rows, *one.shape), one.dtype) for name, one in each.items()}

    @property
    def num_classes(self) -> int:
        """K: 11 if a position may have no digit, else 10."""
        return 11 if self.min_length < self.max_length else 10


class Batch(struct.PyTreeNode):
    """Images and their ground truth.

    Attributes:
      image: u8 [B, H, W, C], 0..255.
      digits: i32 [B, L], 0..9, and NO_DIGIT after the last digit.
      boxes: f32 [B, L, 4], the box of each digit, cxcywh in pixels of `image`; zeros where NO_DIGIT.
      index: i32 [B], the index of the example; -1 = padding. A padded row holds example 0, so that all of its
        values are valid, and `mask` excludes it from every sum.
      number: i32 [B, L], the index of the number that a digit belongs to, 0, 1, ..; 0 where NO_DIGIT. The digits of
        a number are adjacent in `digits`. None = all digits are one number.
      ignored: f32 [B, M, 4], M boxes with digits that are not in `digits`, cxcywh in pixels of `image`; zeros where there
        are fewer. No cell there is trained to be background. None = no boxes.
    """

    image: Array
    digits: Array
    boxes: Array
    index: Array
    number: Array | None = None
    ignored: Array | None = None

    @property
    def mask(self) -> Array:
        """The valid rows, bool [B]: False for padding."""
        return self.index >= 0


class Outputs(struct.PyTreeNode):
    """The outputs of a model; a field is None if the model has no such head.

    Attributes:
      digit_logits: f32 [B, L, K], K = 10, or 11 with NO_DIGIT.
      length_logits: f32 [B, L + 2], logits of 0, 1, .., L digits, and of more. With it, `digit_logits` are the logarithms of the
        probabilities that follow from both: of a digit, that the number is long enough, times that of the digit given that
        it is; of NO_DIGIT, that the number has ended.
      box: f32 [B, 4], the box of the whole sequence, cxcywh in pixels. A dense detector returns the mean box of the
        training set here, which is no prediction and is used where no digit is detected.
      cell_logits: f32 [B, h, w, 11], logits of each cell of the dense detector: a digit at or near the cell
        (`loss.target` decides), or NO_DIGIT.
      cell_boxes: f32 [B, h, w, 4], the box of that digit, cxcywh in pixels.
      tile_logits: f32 [B, M, 10], logits of the digit at each of M places, from a second look at their pixels: the places of the
        digits in training, else the candidates of decoding, see decoding.decode.candidate_boxes.
      location_log_density: f32 [B, L, G], logarithms of the densities of the locations of the G glimpses for each position, without
        what does not depend on the parameters.
      baselines: f32 [B, L, G], for each of these glimpses the probability that the digit of its position will be right, as
        predicted before it.
      stride: side of a cell, in pixels; static. The grid may extend beyond the right and the lower edge of the image.
      scales: number of cells of each scale of the image; static. With several scales, h is their sum and w is 1.
    """

    digit_logits: Array | None = None
    length_logits: Array | None = None
    box: Array | None = None
    cell_logits: Array | None = None
    cell_boxes: Array | None = None
    tile_logits: Array | None = None
    location_log_density: Array | None = None
    baselines: Array | None = None
    stride: int = struct.field(pytree_node=False, default=0)
    scales: tuple[int, ...] = struct.field(pytree_node=False, default=())


class Prediction(struct.PyTreeNode):
    """The prediction of any model: N numbers, best first.

    Rows after the last number are empty: length 0, confidence 0. If no number is detected, the first row is empty
    too, and its confidence is that the image contains no number.

    Attributes:
      length: i32 [B, N], number of digits. It may exceed L: `digits` has L of them then, and the prediction counts
        as wrong.
      digits: i32 [B, N, L], NO_DIGIT after the last digit.
      digit_confidence: f32 [B, N, L], 0..1.
      digit_boxes: f32 [B, N, L, 4], cxcywh in pixels, or None.
      confidence: f32 [B, N], 0..1, the product over the positions, including the end of the sequence, after Platt scaling.
      box: f32 [B, N, 4], the box of the number, cxcywh in pixels, or None.
    """

    length: Array
    digits: Array
    digit_confidence: Array
    confidence: Array
    digit_boxes: Array | None = None
    box: Array | None = None


def digits_to_text(digits: np.ndarray | Array) -> str:
    """Returns i32 [L] digits as text, with "-" for a NO_DIGIT that precedes a digit.

    >>> digits_to_text(np.array([4, 0, 7, 10, 10])), digits_to_text(np.array([4, 10, 7]))
    ('407', '4-7')
    """
    return "".join("-" if d == NO_DIGIT else str(int(d)) for d in digits).rstrip("-")


def pad_rows(rows: np.ndarray, size: int) -> np.ndarray:
    """Pads i32 [b] with -1 to [size], where size >= b.

    >>> pad_rows(np.array([3, 4], np.int32), 4).tolist()
    [3, 4, -1, -1]
    """
    padded = np.full(size, -1, np.int32)
    padded[: len(rows)] = rows
    return padded


HostBatch = dict[str, np.ndarray]
"""The input of a step from the host: index i32 [B], position i32 [B], and the payload of the `Spec`, if it has one.

With several processes, each provides its own slice of the batch, all of the same size.
"""
