"""Draws the glyphs of synthetic scenes from fonts.

The fonts are in the Python packages of fonts/requirements.txt and in the npm packages of fonts/package.json, each pinned to a
version. The digits of every face (a family in one weight and style) are drawn, and for the first face of most families
also letters and signs. The output, glyphs.npz and FONTS.md in this folder, is part of the package, so fonts are needed
only to draw the glyphs again.
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
import zlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from seqdigits.core import interrupt
from seqdigits.core.errors import UserError
from seqdigits.core.files import write_atomically
from seqdigits.core.progress import progress
from seqdigits.data.scenes.fonts import FontFamily
from seqdigits.data.scenes.glyphs import MIN_COVERAGE, SIZE, covered_box

DIGIT_HEIGHT = 32  # of the tallest digit of a face, pixels
SUPERSAMPLING = 8  # a pixel is the mean of 8x8 subpixels; at that size hinting has no visible effect
MAX_LETTER_IOU = 0.75  # a letter or sign that overlaps with a digit by more resembles that digit and is left out
MAX_DIGIT_IOU = 0.95  # two digits of a face that overlap by more are the same glyph

# Excluded are O o I l i and |, which are indistinguishable from 0 and 1, and letters that resemble a digit in some
# handwriting, at some angle, or on a display: Z z 2, S s 5, B 8, b G 6, g q 9.
LETTERS = "".join(sorted(set(string.ascii_letters) - set("OoIliZzSsBbGgq")))
SIGNS = "#/-.:&()!?$%+*\u2190\u2191\u2192\u2193"
_VARIABLE = re.compile(r"\[.*\]")
_WEB_FONT = re.compile(r"-(\d+)-(normal|italic)$")  # the weight and style of a file in an npm package

FILE_NAME = "glyphs.npz"
NPM_FOLDER = Path(__file__).parents[3] / "fonts" / "node_modules"  # of a checkout; `make glyphs` fills it


class Glyph(NamedTuple):
    """A drawn character.

    Attributes:
      character: a string of length 1.
      image: u8 [48, 48], coverage.
      box: left, top, right, bottom (exclusive) of the pixels with MIN_COVERAGE or more.
      advance: pixels from its origin to that of the next glyph.
    """

    character: str
    image: np.ndarray
    box: tuple[int, int, int, int]
    advance: int


def assign_splits(families: Sequence[FontFamily]) -> list[str]:
    """Returns the split of each family.

    Of every ten families in order, the fifth is for validation and the tenth for testing. Families of one split group
    are all in the split of its first family.

    >>> assign_splits([FontFamily(str(i), "", (), split_group="a" if i in (4, 10) else "") for i in range(11)])
    ['train', 'train', 'train', 'train', 'validation', 'train', 'train', 'train', 'train', 'test', 'validation']
    """
    positions: dict[str, int] = {}
    for family in families:
        positions.setdefault(family.split_group or family.name, len(positions))
    names = {4: "validation", 9: "test"}
    return [names.get(positions[family.split_group or family.name] % 10, "train") for family in families]


def draw_face(font: bytes, axes: dict[str, float], others: bool) -> list[Glyph]:
    """Draws the digits of a face, 0 first, then on request the letters and signs that the font has.

    All glyphs have one scale, at which the tallest digit is 32 pixels high. The covered pixels are centered
    horizontally at column 24, and the vertical center of the digits is at row 24. A letter that would extend beyond the
    image is moved vertically as far as necessary. Letters and signs are left out if they are larger than the image,
    resemble a digit, or have the same image as another one.

    Args:
      font: the bytes of the font file.
      axes: values of a variable font's axes by tag; the others have their defaults.
      others: whether to draw letters and signs too.

    Raises:
      ValueError: a digit is missing, resembles another digit, or does not fit; or the font has no such axis.
    """
    canvas = SIZE * SUPERSAMPLING
    rasters = [_rasterize(_open(font, axes, 500), c) for c in string.digits]
    max_height = max(raster.height for raster, _, _ in rasters)
    face = _open(font, axes, 500 * DIGIT_HEIGHT * SUPERSAMPLING / max_height)
    rasters = [_rasterize(face, c) for c in string.digits]
    middle = (min(top for _, _, top in rasters) + max(top + raster.height for raster, _, top in rasters)) // 2
    missing_glyph = bytes(face.getmask("\uffff"))  # what the font shows for a character that it does not have

    def draw(character: str) -> Glyph | None:
        raster, _, top = _rasterize(face, character)
        if max(raster.size) > canvas or bytes(face.getmask(character)) == missing_glyph:
            return None
        page = Image.new("L", (canvas, canvas))
        y = min(max(canvas // 2 + top - middle, 0), canvas - raster.height)
        page.paste(raster, ((canvas - raster.width) // 2, y))
        total = np.asarray(page, np.int32).reshape(SIZE, SUPERSAMPLING, SIZE, SUPERSAMPLING).sum(axis=(1, 3))
        image = ((total + SUPERSAMPLING**2 // 2) // SUPERSAMPLING**2).astype(np.uint8)
        if not (image >= MIN_COVERAGE).any():
            return None
        return Glyph(character, image, covered_box(image), round(face.getlength(character) / SUPERSAMPLING))

    drawn = [glyph for c in string.digits if (glyph := draw(c)) is not None]
    if missing := set(string.digits) - {glyph.character for glyph in drawn}:
        raise ValueError(f"it has no digits {' '.join(sorted(missing))}, or they are too large")
    for one, other in itertools.combinations(drawn, 2):
        if _iou(one.image, other.image) > MAX_DIGIT_IOU:
            raise ValueError(f"its {one.character} and {other.character} cannot be told apart")
    for character in LETTERS + SIGNS if others else "":
        new = draw(character)
        if new is None or any(_iou(new.image, digit.image) > MAX_LETTER_IOU for digit in drawn[:10]):
            continue
        if all((new.image != glyph.image).any() for glyph in drawn):  # small letters may be drawn as capitals
            drawn.append(new)
    return drawn


def _rasterize(face: ImageFont.FreeTypeFont, character: str) -> tuple[Image.Image, int, int]:
    """Returns a character cropped to its covered pixels, and its left and top.

    These are relative to the origin on the baseline. The image of a character without covered pixels is one pixel.
    """
    size = 3 * SIZE * SUPERSAMPLING  # a larger glyph is cropped, and is still too large
    page = Image.new("L", (size, size))
    ImageDraw.Draw(page).text((size // 3, 2 * size // 3), character, 255, face, anchor="ls")
    left, top, right, bottom = page.getbbox() or (0, 0, 1, 1)
    return page.crop((left, top, right, bottom)), left - size // 3, top - 2 * size // 3


def _iou(one: np.ndarray, other: np.ndarray) -> float:
    """Returns the intersection over union of two coverages u8 [H, W]."""
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


def _axes(font: bytes) -> dict[str, float]:
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


class _Package(NamedTuple):
    """An installed package of fonts.

    `license`: "" when the package states none. `files`: paths by name, whichever folder of the package they are in.
    """

    version: str
    license: str
    files: dict[str, Path]


@functools.cache
def _package(name: str) -> _Package:
    if name.startswith("@"):
        return _npm_package(name)
    try:
        distribution = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        raise UserError(
            f"the package {name}, which contains fonts, is not installed. Install all font packages with `make glyphs` "
            "or python -m pip install -r fonts/requirements.txt"
        ) from None
    return _Package(
        distribution.version,
        "".join(distribution.metadata.get_all("License-Expression", [])),  # some packages have none
        {path.name: Path(str(path.locate())) for path in reversed(distribution.files or [])},
    )


def _npm_package(name: str) -> _Package:
    folder = NPM_FOLDER / name
    try:
        metadata = json.loads((folder / "package.json").read_text())
    except FileNotFoundError:
        raise UserError(
            f"the npm package {name}, which contains fonts, is not in {NPM_FOLDER}. Install all font packages with "
            "`make glyphs` in a checkout of seqdigits; it needs npm."
        ) from None
    return _Package(metadata["version"], metadata["license"], {path.name: path for path in folder.rglob("*.*")})


def _read_package_file(package: str, name: str) -> bytes:
    """Returns the bytes of a file of a package, in whichever of its folders."""
    version, _, files = _package(package)
    if name not in files:
        raise UserError(
            f"the package {package} {version} has no file {name}. Reinstall the font packages with `make glyphs`."
        )
    return files[name].read_bytes()


def _parse_face(text: str) -> tuple[str, dict[str, float], str]:
    """Parses an entry of `FontFamily.faces` into the name of the file, the axes, and the style.

    >>> _parse_face("Roboto-Italic[wdth,wght] wght=500")
    ('Roboto-Italic[wdth,wght].ttf', {'wght': 500.0}, 'Italic wght=500')
    >>> _parse_face("cabin-sketch-latin-700-normal")
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


