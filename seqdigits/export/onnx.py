"""Exports a dense detector to ONNX: images in, the best candidates for digits out, as the engine of the Reader needs them."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import jax
import numpy as np

from seqdigits.core.constants import NO_DIGIT
from seqdigits.export.onnx_candidates import add_candidates
from seqdigits.export.onnx_graph import OnnxGraph
from seqdigits.export.onnx_layers import OnnxStack, add_normalization
from seqdigits.inference.jax_engine import CANDIDATES, CELLS, MIN_CELL_SCORE, load_detector
from seqdigits.inference.onnx_engine import FORMAT, INPUT, OUTPUTS
from seqdigits.models.layer_spec import largest_stride, parse, total_stride

DTYPES: dict[str, type[np.floating]] = {"float16": np.float16, "float32": np.float32}
"""How the file stores kernels; all arithmetic is in float32."""


def to_onnx(weights: Path, dtype: str = "float16") -> bytes:
    """Returns the ONNX file of a dense detector, which inference.onnx_engine evaluates.

    Its input is u8 [B, H, W, channels], of any B, H and W; its outputs are those of reader.Engine. Pixel normalization and the
    merging of cells are inside. Its metadata have the SHA-256 of `weights`, where that is a file.

    Args:
      weights: see checkpoint.load.load_variables.
      dtype: a key of DTYPES.

    Raises:
      UserError: there are no weights, they are damaged, those of another model, or of one that has a layer that cannot be
        exported; or the library onnx is not installed.
    """
    config, variables, channels = load_detector(weights)
    variables = jax.tree.map(np.asarray, variables)
    encoder = parse(config.model.encoder, "model.encoder")
    graph = OnnxGraph()
    x = _padded(graph, add_normalization(graph, INPUT, config.model.pixels, {}), largest_stride(encoder))
    of_encoder = {name: variables[name].get("encoder", {}) for name in ("params", "batch_stats")}
    x, _ = OnnxStack(graph, of_encoder, DTYPES[dtype]).apply(x, channels, encoder)
    logits, offsets = _heads(graph, x, variables["params"], DTYPES[dtype])
    probability = graph.op("Softmax", logits, axis=2)
    probability, _ = graph.split("Split", 2, probability, np.array([NO_DIGIT, 1]), axis=2)
    box, probability = add_candidates(
        graph,
        _boxes(graph, x, offsets, total_stride(encoder)),
        probability,
        cells=CELLS,
        min_cell_score=MIN_CELL_SCORE,
        count=CANDIDATES,
        min_score=config.decode.min_score,
        max_overlap=config.decode.max_overlap,
        target=config.loss.target,
    )
    metadata = {"format": FORMAT, "channels": str(channels), "min_score": repr(float(config.decode.min_score))}
    if weights.is_file():
        metadata["weights_sha256"] = hashlib.sha256(weights.read_bytes()).hexdigest()
    return graph.to_bytes(
        inputs={INPUT: ("UINT8", ("B", "H", "W", channels))},
        outputs={
            OUTPUTS[0]: (box, "FLOAT", ("B", CANDIDATES, 4)),
            OUTPUTS[1]: (probability, "FLOAT", ("B", CANDIDATES, NO_DIGIT)),
        },
        metadata=metadata,
    )


def _padded(graph: OnnxGraph, x: str, multiple: int) -> str:
    """Adds the padding of f32 [B, C, H, W] by its edge, on the right and at the bottom, to multiples."""
    size = graph.op("Shape", x, start=2, end=4)
    missing = graph.op("Mod", graph.op("Neg", size), np.array([multiple]))  # the result has the sign of the divisor
    return graph.op("Pad", x, graph.op("Concat", np.zeros(6, np.int64), missing, axis=0), mode="edge")


def _heads(graph: OnnxGraph, x: str, params: dict[str, Any], dtype: type[np.floating]) -> tuple[str, str]:
    """Adds the heads on a feature map [B, F, h, w]: logits f32 [B, h*w, 11] and offsets f32 [B, h*w, 4]."""
    kernel, bias = (
        np.concatenate([params[head][key] for head in ("digits", "place")], -1) for key in ("kernel", "bias")
    )
    stored = graph.weights(kernel.T[:, :, None, None], dtype)
    x = graph.op("Conv", x, stored, bias.astype(np.float32), kernel_shape=[1, 1])
    x = graph.op("Reshape", x, np.array([0, NO_DIGIT + 5, -1]))  # [B, 15, h*w]
    x = graph.op("Transpose", x, perm=[0, 2, 1])
    logits, offsets = graph.split("Split", 2, x, np.array([NO_DIGIT + 1, 4]), axis=2)
    return logits, offsets


def _boxes(graph: OnnxGraph, x: str, offsets: str, stride: int) -> str:
    """Adds models.dense.boxes_from_offsets for a feature map [B, F, h, w] and offsets f32 [B, h*w, 4]: f32 [B, h*w, 4]."""
    op = graph.op
    width = graph.shape(x, 3)
    cell = graph.range(graph.shape(offsets, 1))
    place = [op("Unsqueeze", op(kind, cell, width), np.array([-1])) for kind in ("Mod", "Div")]  # column and row
    center = op("Add", graph.cast(op("Concat", *place, axis=1), np.float32), np.float32(0.5))
    shift, size = graph.split("Split", 2, offsets, np.array([2, 2]), axis=2)
    center = op("Mul", op("Add", shift, center), np.float32(stride))
    size = op("Mul", op("Exp", op("Clip", size, np.float32(-4), np.float32(6))), np.float32(stride))
    return op("Concat", center, size, axis=2)
