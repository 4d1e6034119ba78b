"""Makes pictures of seven-segment displays, as a folder of custom photos with a column `split`.

A picture shows a device with a display and letters around it, as a camera sees them: liquid crystal or light-emitting digits
with unlit segments behind them, in perspective, shaded, with a reflection, blurred, noisy and compressed. There is one number
of 1 to 6 digits, without a decimal separator. Digits are those of DSEG7, a free face (data/scenes/FONTS.md); pictures of test
have another variant of it than those of train and validation, and slant, width and stroke are drawn anew for each picture.
"""

from __future__ import annotations

import functools
import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from seqdigits.core.interrupt import Stop, Stopped
from seqdigits.core.progress import progress
from seqdigits.data.photos.labeled_folder import LabelRow, new_labeled_folder
from seqdigits.data.scenes import glyphs

FAMILIES = {"train": "DSEG7 Classic", "validation": "DSEG7 Classic", "test": "DSEG7 Modern"}
"""The family of the digits of each split, in a regular and a bold italic face. Letters are those of the split."""
COUNTS = {"train": 500, "validation": 100, "test": 500}
"""The default number of pictures of each split."""
LENGTHS = (1, 6)
"""Fewest and most digits of a number."""
SIDES = (256, 480)
"""Range of the width of a picture, in pixels."""
DIGIT_HEIGHT = (0.1, 0.45)
"""Range of the height of the digits, as a share of the height of the picture."""

_FACES_SPLIT = "train"  # of both families
_ENLARGED = 3  # glyphs are enlarged by it, and the device is drawn at that size
_SUPERSAMPLED = 2
_GHOST = 8  # the digit with all segments


class Display(NamedTuple):
    """A picture of a display.

    Attributes:
      pixels: u8 [h, w, 3], RGB.
      digits: i32 [n], 0..9.
      boxes: f64 [n, 4], of each digit, cxcywh in pixels of the picture.
    """

    pixels: np.ndarray
    digits: np.ndarray
    boxes: np.ndarray


class _Text(NamedTuple):
    """The digits of a display, in pixels of the device.

    lit, unlit: f64 [h, w], opacity of the lit segments, and of all segments. points: of each digit, f64 [k, 2], x and y of
    corners of its covered pixels.
    """

    digits: np.ndarray
    lit: np.ndarray
    unlit: np.ndarray
    points: list[np.ndarray]


def make(folder: Path, *, counts: dict[str, int], seed: int, stop: Stop) -> None:
    """Makes the folder: JPEG pictures and labels.csv. Each picture depends only on its split, position and the seed.

    Args:
      folder: the folder, which must not exist or be empty.
      counts: number of pictures by split.
      seed: seed of all random choices, at least 0.
      stop: ends the command; the folder is then not made.

    Raises:
      UserError: the folder exists and is not empty, or cannot be written.
      Stopped: `stop` was set.
    """
    order = [(split, k) for split, count in counts.items() for k in range(count)]
    with new_labeled_folder(folder) as (partial, rows):
        for split in counts:
            (partial / split).mkdir()
        for split, k in progress(iter(order), len(order), "pictures", folder):
            if stop.is_set():
                raise Stopped
            rng = generator(seed, split, k)
            display = draw(split, rng)
            name = f"{split}/{k + 1:04}.jpg"
            quality = int(rng.integers(50, 93))
            Image.fromarray(display.pixels).save(partial / name, "JPEG", quality=quality)
            rows.append(LabelRow(name, display.digits, display.boxes, split))


def generator(seed: int, split: str, k: int) -> np.random.Generator:
    """Returns the random numbers of picture k, from 0, of a split."""
    return np.random.default_rng([seed, list(FAMILIES).index(split), k])


