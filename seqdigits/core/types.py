"""The contract between the rooms: Spec, Batch, Outputs, Reading.

Letters used in all shapes: B batch, H W C image, L positions, K classes, N numbers in one image, h w cells of a grid.
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
    """What a source gives, known without opening a file, so that a whole step can be traced.

    Attributes:
      image: H, W, C.
      max_length: L.
      min_length: fewest digits in an image.
      num_examples: None = endless.
      arrays: shapes and dtypes of `arrays`.
      payload: shapes and dtypes of what the host gives for each example beside index and position.
    """

    image: tuple[int, int, int]
    max_length: int
    min_length: int
    num_examples: int | None
    arrays: dict[str, jax.ShapeDtypeStruct]
    payload: dict[str, jax.ShapeDtypeStruct] = field(default_factory=dict)

    def host_batch(self, rows: int) -> dict[str, jax.ShapeDtypeStruct]:
        """What the host gives for a batch of so many rows."""
        number = jax.ShapeDtypeStruct((), jnp.int32)
        each = {"index": number, "position": number, **self.payload}
        return {name: jax.ShapeDtypeStruct((rows, *one.shape), one.dtype) for name, one in each.items()}

    @property
    def num_classes(self) -> int:
        """K: 11 where a position may be empty, else 10."""
        return 11 if self.min_length < self.max_length else 10


class Batch(struct.PyTreeNode):
    """Images and what stands in them.

    Attributes:
      image: u8 [B, H, W, C], 0..255.
      digits: i32 [B, L], 0..9, and NO_DIGIT after the last one.
      boxes: f32 [B, L, 4], of each digit, cxcywh in pixels of `image`; zeros where NO_DIGIT.
      index: i32 [B], which example; -1 = padding. A padded row holds example 0, so that it is valid in every room, and
        is kept out of every sum by `mask`.
      number: i32 [B, L], which number of the image each digit belongs to, 0, 1, ..; the digits of a number are
        neighbors in `digits`. 0 where NO_DIGIT. None = all digits are one number.
    """

    image: Array
    digits: Array
    boxes: Array
    index: Array
    number: Array | None = None

    @property
    def mask(self) -> Array:
        """bool [B], False on padding."""
        return self.index >= 0


class Outputs(struct.PyTreeNode):
    """What a model says; each part None where the model has no such head.

    Attributes:
      digit_logits: f32 [B, L, K], K = 10, or 11 with NO_DIGIT.
      box: f32 [B, 4], of the whole sequence, cxcywh in pixels. A dense detector puts the training set's mean box here: it
        counts where the reader finds no digit.
      cell_logits: f32 [B, h, w, 11], for each cell of the dense detector the digit whose center it holds, or NO_DIGIT.
      cell_boxes: f32 [B, h, w, 4], the box of that digit, cxcywh in pixels.
      stride: side of a cell, in pixels; static. The grid may reach over the image's right and lower edge.
      looks: cells of each size that the image was read at; static. Where there are several, h is the sum of them and w 1.
    """

    digit_logits: Array | None = None
    box: Array | None = None
    cell_logits: Array | None = None
    cell_boxes: Array | None = None
    stride: int = struct.field(pytree_node=False, default=0)
    scales: tuple[int, ...] = struct.field(pytree_node=False, default=())


class Prediction(struct.PyTreeNode):
    """What a person gets, from any model: N numbers, best first. Rows behind the last number are empty: length 0,
    confidence 0. Where nothing is found the first row is empty too, with the confidence that nothing is there.

    Attributes:
      length: i32 [B, N], digits found. It may exceed L: then the reading is wrong, never cut to fit.
      digits: i32 [B, N, L], NO_DIGIT where there is none.
      digit_confidence: f32 [B, N, L], 0..1.
      digit_boxes: f32 [B, N, L, 4] cxcywh in pixels, or None.
      confidence: f32 [B, N], 0..1, the product over the positions, the ending included.
      box: f32 [B, N, 4], cxcywh in pixels, or None.
    """

    length: Array
    digits: Array
    digit_confidence: Array
    confidence: Array
    digit_boxes: Array | None = None
    box: Array | None = None


def digits_to_text(digits: np.ndarray | Array) -> str:
    """The string of i32 [L] digits; "-" for a NO_DIGIT that stands before a digit.

    >>> digits_to_text(np.array([4, 0, 7, 10, 10])), digits_to_text(np.array([4, 10, 7]))
    ('407', '4-7')
    """
    return "".join("-" if d == NO_DIGIT else str(int(d)) for d in digits).rstrip("-")


def pad_rows(rows: np.ndarray, size: int) -> np.ndarray:
    """i32 [b] filled up with -1 to [size], `size` >= b.

    >>> pad_rows(np.array([3, 4], np.int32), 4).tolist()
    [3, 4, -1, -1]
    """
    padded = np.full(size, -1, np.int32)
    padded[: len(rows)] = rows
    return padded


HostBatch = dict[str, np.ndarray]
"""What the host gives a step: index i32 [B], position i32 [B], and the payload of `spec`, if it has one. Of several processes
each gives its own part of the batch, all of one size."""
