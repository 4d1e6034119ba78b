"""Checks of the section `model`, and of the losses and decoding that go with it."""

from __future__ import annotations

from ml_collections import ConfigDict

from seqdigits.config.defaults import get
from seqdigits.config_checks.checks import refuse_unread
from seqdigits.core.errors import UserError
from seqdigits.data.image_size import image_size
from seqdigits.models import layer_spec


def validate_model(config: ConfigDict) -> None:
    model, reader = config.model, config.model.name == "dense_detector"
    _validate_layers(config)
    if model.name in _UNROLLED and model.gru_units < 1:
        raise UserError(
            f"model.gru_units = {model.gru_units}: model.name = {model.name} needs at least 1, for example 576."
        )
    if model.name == "row_gru" and model.gru_units % config.data.max_length:
        raise UserError(
            f"model.gru_units = {model.gru_units} is cut into data.max_length = {config.data.max_length} equal parts with "
            "model.name = row_gru. Make it a multiple."
        )
    if model.pixels == "per_pixel" and config.data.train_height:
        raise UserError(
            f"model.pixels = per_pixel: with data.train_height = {config.data.train_height} the images that are read have other "
            "pixels than those of training. Set it to unit or image_mean."
        )
    if reader and config.data.stacked:
        raise UserError(
            "data.stacked = True: model.name = dense_detector reads from left to right. Choose another model.name."
        )
    _validate_model_keys(config)
    _validate_loss(config)


_UNROLLED = ("gru", "attention", "row_gru")
"""The models with a GRU that unrolls the positions."""


def _validate_layers(config: ConfigDict) -> None:
    """Refuses layers that are no layers, or that the model or the size of the image does not allow."""
    model, reader = config.model, config.model.name == "dense_detector"
    encoder = layer_spec.parse(model.encoder, "model.encoder")
    layer_spec.parse(model.head, "model.head", flat=True)
    layer_spec.parse(model.box_head, "model.box_head", flat=True)
    height, width = image_size(config.data)
    if reader:  # it continues the image to a multiple of the largest stride
        height, width = (n + -n % layer_spec.largest_stride(encoder) for n in (height, width))
    layer_spec.output_size(encoder, height, width, "model.encoder")
    flat = [layer.kind for layer in encoder if layer.kind in layer_spec.FLAT]
    if (reader or model.name in ("attention", "row_gru")) and flat:
        raise UserError(
            f"model.encoder has a {flat[0]} layer, which leaves no grid for model.name = {model.name}. Remove it."
        )
    if reader and any(layer.padding == "VALID" for layer in encoder):
        raise UserError(
            "model.encoder has a layer without padding ('valid'), and the cells of a reader must fill the image. Take the "
            "word out."
        )


def _validate_model_keys(config: ConfigDict) -> None:
    """Refuses keys that the model does not read."""
    model, reader = config.model, config.model.name == "dense_detector"
    unread = {
        "model.gru_units": model.name not in _UNROLLED,
        "model.shared_head": model.name not in _UNROLLED,
        "model.head": reader,
        "model.localize": reader,
        "model.box_head": reader or not model.localize,
        "loss.digits": reader,
        "loss.box": not model.localize,
        "loss.cells": not reader,
        "loss.cell_boxes": not reader,
        "loss.background_weight": not reader,
        "loss.target": not reader,
        "loss.target_radius": not reader or config.loss.target == "cell",
        "loss.smoothing": not reader,
        "decode.min_score": not reader,
        "decode.max_overlap": not reader,
        "decode.max_numbers": not reader,
        "decode.group_digits": not reader,
        "decode.octaves": not reader,
        "loss.digit_loss": reader,
        "loss.positions": reader,
        "loss.no_digit_weight": reader,
    }
    refuse_unread(config, unread, f"model.name = {model.name} and model.localize = {model.localize}")
    fixed = config.data.min_length == config.data.max_length
    refuse_unread(
        config, {"loss.no_digit_weight": fixed}, f"data.min_length = data.max_length = {config.data.max_length}"
    )


def _validate_loss(config: ConfigDict) -> None:
    """Refuses a loss from which the model would not learn."""
    model, reader = config.model, config.model.name == "dense_detector"
    if reader and config.loss.target != "cell" and not config.loss.target_radius:
        raise UserError(f"loss.target_radius = 0: loss.target = {config.loss.target} needs one, for example 0.2.")
    learns = ("loss.cells", "loss.cell_boxes") if reader else ("loss.digits",)
    only_box = config.loss.box and config.init.path  # digits were learned before
    for key in learns:
        if not get(config, key) and not only_box:
            raise UserError(f"{key} = 0: model.name = {model.name} would not learn to read. Set it to 1, for example.")
