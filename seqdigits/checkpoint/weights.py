"""Weights in one small file: an .npz of plain arrays, which cannot execute code, with what they belong to."""

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

_ABOUT = "about.json"
_DAMAGED = (
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


def save(path: Path, variables: Variables, about: dict[str, Any], *, half: bool = False) -> None:
    """Writes variables to a file.

    Args:
      path: of the file, NAME.npz.
      variables: collections by name, nested dicts of arrays.
      about: JSON that goes with them, at least `step` and `config`.
      half: whether params are written as float16. Statistics, and what is beyond its range, stay as they are.
    """
    arrays = {}
    for name, leaf in zip(params.names(variables), jax.tree.leaves(jax.device_get(variables)), strict=True):
        shorter = half and name.startswith("params/") and np.abs(leaf).max(initial=0) <= np.finfo(np.float16).max
        arrays[name] = leaf.astype(np.float16) if shorter else leaf
    arrays[_ABOUT] = np.frombuffer(json.dumps(about).encode(), np.uint8)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    write_atomically(path, buffer.getvalue())


def load(path: Path) -> tuple[Variables, dict[str, Any]]:
    """Reads what `save` wrote: the variables, f32 again, and what goes with them.

    Raises:
      UserError: there is no such file, or it is damaged or another's.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            about = json.loads(file[_ABOUT].tobytes())
            arrays = {name: file[name] for name in file.files if name != _ABOUT}
        about = upgrade_record(about)
        about["step"], about["config"]
        variables = _nested(arrays)
    except FileNotFoundError:
        raise UserError(f"there is no file of weights {path}.") from None
    except _DAMAGED as e:  # what numpy advises, to load it with pickle, is not repeated: that could run code
        raise UserError(f"{path} is not a file of weights, an .npz of plain arrays; or it is damaged.") from e
    return {name: variables.get(name, {}) for name in ("params", "batch_stats", "input_stats")}, about


def _nested(arrays: dict[str, np.ndarray]) -> Variables:
    variables: Variables = {}
    for name, value in arrays.items():
        *above, last = name.split("/")
        inside = variables
        for part in above:
            inside = inside.setdefault(part, {})
        inside[last] = value.astype(np.float32) if value.dtype == np.float16 else value
    return variables
