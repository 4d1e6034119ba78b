"""Dropout whose masks are those of `flax.linen.Dropout`, bit for bit, and that takes less time on a CPU.

`jax.random.bits` is compiled to a loop over the rounds of its hash on a CPU, which passes through memory in each of them. With the
rounds written out, XLA computes all of them for a number in registers.
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
_COUNTERS = 2**32
"""Arrays of this many elements or more are drawn by `jax.random`, whose counters have 64 bits."""


class Dropout(nn.Module):
    """Sets a share of the elements to zero in training, and divides the others by the share that is kept.

    Srivastava et al. 2014, "Dropout: a simple way to prevent neural networks from overfitting", JMLR 15. The class is named as that of
    Flax because the random numbers of a layer depend on the name.

    Attributes:
      rate: the share, in [0, 1).
    """

    rate: float

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        """Applies it to floats of any shape, which keep their dtype; without `train` it returns them as they are.

        Training needs a key named "dropout".
        """
        if self.rate == 0 or not train:
            return x
        keep = 1.0 - self.rate
        mask = bernoulli(self.make_rng("dropout"), keep, x.shape)
        return lax.select(mask, x / keep, jnp.zeros_like(x))


def bernoulli(key: Array, p: float, shape: tuple[int, ...]) -> Array:
    """Returns booleans that are true with probability `p`: those of `jax.random.bernoulli`.

    Args:
      key: one key, typed or of two uint32.
      p: a Python number.
      shape: of the result.

    Returns:
      bool [*shape].
    """
    by_jax = partial(jax.random.bernoulli, p=p, shape=shape)
    partitionable = jax.config.jax_threefry_partitionable  # type: ignore[attr-defined]
    in_32_bits = jnp.result_type(float) == np.float32
    threefry = str(jax.random.key_impl(key)) == "threefry2x32" and partitionable and in_32_bits
    if not threefry or not 0 < math.prod(shape) < _COUNTERS:
        return by_jax(key)
    return lax.platform_dependent(key, cpu=partial(_bernoulli, p=p, shape=shape), default=by_jax)


def _bernoulli(key: Array, p: float, shape: tuple[int, ...]) -> Array:
    def draw(_: Array, _mask: Array) -> Array:
        mantissa = _threefry(key, shape) >> 9
        uniform = lax.bitcast_convert_type(mantissa | np.uint32(0x3F800000), jnp.float32) - 1.0  # from [1, 2) to [0, 1)
        return uniform < np.float32(p)

    # XLA would compute the mask again in each place that it is used in. It does not look into a loop, of which it must not
    # see that there is one pass: min(n | 1, 1) is 1.
    passes = jnp.minimum(jax.random.key_data(key)[0] | 1, 1).astype(jnp.int32)
    return lax.fori_loop(0, passes, draw, jnp.zeros(shape, bool))


def _threefry(key: Array, shape: tuple[int, ...]) -> Array:
    """Returns `jax.random.bits(key, shape)`, uint32 [*shape]: the hash of the index of each element.

    Threefry-2x32 of 20 rounds (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3", SC'11), its two halves combined
    by xor. Indices have 32 bits.
    """
    first, second = jax.random.key_data(key)
    keys = (first, second, first ^ second ^ _PARITY)
    index = jnp.zeros(shape, np.uint32)
    for axis in range(len(shape)):  # of each axis, so that devices which share the batch share this work
        index += lax.broadcasted_iota(np.uint32, shape, axis) * np.uint32(math.prod(shape[axis + 1 :]))
    x, y = jnp.broadcast_to(keys[0], shape), index + keys[1]
    for group in range(5):
        for rotation in _ROTATIONS[group % 2]:
            x += y
            y = (y << rotation | y >> (32 - rotation)) ^ x
        x += keys[(group + 1) % 3]
        y += keys[(group + 2) % 3] + np.uint32(group + 1)
    return x ^ y