def draw(split: str, rng: np.random.Generator) -> Display:
    """Draws one picture with the digits of a split."""
    text = _draw_text(split, rng)
    device, panel = _draw_device(text, split, rng)
    place = np.array([[1.0, 0, panel[0]], [0, 1, panel[1]], [0, 0, 1]])
    points = [_mapped(place, one) for one in text.points]
    width = round(rng.uniform(*SIDES))
    height = round(width / rng.uniform(1.2, 2.2))
    camera = _camera(device.size, points, (width, height), rng)
    boxes = np.array([_box(_mapped(camera, one)) for one in points])
    canvas = _background((width * _SUPERSAMPLED, height * _SUPERSAMPLED), rng)
    enlarged = np.diag([_SUPERSAMPLED, _SUPERSAMPLED, 1.0]) @ camera
    backward = np.linalg.inv(enlarged)
    coefficients = (backward / backward[2, 2]).ravel()[:8].tolist()
    seen = device.transform(canvas.size, Image.Transform.PERSPECTIVE, coefficients, Image.Resampling.BICUBIC)
    canvas.paste(seen, mask=seen.getchannel("A"))
    return Display(_photograph(canvas.reduce(_SUPERSAMPLED), float(boxes[:, 3].mean()), rng), text.digits, boxes)


@functools.cache
def _glyphs(split: str) -> glyphs.GlyphSet:
    """Returns the digits of the faces of a split's displays, and the letters of the split."""
    faces, letters = glyphs.load(_FACES_SPLIT), glyphs.load(split)
    families = np.array([face.family for face in glyphs.faces() if face.split == _FACES_SPLIT])
    chosen = families == FAMILIES[split]
    digits = (faces.digits[chosen], faces.digit_boxes[chosen], faces.digit_advances[chosen])
    return glyphs.GlyphSet(*digits, letters.others, letters.other_boxes)


def _draw_text(split: str, rng: np.random.Generator) -> _Text:
    """Draws the digits side by side, some with unlit places before them."""
    faces = _glyphs(split)
    face = int(rng.integers(len(faces.digits)))
    images, edges = faces.digits[face], faces.digit_boxes[face]
    digits = rng.integers(0, 10, int(rng.integers(LENGTHS[0], LENGTHS[1] + 1))).astype(np.int32)
    blank = int(rng.integers(0, 3)) if rng.random() < 0.4 else 0
    across, slant = rng.uniform(0.8, 1.2), math.tan(math.radians(rng.uniform(-2, 10)))
    pitch = float(faces.digit_advances[face, _GHOST]) * rng.uniform(0.95, 1.15)
    threshold = rng.uniform(0.3, 0.7)  # of coverage: the lower, the bolder
    cells, size = blank + len(digits), glyphs.SIZE
    # Glyph pixels -> pixels of the strip: widened and slanted about the middle row.
    scale = np.array([[across, -slant, slant * size / 2], [0, 1, 0], [0, 0, 1]]) * [[_ENLARGED], [_ENLARGED], [1]]
    width = math.ceil(across * (pitch * (cells - 1) + size) * _ENLARGED)
    lit, unlit = np.zeros((2, size * _ENLARGED, width))
    points = []
    for i in range(cells):
        for digit in {_GHOST, int(digits[i - blank])} if i >= blank else {_GHOST}:
            # Glyphs are centered in their images, and the segments of a 1 are the right ones.
            aside = edges[_GHOST, 2] - edges[digit, 2] if digit == 1 else 0
            there = scale @ np.array([[1, 0, pitch * i + aside], [0, 1, 0], [0, 0, 1.0]])
            strength = _warped(images[digit], there, (width, size * _ENLARGED), threshold)
            if digit == _GHOST:
                np.maximum(unlit, strength, out=unlit)
            if i >= blank and digit == digits[i - blank]:
                np.maximum(lit, strength, out=lit)
                rows, columns = np.nonzero(images[digit] >= glyphs.MIN_COVERAGE)
                corners = np.concatenate([np.stack([columns, rows], 1), np.stack([columns + 1, rows + 1], 1)])
                points.append(_mapped(there, corners.astype(np.float64)))
    return _Text(digits, lit, unlit, points)


def _warped(image: np.ndarray, matrix: np.ndarray, size: tuple[int, int], threshold: float) -> np.ndarray:
    """Returns a glyph u8 [48, 48] in a strip of a width and height, f64 [h, w], 0..1, with edges as sharp as the strip allows."""
    backward = np.linalg.inv(matrix)
    data = backward[:2].ravel().tolist()
    warped = Image.fromarray(image).transform(size, Image.Transform.AFFINE, data, Image.Resampling.BICUBIC)
    return np.clip((np.asarray(warped) / 255 - threshold) * _ENLARGED + 0.5, 0, 1)


