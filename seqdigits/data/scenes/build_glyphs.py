"""Draws the atlas of glyphs anew: `python -m seqdigits build-glyphs`, or `make glyphs`.

The fonts come in the packages of the extra `fonts`, each pinned to a version. Of every face (a family in one weight and
style) the digits are drawn, and of the first face of every family letters and signs too. What it writes, glyphs.npz and
FONTS.md beside this file, belongs to the package: who reads digits needs no font.

Exit status: 0 done, 2 an error of the user's, 130 or 143 stopped by a signal.
"""

from __future__ import annotations

import functools
import importlib.metadata
import io
import itertools
import json
import re
import string
import struct
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from seqdigits.core import interrupt
from seqdigits.core.errors import UserError
from seqdigits.core.files import write_atomically
from seqdigits.data.scenes.fonts import Family
from seqdigits.data.scenes.glyphs import INK, SIZE

HEIGHT = 32  # of the tallest digit of a face, in pixels
FINE = 8  # a pixel is the mean of 8x8 finer ones: at that size hinting moves nothing that could be seen
SAME = 0.8  # a letter whose ink shares this much with that of a digit is one, to who looks at it

# Without O o I l i and |, which a person could not tell from 0 and 1, nor letters that are another digit's twin in some
# handwriting, at some angle, or on a display: Z z 2, S s 5, B 8, b G 6, g q 9.
LETTERS = "".join(sorted(set(string.ascii_letters) - set("OoIliZzSsBbGgq")))
SIGNS = "#/-.:&()!?$%+*\u2190\u2191\u2192\u2193"
_VARIABLE = re.compile(r"\[.*\]")


class Glyph(NamedTuple):
    """One drawn character: `picture` u8 [48, 48] of coverage, `box` (left, top, right, bottom) of its ink, `advance` in
    pixels to where the next one begins."""

    character: str
    picture: np.ndarray
    box: tuple[int, int, int, int]
    advance: int


def splits(families: Sequence[Family]) -> list[str]:
    """The split of each family: of every ten in order the fifth validates and the tenth tests; kin go with their first.

    >>> splits([Family(str(i), "", (), kin="a" if i in (4, 10) else "") for i in range(11)])
    ['train', 'train', 'train', 'train', 'validation', 'train', 'train', 'train', 'train', 'test', 'validation']
    """
    places: dict[str, int] = {}
    for family in families:
        places.setdefault(family.kin or family.name, len(places))
    names = {4: "validation", 9: "test"}
    return [names.get(places[family.kin or family.name] % 10, "train") for family in families]


