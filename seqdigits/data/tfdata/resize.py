"""Crops and resizes photographs in TensorFlow, byte for byte as `crop.crop_photo` does with Pillow.

Pillow resizes along one axis and then along the other, and rounds to bytes after each. An output pixel is a weighted sum
of input pixels under a triangle filter, whose half width is the scale factor, but at least one pixel. The weights are
64-bit floats, normalized and rounded to 22 bits (src/libImaging/Resample.c of Pillow 13). Pillow 12 and older always
resize the horizontal axis first; Pillow 13 resizes the vertical axis first if the photograph is very high.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from seqdigits.data.builders import tf
from seqdigits.data.photos.crop import MARGIN

_BITS = 22
"""Fractional bits of a weight. With the 8 bits of a pixel and 2 bits of headroom, sums fit into 32 bits."""


def crop_photo(
    image: Any, boxes: Any, valid: Any, *, kind: str, height: int, width: int, gray: bool
) -> tuple[Any, Any]:
    """Crops and resizes a photograph, with the same result as `svhn.load`. Traceable, for `tf.data.Dataset.map`.

    Args:
      image: u8 [h, w, 3], a photograph.
      boxes: f32 [L, 4], of its digits, cxcywh in its pixels.
      valid: bool [L], False at positions after the last digit.
      kind: "photograph" or "crop", see `crop.crop_photo`.
      height: height of the output image, in pixels.
      width: width of the output image, in pixels.
      gray: whether to return one channel instead of three.

    Returns:
      The image u8 [height, width, 1 or 3], and boxes f32 [L, 4] cxcywh in its pixels, zeros where not valid.

    Raises:
      tf.errors.InvalidArgumentError: at run time, if the window has no area within the photograph.
    """
    rows, columns, _ = tf.unstack(tf.shape(image))
    boxes64 = tf.cast(boxes, tf.float64)
    corner, opposite = tf.zeros(2, tf.float64), tf.cast(tf.stack([columns, rows]), tf.float64)  # x, y
    if kind == "crop":
        corner, opposite = _enclosing_box(tf.boolean_mask(boxes64, valid), opposite)
    message = "the boxes of its digits have no area within the photograph"
    with tf.control_dependencies([tf.debugging.assert_less(corner, opposite, message)]):
        scale = tf.constant([width, height], tf.float64) / (opposite - corner)
        window = tf.cast(tf.stack([corner, opposite], 1), tf.float32)  # as Pillow stores it
    moved = tf.concat([(boxes64[:, :2] - corner) * scale, boxes64[:, 2:] * scale], 1)
    moved = tf.where(valid[:, None], tf.cast(moved, tf.float32), 0.0)
    across = _weights(columns, window[0], width)
    down = _weights(rows, window[1], height)
    image = image[down.start : down.stop, across.start : across.stop]
    image = _luma(image) if gray else image
    image = tf.cond(
        (rows > height) & (rows - height > 2 * (columns - width)),
        lambda: _transpose(_resize_rows(_transpose(_resize_rows(image, down)), across)),
        lambda: _resize_rows(_transpose(_resize_rows(_transpose(image), across)), down),
    )
    return tf.ensure_shape(image, (height, width, 1 if gray else 3)), moved


def _enclosing_box(boxes: Any, size: Any) -> tuple[Any, Any]:
    """Returns left top and right bottom, f64 [2], of the box around all boxes, extended by MARGIN and clipped."""
    low = tf.reduce_min(boxes[:, :2] - boxes[:, 2:] / 2, 0)
    high = tf.reduce_max(boxes[:, :2] + boxes[:, 2:] / 2, 0)
    margin = MARGIN * (high - low)
    return tf.maximum(low - margin, 0), tf.minimum(high + margin, size)


def _luma(image: Any) -> Any:
    """Converts RGB u8 [h, w, 3] to gray u8 [h, w, 1]: ITU-R 601 luma with 16 fractional bits."""
    red, green, blue = tf.unstack(tf.cast(image, tf.int32), axis=2)
    gray = tf.bitwise.right_shift(red * 19595 + green * 38470 + blue * 7471 + 0x8000, 16)
    return tf.cast(gray, tf.uint8)[:, :, None]


class _Weights(NamedTuple):
    """The weights of input pixels `start` .. `stop` - 1 of an axis in each output pixel.

    Attributes:
      start: first input pixel.
      stop: end of the input pixels.
      at: i32 [out, K], indices of input pixels, relative to `start`.
      weights: i32 [out, K], their weights in units of 2^-22; 0 for padding of K.
    """

    start: Any
    stop: Any
    at: Any
    weights: Any


def _weights(pixels: Any, window: Any, out: int) -> _Weights:
    """Returns the weights to resize the interval `window` f32 [2] of an axis of `pixels` pixels to `out` pixels.

    The operations and their order are those of Pillow, for identical rounding.
    """
    scale = tf.cast(window[1] - window[0], tf.float64) / out
    support = tf.maximum(scale, 1)
    center = tf.cast(window[0], tf.float64) + (tf.range(out, dtype=tf.float64) + 0.5) * scale
    low = tf.maximum(tf.cast(center - support + 0.5, tf.int32), 0)
    high = tf.minimum(tf.cast(center + support + 0.5, tf.int32), pixels)
    at = low[:, None] + tf.range(tf.reduce_max(high - low))
    distance = tf.abs((tf.cast(at, tf.float64) - center[:, None] + 0.5) * (1 / support))
    weights = tf.where((at < high[:, None]) & (distance < 1), 1 - distance, 0)
    # The order of summation affects the last bit; cumsum adds sequentially, as Pillow does.
    share = tf.math.divide_no_nan(weights, tf.cumsum(weights, 1)[:, -1:])
    rounded = tf.cast(0.5 + share * (1 << _BITS), tf.int32)
    return _Weights(low[0], high[-1], tf.minimum(at, high[-1] - 1) - low[0], rounded)


def _resize_rows(image: Any, by: _Weights) -> Any:
    """Resizes the first axis: u8 [a, b, C] -> u8 [out, b, C]."""
    a, b, c = tf.unstack(tf.shape(image))
    out, taps = tf.unstack(tf.shape(by.at))
    rows = tf.reshape(image, [a, b * c])

    def add(tap: Any, sums: Any) -> tuple[Any, Any]:
        return tap + 1, sums + tf.cast(tf.gather(rows, by.at[:, tap]), tf.int32) * by.weights[:, tap, None]

    # A loop over taps is as fast as one sum over all, which would need K times the memory: gigabytes for a phone's photo.
    begin = (0, tf.fill([out, b * c], 1 << (_BITS - 1)))  # a half, to round
    _, sums = tf.while_loop(lambda tap, _: tap < taps, add, begin, parallel_iterations=1)
    return tf.reshape(tf.cast(tf.bitwise.right_shift(sums, _BITS), tf.uint8), [out, b, c])


def _transpose(image: Any) -> Any:
    return tf.transpose(image, [1, 0, 2])
