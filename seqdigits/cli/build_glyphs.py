"""Draws the glyphs of synthetic scenes from fonts: `seqdigits build-glyphs`.

It writes glyphs.npz and FONTS.md in seqdigits/data/scenes. `make glyphs` installs the fonts first, those of npm too.

Exit status: 0 done, 2 a user error, 75 or 130 stopped by a signal (docs/running.md).
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from seqdigits.core import interrupt
from seqdigits.core.arguments import CommandParser
from seqdigits.data.scenes import glyphs
from seqdigits.data.scenes.build_glyphs import FILE_NAME, build_glyphs
from seqdigits.data.scenes.fonts import FONT_FAMILIES

USAGE = "seqdigits build-glyphs"


def command_line() -> CommandParser:
    """Returns the parser of the command line."""
    return CommandParser(USAGE, __doc__)


def main(stop: interrupt.Stop) -> None:
    """Runs `seqdigits build-glyphs`."""
    command_line().parse_command_line()
    data, faces = build_glyphs(FONT_FAMILIES, Path(str(glyphs.FILE)).parent, stop)
    print(
        f"wrote {FILE_NAME} ({len(faces)} faces of {len(FONT_FAMILIES)} families, {len(data) / 1e6:.2f} MB) and FONTS.md"
    )
    digest = hashlib.sha256(data).hexdigest()
    if digest != glyphs.SHA256:
        faces_by_split, others_by_split = glyphs.count_glyphs(data)
        print(f"{FILE_NAME} differs from the expected file. To accept it, set in seqdigits/data/scenes/glyphs.py:")
        print(f'SHA256 = "{digest}"\nFACES = {faces_by_split}\nOTHERS = {others_by_split}')
