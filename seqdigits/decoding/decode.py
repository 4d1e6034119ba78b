"""From a model's Outputs to a Reading, the same for training's evaluation, prediction and export."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from seqdigits.core.constants import NO_DIGIT
from seqdigits.core.types import Outputs, Reading
from seqdigits.decoding.cells import read_grid
from seqdigits.decoding.options import Limits


def read(outputs: Outputs, limits: Limits) -> Reading:
    """What a person gets. From cells: N numbers an image, best first.

    From digit_logits: one number (N = 1), and every position is taken as it is: a digit behind a "no digit" stays there,
    so that the reading is wrong, as the position is.
    """
    if outputs.digit_logits is not None:
        reading = _read_positions(outputs.digit_logits, outputs.box, limits.temperature)
    else:
        reading = _read_cells(outputs, limits)
    return reading.replace(confidence=_calibrated(reading.confidence, limits))


def _calibrated(confidence: Array, limits: Limits) -> Array:
    """Of numbers, see Limits; that of a row without a number stays 0."""
    c = jnp.clip(confidence, 1e-6, 1 - 1e-6)
    logit = jnp.log(c) - jnp.log1p(-c)
    moved = jax.nn.sigmoid(limits.slope * logit + limits.offset)
    as_it_is = (limits.slope == 1) & (limits.offset == 0) | (confidence == 0)
    return jnp.where(as_it_is, confidence, moved)


def _read_positions(logits: Array, box: Array | None, temperature: float | Array) -> Reading:
    probability = jax.nn.softmax(logits / temperature)  # [B, L, K]
    digits = jnp.argmax(logits, axis=-1).astype(jnp.int32)
    confidence = jnp.max(probability, axis=-1)
    reading = Reading(
        length=jnp.sum(digits != NO_DIGIT, axis=-1),
        digits=digits,
        digit_confidence=confidence,
        confidence=jnp.prod(jnp.max(jax.nn.softmax(logits), axis=-1), axis=-1),
        box=box,
    )
    return jax.tree.map(lambda x: x[:, None], reading)  # N = 1


def _read_cells(outputs: Outputs, limits: Limits) -> Reading:
    assert outputs.cell_logits is not None, "a reader has cells"
    assert outputs.cell_boxes is not None, "and their boxes"
    assert outputs.box is not None, "and the mean box"
    cells = [x.reshape(len(x), -1, x.shape[-1]) for x in (outputs.cell_logits, outputs.cell_boxes)]
    ends: Any = np.cumsum(outputs.looks)[:-1] if outputs.looks else []
    looks = zip(*(jnp.split(x, ends, axis=1) for x in cells), strict=True)
    read_one = jax.vmap(partial(read_grid, limits=limits))
    return _surest([read_one(logits, boxes, outputs.box) for logits, boxes in looks])


def _surest(readings: list[Reading]) -> Reading:
    """Of each image the reading whose best number is the surest; one that found nothing only where all did.

    Numbers of several lengths are compared by the geometric mean of what makes their confidence, one factor for each digit and
    one for the ending: by the product, a stray digit that is half believed would come before four that are read well. A lone
    digit keeps a small advantage, half of its factors being the ending; leaving that out was no better on validation.
    """
    if len(readings) == 1:
        return readings[0]
    stacked = jax.tree.map(lambda *x: jnp.stack(x), *readings)  # [looks, B, ...]
    length = jnp.minimum(stacked.length[:, :, 0], stacked.digits.shape[-1])
    sure = jnp.where(length > 0, stacked.confidence[:, :, 0] ** (1 / (length + 1)), -1.0)
    best = jnp.argmax(sure, axis=0)  # [B]
    return jax.tree.map(lambda x: x[best, jnp.arange(len(best))], stacked)
