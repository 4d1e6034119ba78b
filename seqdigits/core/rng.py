"""Streams of random numbers: each use of a seed has its own stream, so that no two uses share numbers."""

from __future__ import annotations

import enum

import jax
from jax import Array


class RngStream(enum.IntEnum):
    """The streams of a seed.

    Never renumber them: it would change every golden hash and every run.
    """

    # TRAIN to TEST, the examples of each split, are streams of data.seed; the others are streams of seed.
    TRAIN = 0
    VALIDATION = 1
    TEST = 2
    ENDLESS = 3  # endless training examples
    INIT = 4
    DROPOUT = 5
    AUGMENT = 6
    DIGIT_ORDER = 7  # permutations of digits, folded with the stream of the examples


def stream_key(seed: int, stream: RngStream) -> Array:
    """Returns the key of one stream of a seed."""
    return jax.random.fold_in(jax.random.key(seed), int(stream))
