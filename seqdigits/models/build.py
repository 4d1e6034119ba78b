"""Builds the model that a config describes, and initializes its variables."""

from __future__ import annotations

import flax.linen as nn
import jax.numpy as jnp
from ml_collections import ConfigDict

from seqdigits.core.rng import RngStream, stream_key
from seqdigits.core.types import Spec, Variables
from seqdigits.models.dense import DenseDetector
from seqdigits.models.glimpses import GlimpseModel
from seqdigits.models.layer_spec import parse
from seqdigits.models.sequence import SequenceModel
from seqdigits.models.stack import COMPUTE_DTYPES, Base


def build(config: ConfigDict, spec: Spec, axis: str | None = None) -> Base:
    """Builds the model of a validated config for the shapes of a data source.

    Args:
      config: the whole config.
      spec: of the data source.
      axis: see stack.Base.

    Returns:
      A module, called as `model(image u8 [B, H, W, C], *, train, mask bool [B]) -> Outputs`.
    """
    model = config.model
    common = {
        "kernel_init": model.kernel_init,
        "bias_init": model.bias_init,
        "axis": axis,
        "frozen": config.optim.freeze,
        "dtype": COMPUTE_DTYPES[model.compute_dtype],
        "remat": model.remat,
        "pixels": model.pixels,
        "encoder": parse(model.encoder, "model.encoder"),
    }
    if model.name == "dense_detector":
        return DenseDetector(
            **common,
            octaves=config.decode.octaves,
            mean_jitter=config.model.mean_jitter,
            second_look=parse(model.second_look, "model.second_look"),
        )
    if model.name == "glimpses":
        return GlimpseModel(
            **common,
            context=parse(model.context, "model.context"),
            gru_units=model.gru_units,
            head=parse(model.head, "model.head", flat=True),
            glimpses=model.glimpses,
            glimpse_size=model.glimpse_size,
            glimpse_deviation=model.glimpse_deviation,
            positions=spec.max_length,
            num_classes=spec.num_classes,
        )
    return SequenceModel(
        **common,
        decoder=model.name,
        gru_units=model.gru_units,
        gru_cell=model.gru_cell,
        length_head=model.length_head,
        head=parse(model.head, "model.head", flat=True),
        shared_head=model.shared_head,
        box_head=parse(model.box_head, "model.box_head", flat=True) if model.localize else None,
        positions=spec.max_length,
        num_classes=spec.num_classes,
    )


def init_variables(model: nn.Module, spec: Spec, seed: int) -> Variables:
    """Returns randomly initialized variables: params, batch_stats and input_stats.

    Their shapes are those for images of `spec`. The values of input_stats are placeholders: training fills them with
    statistics of the training set before step 0.
    """
    variables = dict(
        model.init(
            {"params": stream_key(seed, RngStream.INIT)},
            jnp.zeros((1, *spec.image), jnp.uint8),
            train=False,
            mask=jnp.ones(1, bool),
        )
    )
    return {name: variables.get(name, {}) for name in ("params", "batch_stats", "input_stats")}
