"""Decodes Outputs into a Prediction; shared by evaluation and inference."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from seqdigits.core.constants import NO_DIGIT
from seqdigits.core.types import Outputs, Prediction
from seqdigits.decoding.cells import Candidates, assemble_numbers, find_candidates, log_softmax, look_again, softmax
from seqdigits.decoding.options import DecodeOptions


def decode(outputs: Outputs, options: DecodeOptions) -> Prediction:
    """Decodes the outputs of any model.

    Outputs with digit_logits give one number (N = 1). Every position keeps its own prediction: a digit after a NO_DIGIT
    is not removed, so a wrong position makes the whole prediction wrong. With length_logits, the length is decided first,
    see `_decode_length`. Outputs with cells give N numbers per image, best first.
    """
    if outputs.length_logits is not None:
        prediction = _decode_length(outputs, options.temperature)
    elif outputs.digit_logits is not None:
        prediction = _decode_positions(outputs.digit_logits, outputs.box, options.temperature)
    else:
        prediction = _decode_cells(outputs, options)
    return prediction.replace(confidence=_calibrated(prediction.confidence, options))


def _calibrated(confidence: Array, options: DecodeOptions) -> Array:
    """Applies Platt scaling to the confidences of numbers; 0, the confidence of an empty row, stays 0."""
    c = jnp.clip(confidence, 1e-6, 1 - 1e-6)
    logit = jnp.log(c) - jnp.log1p(-c)
    scaled = jax.nn.sigmoid(options.platt_scale * logit + options.platt_bias)
    unchanged = (options.platt_scale == 1) & (options.platt_bias == 0) | (confidence == 0)
    return jnp.where(unchanged, confidence, scaled)


def _decode_positions(logits: Array, box: Array | None, temperature: float | Array) -> Prediction:
    probability = softmax(logits / temperature)  # [B, L, K]
    digits = jnp.argmax(logits, axis=-1).astype(jnp.int32)
    confidence = jnp.max(probability, axis=-1)
    prediction = Prediction(
        length=jnp.sum(digits != NO_DIGIT, axis=-1),
        digits=digits,
        digit_confidence=confidence,
        confidence=jnp.prod(jnp.max(softmax(logits), axis=-1), axis=-1),
        box=box,
    )
    return jax.tree.map(lambda x: x[:, None], prediction)  # N = 1


def _decode_length(outputs: Outputs, temperature: float | Array) -> Prediction:
    """Decodes the length l with the greatest log P(l) + sum of max log P(digit i) over i < l.

    Goodfellow et al. 2013, arXiv:1312.6082, section 4. A length of more than L has all L digits, and the prediction counts
    as wrong.
    """
    assert outputs.length_logits is not None, "chosen by decode"
    assert outputs.digit_logits is not None, "a length head has digit logits"
    positions = outputs.digit_logits.shape[1]
    of_digits = outputs.digit_logits[..., :NO_DIGIT]
    best = jnp.max(log_softmax(of_digits), axis=-1)  # [B, L]
    log_length = log_softmax(outputs.length_logits)
    scores = jnp.stack([log_length[:, n] + jnp.sum(best[:, :n], axis=-1) for n in range(positions + 2)], axis=1)
    length = jnp.argmax(scores, axis=-1).astype(jnp.int32)
    is_digit = jnp.arange(positions) < length[:, None]
    digits = jnp.where(is_digit, jnp.argmax(of_digits, axis=-1), NO_DIGIT).astype(jnp.int32)
    probability = softmax(outputs.digit_logits / temperature)  # [B, L, 11]
    prediction = Prediction(
        length=length,
        digits=digits,
        digit_confidence=jnp.where(is_digit, jnp.max(probability[..., :NO_DIGIT], axis=-1), probability[..., NO_DIGIT]),
        confidence=jnp.exp(jnp.max(scores, axis=-1)),
        box=outputs.box,
    )
    return jax.tree.map(lambda x: x[:, None], prediction)  # N = 1


def _decode_cells(outputs: Outputs, options: DecodeOptions) -> Prediction:
    assert outputs.box is not None, "a dense detector outputs the mean box"
    candidates = _candidates(outputs, options)
    if outputs.tile_logits is not None:
        candidates = look_again(candidates, outputs.tile_logits, options.temperature)
    count = max(len(outputs.scales), 1)
    mean_boxes = jnp.concatenate([outputs.box] * count)
    predictions = jax.vmap(partial(assemble_numbers, options=options))(candidates, mean_boxes)
    return select_scale(jax.tree.map(lambda x: x.reshape(count, -1, *x.shape[1:]), predictions))


def candidate_boxes(outputs: Outputs, options: DecodeOptions) -> Array:
    """Returns the places for a second look, the boxes of the candidates of cells: f32 [B, M, 4], cxcywh in pixels."""
    return _candidates(outputs, options).box


def _candidates(outputs: Outputs, options: DecodeOptions) -> Candidates:
    """Returns the candidates of all scales, [scales * B, M]."""
    assert outputs.cell_logits is not None, "a dense detector predicts cells"
    assert outputs.cell_boxes is not None, "a dense detector predicts the boxes of cells"
    cells = [x.reshape(x.shape[0], -1, x.shape[-1]) for x in (outputs.cell_logits, outputs.cell_boxes)]
    ends: Any = np.cumsum(outputs.scales)[:-1] if outputs.scales else []
    scales = zip(*(jnp.split(x, ends, axis=1) for x in cells), strict=True)
    find = jax.vmap(partial(find_candidates, options=options))
    return _join_scales([find(logits, boxes) for logits, boxes in scales])


def _join_scales(candidates: list[Candidates]) -> Candidates:
    """Joins the candidates of all scales, [B, M] each, to [scales * B, M], so that their decoding is compiled once.

    A scale with fewer cells has fewer candidates. It is padded with scores of -1, which are no digits.
    """
    most = max(scale.score.shape[1] for scale in candidates)

    def pad(x: Array, fill: int) -> Array:
        missing = most - x.shape[1]
        return jnp.pad(x, [(0, 0), (0, missing), *[(0, 0)] * (x.ndim - 2)], constant_values=fill) if missing else x

    padded = [
        Candidates(*(pad(x, -1 if "score" in name else 0) for name, x in scale._asdict().items()))
        for scale in candidates
    ]
    return jax.tree.map(lambda *x: jnp.concatenate(x), *padded)


def select_scale(predictions: Prediction) -> Prediction:
    """Selects for each image the prediction of the scale whose best number is most confident.

    A scale without a number is selected only if no scale has one. Numbers of different lengths are compared by the
    geometric mean of the factors of their confidence: one factor per digit, and one for the end. By the product, a
    stray digit with a medium confidence would win over a correct number of four digits. A single digit keeps a small
    advantage, because one of its two factors is that of the end. Leaving out that factor did not improve validation accuracy.

    Args:
      predictions: of all scales, [scales, B, N].

    Returns:
      A Prediction, [B, N].
    """
    if predictions.length.shape[0] == 1:
        return jax.tree.map(lambda x: x[0], predictions)
    length = jnp.minimum(predictions.length[:, :, 0], predictions.digits.shape[-1])
    mean_confidence = jnp.where(length > 0, predictions.confidence[:, :, 0] ** (1 / (length + 1)), -1.0)
    best = jnp.argmax(mean_confidence, axis=0)  # [B]
    return jax.tree.map(lambda x: x[best, jnp.arange(best.shape[0])], predictions)
