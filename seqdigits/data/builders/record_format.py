"""The bytes of a record: its pixels, and a tf.train.Example with its digits and boxes."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from seqdigits.data.builders import tf


def encode_image(image: np.ndarray, form: str) -> bytes:
    """Encodes an image u8 [H, W, C] in one of record_location.FORMS.

    "png" is lossless, "raw" is the bytes, and "float64" is little-endian floats, pixel / 255.
    """
    if form == "raw":
        return image.tobytes()
    if form == "float64":
        return (image / np.float64(255)).astype("<f8").tobytes()
    buffer = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(buffer, "PNG", compress_level=6)
    return buffer.getvalue()


def serialize(image: bytes, digits: np.ndarray, boxes: np.ndarray, length: int, index: int) -> bytes:
    """Serializes a record as a tf.train.Example, with a deterministic order of features and therefore of bytes.

    Args:
      image: the encoded pixels.
      digits: i32 [L].
      boxes: f32 [L, 4], cxcywh in pixels.
      length: number of digits.
      index: index of the example in its split.
    """
    ints = {"digits": digits.tolist(), "length": [length], "index": [index]}
    feature = {name: tf.train.Feature(int64_list=tf.train.Int64List(value=value)) for name, value in ints.items()}
    feature["boxes"] = tf.train.Feature(float_list=tf.train.FloatList(value=boxes.ravel().tolist()))
    feature["image"] = tf.train.Feature(bytes_list=tf.train.BytesList(value=[image]))
    example = tf.train.Example(features=tf.train.Features(feature=feature))
    return example.SerializeToString(deterministic=True)
