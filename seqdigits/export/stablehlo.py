"""Exports a network as a serialized program of StableHLO, which JAX loads without the code of the network."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import export

from seqdigits.decoding.cells import CANDIDATES_PER_POSITION
from seqdigits.export.program import Program, Runtime
from seqdigits.models.layer_spec import cumulative_strides, largest_stride, parse

PLATFORMS = ("cpu", "cuda", "tpu")
"""That one file runs on."""


def to_stablehlo(program: Program) -> bytes:
    """Returns the file, which `jax.export.deserialize` loads.

    Its only argument is u8 [B, H, W, C], of any B, and of the H and W of the program; its result is a dict, the fields of the
    Prediction by name. The H and W of a dense detector without `decode.octaves` are any multiples of the largest stride of its
    encoder that are not smaller than `smallest_side`.
    """
    height, width, channels = program.spec.image
    shape: Any = export.symbolic_shape(f"b, {height}, {width}, {channels}")
    if program.is_detector and not program.config.decode.octaves:
        multiple = largest_stride(parse(program.config.model.encoder, "model.encoder"))
        least = smallest_side(program) // multiple
        shape = export.symbolic_shape(
            f"b, {multiple}*h, {multiple}*w, {channels}", constraints=[f"h >= {least}", f"w >= {least}"]
        )
    exported = export.export(jax.jit(program.predict), platforms=PLATFORMS)(jax.ShapeDtypeStruct(shape, jnp.uint8))
    return bytes(exported.serialize())


def smallest_side(program: Program) -> int:
    """Returns the smallest height and width of a dense detector's images, in pixels.

    For smaller images other operators would be used: for convolutions whose output is smaller than their kernel, see
    models.convolution.convolve, and where there are fewer cells than candidates.
    """
    encoder = parse(program.config.model.encoder, "model.encoder")
    strides = cumulative_strides(encoder)
    sides = [layer.size * stride for layer, stride in zip(encoder, strides[1:], strict=True) if layer.kind == "conv"]
    candidates = CANDIDATES_PER_POSITION * program.spec.max_length
    sides.append((math.isqrt(candidates - 1) + 1) * strides[-1])
    return -(-max(sides) // max(strides)) * max(strides)


def stablehlo_runtime(content: bytes) -> Runtime:
    """Returns the runtime of such a file."""
    call = jax.jit(export.deserialize(bytearray(content)).call)
    return lambda images: {name: np.asarray(value) for name, value in call(images).items()}
