"""Draws the glyphs of synthetic scenes from fonts.

The fonts are in the Python packages of fonts/requirements.txt and in the npm packages of fonts/package.json, each pinned to a
version. The digits of every face (a family in one weight and style) are drawn, and for the first face of most families
also letters and signs. The output, glyphs.npz and FONTS.md in this folder, is part of the package, so fonts are needed
only to draw the glyphs again.
"""

from __future__ import annotations

import io
import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from seqdigits.core import interrupt
from seqdigits.core.errors import UserError
from seqdigits.core.files import write_atomically
from seqdigits.core.progress import progress
from seqdigits.data.scenes.draw_glyphs import Glyph, draw_face
from seqdigits.data.scenes.font_files import copyright_notice, installed_package, parse_face, read_package_file
from seqdigits.data.scenes.fonts import FontFamily

FILE_NAME = "glyphs.npz"


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


def _draw_faces(
    families: Sequence[FontFamily], stop: interrupt.Stop
) -> Iterator[tuple[dict[str, str], str, list[Glyph]]]:
    """Yields the metadata of each face (see glyphs.Face), its copyright notice, and its glyphs."""
    seen: dict[bytes, str] = {}
    for family, split in zip(families, assign_splits(families), strict=True):
        package = installed_package(family.package)
        for i, text in enumerate(family.faces):
            if stop.is_set():
                raise interrupt.Stopped
            name, axes, style = parse_face(text)
            font = read_package_file(family.package, name)
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
            texts[license] = read_package_file(family.package, "LICENSE_DEJAVU").decode()
        elif license == "OFL-1.1" and license not in texts and family.package.startswith("fontpkg-"):
            text = read_package_file(family.package, "LICENSE").decode()
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
