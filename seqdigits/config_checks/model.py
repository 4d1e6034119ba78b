"""Checks of the section `model`, and of `loss` and `decode` as far as they depend on it."""

from __future__ import annotations

from ml_collections import ConfigDict

from seqdigits.config.defaults import get
from seqdigits.config_checks.checks import refuse_unread
from seqdigits.core.constants import NO_DIGIT
from seqdigits.core.errors import UserError
from seqdigits.data.digits import SIZE
from seqdigits.data.image_size import image_size
from seqdigits.models import layer_spec
from seqdigits.models.glimpses import CONTEXT_STRIDE


def validate_model(config: ConfigDict) -> None:
    """Refuses layers, losses and options of decoding that the model does not support.

    Raises:
      UserError: naming the key, its value, what is allowed, and the fix.
    """
    model, is_dense = config.model, config.model.name == "dense_detector"
    _validate_layers(config)
    if model.name in _UNROLLED and model.gru_units < 1:
        raise UserError(
            f"model.gru_units = {model.gru_units}: model.name = {model.name} needs at least 1, for example 576."
        )
    if model.name == "row_gru" and model.gru_units % config.data.max_length:
        raise UserError(
            f"model.gru_units = {model.gru_units}: with model.name = row_gru it must be a multiple of data.max_length = "
            f"{config.data.max_length}."
        )
    if model.pixels == "per_pixel" and config.data.train_height:
        raise UserError(
            f"model.pixels = per_pixel: with data.train_height = {config.data.train_height} images of training and of evaluation "
            "differ in size. Set it to unit or image_mean."
        )
    if is_dense and config.data.stacked:
        raise UserError(
            "data.stacked = True: model.name = dense_detector orders digits from left to right. Choose another model.name."
        )
    _validate_model_keys(config)
    _validate_loss(config)
    if model.second_look:
        _validate_second_look(config)


def _validate_second_look(config: ConfigDict) -> None:
    """Refuses a second look that has no digits of the size of its tiles, or no loss."""
    model, kind = config.model, config.data.composition
    layers = layer_spec.parse(model.second_look, "model.second_look")
    if not layers or (layers[-1].kind, layers[-1].features) != ("dense", NO_DIGIT):
        raise UserError(f"model.second_look ends with another layer than 'dense {NO_DIGIT}'. Add it.")
    layer_spec.output_size(layers, SIZE, SIZE, "model.second_look")
    if kind not in ("digit", "canvas"):
        raise UserError(
            f"data.composition = {kind}: model.second_look needs upright digits of {SIZE}x{SIZE} pixels. Set data.composition to "
            "canvas or digit, or model.second_look to ''."
        )
    if config.decode.octaves:
        raise UserError(
            f"decode.octaves = {config.decode.octaves}: with model.second_look only 0 is allowed. Set it to 0."
        )
    if model.pixels == "per_pixel":
        raise UserError(
            "model.pixels = per_pixel: a tile of model.second_look may lie anywhere. Set model.pixels to unit, for example."
        )
    if not config.loss.second_look:
        raise UserError("loss.second_look = 0: model.second_look would not be trained. Set it to 1, for example.")


_UNROLLED = ("gru", "attention", "row_gru", "glimpses")
"""The models with a GRU over the positions."""


