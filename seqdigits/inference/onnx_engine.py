"""The engine of the Reader that evaluates a dense detector with ONNX Runtime, without JAX."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from seqdigits.core.errors import UserError, short

FORMAT = "dense_detector 1"
"""Names what a file takes and returns; another one has another name."""


class OnnxEngine:
    """A dense detector in a file that `seqdigits export --to onnx` wrote, see reader.Engine.

    It takes images of any size at once, and threads may share it.

    Attributes:
      channels: see reader.Engine.
      min_score: likewise.
      weights_sha256: SHA-256 of the file of weights that was exported, hexadecimal; None if it was a checkpoint.
    """

    def __init__(self, file: Path, content: bytes | None = None) -> None:
        """Loads a file.

        Args:
          file: NAME.onnx.
          content: of the file, where it has been read already.

        Raises:
          UserError: the file is missing or damaged, or not of such a detector, or ONNX Runtime is not installed.
        """
        self._session = open_session(file, content)
        metadata: dict[str, str] = self._session.get_modelmeta().custom_metadata_map
        if metadata.get("format") != FORMAT:
            raise UserError(
                f"{file} is not the ONNX file of a dense detector (format = {FORMAT!r} in its metadata). {_FIX}"
            )
        self.channels = int(metadata["channels"])
        self.min_score = float(metadata["min_score"])
        self.weights_sha256 = metadata.get("weights_sha256")

    def __call__(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns the best M candidates, see reader.Engine."""
        box, probability = self._session.run(OUTPUTS, {INPUT: np.ascontiguousarray(images)})
        return box, probability


def open_session(file: Path, content: bytes | None = None) -> Any:
    """Returns the session of ONNX Runtime for a file, of THREADS threads.

    Args:
      file: that `seqdigits export --to onnx` wrote.
      content: of the file, where it has been read already.

    Raises:
      UserError: the file is missing or damaged, or ONNX Runtime is not installed.
    """
    runtime = _runtime()
    try:
        content = file.read_bytes() if content is None else content
    except OSError as e:
        raise UserError(f"{file} cannot be read: {e.strerror}. seqdigits export --to onnx writes such a file.") from e
    options = runtime.SessionOptions()
    options.intra_op_num_threads = THREADS
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # errors are raised
    try:
        return runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as e:  # ONNX Runtime has a type of its own for each error
        raise UserError(f"{file} is damaged, or not an ONNX file: {short(e)}. {_FIX}") from e


INPUT, OUTPUTS = "images", ("boxes", "probabilities")
"""Names of the tensors: u8 [B, H, W, channels] to f32 [B, M, 4] and f32 [B, M, 10]."""

THREADS = 1
"""Of one call. More threads spin: on two busy cores, two take twice the CPU time, and longer."""

_FIX = "Write it again: seqdigits export --to onnx"


def _runtime() -> Any:
    try:
        import onnxruntime
    except ImportError as e:
        raise UserError(
            f"ONNX Runtime cannot be imported: {e}. Install it: pip install onnxruntime. Or let JAX evaluate pretrained weights: "
            "Reader.from_pretrained(NAME, engine='jax')."
        ) from e
    return onnxruntime
