"""Statistics and hashes of a batch, computed on the device so that images need not be copied."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import struct
from jax import Array

from seqdigits.core.types import Batch

ROWS = 2**15
"""The maximum number of rows of a batch: sums of squares of more bytes would overflow 32 bits."""


class Fingerprint(struct.PyTreeNode):
    """The statistics and hashes of one batch.

    Attributes:
      digits, boxes, index, number: as in Batch; number is -1 if the batch has none.
      sums, squares: u32 [H, W, C], the sums of the bytes of all images and of their squares, without padding.
      low, high: u8 [B], the darkest and the brightest byte of each image.
      total: u32 [B], the sum of the bytes of each image.
      image_print: u32 [B, 2], the two halves of the fingerprint of each image.
      digits_print: u32 [B], the fingerprint of each label.
    """

    digits: Array
    boxes: Array
    index: Array
    number: Array
    sums: Array
    squares: Array
    low: Array
    high: Array
    total: Array
    image_print: Array
    digits_print: Array


def fingerprint(batch: Batch) -> Fingerprint:
    """Computes the fingerprint of a batch in integer arithmetic, bit-exact across devices. Traceable."""
    rows, shape = batch.image.shape[0], batch.image.shape[1:]

    def add(sums: tuple[Array, Array], row: tuple[Array, Array]) -> tuple[tuple[Array, Array], tuple[Array, ...]]:
        image, valid = row
        value = image.astype(jnp.uint32)
        counted = jnp.where(valid, value, 0)
        of_image = jnp.min(image), jnp.max(image), jnp.sum(value, dtype=jnp.uint32)
        return (sums[0] + counted, sums[1] + counted * counted), of_image

    # A scan over images is ten times as fast on a CPU as sums over the batch, because an image fits into the cache.
    zero = jnp.zeros(shape, jnp.uint32)
    (sums, squares), (low, high, total) = jax.lax.scan(add, (zero, zero), (batch.image, batch.mask))
    flat = batch.image.reshape(rows, -1)
    flat = jnp.pad(flat, ((0, 0), (0, -flat.shape[1] % 4)))
    words = jax.lax.bitcast_convert_type(flat.reshape(rows, -1, 4), jnp.uint32)
    labels = batch.digits.astype(jnp.uint32)
    return Fingerprint(
        digits=batch.digits,
        boxes=batch.boxes,
        index=batch.index,
        number=jnp.full_like(batch.digits, -1) if batch.number is None else batch.number,
        sums=sums,
        squares=squares,
        low=low,
        high=high,
        total=total,
        image_print=jnp.stack([_print(words, 0x9E3779B1, 0x7F4A7C15), _print(words, 0x85EBCA77, 0xC2B2AE3D)], axis=1),
        digits_print=_print(labels, 0x9E3779B1, 0x7F4A7C15),
    )


def _print(words: Array, step: int, start: int) -> Array:
    """Returns a hash of each row, u32 [B, M] -> u32 [B].

    Each word is combined with its position and mixed by the finalizer of MurmurHash3 (fmix32); the results are summed.
    """
    position = jax.lax.broadcasted_iota(jnp.uint32, words.shape, 1)
    x = words ^ (position * jnp.uint32(step) + jnp.uint32(start))
    x = (x ^ (x >> 16)) * jnp.uint32(0x85EBCA6B)
    x = (x ^ (x >> 13)) * jnp.uint32(0xC2B2AE35)
    return jnp.sum(x ^ (x >> 16), axis=1, dtype=jnp.uint32)
