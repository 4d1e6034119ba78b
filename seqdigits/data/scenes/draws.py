"""Random numbers of one scene in integer arithmetic, so that every device gets the same ones."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array

from seqdigits.data.synthetic import deterministic_ops

NUM_WORDS = 8192
"""The number of random 32-bit words of a scene. Noise for each pixel comes from `hash_noise`."""


class Draws:
    """A sequence of random words of one key: each is handed out once, in program order."""

    def __init__(self, key: Array) -> None:
        self._bits = jax.random.bits(key, (NUM_WORDS,), jnp.uint32)
        self._next = 0

    def bits(self, *shape: int) -> Array:
        """Returns random bits, u32 [*shape].

        Raises:
          ValueError: more than NUM_WORDS words are taken in all, which is an error in the program.
        """
        size = 1
        for n in shape:
            size *= n
        if self._next + size > NUM_WORDS:
            raise ValueError(f"a scene takes more than {NUM_WORDS} random words")
        taken = self._bits[self._next : self._next + size].reshape(shape)
        self._next += size
        return taken

    def below(self, bound: Array | int, *shape: int) -> Array:
        """Returns uniform numbers in 0..bound-1, i32 [*shape]; 0 for a bound below 1."""
        return deterministic_ops.below(self.bits(*shape), bound)

    def between(self, low: Array | int, high: Array | int, *shape: int) -> Array:
        """Returns uniform numbers in low..high (inclusive), i32 [*shape]; `low` where `high` is less."""
        return low + self.below(jnp.asarray(high) - low + 1, *shape)

    def triangular(self, limit: Array | int, *shape: int) -> Array:
        """Returns numbers in -limit..limit, i32 [*shape], triangular around 0: the mean of two uniform draws."""
        return (self.between(-limit, limit, *shape) + self.between(-limit, limit, *shape)) // 2

    def chance(self, percent: Array | int, *shape: int) -> Array:
        """Returns bool [*shape], each true with a probability of `percent` / 100."""
        return self.below(100, *shape) < percent


def hash_noise(seed: Array, height: int, width: int) -> Array:
    """Returns uniform noise, u32 [height, width], from u32 [] `seed`.

    It is a hash of the pixel coordinates, which is much cheaper than a draw for each pixel.
    """
    y, x = jnp.arange(height, dtype=jnp.uint32)[:, None], jnp.arange(width, dtype=jnp.uint32)[None, :]
    h = (y * jnp.uint32(0x9E3779B1)) ^ (x * jnp.uint32(0x85EBCA77)) ^ seed
    h = (h ^ (h >> 16)) * jnp.uint32(0x7FEB352D)  # the finalizer of a known integer hash (Wellons 2018)
    h = (h ^ (h >> 15)) * jnp.uint32(0x846CA68B)
    return h ^ (h >> 16)
