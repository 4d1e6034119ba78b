"""Weights in one small file: an .npz of plain arrays, which cannot execute code, and their metadata."""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from pathlib import Path
from typing import Any

import jax
import numpy as np

from seqdigits.config.upgrade import upgrade_record
from seqdigits.core import params
from seqdigits.core.errors import UserError
from seqdigits.core.files import write_atomically
from seqdigits.core.types import Variables

_METADATA = "about.json"
"""The array of the file that holds the metadata, JSON as bytes."""

_LOAD_ERRORS = (
    OSError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    EOFError,
    RuntimeError,
    zipfile.BadZipFile,
    zlib.error,
)
"""Exceptions that numpy, zipfile and json raise for damaged or foreign files."""


def save(path: Path, variables: Variables, about: dict[str, Any], *, half: bool = False) -> None:
    """Saves variables to a file.

    Args:
      path: the file, NAME.npz.
      variables: collections by name, nested dicts of arrays.
      about: the metadata, JSON with at least `step` and `config`.
      half: whether params are stored as float16. Statistics are not, nor arrays with a value beyond the range of
        float16.
    """
    arrays = {}
    for name, leaf in zip(params.names(variables), jax.tree.leaves(jax.device_get(variables)), strict=True):
        fits = half and name.startswith("params/") and np.abs(leaf).max(initial=0) <= np.finfo(np.float16).max
        arrays[name] = leaf.astype(np.float16) if fits else leaf
    arrays[_METADATA] = np.frombuffer(json.dumps(about).encode(), np.uint8)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    write_atomically(path, buffer.getvalue())


def load(path: Path) -> tuple[Variables, dict[str, Any]]:
    """Loads a file that `save` wrote.

    Returns:
      The collections params, batch_stats and input_stats, where float16 is converted to f32; and the metadata, with
      upgraded configs.

    Raises:
      UserError: the file is missing or damaged, or is not a file of weights.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            about = json.loads(file[_METADATA].tobytes())
            arrays = {name: file[name] for name in file.files if name != _METADATA}
        about = upgrade_record(about)
        about["step"], about["config"]
        variables = _nested(arrays)
    except FileNotFoundError:
        raise UserError(f"there is no file of weights {path}.") from None
    except _LOAD_ERRORS as e:  # the message of numpy is not repeated: it suggests pickle, which can execute code
        raise UserError(f"{path} is damaged, or not a file of weights (an .npz of plain arrays).") from e
    return {name: variables.get(name, {}) for name in ("params", "batch_stats", "input_stats")}, about


def _nested(arrays: dict[str, np.ndarray]) -> Variables:
    variables: Variables = {}
    for name, value in arrays.items():
        *modules, last = name.split("/")
        parent = variables
        for module in modules:
            parent = parent.setdefault(module, {})
        parent[last] = value.astype(np.float32) if value.dtype == np.float16 else value
    return variables
