"""Dropout whose masks are those of `flax.linen.Dropout`, bit for bit, and that takes a fifth of their time on a CPU.

`jax.random.bits` is compiled to a loop over the rounds of its hash on a CPU, which passes through memory in each of them.
Written out, XLA computes all rounds of a number in registers.
"""

from __future__ import annotations

import math
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = np.uint32(0x1BD11BDA)
_INDICES = 2**32
"""An array of as many elements is drawn by `jax.random`, whose counters have 64 bits."""


_BLOCK = 16_384
"""Elements that are hashed at once."""


class Dropout(nn.Module):
    """Sets a share of the elements to zero in training, and divides the others by the share that is kept.

    Srivastava et al. 2014, "Dropout: a simple way to prevent neural networks from overfitting", JMLR 15. Its name is that of
    the module of Flax, which the random numbers of a layer depend on.

    Attributes:
      rate: the share, 0..1 without 1.
    """

    rate: float

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        """Applies it to an array of any shape; without `train` it returns the array as it is."""
        if self.rate == 0 or not train:
            return x
        keep = 1.0 - self.rate
        mask = bernoulli(self.make_rng("dropout"), keep, x.shape)
        return lax.select(mask, x / keep, jnp.zeros_like(x))


def bernoulli(key: Array, p: float, shape: tuple[int, ...]) -> Array:
    """Returns booleans that are true with probability `p`: those of `jax.random.bernoulli`, bool [*shape]."""
    if str(jax.random.key_impl(key)) != "threefry2x32" or not 0 < math.prod(shape) < _INDICES:
        return jax.random.bernoulli(key, p, shape)
    return lax.platform_dependent(
        key, cpu=partial(_bernoulli, p=p, shape=shape), default=lambda key: jax.random.bernoulli(key, p, shape)
    )


def _bernoulli(key: Array, p: float, shape: tuple[int, ...]) -> Array:
    size = math.prod(shape)
    block = min(size, _BLOCK)

    def of_block(number: Array) -> Array:
        mantissa = _threefry(key, number * np.uint32(block) + lax.iota(np.uint32, block)) >> 9
        return lax.bitcast_convert_type(mantissa | np.uint32(0x3F800000), jnp.float32) - 1.0 < np.float32(
            p
        )  # 1..2, less 1

    # A loop, which XLA does not fuse with what the mask is for: that would compute it again in each place.
    mask = lax.map(of_block, jnp.arange(-(-size // block), dtype=np.uint32))
    return mask.reshape(-1)[:size].reshape(shape)


def _threefry(key: Array, index: Array) -> Array:
    """Returns the elements of `jax.random.bits` that have these indices, uint32, of the same shape.

    Threefry-2x32 of 20 rounds (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3", SC'11), its two halves combined
    by xor.
    """
    first, second = jax.random.key_data(key)
    keys = (first, second, first ^ second ^ _PARITY)
    x, y = jnp.broadcast_to(keys[0], index.shape), index + keys[1]
    for group in range(5):
        for rotation in _ROTATIONS[group % 2]:
            x += y
            y = (y << rotation | y >> (32 - rotation)) ^ x
        x += keys[(group + 1) % 3]
        y += keys[(group + 2) % 3] + np.uint32(group + 1)
    return x ^ y
