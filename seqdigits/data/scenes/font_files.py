"""Font files: in which package they are, and what their tables say about them."""

from __future__ import annotations

import functools
import importlib.metadata
import json
import re
import struct
import zlib
from pathlib import Path
from typing import NamedTuple

from seqdigits.core.errors import UserError

NPM_FOLDER = Path(__file__).parents[3] / "fonts" / "node_modules"  # of a checkout; `make glyphs` fills it
_VARIABLE = re.compile(r"\[.*\]")
_WEB_FONT = re.compile(r"-(\d+)-(normal|italic)$")  # the weight and style of a file in an npm package


def _table(font: bytes, tag: str) -> bytes:
    """Returns a table of an OpenType or WOFF font; b"" if the font does not have it."""
    if font.startswith(b"wOFF"):
        (count,) = struct.unpack_from(">H", font, 12)
        for i in range(count):
            name, start, stored, length, _ = struct.unpack_from(">4sIIII", font, 44 + 20 * i)
            if name.decode("latin-1") == tag:
                table = font[start : start + stored]
                return zlib.decompress(table) if stored < length else table
        return b""
    (count,) = struct.unpack_from(">H", font, 4)
    for i in range(count):
        name, _, start, length = struct.unpack_from(">4sIII", font, 12 + 16 * i)
        if name.decode("latin-1") == tag:
            return font[start : start + length]
    return b""


def default_axes(font: bytes) -> dict[str, float]:
    """Returns the defaults of the axes of a variable font by tag, in the order of the font."""
    table = _table(font, "fvar")
    if not table:
        return {}
    start, _, count, size = struct.unpack_from(">HHHH", table, 4)
    records = [struct.unpack_from(">4siii", table, start + size * i) for i in range(count)]
    return {tag.decode(): default / 65536 for tag, _, default, _ in records}


def copyright_notice(font: bytes) -> str:
    """Returns the copyright line of a font from its `name` table.

    If the license entry begins with a copyright line, that one is returned, because it is more complete.
    """
    table = _table(font, "name")
    _, count, start = struct.unpack_from(">HHH", table)
    names: dict[int, tuple[int, str]] = {}
    for i in range(count):
        platform, _, _, name, length, offset = struct.unpack_from(">HHHHHH", table, 6 + 12 * i)
        raw = table[start + offset : start + offset + length]
        text = " ".join(raw.decode("utf-16-be" if platform in (0, 3) else "mac-roman", "replace").split())
        if platform > names.get(name, (-1, ""))[0]:  # Unicode < Macintosh < Windows, best maintained
            names[name] = platform, text
    (_, copyright_), (_, license) = (names.get(name, (0, "")) for name in (0, 13))
    line = license if license.startswith("Copyright") else copyright_
    return line.partition("This Font Software is licensed")[0].strip()


class Package(NamedTuple):
    """An installed package of fonts.

    `license`: "" when the package states none. `files`: paths by name, whichever folder of the package they are in.
    """

    version: str
    license: str
    files: dict[str, Path]


@functools.cache
def installed_package(name: str) -> Package:
    """Returns a Python package, or one of npm if its name begins with @.

    Raises:
      UserError: it is not installed.
    """
    if name.startswith("@"):
        return _npm_package(name)
    try:
        distribution = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        raise UserError(
            f"the package {name}, which contains fonts, is not installed. Install all font packages with `make glyphs` "
            "or python -m pip install -r fonts/requirements.txt"
        ) from None
    return Package(
        distribution.version,
        "".join(distribution.metadata.get_all("License-Expression", [])),  # some packages have none
        {path.name: Path(str(path.locate())) for path in reversed(distribution.files or [])},
    )


def _npm_package(name: str) -> Package:
    folder = NPM_FOLDER / name
    try:
        metadata = json.loads((folder / "package.json").read_text())
    except FileNotFoundError:
        raise UserError(
            f"the npm package {name}, which contains fonts, is not in {NPM_FOLDER}. Install all font packages with "
            "`make glyphs` in a checkout of seqdigits; it needs npm."
        ) from None
    return Package(metadata["version"], metadata["license"], {path.name: path for path in folder.rglob("*.*")})


def read_package_file(package: str, name: str) -> bytes:
    """Returns the bytes of a file of a package, in whichever of its folders.

    Raises:
      UserError: the package is not installed, or lacks the file.
    """
    version, _, files = installed_package(package)
    if name not in files:
        raise UserError(
            f"the package {package} {version} has no file {name}. Reinstall the font packages with `make glyphs`."
        )
    return files[name].read_bytes()


def parse_face(text: str) -> tuple[str, dict[str, float], str]:
    """Parses an entry of `FontFamily.faces` into the name of the file, the axes, and the style.

    >>> parse_face("Roboto-Italic[wdth,wght] wght=500")
    ('Roboto-Italic[wdth,wght].ttf', {'wght': 500.0}, 'Italic wght=500')
    >>> parse_face("cabin-sketch-latin-700-normal")
    ('cabin-sketch-latin-700-normal.woff', {}, 'wght=700')
    """
    if web_font := _WEB_FONT.search(text):
        weight, style = web_font.groups()
        words = ["Italic"] * (style == "italic") + [f"wght={weight}"] * (weight != "400")
        return f"{text}.woff", {}, " ".join(words) or "Regular"
    stem, *axes = text.split()
    _, _, style = _VARIABLE.sub("", stem).partition("-")
    values = {tag: float(value) for tag, value in (axis.split("=") for axis in axes)}
    return f"{stem}.ttf", values, " ".join([style] * bool(style) + axes) or "Regular"
