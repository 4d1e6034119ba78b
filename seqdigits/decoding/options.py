"""The options of decoding, from the config and the spec of a source."""

from __future__ import annotations

from typing import NamedTuple

from jax import Array
from ml_collections import ConfigDict

from seqdigits.core.types import Spec


class DecodeOptions(NamedTuple):
    """What a reading is bounded by; from the config, saved with weights. All static, but that min_score and temperature may
    be traced, f32 [].

    Attributes:
      max_length: L, positions of a reading.
      min_score: there is a digit if the cells that point at it say so with at least this together.
      max_overlap: cells whose boxes overlap by more (IoU) point at the same digit.
      min_length: digits that are read at least, the best ones, where all are one number.
      max_numbers: N, rows of a reading of cells.
      group: whether digits that stand together make a number each; else all are one, from left to right.
      temperature: logits are divided by it before they become confidences of digits (Guo et al. 2017, arXiv:1706.04599).
        Neither what is read nor the confidence of a number depends on it.
      slope, offset: a number's confidence c becomes sigmoid(slope x logit(c) + offset) (Platt 1999, "Probabilistic outputs for
        support vector machines", section 2), which changes no order. They may be traced, too.
      target: which cells the reader learned should say a digit, one of targets.TARGETS.
    """

    max_length: int
    min_score: float | Array
    max_overlap: float
    min_length: int = 0
    max_numbers: int = 1
    group_digits: bool = False
    temperature: float | Array = 1.0
    platt_scale: float | Array = 1.0
    platt_bias: float | Array = 0.0
    target: str = "cell"


def decode_options(config: ConfigDict, spec: Spec) -> DecodeOptions:
    """The limits of a whole config."""
    return DecodeOptions(
        max_length=spec.max_length,
        min_score=config.decode.min_score,
        max_overlap=config.decode.max_overlap,
        min_length=spec.min_length,
        max_numbers=config.decode.max_numbers,
        group_digits=config.decode.group_digits,
        temperature=config.decode.temperature,
        platt_scale=config.decode.platt_scale,
        platt_bias=config.decode.platt_bias,
        target=config.loss.target,
    )