def _validate_layers(config: ConfigDict) -> None:
    """Refuses text that is not a layer, and layers that do not suit the model or the size of the image."""
    model, is_dense = config.model, config.model.name == "dense_detector"
    encoder = layer_spec.parse(model.encoder, "model.encoder")
    layer_spec.parse(model.head, "model.head", flat=True)
    layer_spec.parse(model.box_head, "model.box_head", flat=True)
    height, width = image_size(config.data)
    if model.name == "glimpses":
        if model.glimpse_size % 2:
            raise UserError(
                f"model.glimpse_size = {model.glimpse_size}: it must be even. Set it to {model.glimpse_size + 1}."
            )
        context = layer_spec.parse(model.context, "model.context")
        layer_spec.output_size(context, height // CONTEXT_STRIDE, width // CONTEXT_STRIDE, "model.context")
        height = width = model.glimpse_size
    if is_dense:  # the model pads the image to a multiple of the largest stride
        height, width = (n + -n % layer_spec.largest_stride(encoder) for n in (height, width))
    layer_spec.output_size(encoder, height, width, "model.encoder")
    flat = [layer.kind for layer in encoder if layer.kind in layer_spec.FLAT]
    if (is_dense or model.name in ("attention", "row_gru")) and flat:
        raise UserError(
            f"model.encoder has a {flat[0]} layer, but model.name = {model.name} needs a feature map. Remove the layer."
        )
    if is_dense and any(layer.kind == "local" for layer in encoder):
        raise UserError(
            "model.encoder has a local layer, whose kernels belong to one image size, but model.name = dense_detector reads images "
            "of any size. Use a conv layer."
        )
    if is_dense and any(layer.padding == "VALID" for layer in encoder):
        raise UserError(
            "model.encoder has a layer without padding ('valid'), but the cells of model.name = dense_detector must cover the "
            "image. Remove the word valid."
        )


def _validate_model_keys(config: ConfigDict) -> None:
    """Refuses keys that have no effect for the model."""
    model, is_dense = config.model, config.model.name == "dense_detector"
    is_glimpses = model.name == "glimpses"
    unread = {
        "model.gru_units": model.name not in _UNROLLED,
        "model.gru_cell": model.name not in ("gru", "row_gru"),
        "model.shared_head": model.name not in _UNROLLED or is_glimpses,
        **{f"model.{name}": not is_glimpses for name in ("context", "glimpses", "glimpse_size", "glimpse_deviation")},
        "loss.policy": not is_glimpses,
        "loss.baseline": not is_glimpses,
        "model.length_head": model.name != "heads",
        "model.head": is_dense,
        "model.localize": is_dense or is_glimpses,
        "model.box_head": is_dense or not model.localize,
        "loss.digits": is_dense,
        "loss.length": not model.length_head,
        "loss.box": not model.localize,
        "loss.cells": not is_dense,
        "loss.cell_boxes": not is_dense,
        "loss.normalizer": not is_dense,
        "loss.background_weight": not is_dense,
        "loss.target": not is_dense,
        "loss.target_radius": not is_dense,
        "loss.smoothing": not is_dense,
        "model.second_look": not is_dense,
        "loss.second_look": not is_dense,
        "model.mean_jitter": not is_dense,
        "decode.min_score": not is_dense,
        "decode.max_overlap": not is_dense,
        "decode.max_numbers": not is_dense,
        "decode.group_digits": not is_dense,
        "decode.octaves": not is_dense,
        "loss.digit_loss": is_dense,
        "loss.positions": is_dense,
        "loss.no_digit_weight": is_dense,
    }
    refuse_unread(config, unread, f"model.name = {model.name} and model.localize = {model.localize}")
    refuse_unread(config, {"loss.target_radius": config.loss.target == "cell"}, "loss.target = cell")
    refuse_unread(config, {"loss.second_look": not model.second_look}, "model.second_look = ''")
    refuse_unread(config, {"model.mean_jitter": model.pixels != "image_mean"}, f"model.pixels = {model.pixels}")
    fixed = config.data.min_length == config.data.max_length
    refuse_unread(
        config,
        {"loss.no_digit_weight": fixed, "model.length_head": fixed},
        f"data.min_length = data.max_length = {config.data.max_length}",
    )
    refuse_unread(config, {"loss.no_digit_weight": model.length_head}, "model.length_head = True")


def _validate_loss(config: ConfigDict) -> None:
    """Refuses a loss without the terms that train the model."""
    model, is_dense = config.model, config.model.name == "dense_detector"
    if is_dense and config.loss.target != "cell" and not config.loss.target_radius:
        raise UserError(f"loss.target_radius = 0: loss.target = {config.loss.target} needs a radius, for example 0.2.")
    if model.length_head and config.loss.digit_loss == "binary_cross_entropy":
        raise UserError(
            "loss.digit_loss = binary_cross_entropy needs logits, but with model.length_head = True the outputs are logarithms of "
            "probabilities. Set loss.digit_loss to cross_entropy, or model.length_head to False."
        )
    trains = {"loss.cells": "digits", "loss.cell_boxes": "digits"} if is_dense else {"loss.digits": "digits"}
    trains |= {"loss.length": "the number of digits"} if model.length_head else {}
    if model.name == "glimpses":
        trains |= {"loss.policy": "where to look", "loss.baseline": "the rewards to expect"}
    only_box = config.loss.box and config.init.path  # the run of init.path has trained the digits
    for key, what in trains.items():
        if not get(config, key) and not only_box:
            raise UserError(
                f"{key} = 0: model.name = {model.name} would not be trained on {what}. Set it to 1, for example."
            )