def _draw_device(text: _Text, split: str, rng: np.random.Generator) -> tuple[Image.Image, tuple[int, int]]:
    """Draws the device, RGBA, with letters around the display; returns it and the left and top of the strip in it."""
    height, width = text.lit.shape
    left, top, right, bottom = (round(side) for side in rng.uniform(30, 150, 4))
    body = rng.uniform(20, 235) + rng.uniform(-18, 18, 3)
    total = (left + width + right, top + height + bottom)
    pixels = np.full((total[1], total[0], 3), np.clip(body, 0, 255))
    color = 255.0 if body.mean() < 128 else 0.0
    others = _glyphs(split).others
    x, shift = float(rng.uniform(10, 60)), int(rng.integers(0, 2)) * (top + height)
    for _ in range(int(rng.integers(0, 7))):
        side = round((top, bottom)[shift > 0] * rng.uniform(0.5, 0.8))
        if x + side > total[0]:
            break
        letter = np.asarray(Image.fromarray(others[int(rng.integers(len(others)))]).resize((side, side))) / 255
        into = pixels[shift + 5 : shift + 5 + side, round(x) : round(x) + side]
        into += letter[:, :, None] * 0.8 * (color - into)
        x += side * rng.uniform(0.5, 0.8)
    panel, ink, ghost, glow = _panel_colors(rng)
    inside = pixels[top : top + height, left : left + width]
    inside[:] = panel + rng.uniform(-12, 12) * np.linspace(-1, 1, height)[:, None, None]
    inside += ghost * text.unlit[..., None] * (ink - inside)
    if glow:
        blurred = Image.fromarray(np.uint8(text.lit * 255)).filter(ImageFilter.GaussianBlur(rng.uniform(4, 14)))
        inside += glow * np.asarray(blurred)[..., None] / 255 * (ink - inside)
    inside += rng.uniform(0.5, 1.0) * text.lit[..., None] * (ink - inside)
    device = Image.fromarray(np.uint8(np.clip(pixels, 0, 255))).convert("RGBA")
    mask = Image.new("L", total, 0)
    ImageDraw.Draw(mask).rounded_rectangle(
        (0, 0, total[0] - 1, total[1] - 1), radius=int(rng.integers(0, 30)), fill=255
    )
    device.putalpha(mask)
    return device, (left, top)


def _panel_colors(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, float, float]:
    """Returns the colors of the panel and of lit segments, the opacity of unlit ones, and the strength of the glow."""
    ghost = float(rng.uniform(0, 0.18))
    kind = rng.random()
    if kind < 0.45:  # liquid crystal, dark on light
        panel = np.array([165.0, 175, 150]) + rng.uniform(-35, 35) + rng.uniform(-15, 15, 3)
        return panel, rng.uniform(15, 80) + rng.uniform(-8, 8, 3), ghost, 0.0
    hues = np.array([[255, 45, 30], [60, 255, 90], [255, 170, 40], [90, 160, 255], [235, 245, 255], [80, 255, 225]])
    ink = np.clip(hues[int(rng.integers(len(hues)))] * rng.uniform(0.65, 1) + rng.uniform(-20, 20, 3), 0, 255)
    if kind < 0.85:  # light-emitting, on nearly black
        return rng.uniform(4, 45) + 0.04 * ink, ink, ghost, float(rng.uniform(0.1, 0.5))
    panel = np.array([[25.0, 50, 130], [25, 90, 60], [40, 40, 45]])[int(rng.integers(3))] * rng.uniform(0.7, 1.4)
    return panel, 0.4 * ink + 150, ghost, 0.0  # backlit liquid crystal, light on dark