def draw(font: bytes, axes: dict[str, float], others: bool) -> list[Glyph]:
    """Draws the digits of a face, 0 first, then if asked letters and signs, as far as the font has them.

    All glyphs are of one scale, on which the tallest digit is 32 pixels high. The ink is centered horizontally at column
    24, and the middle line of the digits lies at row 24; a letter that would stick out above or below is moved in as
    far as needed. Letters and signs larger than the picture are left out, and those that look like a digit or another.

    Args:
      font: the font file.
      axes: values of a variable font's axes by tag; the others stay at their default.
      others: whether letters and signs are drawn too.

    Raises:
      ValueError: a digit is missing, looks like another, or does not fit; or there is no such axis.
    """
    canvas = SIZE * FINE
    inks = [_ink(_open(font, axes, 500), c) for c in string.digits]
    tallest = max(ink.height for ink, _, _ in inks)
    face = _open(font, axes, 500 * HEIGHT * FINE / tallest)
    inks = [_ink(face, c) for c in string.digits]
    middle = (min(top for _, _, top in inks) + max(top + ink.height for ink, _, top in inks)) // 2
    absent = bytes(face.getmask("\uffff"))  # what the font shows for what it does not have

    def glyph(character: str) -> Glyph | None:
        ink, _, top = _ink(face, character)
        if max(ink.size) > canvas or bytes(face.getmask(character)) == absent:
            return None
        page = Image.new("L", (canvas, canvas))
        page.paste(ink, ((canvas - ink.width) // 2, min(max(canvas // 2 + top - middle, 0), canvas - ink.height)))
        fine = np.asarray(page, np.int32).reshape(SIZE, FINE, SIZE, FINE).sum(axis=(1, 3))
        picture = ((fine + FINE * FINE // 2) // (FINE * FINE)).astype(np.uint8)
        if not (picture >= INK).any():
            return None
        return Glyph(character, picture, ink_box(picture), round(face.getlength(character) / FINE))

    drawn = [g for c in string.digits if (g := glyph(c)) is not None]
    if missing := set(string.digits) - {g.character for g in drawn}:
        raise ValueError(f"it has no digits {' '.join(sorted(missing))}, or they are too large")
    for one, other in itertools.combinations(drawn, 2):
        if _shared(one.picture, other.picture) > 0.95:
            raise ValueError(f"its {one.character} and {other.character} look alike")
    for character in LETTERS + SIGNS if others else "":
        new = glyph(character)
        if new is None or any(_shared(new.picture, g.picture) > SAME for g in drawn[:10]):
            continue
        if all((new.picture != g.picture).any() for g in drawn):  # small letters may look like capitals
            drawn.append(new)
    return drawn


def _ink(face: ImageFont.FreeTypeFont, character: str) -> tuple[Image.Image, int, int]:
    """The ink of a character, one pixel where there is none, and its left and top from where the baseline begins."""
    size = 3 * SIZE * FINE  # a larger glyph is cut, and is still too large
    page = Image.new("L", (size, size))
    ImageDraw.Draw(page).text((size // 3, 2 * size // 3), character, 255, face, anchor="ls")
    left, top, right, bottom = page.getbbox() or (0, 0, 1, 1)
    return page.crop((left, top, right, bottom)), left - size // 3, top - 2 * size // 3


def ink_box(picture: np.ndarray) -> tuple[int, int, int, int]:
    """Left, top, right, bottom (exclusive) of the pixels of u8 [H, W] with INK or more."""
    rows, columns = (np.flatnonzero((picture >= INK).any(axis=axis)) for axis in (1, 0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _shared(one: np.ndarray, other: np.ndarray) -> float:
    """How much of the ink of either is of both: intersection over union of coverages."""
    return float(np.minimum(one, other).sum(dtype=np.int64) / np.maximum(one, other).sum(dtype=np.int64))


def _open(font: bytes, axes: dict[str, float], size: float) -> ImageFont.FreeTypeFont:
    opened = ImageFont.truetype(io.BytesIO(font), size, layout_engine=ImageFont.Layout.BASIC)
    defaults = _axes(font)
    if unknown := set(axes) - set(defaults):
        raise ValueError(f"it has no axis {' '.join(sorted(unknown))}")
    if defaults:
        opened.set_variation_by_axes([axes.get(tag, default) for tag, default in defaults.items()])
    return opened


def _table(font: bytes, tag: str) -> bytes:
    """One table of an OpenType font; b"" where it has none."""
    (count,) = struct.unpack_from(">H", font, 4)
    for i in range(count):
        name, _, start, length = struct.unpack_from(">4sIII", font, 12 + 16 * i)
        if name.decode("latin-1") == tag:
            return font[start : start + length]
    return b""


def _axes(font: bytes) -> dict[str, float]:
    """The axes of a variable font in its order, with their defaults."""
    table = _table(font, "fvar")
    if not table:
        return {}
    start, _, count, size = struct.unpack_from(">HHHH", table, 4)
    records = [struct.unpack_from(">4siii", table, start + size * i) for i in range(count)]
    return {tag.decode(): default / 65536 for tag, _, default, _ in records}


def notice(font: bytes) -> str:
    """The copyright line of a font, from its table of names; of one that gives more of it with the license, that."""
    table = _table(font, "name")
    _, count, start = struct.unpack_from(">HHH", table)
    names: dict[int, tuple[int, str]] = {}
    for i in range(count):
        platform, _, _, name, length, offset = struct.unpack_from(">HHHHHH", table, 6 + 12 * i)
        raw = table[start + offset : start + offset + length]
        text = " ".join(raw.decode("utf-16-be" if platform in (0, 3) else "mac-roman", "replace").split())
        if platform > names.get(name, (-1, ""))[0]:  # of Unicode, Macintosh, and Windows the last is best kept
            names[name] = platform, text
    (_, copyright_), (_, license) = (names.get(name, (0, "")) for name in (0, 13))
    line = license if license.startswith("Copyright") else copyright_
    return line.partition("This Font Software is licensed")[0].strip()


@functools.cache
def _package(name: str) -> importlib.metadata.Distribution:
    try:
        return importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        raise UserError(
            f"the package {name}, which brings fonts, is not installed. `make glyphs` installs all of them, and so does: "
            "python -m pip install -e '.[fonts]'"
        ) from None


def _file(package: str, name: str) -> bytes:
    """A file of a package, wherever in it it lies."""
    found = _package(package)
    for path in found.files or ():
        if path.name == name:
            return Path(str(path.locate())).read_bytes()
    raise UserError(f"the package {package} {found.version} has no file {name}. Install it anew with: make glyphs")


def _face(text: str) -> tuple[str, dict[str, float], str]:
    """What stands in `Family.faces`: the name of the file, the axes, and the style.

    >>> _face("Roboto-Italic[wdth,wght] wght=500")
    ('Roboto-Italic[wdth,wght].ttf', {'wght': 500.0}, 'Italic wght=500')
    """
    stem, *axes = text.split()
    _, _, style = _VARIABLE.sub("", stem).partition("-")
    values = {tag: float(value) for tag, value in (axis.split("=") for axis in axes)}
    return f"{stem}.ttf", values, " ".join([style] * bool(style) + axes) or "Regular"


def _draw_all(families: Sequence[Family], stop: interrupt.Stop) -> Iterator[tuple[dict[str, str], str, list[Glyph]]]:
    """What is known of each face, its notice, and its glyphs."""
    seen: dict[bytes, str] = {}
    for family, split in zip(families, splits(families), strict=True):
        package = _package(family.package)
        for i, text in enumerate(family.faces):
            if stop.is_set():
                raise interrupt.Stopped
            name, axes, style = _face(text)
            font = _file(family.package, name)
            try:
                glyphs = draw(font, axes, others=i == 0)
            except ValueError as e:
                raise UserError(
                    f"{family.name} {style} cannot be drawn: {e}. Take it out of FAMILIES in data/scenes/fonts.py."
                ) from e
            twin = seen.setdefault(b"".join(g.picture.tobytes() for g in glyphs[:10]), f"{family.name} {style}")
            if twin != f"{family.name} {style}":
                raise UserError(
                    f"{family.name} {style} has the digits of {twin}. Take it out of FAMILIES in data/scenes/fonts.py."
                )
            about = {
                "family": family.name,
                "style": style,
                "package": family.package,
                "version": package.version,
                "license": family.license or package.metadata["License-Expression"],
                "split": split,
            }
            yield about, notice(font), glyphs


def build(families: Sequence[Family], folder: Path, stop: interrupt.Stop) -> tuple[bytes, list[dict[str, str]]]:
    """Draws the faces and writes glyphs.npz and FONTS.md.

    Returns:
      The bytes of glyphs.npz, of which `glyphs.parse` says what is inside, and what is known of each face.

    Raises:
      UserError: a package is missing, or a font is not what it should be.
      Stopped: `stop` was set; nothing is written.
    """

    faces, glyphs, numbers = [], [], []
    notices: dict[str, str] = {}
    for face, (about, line, drawn) in enumerate(_draw_all(families, stop)):
        faces.append(about)
        notices.setdefault(about["family"], line)
        glyphs += drawn
        numbers += [face] * len(drawn)
    arrays: dict[str, Any] = {
        "images": np.stack([g.picture for g in glyphs]),
        "characters": np.array([ord(g.character) for g in glyphs], np.uint16),
        "faces": np.array(numbers, np.int32),
        "boxes": np.array([g.box for g in glyphs], np.int32),
        "advances": np.array([g.advance for g in glyphs], np.int32),
        "about.json": np.frombuffer(json.dumps({"faces": faces}).encode(), np.uint8),
    }
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # gives every member the same date, so the same fonts make the same file
    page = _page(faces, notices, _licenses(families, faces))
    write_atomically(folder / "glyphs.npz", buffer.getvalue())
    write_atomically(folder / "FONTS.md", page)
    return buffer.getvalue(), faces


def _licenses(families: Sequence[Family], faces: list[dict[str, str]]) -> dict[str, str]:
    """The texts that have to go with what was drawn, by SPDX; Apache's is the project's own."""
    texts: dict[str, str] = {}
    named = {about["family"]: about["license"] for about in faces}
    for family in families:
        license = named[family.name]
        if license == "Bitstream-Vera" and license not in texts:
            texts[license] = _file(family.package, "LICENSE_DEJAVU").decode()
        elif license == "OFL-1.1" and license not in texts and family.package.startswith("fontpkg-"):
            text = _file(family.package, "LICENSE").decode()
            texts[license] = text[text.index("SIL OPEN FONT LICENSE") :]
    return {name: "\n".join(line.rstrip() for line in text.splitlines()) for name, text in sorted(texts.items())}


def _page(faces: list[dict[str, str]], notices: dict[str, str], licenses: dict[str, str]) -> str:
    """FONTS.md."""
    families = defaultdict(list)
    for about in faces:
        families[about["family"]].append(about)
    lines = [
        "# Fonts of the glyphs",
        "",
        f"`glyphs.npz` has pictures of glyphs of {len(faces)} faces of {len(families)} free families, drawn by "
        "`python -m seqdigits build-glyphs`, which wrote this page too. No font is in it. The families, the packages they came "
        "in, their licenses, and their notices:",
        "",
        "| family | split | faces | package | license | notice |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, members in families.items():
        first = members[0]
        styles = ", ".join(about["style"] for about in members)
        line = notices[name].replace("|", "\\|")
        source = f"{first['package']} {first['version']}"
        lines.append(f"| {name} | {first['split']} | {styles} | {source} | {first['license']} | {line} |")
    lines += ["", "Apache-2.0 is the license of this project too; its text lies beside README.md, in LICENSE."]
    for name, text in licenses.items():
        lines += ["", f"## {name}", "", "```text", text.strip("\n"), "```"]
    return "\n".join(lines) + "\n"
