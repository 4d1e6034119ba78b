"""Draws docs/displays.jpg: the first twelve test pictures of `seqdigits draw-displays`.

python docs/draw_displays.py
"""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageOps

from seqdigits.data.photos.displays import draw, generator

COLUMNS, ROWS = 4, 3
TILE = (240, 135)


def main() -> None:
    """Writes displays.jpg beside this file."""
    page = Image.new("RGB", (COLUMNS * TILE[0], ROWS * TILE[1]), "white")
    for k in range(COLUMNS * ROWS):
        picture = Image.fromarray(draw("test", generator(0, "test", k)).pixels)
        place = (k % COLUMNS * TILE[0], k // COLUMNS * TILE[1])
        page.paste(ImageOps.pad(picture, TILE, color="white"), place)
    page.save(Path(__file__).with_name("displays.jpg"), quality=85)


if __name__ == "__main__":
    main()
