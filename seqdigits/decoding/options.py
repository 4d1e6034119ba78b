"""The options of decoding, from the config and the spec of a data source."""

from __future__ import annotations

from typing import NamedTuple

from jax import Array
from ml_collections import ConfigDict

from seqdigits.core.types import Spec


class DecodeOptions(NamedTuple):
    """The options of decoding.

    All are static, except that min_score, temperature, platt_scale and platt_bias may be traced, f32 [].

    Attributes:
      max_length: L, positions of a number.
      min_score: a candidate is a digit if the merged score of its cells is at least this.
      max_overlap: cells whose boxes overlap by more (IoU) predict the same digit.
      min_length: fewest digits of a prediction, where all digits are one number. The best candidates below min_score
        fill it up.
      max_numbers: N, rows of a prediction from cells.
      group_digits: whether digits are grouped into numbers by their positions; else all digits of an image are one
        number, read from left to right.
      temperature: logits are divided by it before they become the confidences of digits (temperature scaling, Guo et
        al. 2017, arXiv:1706.04599). Neither the predicted digits nor the confidence of a number depend on it.
      platt_scale: the confidence c of a number becomes sigmoid(platt_scale x logit(c) + platt_bias), which preserves
        the order of confidences (Platt scaling, Platt 1999, "Probabilistic outputs for support vector machines",
        section 2).
      platt_bias: see platt_scale.
      target: how cells were assigned in training, a key of targets.TARGETS.
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
    """Returns the options of the whole config for a data source."""
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
