"""Random numbers of one scene, in whole numbers: the same on every device."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array

WORDS = 8192
"""Random words of a scene; what is drawn for each pixel comes from `scatter`."""


class Draws:
    """Hands out the words of one key, each once, in the order of the program."""

    def __init__(self, key: Array) -> None:
        self._bits = jax.random.bits(key, (WORDS,), jnp.uint32)
        self._next = 0

    def bits(self, *shape: int) -> Array:
        """u32 of a shape.

        Raises:
          ValueError: more than WORDS are taken in all: a fault of the program.
        """
        size = 1
        for n in shape:
            size *= n
        if self._next + size > WORDS:
            raise ValueError(f"a scene takes more than {WORDS} random words")
        taken = self._bits[self._next : self._next + size].reshape(shape)
        self._next += size
        return taken

    def below(self, bound: Array | int, *shape: int) -> Array:
        """i32 in 0..bound-1; 0 for a bound below 1."""
        return (self.bits(*shape) % jnp.maximum(jnp.asarray(bound), 1).astype(jnp.uint32)).astype(jnp.int32)

    def between(self, low: Array | int, high: Array | int, *shape: int) -> Array:
        """i32 in low..high; low where high is less."""
        return low + self.below(jnp.asarray(high) - low + 1, *shape)

    def about(self, limit: Array | int, *shape: int) -> Array:
        """i32 in -limit..limit, the middle more often: the mean of two draws."""
        return (self.between(-limit, limit, *shape) + self.between(-limit, limit, *shape)) // 2

    def chance(self, percent: Array | int, *shape: int) -> Array:
        """bool, true in so many of a hundred."""
        return self.below(100, *shape) < percent


def scatter(seed: Array, height: int, width: int) -> Array:
    """u32 [height, width] of noise from u32 [] `seed`: a hash of the place, much cheaper than a draw for each pixel."""
    y, x = jnp.arange(height, dtype=jnp.uint32)[:, None], jnp.arange(width, dtype=jnp.uint32)[None, :]
    h = (y * jnp.uint32(0x9E3779B1)) ^ (x * jnp.uint32(0x85EBCA77)) ^ seed
    h = (h ^ (h >> 16)) * jnp.uint32(0x7FEB352D)  # the finalizer of a known integer hash (Wellons 2018)
    h = (h ^ (h >> 15)) * jnp.uint32(0x846CA68B)
    return h ^ (h >> 16)
