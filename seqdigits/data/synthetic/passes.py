"""Digits drawn in passes: every pass is a permutation of all digits, so that each digit is used equally often.

The permutation is computed one element at a time, in integer arithmetic on the device, for finite and endless sets.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array

_ROUNDS = 8


def draw(key: Array, index: Array, length: int, available: int) -> Array:
    """Returns the digits of example `index`, i32 [length]: the next ones of an endless series of permutations.

    Args:
      key: key of the permutations of a set.
      index: i32 [], index of the example.
      length: number of digits of every example.
      available: number of digits in the split.
    """
    # index * length would overflow: `available` examples are `length` complete passes.
    rounds, rest = index // available, index % available
    slot = rest * length + jnp.arange(length, dtype=jnp.int32)
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, rounds * length + slot // available)
    return jax.vmap(permuted, (0, 0, None))(keys, slot % available, available)


def permuted(key: Array, rank: Array, size: int) -> Array:
    """Returns the element at place `rank` of the random permutation of 0..size-1 of a key: i32 [] -> i32 [].

    A Feistel network permutes the next power of four. Values of `size` and above are permuted again until they are below
    ("cycle walking", Black and Rogaway 2002, "Ciphers with arbitrary finite domains", section 3).
    """
    half = max(1, ((size - 1).bit_length() + 1) // 2)
    mask = jnp.uint32((1 << half) - 1)
    round_keys = jax.random.bits(key, (_ROUNDS,), jnp.uint32)

    def encrypt(x: Array) -> Array:
        left, right = x >> half, x & mask
        for i in range(_ROUNDS):
            left, right = right, left ^ (_mixed(right ^ round_keys[i]) & mask)
        return (left << half) | right

    start = encrypt(rank.astype(jnp.uint32))
    return jax.lax.while_loop(lambda x: x >= size, encrypt, start).astype(jnp.int32)


def _mixed(x: Array) -> Array:
    """Mixes the bits of u32 (the finalizer of MurmurHash3)."""
    x = (x ^ (x >> 16)) * jnp.uint32(0x85EBCA6B)
    x = (x ^ (x >> 13)) * jnp.uint32(0xC2B2AE35)
    return x ^ (x >> 16)
