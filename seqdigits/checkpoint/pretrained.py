"""Pretrained weights, which are part of the package, by name.

The flag `--checkpoint` and the key `init.path` take one of NAMES in place of a path. A file or folder of that name
in the working directory takes precedence, and a message says so. `seqdigits pretrained` lists, publishes
and measures the weights.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from seqdigits.core.errors import UserError

NAMES = ("handwriting", "scene")
"""Names of the pretrained weights."""

DEFAULT = "scene"
"""The name that is recommended."""

FOLDER = Path(__file__).parents[1] / "shipped"
"""The folder with NAME.npz (the weights), NAME.onnx (the same for ONNX Runtime), NAME.json (their metadata) and NAME.md (the
model card) of each name."""

SUMS = "sha256.json"
"""The file in FOLDER with the SHA-256 of each NAME.npz, by NAME, and of each NAME.onnx and NAME.json; publishing writes it last."""


def path(name: str) -> Path:
    """Returns the file of the weights of a name, after its SHA-256 is verified.

    Raises:
      UserError: the name is unknown, or the file is missing or damaged.
    """
    check_name(name)
    return _verified(name, f"{name}.npz", name, _FIX)


def onnx_path(name: str) -> Path:
    """Returns the ONNX file of the weights of a name, after its SHA-256 is verified.

    Raises:
      UserError: the name is unknown, or the file is missing or damaged.
    """
    check_name(name)
    return _verified(name, f"{name}.onnx", f"{name}.onnx", ONNX_FIX)


def _verified(name: str, file_name: str, key: str, fix: str) -> Path:
    """Returns a file of the weights of a name, after its SHA-256 is verified with the one that SUMS has for a key."""
    file = FOLDER / file_name
    try:
        actual = hashlib.sha256(file.read_bytes()).hexdigest()
        expected = sums()[key]
    except FileNotFoundError:
        raise UserError(f"the weights {name!r} are unavailable: {file} is missing. {fix}") from None
    except KeyError:
        raise UserError(
            f"the weights {name!r} cannot be verified: {FOLDER / SUMS} has no SHA-256 of {file_name}. {fix}"
        ) from None
    except OSError as e:
        raise UserError(f"the weights {name!r} cannot be read: {file}: {e.strerror}. {fix}") from e
    if actual != expected:
        raise UserError(
            f"the weights {name!r} are damaged: {file} has the SHA-256 {actual[:12]}..., expected {expected[:12]}... by {SUMS}. "
            f"{fix}"
        )
    return file


_FIX = "Reinstall seqdigits; or, in its source tree, publish them again: seqdigits pretrained publish NAME RESULT.json"
ONNX_FIX = "Reinstall seqdigits; or, in its source tree, write the file again: seqdigits pretrained export NAME"


def find(text: str) -> Path | None:
    """Returns the file of the pretrained weights that a text names.

    None if it names none, or if the working directory contains a file or folder of that name, which takes precedence.

    Raises:
      UserError: the weights are missing or damaged.
    """
    if text not in NAMES:
        return None
    if Path(text).exists():
        print(
            f"{text}: using the file or folder in the working directory, not the pretrained weights of that name; for those "
            f"name the file {FOLDER / text}.npz",
            flush=True,
        )
        return None
    return path(text)


def check_name(name: str) -> None:
    """Checks that a name is one of NAMES.

    Raises:
      UserError: it is not.
    """
    if name not in NAMES:
        raise UserError(f"there are no pretrained weights {name!r}. Allowed are {', '.join(NAMES)}.")


def sums() -> dict[str, str]:
    """Returns the SHA-256 of the weights by name and of their metadata by NAME.json, hexadecimal; {} if none are published.

    Raises:
      UserError: their file is damaged.
    """
    file = FOLDER / SUMS
    try:
        digests = json.loads(file.read_text()) if file.exists() else {}
        return {str(name): str(digest) for name, digest in digests.items()}
    except (OSError, ValueError, AttributeError, RecursionError) as e:
        raise UserError(f"{file} is damaged: {e}. {_FIX}") from e


def facts(name: str) -> dict[str, Any]:
    """Returns the metadata of the weights of a name, from NAME.json; see release.publish.publish.

    Raises:
      UserError: the file is missing or damaged.
    """
    file = FOLDER / f"{name}.json"
    try:
        content = file.read_bytes()
        if hashlib.sha256(content).hexdigest() != sums().get(file.name):
            raise ValueError(f"its SHA-256 is not that of {SUMS}")
        metadata = json.loads(content)
        metadata["sha256"], metadata["metrics"]
    except (OSError, ValueError, KeyError, TypeError) as e:
        raise UserError(f"{file} is missing or damaged: {e!r}. {_FIX}") from e
    return metadata