def _camera(
    size: tuple[int, int], points: list[np.ndarray], picture: tuple[int, int], rng: np.random.Generator
) -> np.ndarray:
    """Returns the homography f64 [3, 3] from the device to the picture, in which the whole number is visible."""
    corners = np.array([[0, 0], [size[0], 0], [size[0], size[1]], [0, size[1]]], np.float64)
    angle = math.radians(np.clip(rng.normal(0, 5), -12, 12))
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    share = math.exp(rng.uniform(*np.log(DIGIT_HEIGHT)))
    shape = (corners + rng.uniform(-0.05, 0.05, (4, 2)) * size) @ turn.T
    found = _box(_mapped(_homography(corners, shape), np.concatenate(points)))
    digit = np.mean([_box(_mapped(_homography(corners, shape), one))[3] for one in points])
    scale = min(share * picture[1] / digit, 0.94 * picture[0] / found[2], 0.94 * picture[1] / found[3])
    room = np.array(picture) - found[2:] * scale
    shift = room * rng.uniform(0.03, 0.97, 2) - (found[:2] - found[2:] / 2) * scale
    return _homography(corners, shape * scale + shift)


def _homography(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Returns the homography f64 [3, 3] that maps four points to four others, both f64 [4, 2]."""
    equations, values = [], []
    for (x, y), (u, v) in zip(start, end, strict=True):
        equations += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        values += [u, v]
    return np.append(np.linalg.solve(np.array(equations), np.array(values)), 1.0).reshape(3, 3)


def _mapped(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Returns points f64 [k, 2] after a homography.

    >>> _mapped(np.diag([2.0, 3, 1]), np.array([[1.0, 1]])).tolist()
    [[2.0, 3.0]]
    """
    mapped = np.concatenate([points, np.ones((len(points), 1))], 1) @ matrix.T
    return mapped[:, :2] / mapped[:, 2:]


def _box(points: np.ndarray) -> np.ndarray:
    """Returns the box that encloses points, cxcywh."""
    low, high = points.min(0), points.max(0)
    return np.concatenate([(low + high) / 2, high - low])


def _background(size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """Returns a surface behind the device: two colors, and a coarse and a fine texture."""
    first, second = rng.uniform(20, 235) + rng.uniform(-20, 20, (2, 3)) * [[1], [2]]
    coarse = Image.fromarray(np.uint8(rng.uniform(0, 256, (int(rng.integers(2, 12)), int(rng.integers(2, 12))))))
    share = np.asarray(coarse.resize(size, Image.Resampling.BICUBIC), np.float64)[..., None] / 255
    pixels = first + share * (second - first) + rng.uniform(0, 12) * rng.standard_normal((size[1], size[0], 1))
    return Image.fromarray(np.uint8(np.clip(pixels, 0, 255)))


def _photograph(picture: Image.Image, digit_height: float, rng: np.random.Generator) -> np.ndarray:
    """Returns a picture as a camera has it, u8 [h, w, 3]: shaded, with a reflection, blurred, and noisy."""
    width, height = picture.size
    ramp = np.linspace(-0.5, 0.5, width) * rng.uniform(-0.4, 0.4) + np.linspace(-0.5, 0.5, height)[:, None] * 0.3
    light = (rng.uniform(0.55, 1.1) * (1 + ramp))[..., None]
    reflection = Image.new("L", picture.size, 0)
    if rng.random() < 0.5:
        x, tilt, side = rng.uniform(0, width), rng.uniform(-0.6, 0.6) * height, rng.uniform(0.05, 0.3) * width
        corners = [(x, 0), (x + side, 0), (x + side + tilt, height), (x + tilt, height)]
        ImageDraw.Draw(reflection).polygon(corners, fill=int(rng.integers(20, 180)))
        reflection = reflection.filter(ImageFilter.GaussianBlur(rng.uniform(2, 25)))
    pixels = np.asarray(picture, np.float64) * light
    pixels += np.asarray(reflection, np.float64)[..., None] * (1 - pixels / 255)
    blurred = Image.fromarray(np.uint8(np.clip(pixels, 0, 255))).filter(
        ImageFilter.GaussianBlur(rng.uniform(0, 0.06) * digit_height)
    )
    noise = rng.uniform(0, 12) * rng.standard_normal((height, width, 3))
    return np.clip(np.asarray(blurred, np.float64) + noise, 0, 255).astype(np.uint8)
