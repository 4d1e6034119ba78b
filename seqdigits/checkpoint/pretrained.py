"""Weights that come with the package, by name, and the command that lists, ships and measures them:
`python -m seqdigits pretrained [ship NAME RESULT.json [--partial] | measure NAME [--only LABEL] [--limit N]]`.

Wherever a path of weights is taken (`--checkpoint`, `init.path`), one of NAMES is too. What a person has put into the working
directory comes first: a name stands for weights of the package only where nothing of that name lies there, and it is said.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from seqdigits.core.errors import UserError

NAMES = ("handwriting", "scene")
DEFAULT = "scene"
FOLDER = Path(__file__).parents[1] / "shipped"
"""Of each name NAME.npz (the weights), NAME.json (what is known of them) and NAME.md (the model card)."""
SUMS = "sha256.json"
"""The file in FOLDER with the SHA-256 of each NAME.npz; `ship` writes it, last of all."""


def path(name: str) -> Path:
    """The file of weights of a name; its SHA-256 is right.

    Raises:
      UserError: there is no such name, or the file is missing or damaged.
    """
    check_name(name)
    file = FOLDER / f"{name}.npz"
    try:
        found = hashlib.sha256(file.read_bytes()).hexdigest()
        expected = sums()[name]
    except FileNotFoundError:
        raise UserError(f"the weights {name!r} are not there: {file} is missing. {_CURE}") from None
    except KeyError:
        raise UserError(
            f"the weights {name!r} cannot be checked: {FOLDER / SUMS} does not have them. {_CURE}"
        ) from None
    except OSError as e:
        raise UserError(f"the weights {name!r} cannot be read: {file}: {e.strerror}. {_CURE}") from e
    if found != expected:
        raise UserError(
            f"the weights {name!r} are damaged: {file} has the SHA-256 {found[:12]}..., expected {expected[:12]}.... {_CURE}"
        )
    return file


_CURE = "Install seqdigits anew; or, in its source tree, ship them again: python -m seqdigits pretrained ship NAME RESULT.json"


def find(text: str) -> Path | None:
    """The file of the weights that a text names; None where it names none, or something of that name lies in the working
    directory, which is then meant.

    Raises:
      UserError: see path.
    """
    if text not in NAMES:
        return None
    if Path(text).exists():
        print(
            f"{text} is what lies in the working directory, not the weights of that name that come with the package; for "
            f"those name the file, {FOLDER / text}.npz",
            flush=True,
        )
        return None
    return path(text)


def check_name(name: str) -> None:
    """Refuses what is none of NAMES.

    Raises:
      UserError: it is not.
    """
    if name not in NAMES:
        raise UserError(f"there are no weights {name!r}. The names are {', '.join(NAMES)}.")


def sums() -> dict[str, str]:
    """The SHA-256 of each name's weights, hexadecimal; {} before anything is shipped.

    Raises:
      UserError: the file of them is damaged.
    """
    file = FOLDER / SUMS
    try:
        found = json.loads(file.read_text()) if file.exists() else {}
        return {str(name): str(digest) for name, digest in found.items()}
    except (ValueError, AttributeError) as e:
        raise UserError(f"{file} is damaged: {e}. {_CURE}") from e


def facts(name: str) -> dict[str, Any]:
    """What is known of a name's weights, from NAME.json; see publish.ship for what is in it.

    Raises:
      UserError: it is missing or damaged.
    """
    file = FOLDER / f"{name}.json"
    try:
        found = json.loads(file.read_text())
        found["sha256"], found["metrics"]
    except (OSError, ValueError, KeyError, TypeError) as e:
        raise UserError(f"{file} is missing or damaged: {e!r}. {_CURE}") from e
    return found
