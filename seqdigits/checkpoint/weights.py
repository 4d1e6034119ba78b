"""Weights in one small file: an .npz of plain arrays, which cannot execute code, and their metadata.

The checksum of each array in the file is verified, and its size before it is read: a damaged or malicious file takes no
more memory than an intact one.
"""

from __future__ import annotations

import io
import json
import math
import tokenize
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
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    EOFError,
    RuntimeError,
    SyntaxError,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)
"""Exceptions that numpy, zipfile and json raise for damaged or foreign files."""

_SMALL_BYTES = 64_000_000
_MAX_EXPANSION = 20
"""A file may expand to _SMALL_BYTES, or to this many times its size. Float parameters hardly compress: 1.1 to 2 times."""
_MAX_LEVELS = 32
"""Maximum number of modules in the name of an array."""


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
        _check_sizes(path)
        with np.load(path, allow_pickle=False) as file:
            about = json.loads(file[_METADATA].tobytes())
            arrays = {name: file[name] for name in file.files if name != _METADATA}
        about = upgrade_record(about)
        if not isinstance(about["step"], int) or not all(
            isinstance(about["config"][name], dict) for name in ("model", "data")
        ):
            raise ValueError("step or config is of another type")
        variables = _nested(arrays)
    except FileNotFoundError:
        raise UserError(f"there is no file of weights {path}. Name one that exists.") from None
    except OSError as e:
        raise UserError(f"{path} cannot be read: {e.strerror or e}. Name a file of weights (an .npz).") from e
    except _LOAD_ERRORS as e:  # the message of numpy is not repeated: it suggests pickle, which can execute code
        raise UserError(f"{path} is damaged, or not a file of weights (an .npz of plain arrays).") from e
    return {name: variables.get(name, {}) for name in ("params", "batch_stats", "input_stats")}, about


def _check_sizes(path: Path) -> None:
    """Raises a ValueError if the arrays of an .npz take more memory than they should, or do not fill their part of it.

    Only the headers are read. A part that is not read to its end would escape its checksum.
    """
    with zipfile.ZipFile(path) as file:
        parts = file.infolist()
        names = [part.filename.removesuffix(".npy") for part in parts]
        if sum(part.file_size for part in parts) > max(_SMALL_BYTES, _MAX_EXPANSION * path.stat().st_size):
            raise ValueError("it expands to many times its size")
        if len(set(names)) < len(names) or max(name.count("/") for name in names) > _MAX_LEVELS:
            raise ValueError("a name occurs twice, or has too many levels")
        for part in parts:
            with file.open(part) as member:
                version = np.lib.format.read_magic(member)
                read_header = (
                    np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
                )
                shape, _, dtype = read_header(member)
                if dtype.kind not in "fiub" or math.prod(shape) * dtype.itemsize != part.file_size - member.tell():
                    raise ValueError(f"{part.filename} is not an array of numbers of its size")


def _nested(arrays: dict[str, np.ndarray]) -> Variables:
    variables: Variables = {}
    for name, value in arrays.items():
        *modules, last = name.split("/")
        parent = variables
        for module in modules:
            parent = parent.setdefault(module, {})
        parent[last] = value.astype(np.float32) if value.dtype == np.float16 else value
    return variables
