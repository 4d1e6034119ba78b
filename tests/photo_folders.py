"""Creates folders of custom photos with a labels.csv for tests."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
from PIL import Image

from seqdigits.data import digits

SIZE = 28


@functools.cache
def handwriting() -> tuple[np.ndarray, np.ndarray]:
    return digits.load("uci", "train", validation=0, folder="", url="")


def drawn(number: str, seed: int) -> tuple[Image.Image, str]:
    """Returns an image of a handwritten number on a colored background, and its boxes in the format of labels.csv."""
    draw = np.random.default_rng(seed)
    images, values = handwriting()
    height, width = SIZE + int(draw.integers(4, 30)), SIZE * len(number) + int(draw.integers(8, 40))
    background, text = draw.integers(0, 256, (2, 3))
    strength = np.zeros((height, width, 1))
    left, top = int(draw.integers(0, width - SIZE * len(number))), int(draw.integers(0, height - SIZE))
    boxes = []
    for digit in number:
        image = images[draw.choice(np.flatnonzero(values == int(digit)))]
        strength[top : top + SIZE, left : left + SIZE, 0] = image / 255
        boxes.append(f"{left} {top} {SIZE} {SIZE}")
        left += SIZE
    picture = Image.fromarray((background * (1 - strength) + text * strength).astype(np.uint8))
    return picture, ";".join(boxes)


def write(folder: Path, lines: list[str]) -> Path:
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    return folder


def make(folder: Path, count: int = 30) -> Path:
    """Creates a folder of images, every other one a JPEG; all rows have boxes, and there is no column split."""
    (folder / "images").mkdir()
    lines, draw = ["image,number,boxes"], np.random.default_rng(0)
    for i in range(count):
        number = "".join(str(digit) for digit in draw.integers(0, 10, i % 3 + 1))
        picture, boxes = drawn(number, i)
        name = f"images/{i:02}.{'jpg' if i % 2 else 'png'}"
        picture.save(folder / name)
        lines.append(f"{name},{number},{boxes}")
    return write(folder, lines)