def _draw_faces(
    families: Sequence[FontFamily], stop: interrupt.Stop
) -> Iterator[tuple[dict[str, str], str, list[Glyph]]]:
    """Yields the metadata of each face (see glyphs.Face), its copyright notice, and its glyphs."""
    seen: dict[bytes, str] = {}
    for family, split in zip(families, assign_splits(families), strict=True):
        package = _package(family.package)
        for i, text in enumerate(family.faces):
            if stop.is_set():
                raise interrupt.Stopped
            name, axes, style = _parse_face(text)
            font = _read_package_file(family.package, name)
            try:
                glyphs = draw_face(font, axes, others=i == 0 and family.letters)
            except ValueError as e:
                raise UserError(
                    f"{family.name} {style} cannot be drawn: {e}. Remove it from FONT_FAMILIES in data/scenes/fonts.py."
                ) from e
            first = seen.setdefault(b"".join(glyph.image.tobytes() for glyph in glyphs[:10]), f"{family.name} {style}")
            if first != f"{family.name} {style}":
                raise UserError(
                    f"{family.name} {style} has the same digits as {first}. Remove it from FONT_FAMILIES in "
                    "data/scenes/fonts.py."
                )
            metadata = {
                "family": family.name,
                "style": style,
                "package": family.package,
                "version": package.version,
                "license": family.license or package.license,
                "split": split,
            }
            yield metadata, copyright_notice(font), glyphs


