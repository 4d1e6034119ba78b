"""Streams of random numbers: each use of a seed draws from a stream of its own, so that no two ever share numbers."""

from __future__ import annotations

import enum

import jax
from jax import Array


class RngStream(enum.IntEnum):
    """Never renumber: it would change every golden hash and every run."""

    TRAIN = 0  # examples of each split, of data.seed
    VALIDATION = 1
    TEST = 2
    ENDLESS = 3  # endless training examples, and from here on: of seed
    INIT = 4
    DROPOUT = 5
    AUGMENT = 6


def stream_key(seed: int, stream: RngStream) -> Array:
    """The key of one stream of a seed."""
    return jax.random.fold_in(jax.random.key(seed), int(stream))
