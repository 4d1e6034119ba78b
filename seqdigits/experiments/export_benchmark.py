"""Measures the exported files of a trained network: bytes, time of an image, and accuracy of each format."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import jax
import numpy as np

from seqdigits.checkpoint import pretrained
from seqdigits.core import interrupt
from seqdigits.core.errors import UserError
from seqdigits.core.interrupt import Stop
from seqdigits.export.agreement import Examples
from seqdigits.export.formats import DTYPES, exported
from seqdigits.export.onnx import to_onnx
from seqdigits.export.parity import compare_batches
from seqdigits.export.program import Program
from seqdigits.inference.jax_engine import BATCHES, JaxEngine
from seqdigits.inference.onnx_engine import OnnxEngine


def measure_exports(source: str, rounds: int, stop: Stop) -> list[dict[str, Any]]:
    """Measures each format of a trained network on its validation examples, and JAX first.

    Files are not checked: what they lose is measured.

    Args:
      source: the name of pretrained weights, or see checkpoint.load.load_variables.
      rounds: number of timings of one image, after a first run; medians are reported.
      stop: ends it early.

    Returns:
      A row for each format: `format`, `dtype`, `bytes`, `milliseconds` of an image, `same`, the share of images with the digits of
      the network, and `accuracy`, sequence accuracy; None where there is none. For the ONNX file of a dense detector, which returns
      candidates, `same` is the share of candidates. That of JAX has `multiply_adds` of an image, half of the floating-point operations
      that XLA counts in the network and in decoding. A format that a missing library rules out has `error` in place of these.

    Raises:
      UserError: there are no weights, they are damaged, or the data are missing.
      Stopped: `stop` was set.
    """
    packaged = pretrained.find(source)
    weights = packaged or Path(source)
    program = Program(weights, packaged_data=packaged is not None)
    examples = Examples(program)
    images = np.asarray(examples.batch.image)
    predict = jax.jit(program.predict).lower(images[:1]).compile()
    cost: Any = predict.cost_analysis()
    rows = [
        {
            "format": "jax",
            "dtype": "float32",
            "bytes": None,
            "milliseconds": _milliseconds(lambda image: jax.block_until_ready(predict(image)), images, rounds),
            "same": 1.0,
            "accuracy": examples.accuracy_of_network,
            "multiply_adds": int(cost["flops"]) // 2,
        }
    ]
    for to, dtypes in DTYPES.items():
        for dtype in dtypes:
            if stop.is_set():
                raise interrupt.Stopped
            row: dict[str, Any] = {"format": to, "dtype": dtype}
            try:
                if program.is_detector and to == "onnx":
                    row |= _detector(weights, dtype, images, rounds)
                else:
                    content, run = exported(program, to, dtype, weights)
                    found = examples.compare(run)
                    row |= {"bytes": len(content), "milliseconds": _milliseconds(run, images, rounds)}
                    row |= {"same": found.same / found.images, "accuracy": found.accuracy}
            except UserError as e:
                row["error"] = str(e)
            rows.append(row)
    return rows


def _detector(weights: Path, dtype: str, images: np.ndarray, rounds: int) -> dict[str, Any]:
    """Measures the ONNX file of a dense detector."""
    content = to_onnx(weights, dtype)
    engine, size = OnnxEngine(weights, content), BATCHES[-1]
    batches = (images[start : start + size] for start in range(0, len(images), size))
    found = compare_batches(engine, JaxEngine(weights), batches)
    return {
        "bytes": len(content),
        "milliseconds": _milliseconds(engine, images, rounds),
        "same": found.same / max(found.digits, 1),
        "accuracy": None,
    }


def _milliseconds(run: Callable[[np.ndarray], Any], images: np.ndarray, rounds: int) -> float:
    """Returns the median time of one image."""
    run(images[:1])
    times = []
    for i in range(rounds):
        image = images[i % len(images)][None]
        began = time.perf_counter()
        run(image)
        times.append(time.perf_counter() - began)
    return 1e3 * median(times)
