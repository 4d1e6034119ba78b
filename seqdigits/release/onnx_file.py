"""NAME.onnx of published weights: the same network for ONNX Runtime, which `seqdigits.Reader` reads with."""

from __future__ import annotations

import hashlib
from pathlib import Path

from seqdigits.checkpoint import pretrained
from seqdigits.core.files import make_folder, write_atomically
from seqdigits.export.onnx import to_onnx
from seqdigits.export.parity import check, compare, text
from seqdigits.inference.jax_engine import JaxEngine
from seqdigits.inference.onnx_engine import OnnxEngine
from seqdigits.release.facts import write_sum

DTYPE = "float16"
"""See export.onnx.DTYPES: that of NAME.npz, so that nothing is lost."""


def export(name: str) -> Path:
    """Writes NAME.onnx of the published weights of a name again, and its SHA-256; returns the file.

    Raises:
      UserError: the weights are missing or damaged, or see checked_onnx.
    """
    content = checked_onnx(pretrained.path(name), pretrained.FOLDER / f"{name}.onnx")
    make_folder(pretrained.FOLDER, "the folder of the pretrained weights")
    write_onnx(name, content)
    file = pretrained.onnx_path(name)
    print(f"{file}, {len(content):,} bytes", flush=True)
    return file


def checked_onnx(weights: Path, out: Path) -> bytes:
    """Returns the ONNX file of weights, after its candidates were compared with those of JAX, and prints the figures.

    Args:
      weights: see checkpoint.load.load_variables.
      out: the file, for messages.

    Raises:
      UserError: the file gives other candidates, the weights cannot be exported, or a library is missing.
    """
    content = to_onnx(weights, DTYPE)
    parity = compare(OnnxEngine(out, content), JaxEngine(weights))
    print(text(parity), flush=True)
    check(parity, out, exact=True)
    return content


def write_onnx(name: str, content: bytes) -> None:
    """Writes NAME.onnx, and its SHA-256 after it."""
    write_atomically(pretrained.FOLDER / f"{name}.onnx", content)
    write_sum(f"{name}.onnx", hashlib.sha256(content).hexdigest())
