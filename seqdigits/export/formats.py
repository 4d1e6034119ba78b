"""The formats that predict: one entry for all of them."""

from __future__ import annotations

from pathlib import Path

from seqdigits.export.onnx_sequence import onnx_runtime, sequence_to_onnx
from seqdigits.export.program import Program, Runtime
from seqdigits.export.stablehlo import stablehlo_runtime, to_stablehlo
from seqdigits.export.tflite import tflite_runtime, to_tflite

DTYPES = {"onnx": ("float16", "float32"), "tflite": ("float16", "float32", "int8"), "stablehlo": ("float32",)}
"""How a file of each format may store weights, the default first."""


def exported(program: Program, to: str, dtype: str, out: Path) -> tuple[bytes, Runtime]:
    """Returns the content of a file, and the runtime that runs it.

    Args:
      program: the trained network; for onnx no dense detector.
      to: the format, a key of DTYPES.
      dtype: one of its values.
      out: the file, for messages.

    Raises:
      UserError: the network cannot be exported, or a library is missing.
    """
    if to == "onnx":
        content = sequence_to_onnx(program, dtype)
        return content, onnx_runtime(content, out)
    if to == "tflite":
        content = to_tflite(program, dtype)
        return content, tflite_runtime(content)
    content = to_stablehlo(program)
    return content, stablehlo_runtime(content)
