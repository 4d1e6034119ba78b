"""The drawings that `seqdigits predict --save-to` writes: pictures with the boxes of what is read."""

from __future__ import annotations

import io
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from seqdigits.core.errors import UserError
from seqdigits.core.files import write_atomically
from seqdigits.data.photos.picture_files import STDIN
from seqdigits.inference.reader import Result
from seqdigits.visualization.boxes import draw_number


def drawing_files(files: Sequence[str], folder: Path) -> list[Path]:
    """Returns for each picture the file of its drawing: its name and ".png", with a number where names are equal.

    Args:
      files: the pictures.
      folder: of the drawings.

    Raises:
      UserError: a picture is at the place of a drawing.
    """
    pictures = {(status.st_dev, status.st_ino): file for file in files if (status := _status(file))}
    taken: set[str] = set()
    count: Counter[str] = Counter()
    drawings = []
    for file in files:
        name = "stdin" if file == STDIN else os.path.basename(file)
        same = name.casefold()  # some file systems do not distinguish capital letters
        while True:
            count[same] += 1
            end = ".png" if count[same] == 1 else f"-{count[same]}.png"
            if same + end not in taken:
                break
        taken.add(same + end)
        drawings.append(folder / (name + end))
        there = _status(drawings[-1])
        if there and (there.st_dev, there.st_ino) in pictures:
            raise UserError(
                f"--save-to {folder}: the drawing of {file} would overwrite {pictures[there.st_dev, there.st_ino]}, which is one "
                "of the pictures. Name another folder."
            )
    return drawings


def _status(file: str | Path) -> os.stat_result | None:
    try:
        return os.stat(file)
    except OSError:
        return None


def write_drawing(picture: Image.Image, result: Result, file: Path) -> None:
    """Draws numbers on a picture, and writes it as PNG, atomically.

    Args:
      picture: of mode "RGB"; is changed.
      result: the numbers, in pixels of the picture.
      file: to write.

    Raises:
      OSError: the file cannot be written.
    """
    for number in result.numbers:
        draw_number(picture, number.box, [d.box for d in number.digits], f"{number.number}  {number.confidence:.0%}")
    png = io.BytesIO()
    picture.save(png, "PNG", compress_level=1)  # takes 0.6 of the time of the default, for 1.14 of the bytes
    write_atomically(file, png.getvalue())
