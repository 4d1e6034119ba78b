"""Draws the atlas of glyphs from the fonts of the extra `fonts`: `python -m seqdigits build-glyphs`."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

from seqdigits.core import interrupt
from seqdigits.core.errors import Help, UserError
from seqdigits.data.scenes import glyphs
from seqdigits.data.scenes.build_glyphs import build
from seqdigits.data.scenes.fonts import FAMILIES

USAGE = "python -m seqdigits build-glyphs"


def main(stop: interrupt.Stop) -> None:
    if {"--help", "-h"} & set(sys.argv):
        raise Help(f"usage: {USAGE}\n\n{__doc__}")
    if sys.argv[1:]:
        raise UserError(f"{' '.join(sys.argv[1:])!r} is not understood. usage: {USAGE}")
    data, faces = build(FAMILIES, Path(str(glyphs.FILE)).parent, stop)
    print(f"glyphs.npz: {len(faces)} faces of {len(FAMILIES)} families, {len(data) / 1e6:.2f} MB; FONTS.md")
    found = hashlib.sha256(data).hexdigest()
    if found != glyphs.SHA256:
        counts = glyphs.count(data)
        print("It is not the file that seqdigits/data/scenes/glyphs.py knows. To take it, put there:")
        print(f'SHA256 = "{found}"\nFACES = {counts[0]}\nOTHERS = {counts[1]}')