def build_glyphs(
    families: Sequence[FontFamily], folder: Path, stop: interrupt.Stop
) -> tuple[bytes, list[dict[str, str]]]:
    """Draws the faces and writes glyphs.npz and FONTS.md.

    Returns:
      The bytes of glyphs.npz, see `glyphs.parse`, and the metadata of each face, see `glyphs.Face`.

    Raises:
      UserError: a package is missing, or a font cannot be drawn.
      Stopped: `stop` was set; nothing is written.
    """
    faces, glyphs, face_indices = [], [], []
    notices: dict[str, str] = {}
    total = sum(len(family.faces) for family in families)
    drawn_faces = progress(_draw_faces(families, stop), total, "faces", "build-glyphs")
    for face, (metadata, notice, drawn) in enumerate(drawn_faces):
        faces.append(metadata)
        notices.setdefault(metadata["family"], notice)
        glyphs += drawn
        face_indices += [face] * len(drawn)
    arrays: dict[str, Any] = {
        "images": np.stack([glyph.image for glyph in glyphs]),
        "characters": np.array([ord(glyph.character) for glyph in glyphs], np.uint16),
        "faces": np.array(face_indices, np.int32),
        "boxes": np.array([glyph.box for glyph in glyphs], np.int32),
        "advances": np.array([glyph.advance for glyph in glyphs], np.int32),
        "about.json": np.frombuffer(json.dumps({"faces": faces}).encode(), np.uint8),
    }
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # all members get the same date: the same fonts give the same bytes
    page = _fonts_page(faces, notices, _licenses(families, faces), sum(family.letters for family in families))
    write_atomically(folder / FILE_NAME, buffer.getvalue())
    write_atomically(folder / "FONTS.md", page)
    return buffer.getvalue(), faces


def _licenses(families: Sequence[FontFamily], faces: list[dict[str, str]]) -> dict[str, str]:
    """Returns the license texts that must accompany the glyphs, by SPDX identifier.

    The text of Apache-2.0 is not included, because the project has it as its own license.
    """
    texts: dict[str, str] = {}
    by_family = {metadata["family"]: metadata["license"] for metadata in faces}
    for family in families:
        license = by_family[family.name]
        if license == "Bitstream-Vera" and license not in texts:
            texts[license] = _read_package_file(family.package, "LICENSE_DEJAVU").decode()
        elif license == "OFL-1.1" and license not in texts and family.package.startswith("fontpkg-"):
            text = _read_package_file(family.package, "LICENSE").decode()
            texts[license] = text[text.index("SIL OPEN FONT LICENSE") :]
    return {name: "\n".join(line.rstrip() for line in text.splitlines()) for name, text in sorted(texts.items())}


def _fonts_page(
    faces: list[dict[str, str]], notices: dict[str, str], licenses: dict[str, str], num_lettered: int
) -> str:
    """Returns the text of FONTS.md. `num_lettered`: number of families of which letters are drawn."""
    families = defaultdict(list)
    for metadata in faces:
        families[metadata["family"]].append(metadata)
    lines = [
        "# Fonts of the glyphs",
        "",
        f"`{FILE_NAME}` contains images of glyphs of {len(faces)} faces of {len(families)} free font families. "
        "`seqdigits build-glyphs` generated it and this page. It contains no font files.",
        "",
        f"The digits of every face are drawn. Letters and signs are drawn for the first face of {num_lettered} families: of "
        "the others they would resemble digits or mainly enlarge the file.",
        "",
        "The families, the packages with their fonts (those of npm begin with @), their licenses and copyright notices "
        "are:",
        "",
        "| family | split | faces | package | license | notice |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, members in families.items():
        first = members[0]
        styles = ", ".join(metadata["style"] for metadata in members)
        notice = notices[name].replace("|", "\\|")
        source = f"{first['package']} {first['version']}"
        lines.append(f"| {name} | {first['split']} | {styles} | {source} | {first['license']} | {notice} |")
    lines += ["", "Apache-2.0 is also the license of this project: its text is in the file LICENSE in the root folder."]
    for name, text in licenses.items():
        lines += ["", f"## {name}", "", "```text", text.strip("\n"), "```"]
    return "\n".join(lines) + "\n"
