"""Windows of photographs inside tf.data, byte for byte as Pillow makes them: what `data/views.py` computes, in TensorFlow.

Pillow squeezes an image one axis at a time: a triangle as wide as the scale, but at least a pixel to each side, weighs the
pixels; the weights are 64-bit floats, divided by their sum and rounded to 22 bits; what comes out is rounded to a byte
before the other axis follows. (Pillow 13's src/libImaging/Resample.c; Pillow 12 and older took the horizontal axis first
always.)
"""

from __future__ import annotations

from typing import Any, NamedTuple

import tensorflow as tf

from seqdigits.data.views import MARGIN

_BITS = 22
"""Of the fraction of a weight: 8 bits of a pixel and 2 of room are left of 32."""


def view(image: Any, boxes: Any, there: Any, *, kind: str, height: int, width: int, grey: bool) -> tuple[Any, Any]:
    """A window of a photograph as an image, and the boxes in its pixels, as `svhn.load` gives them. For the graph of a
    `tf.data.Dataset.map`.

    Args:
      image: u8 [h, w, 3], a photograph.
      boxes: f32 [L, 4], of its digits, cxcywh in its pixels.
      there: bool [L], which of them are digits.
      kind: "photograph": the whole. "crop": the hull of the digits' boxes, wider and higher by MARGIN on each side, clipped
        at the photograph's edge.
      height, width: of the image that comes out, in pixels.
      grey: one channel instead of three.

    Returns:
      u8 [height, width, 1 or 3], and f32 [L, 4] cxcywh in its pixels, zeros where there is no digit.

    Raises:
      tf.errors.InvalidArgumentError: when it runs, if the window has no area.
    """
    size = tf.shape(image)[:2]
    boxes64 = tf.cast(boxes, tf.float64)
    corner = tf.constant([0.0, 0.0], tf.float64)
    opposite = tf.cast(size[::-1], tf.float64)
    if kind == "crop":
        corner, opposite = _hull(boxes64, there, opposite)
    tf.debugging.assert_less(corner, opposite, "the boxes of the digits have no area within the photograph")
    scale = tf.constant([width, height], tf.float64) / (opposite - corner)
    moved = tf.concat([(boxes64[:, :2] - corner) * scale, boxes64[:, 2:] * scale], 1)
    moved = tf.where(there[:, None], tf.cast(moved, tf.float32), 0.0)
    window = tf.cast(tf.stack([corner, opposite]), tf.float32)  # Pillow keeps it in 32 bits
    across = _weights(size[1], window[0, 0], window[1, 0], width)
    down = _weights(size[0], window[0, 1], window[1, 1], height)
    image = image[down.start : down.stop, across.start : across.stop]
    if grey:
        image = _luma(image)
    smaller_by = size - [height, width]
    squeezed = tf.cond(
        (smaller_by[0] > 0) & (smaller_by[0] > 2 * smaller_by[1]),
        lambda: _turned(_squeeze(_turned(_squeeze(image, down)), across)),
        lambda: _squeeze(_turned(_squeeze(_turned(image), across)), down),
    )
    return tf.ensure_shape(squeezed, (height, width, 1 if grey else 3)), moved


def _hull(boxes: Any, there: Any, size: Any) -> tuple[Any, Any]:
    """Left top and right bottom f64 [2] around all boxes, larger by MARGIN on each side, clipped to `size` (width, height)."""
    boxes = tf.boolean_mask(boxes, there)
    low = tf.reduce_min(boxes[:, :2] - boxes[:, 2:] / 2, 0)
    high = tf.reduce_max(boxes[:, :2] + boxes[:, 2:] / 2, 0)
    margin = MARGIN * (high - low)
    return tf.maximum(low - margin, 0), tf.minimum(high + margin, size)


def _luma(image: Any) -> Any:
    """Grey u8 [h, w, 1] of colours u8 [h, w, 3], in 16-bit fixed point."""
    red, green, blue = tf.unstack(tf.cast(image, tf.int32), axis=2)
    grey = tf.bitwise.right_shift(red * 19595 + green * 38470 + blue * 7471 + 0x8000, 16)
    return tf.cast(grey, tf.uint8)[:, :, None]


class _Weights(NamedTuple):
    """How `out` pixels are made of those from `start` on, up to `stop`, along one axis.

    Attributes:
      at: i32 [out, K], which pixels, counted from `start`; some more than once, with a weight of 0.
      weights: i32 [out, K], fixed point of 22 bits.
    """

    start: Any
    stop: Any
    at: Any
    weights: Any


def _weights(pixels: Any, begin: Any, end: Any, out: int) -> _Weights:
    """`out` pixels of begin..end (f32) of an axis of `pixels`. Each operation and its order as in Pillow."""
    scale = tf.cast(end - begin, tf.float64) / out
    support = tf.maximum(scale, 1)
    centre = tf.cast(begin, tf.float64) + (tf.range(out, dtype=tf.float64) + 0.5) * scale
    low = tf.maximum(tf.cast(centre - support + 0.5, tf.int32), 0)
    high = tf.minimum(tf.cast(centre + support + 0.5, tf.int32), pixels)
    taps = tf.maximum(tf.reduce_max(high - low), 2)
    at = low[:, None] + tf.range(taps)  # [out, K]
    distance = tf.abs((tf.cast(at, tf.float64) - centre[:, None] + 0.5) * (1 / support))
    weights = tf.where((at < high[:, None]) & (distance < 1), 1 - distance, 0)
    # One after the other, as Pillow adds them: a sum in another order may differ in its last bit.
    total = tf.cumsum(weights, 1)[:, -1:]
    fixed = tf.cast(0.5 + tf.math.divide_no_nan(weights, total) * (1 << _BITS), tf.int32)
    return _Weights(low[0], high[-1], tf.minimum(at, high[-1] - 1) - low[0], fixed)


def _squeeze(image: Any, by: _Weights) -> Any:
    """u8 [out, b, C] of u8 [a, b, C]."""
    _, b, c = tf.unstack(tf.shape(image))
    rows = tf.cast(tf.reshape(image, [-1, b * c]), tf.int32)
    out, taps = tf.unstack(tf.shape(by.at))

    def of_two() -> Any:
        return tf.gather(rows, by.at[:, 0]) * by.weights[:, :1] + tf.gather(rows, by.at[:, 1]) * by.weights[:, 1:]

    def of_many() -> Any:
        place = tf.stack([tf.repeat(tf.range(out), taps), tf.reshape(by.at, [-1])], 1)
        return tf.raw_ops.SparseTensorDenseMatMul(
            a_indices=tf.cast(place, tf.int64),
            a_values=tf.reshape(by.weights, [-1]),
            a_shape=tf.cast([out, tf.shape(rows)[0]], tf.int64),
            b=rows,
        )

    sums = tf.cond(taps <= 2, of_two, of_many)
    pixels = tf.cast(tf.bitwise.right_shift(sums + (1 << (_BITS - 1)), _BITS), tf.uint8)
    return tf.reshape(pixels, [out, b, c])


def _turned(image: Any) -> Any:
    return tf.transpose(image, [1, 0, 2])
