"""Checks of the section `model`, and of the losses and decoding that go with it."""

from __future__ import annotations

from ml_collections import ConfigDict

from seqdigits.config_checks.checks import get, refuse_unread
from seqdigits.core.errors import UserError
from seqdigits.data.image_size import image_size
from seqdigits.models import layer_spec


def validate_model(config: ConfigDict) -> None:
    model = config.model
    encoder = layer_spec.parse(model.encoder, "model.encoder")
    layer_spec.parse(model.head, "model.head", flat=True)
    layer_spec.parse(model.box_head, "model.box_head", flat=True)
    height, width = image_size(config.data)
    reader, unrolled = model.name == "reader", model.name in ("gru", "attention", "row_gru")
    if reader:  # it continues the image to a multiple of the largest stride
        height, width = (n + -n % layer_spec.largest_stride(encoder) for n in (height, width))
    layer_spec.output_size(encoder, height, width, "model.encoder")
    if unrolled and model.gru_units < 1:
        raise UserError(
            f"model.gru_units = {model.gru_units}: model.name = {model.name} needs at least 1, for example 576."
        )
    if model.name == "row_gru" and model.gru_units % config.data.max_length:
        raise UserError(
            f"model.gru_units = {model.gru_units} is cut into data.max_length = {config.data.max_length} equal parts with "
            "model.name = row_gru. Make it a multiple."
        )
    flat = [layer.kind for layer in encoder if layer.kind in layer_spec.FLAT]
    if (reader or model.name in ("attention", "row_gru")) and flat:
        raise UserError(
            f"model.encoder has a {flat[0]} layer, which leaves no grid for model.name = {model.name}. Remove it."
        )
    if model.pixels == "per_pixel" and config.data.train_height:
        raise UserError(
            f"model.pixels = per_pixel: with data.train_height = {config.data.train_height} the images that are read have other "
            "pixels than those of training. Set it to unit or image_mean."
        )
    if reader and any(layer.padding == "VALID" for layer in encoder):
        raise UserError(
            "model.encoder has a layer without padding ('valid'), and the cells of a reader must fill the image. Take the "
            "word out."
        )
    if reader and config.loss.target != "cell" and not config.loss.target_radius:
        raise UserError(f"loss.target_radius = 0: loss.target = {config.loss.target} needs one, for example 0.2.")
    if reader and config.data.stacked:
        raise UserError("data.stacked = True: model.name = reader reads from left to right. Choose another model.name.")
    unread = {
        "model.gru_units": not unrolled,
        "model.shared_head": not unrolled,
        "model.head": reader,
        "model.localize": reader,
        "model.box_head": reader or not model.localize,
        "loss.digits": reader,
        "loss.box": not model.localize,
        "loss.cells": not reader,
        "loss.cell_boxes": not reader,
        "loss.background": not reader,
        "loss.target": not reader,
        "loss.target_radius": not reader or config.loss.target == "cell",
        "loss.smoothing": not reader,
        "read.min_score": not reader,
        "read.max_overlap": not reader,
        "read.max_numbers": not reader,
        "read.group": not reader,
        "read.halvings": not reader,
        "loss.digit_loss": reader,
        "loss.positions": reader,
        "loss.no_digit": reader,
    }
    refuse_unread(config, unread, f"model.name = {model.name} and model.localize = {model.localize}")
    fixed = config.data.min_length == config.data.max_length
    refuse_unread(config, {"loss.no_digit": fixed}, f"data.min_length = data.max_length = {config.data.max_length}")
    learns = ("loss.cells", "loss.cell_boxes") if reader else ("loss.digits",)
    only_box = config.loss.box and config.init.path  # digits were learned before
    for key in learns:
        if not get(config, key) and not only_box:
            raise UserError(f"{key} = 0: model.name = {model.name} would not learn to read. Set it to 1, for example.")
