"""Exports a network to TensorFlow Lite (LiteRT), for phones and small boards."""

from __future__ import annotations

import os
import warnings
from typing import Any

import numpy as np

from seqdigits.core.errors import UserError
from seqdigits.export.program import Program, Runtime

INPUT = "images"


def to_tflite(program: Program, dtype: str) -> bytes:
    """Returns the file, of builtin operators only.

    Its only signature takes `images`, u8 [1, H, W, C] of the program's H and W, and returns the fields of the Prediction by name.

    Args:
      program: the trained network.
      dtype: how the file stores weights: as such, "float32"; halved, "float16"; or as 8-bit integers with a factor
        (dynamic-range quantization), "int8".

    Raises:
      UserError: TensorFlow is not installed, or it cannot convert the program.
    """
    tensorflow, jax2tf = _libraries()
    module = tensorflow.Module()
    signature = [tensorflow.TensorSpec((1, *program.spec.image), tensorflow.uint8, name=INPUT)]
    module.predict = tensorflow.function(jax2tf.convert(program.predict), input_signature=signature, autograph=False)
    converter = tensorflow.lite.TFLiteConverter.from_concrete_functions(
        [module.predict.get_concrete_function()], module
    )
    converter.target_spec.supported_ops = [tensorflow.lite.OpsSet.TFLITE_BUILTINS]
    if dtype != "float32":
        converter.optimizations = [tensorflow.lite.Optimize.DEFAULT]
    if dtype == "float16":
        converter.target_spec.supported_types = [tensorflow.float16]
    try:
        return bytes(converter.convert())
    except Exception as e:  # the converter has no type of its own
        raise UserError(
            f"TensorFlow cannot convert the network to TensorFlow Lite: {str(e).splitlines()[0]}. Use --to onnx."
        ) from e


def tflite_runtime(content: bytes) -> Runtime:
    """Returns the runtime of such a file, with one thread.

    Raises:
      UserError: TensorFlow is not installed.
    """
    tensorflow, _ = _libraries()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TensorFlow would rather have its successor, which runs the same files
        run = tensorflow.lite.Interpreter(model_content=content, num_threads=1).get_signature_runner()

    def run_each(images: np.ndarray) -> dict[str, np.ndarray]:
        found = [run(**{INPUT: image[None]}) for image in images]
        return {name: np.concatenate([one[name] for one in found]) for name in found[0]}

    return run_each


def _libraries() -> tuple[Any, Any]:
    """Returns TensorFlow, and the part of JAX that needs it.

    Raises:
      UserError: TensorFlow is not installed.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # errors only
    try:
        import tensorflow
        from jax.experimental import jax2tf
    except ImportError as e:
        raise UserError(
            f"TensorFlow, which writes and runs the file, cannot be imported: {e}. Install it: pip install 'seqdigits[stream]'."
        ) from e
    return tensorflow, jax2tf
