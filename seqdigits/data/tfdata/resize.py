"""Windows of photographs inside tf.data, byte for byte as Pillow makes them: what `crop.view_photo` computes, in TensorFlow.

Pillow squeezes an image along one axis and then along the other, and rounds to bytes after each. A pixel that comes out
is a sum of those that lie within a triangle around its place, which reaches as far as the scale to each side, but at
least a pixel. The weights are 64-bit floats, divided by their sum and rounded to 22 bits. (Pillow 13's
src/libImaging/Resample.c. Pillow 12 and older begin with the horizontal axis always, 13 with the vertical one where a
photograph is much too high.)
"""

from __future__ import annotations

from typing import Any, NamedTuple

from seqdigits.data.builders import tf
from seqdigits.data.photos.crop import MARGIN

_BITS = 22
"""Of the fraction of a weight: with the 8 of a pixel, and 2 of room, they make 32."""


def view(image: Any, boxes: Any, there: Any, *, kind: str, height: int, width: int, gray: bool) -> tuple[Any, Any]:
    """A window of a photograph as an image, and the boxes in its pixels, as `svhn.load` gives them. To be traced: for
    `tf.data.Dataset.map`.

    Args:
      image: u8 [h, w, 3], a photograph.
      boxes: f32 [L, 4], of its digits, cxcywh in its pixels.
      there: bool [L], which of them are digits.
      kind: "photograph" or "crop", see `crop.view_photo`.
      height, width: of the image that comes out, in pixels.
      gray: one channel instead of three.

    Returns:
      u8 [height, width, 1 or 3], and f32 [L, 4] cxcywh in its pixels, zeros where there is no digit.

    Raises:
      tf.errors.InvalidArgumentError: when it runs, if the window has no area within the photograph.
    """
    rows, columns, _ = tf.unstack(tf.shape(image))
    boxes64 = tf.cast(boxes, tf.float64)
    corner, opposite = tf.zeros(2, tf.float64), tf.cast(tf.stack([columns, rows]), tf.float64)  # x, y
    if kind == "crop":
        corner, opposite = _enclosing_box(tf.boolean_mask(boxes64, there), opposite)
    message = "the boxes of its digits have no area within the photograph"
    with tf.control_dependencies([tf.debugging.assert_less(corner, opposite, message)]):
        scale = tf.constant([width, height], tf.float64) / (opposite - corner)
        window = tf.cast(tf.stack([corner, opposite], 1), tf.float32)  # Pillow keeps it in 32 bits
    moved = tf.concat([(boxes64[:, :2] - corner) * scale, boxes64[:, 2:] * scale], 1)
    moved = tf.where(there[:, None], tf.cast(moved, tf.float32), 0.0)
    across = _weights(columns, window[0], width)
    down = _weights(rows, window[1], height)
    image = image[down.start : down.stop, across.start : across.stop]
    image = _luma(image) if gray else image
    image = tf.cond(
        (rows > height) & (rows - height > 2 * (columns - width)),
        lambda: _turned(_squeeze(_turned(_squeeze(image, down)), across)),
        lambda: _squeeze(_turned(_squeeze(_turned(image), across)), down),
    )
    return tf.ensure_shape(image, (height, width, 1 if gray else 3)), moved


def _enclosing_box(boxes: Any, size: Any) -> tuple[Any, Any]:
    """Around all boxes, larger by MARGIN on each side, clipped at 0 and `size`: left top and right bottom, f64 [2]."""
    low = tf.reduce_min(boxes[:, :2] - boxes[:, 2:] / 2, 0)
    high = tf.reduce_max(boxes[:, :2] + boxes[:, 2:] / 2, 0)
    margin = MARGIN * (high - low)
    return tf.maximum(low - margin, 0), tf.minimum(high + margin, size)


def _luma(image: Any) -> Any:
    """Gray u8 [h, w, 1] of colors u8 [h, w, 3]: ITU-R 601 in fixed point of 16 bits."""
    red, green, blue = tf.unstack(tf.cast(image, tf.int32), axis=2)
    gray = tf.bitwise.right_shift(red * 19595 + green * 38470 + blue * 7471 + 0x8000, 16)
    return tf.cast(gray, tf.uint8)[:, :, None]


class _Weights(NamedTuple):
    """What pixels `start` .. `stop` - 1 of an axis add to each pixel that comes out.

    Attributes:
      at: i32 [out, K], which pixels, counted from `start`.
      weights: i32 [out, K], theirs, in units of 2^-22; 0 where `at` is only there to make K.
    """

    start: Any
    stop: Any
    at: Any
    weights: Any


def _weights(pixels: Any, window: Any, out: int) -> _Weights:
    """`out` pixels of the part f32 [2] of an axis of `pixels`. Each operation and their order are Pillow's."""
    scale = tf.cast(window[1] - window[0], tf.float64) / out
    support = tf.maximum(scale, 1)
    center = tf.cast(window[0], tf.float64) + (tf.range(out, dtype=tf.float64) + 0.5) * scale
    low = tf.maximum(tf.cast(center - support + 0.5, tf.int32), 0)
    high = tf.minimum(tf.cast(center + support + 0.5, tf.int32), pixels)
    at = low[:, None] + tf.range(tf.reduce_max(high - low))
    distance = tf.abs((tf.cast(at, tf.float64) - center[:, None] + 0.5) * (1 / support))
    weights = tf.where((at < high[:, None]) & (distance < 1), 1 - distance, 0)
    # A sum in another order may have another last bit: cumsum adds one after the other.
    share = tf.math.divide_no_nan(weights, tf.cumsum(weights, 1)[:, -1:])
    rounded = tf.cast(0.5 + share * (1 << _BITS), tf.int32)
    return _Weights(low[0], high[-1], tf.minimum(at, high[-1] - 1) - low[0], rounded)


def _squeeze(image: Any, by: _Weights) -> Any:
    """u8 [out, b, C] of u8 [a, b, C]."""
    a, b, c = tf.unstack(tf.shape(image))
    out, taps = tf.unstack(tf.shape(by.at))
    rows = tf.reshape(image, [a, b * c])

    def add(tap: Any, sums: Any) -> tuple[Any, Any]:
        return tap + 1, sums + tf.cast(tf.gather(rows, by.at[:, tap]), tf.int32) * by.weights[:, tap, None]

    # One after the other: all at once would be as fast, but take K times the memory, gigabytes for a photograph of a phone.
    begin = (0, tf.fill([out, b * c], 1 << (_BITS - 1)))  # a half, to round
    _, sums = tf.while_loop(lambda tap, _: tap < taps, add, begin, parallel_iterations=1)
    return tf.reshape(tf.cast(tf.bitwise.right_shift(sums, _BITS), tf.uint8), [out, b, c])


def _turned(image: Any) -> Any:
    return tf.transpose(image, [1, 0, 2])
