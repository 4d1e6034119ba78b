"""From a model's Outputs to a Reading, the same for training's evaluation, prediction and export."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from seqdigits.core.constants import NO_DIGIT
from seqdigits.core.types import Outputs, Prediction
from seqdigits.decoding.cells import decode_grid
from seqdigits.decoding.options import DecodeOptions


def decode(outputs: Outputs, options: DecodeOptions) -> Prediction:
    """What a person gets. From cells: N numbers an image, best first.

    From digit_logits: one number (N = 1), and every position is taken as it is: a digit behind a "no digit" stays there,
    so that the reading is wrong, as the position is.
    """
    if outputs.digit_logits is not None:
        prediction = _decode_positions(outputs.digit_logits, outputs.box, options.temperature)
    else:
        prediction = _decode_cells(outputs, options)
    return prediction.replace(confidence=_calibrated(prediction.confidence, options))


def _calibrated(confidence: Array, options: DecodeOptions) -> Array:
    """Of numbers, see DecodeOptions; that of a row without a number stays 0."""
    c = jnp.clip(confidence, 1e-6, 1 - 1e-6)
    logit = jnp.log(c) - jnp.log1p(-c)
    moved = jax.nn.sigmoid(options.platt_scale * logit + options.platt_bias)
    as_it_is = (options.platt_scale == 1) & (options.platt_bias == 0) | (confidence == 0)
    return jnp.where(as_it_is, confidence, moved)


def _decode_positions(logits: Array, box: Array | None, temperature: float | Array) -> Prediction:
    probability = jax.nn.softmax(logits / temperature)  # [B, L, K]
    digits = jnp.argmax(logits, axis=-1).astype(jnp.int32)
    confidence = jnp.max(probability, axis=-1)
    prediction = Prediction(
        length=jnp.sum(digits != NO_DIGIT, axis=-1),
        digits=digits,
        digit_confidence=confidence,
        confidence=jnp.prod(jnp.max(jax.nn.softmax(logits), axis=-1), axis=-1),
        box=box,
    )
    return jax.tree.map(lambda x: x[:, None], prediction)  # N = 1


def _decode_cells(outputs: Outputs, options: DecodeOptions) -> Prediction:
    assert outputs.cell_logits is not None, "a reader has cells"
    assert outputs.cell_boxes is not None, "and their boxes"
    assert outputs.box is not None, "and the mean box"
    cells = [x.reshape(len(x), -1, x.shape[-1]) for x in (outputs.cell_logits, outputs.cell_boxes)]
    ends: Any = np.cumsum(outputs.scales)[:-1] if outputs.scales else []
    scales = zip(*(jnp.split(x, ends, axis=1) for x in cells), strict=True)
    decode_one = jax.vmap(partial(decode_grid, options=options))
    return select_scale([decode_one(logits, boxes, outputs.box) for logits, boxes in scales])


def select_scale(predictions: list[Prediction]) -> Prediction:
    """Of each image the reading whose best number is the surest; one that found nothing only where all did.

    Numbers of several lengths are compared by the geometric mean of what makes their confidence, one factor for each digit and
    one for the ending: by the product, a stray digit that is half believed would come before four that are read well. A lone
    digit keeps a small advantage, half of its factors being the ending; leaving that out was no better on validation.
    """
    if len(predictions) == 1:
        return predictions[0]
    stacked = jax.tree.map(lambda *x: jnp.stack(x), *predictions)  # [looks, B, ...]
    length = jnp.minimum(stacked.length[:, :, 0], stacked.digits.shape[-1])
    sure = jnp.where(length > 0, stacked.confidence[:, :, 0] ** (1 / (length + 1)), -1.0)
    best = jnp.argmax(sure, axis=0)  # [B]
    return jax.tree.map(lambda x: x[best, jnp.arange(len(best))], stacked)
