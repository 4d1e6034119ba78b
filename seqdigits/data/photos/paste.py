"""Makes a private validation set: house numbers pasted into natural backgrounds, and backgrounds without a number.

The photographs are of the validation split of SVHN train, the first 2,000 photographs only, and the backgrounds are of
the validation split too, so the set may be used to choose rules and thresholds. No weights are trained on it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from seqdigits.core.interrupt import Stop, Stopped
from seqdigits.core.progress import progress
from seqdigits.data.photos.backgrounds import Background
from seqdigits.data.photos.crop import Window
from seqdigits.data.photos.labeled_folder import LabelRow, new_labeled_folder
from seqdigits.data.photos.svhn_originals import Photo

PASTED, NO_NUMBER = "pasted", "no_number"
"""The subfolders."""
SHARE = (0.03, 0.15)
"""Range of the mean height of the digits, as a share of the height of the picture."""
MIN_DIGIT_HEIGHT = 14
"""Minimum of the mean height of the digits, in pixels: fewer are hard to read by eye."""
MAX_ENLARGED = 2.0
"""Maximum enlargement of a photograph."""
SIDES = (640, 1280)
"""Range of the longer side of a picture with a number, in pixels."""
SIDES_WITHOUT = (256, 640)
"""Range of the longer side of a picture without a number, in pixels."""
MAX_ASPECT = 16 / 9
"""Maximum ratio of the longer to the shorter side."""
ROTATED = 1 / 3
"""Share of the photographs that are rotated."""
MARGIN = (0.4, 2.0)
"""Range of the margin around a number on each side, in heights of its digits."""
FEATHER = 0.3
"""Width of the feathered edges, in heights of the digits."""
MAX_ANGLE = 15.0
"""Maximum rotation, in degrees."""
MAX_NOISE = 3.0
"""Maximum standard deviation of the noise that is added to the whole picture."""
_QUALITY = 92
_ATTEMPTS = 100
_NOTICE = """Private pictures of house numbers, made by `seqdigits paste-photos`.

{pasted}/ has photographs of Street View House Numbers (Netzer et al. 2011), which are for non-commercial use only,
pasted into natural backgrounds. {no_number}/ has parts of backgrounds without a number. The backgrounds have different
licenses, which the file of backgrounds lists. Do not publish these pictures.

The photographs are of the validation split of SVHN train, and the backgrounds of their validation split. Rules and
thresholds may be chosen on them; weights must not be trained on them.

labels.csv has the columns image, number and boxes: the box of each digit, "left top width height" in pixels, joined by
";". The number of a picture without one is empty.
"""


class Pasted(NamedTuple):
    """A picture with a number.

    Attributes:
      pixels: u8 [h, w, 3], RGB.
      boxes: f64 [n, 4], of each digit, cxcywh in pixels of the picture.
    """

    pixels: np.ndarray
    boxes: np.ndarray


def make(
    folder: Path,
    photos: Sequence[Photo],
    backgrounds: Sequence[Background],
    *,
    count: int,
    empty: int,
    seed: int,
    stop: Stop,
) -> None:
    """Makes the folder. The files depend only on the arguments; each picture only on its position and the seed.

    Args:
      folder: the folder, which must not exist or be empty.
      photos: photographs; each is used once before any is used again.
      backgrounds: the backgrounds.
      count: number of pictures with a number.
      empty: number of pictures without a number.
      seed: seed of all random choices, at least 0.
      stop: ends the command; the folder is then not made.

    Raises:
      UserError: the folder exists and is not empty, or cannot be written.
      Stopped: `stop` was set.
    """
    with new_labeled_folder(folder) as (partial, rows):
        (partial / PASTED).mkdir()
        (partial / NO_NUMBER).mkdir()
        for k in progress(iter(range(count + empty)), count + empty, "pictures", folder):
            if stop.is_set():
                raise Stopped
            if k < count:
                photo, rng = photos[k % len(photos)], np.random.default_rng([seed, 0, k])
                pixels, boxes = paste(photo, backgrounds[int(rng.integers(len(backgrounds)))].pixels, rng)
                name, digits = f"{PASTED}/{k + 1:04}.jpg", photo.digits
            else:
                rng = np.random.default_rng([seed, 1, k - count])
                pixels, boxes = cut(backgrounds[int(rng.integers(len(backgrounds)))].pixels, rng), np.zeros((0, 4))
                name, digits = f"{NO_NUMBER}/{k - count + 1:04}.jpg", np.zeros(0, np.int32)
            Image.fromarray(pixels).save(partial / name, "JPEG", quality=_QUALITY, subsampling=0)
            rows.append(LabelRow(name, digits, boxes))
        (partial / "README.txt").write_text(_NOTICE.format(pasted=PASTED, no_number=NO_NUMBER))


def paste(photo: Photo, background: np.ndarray, rng: np.random.Generator) -> Pasted:
    """Pastes the part of a photograph around its number into a part of a background.

    The size of the picture, the part and the flip of the background, the margin around the number, the height of the
    digits, the angle, the place and the noise are random. The height of the digits is logarithmically uniform in SHARE
    of the height, as far as MIN_DIGIT_HEIGHT, MAX_ENLARGED and the size of the picture allow. The brightness of the
    photograph moves by a third of its difference to the background, and its edges are feathered outside of the digits.

    Args:
      photo: the photograph.
      background: u8 [h, w, 3].
      rng: random numbers.
    """
    digit_height = float(photo.boxes[:, 3].mean())
    left, top, right, bottom = window = _window(photo, digit_height, rng)
    angle = rng.uniform(-MAX_ANGLE, MAX_ANGLE) if rng.random() < ROTATED else 0.0
    for _ in range(_ATTEMPTS):
        width, height = _size(SIDES, rng)
        rotated_width, rotated_height = _enclosing(right - left, bottom - top, angle)
        low = max(SHARE[0] * height, MIN_DIGIT_HEIGHT) / digit_height
        high = min(
            SHARE[1] * height / digit_height, MAX_ENLARGED, 0.9 * width / rotated_width, 0.9 * height / rotated_height
        )
        if low <= high:
            break
    scale = math.exp(rng.uniform(math.log(min(low, high)), math.log(high)))
    canvas = _part(background, width, height, rng).astype(np.float64)
    size = max(1, round((right - left) * scale)), max(1, round((bottom - top) * scale))
    patch = Image.fromarray(photo.pixels).resize(size, Image.Resampling.LANCZOS, box=window)
    ratio = np.array([size[0] / (right - left), size[1] / (bottom - top)])
    boxes = np.concatenate([(photo.boxes[:, :2] - [left, top]) * ratio, photo.boxes[:, 2:] * ratio], axis=1)
    alpha = Image.fromarray(np.round(_feather(size, boxes) * 255).astype(np.uint8))
    if angle:
        boxes = rotated(boxes, size, angle)
        patch = patch.rotate(angle, Image.Resampling.BICUBIC, expand=True)
        alpha = alpha.rotate(angle, Image.Resampling.BILINEAR, expand=True)
        boxes[:, :2] += (np.array(patch.size) - size) / 2
    x, y = (int(rng.integers(0, side - own + 1)) for side, own in zip((width, height), patch.size, strict=True))
    pixels, weight = np.asarray(patch, np.float64), np.asarray(alpha, np.float64)[..., None] / 255
    under = canvas[y : y + pixels.shape[0], x : x + pixels.shape[1]]
    difference = (weight * (under - pixels)).sum() / (3 * weight.sum())  # in mean brightness
    under += weight * (pixels + difference / 3 - under)
    canvas += rng.uniform(0, MAX_NOISE) * rng.standard_normal((height, width, 1))
    boxes[:, :2] += [x, y]
    return Pasted(np.clip(np.round(canvas), 0, 255).astype(np.uint8), boxes)


def cut(background: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Returns a random part of a background as a picture without a number, u8 [h, w, 3]."""
    return _part(background, *_size(SIDES_WITHOUT, rng), rng)


def _size(sides: tuple[int, int], rng: np.random.Generator) -> tuple[int, int]:
    """Returns the width and height of a picture: small ones are more likely, and two of five are upright."""
    longer = round(sides[0] * (sides[1] / sides[0]) ** (rng.random() ** 2))
    shorter = round(longer / math.exp(rng.uniform(0, math.log(MAX_ASPECT))))
    return (shorter, longer) if rng.random() < 0.4 else (longer, shorter)


def _part(background: np.ndarray, width: int, height: int, rng: np.random.Generator) -> np.ndarray:
    """Returns a random part of a background, possibly mirrored, resized to u8 [height, width, 3].

    The part is enlarged at most 1.5 times, or else is at least 0.7 times as wide and high as the largest one.
    """
    smallest = max(width / background.shape[1], height / background.shape[0])
    enlarged = math.exp(rng.uniform(math.log(smallest), math.log(max(1.5, smallest / 0.7))))
    part_width, part_height = min(width / enlarged, background.shape[1]), min(height / enlarged, background.shape[0])
    left, top = rng.uniform(0, background.shape[1] - part_width), rng.uniform(0, background.shape[0] - part_height)
    right, bottom = min(left + part_width, background.shape[1]), min(top + part_height, background.shape[0])
    result = Image.fromarray(background).resize((width, height), Image.Resampling.BICUBIC, (left, top, right, bottom))
    return np.asarray(result)[:, ::-1] if rng.random() < 0.5 else np.asarray(result)


def _window(photo: Photo, digit_height: float, rng: np.random.Generator) -> Window:
    """Returns the box of the number with a random margin on each side, clipped at the edges of the photograph."""
    low = (photo.boxes[:, :2] - photo.boxes[:, 2:] / 2).min(0)
    high = (photo.boxes[:, :2] + photo.boxes[:, 2:] / 2).max(0)
    margin = digit_height * rng.uniform(*MARGIN, 4)
    left, top = np.maximum(low - margin[:2], 0).tolist()
    right, bottom = np.minimum(high + margin[2:], photo.pixels.shape[1::-1]).tolist()
    return left, top, right, bottom


def _feather(size: tuple[int, int], boxes: np.ndarray) -> np.ndarray:
    """Returns the opacity of a patch, f64 [h, w], which falls to 0 at its edges.

    The opacity is 1 within the box of the number; at an edge that this box reaches, it falls within one pixel.

    Args:
      size: width and height of the patch.
      boxes: f64 [n, 4], of the digits, cxcywh in pixels of the patch.
    """
    low, high = (boxes[:, :2] - boxes[:, 2:] / 2).min(0), (boxes[:, :2] + boxes[:, 2:] / 2).max(0)
    reach = FEATHER * boxes[:, 3].mean()
    profiles = []
    for axis, length in enumerate(size):
        before, after = np.clip([low[axis], length - high[axis]], 1, max(reach, 1))
        at = np.arange(length) + 0.5
        profiles.append(np.clip(at / before, 0, 1) * np.clip((length - at) / after, 0, 1))
    return profiles[1][:, None] * profiles[0]


def _enclosing(width: float, height: float, angle: float) -> tuple[float, float]:
    """Returns the width and height of the box that encloses a rotated rectangle; the angle is in degrees."""
    cos, sin = abs(math.cos(math.radians(angle))), abs(math.sin(math.radians(angle)))
    return width * cos + height * sin, width * sin + height * cos


def rotated(boxes: np.ndarray, size: tuple[int, int], angle: float) -> np.ndarray:
    """Returns the boxes of digits in a picture that is rotated around its center.

    A digit is taken to fill the ellipse inscribed in its box; the new box encloses the rotated ellipse. The box around
    the rotated box would be too large, because digits do not reach the corners of their boxes.

    Args:
      boxes: f64 [n, 4], cxcywh in pixels.
      size: width and height of the picture.
      angle: degrees, counterclockwise.

    >>> rotated(np.array([[30.0, 10.0, 4.0, 8.0]]), (40, 20), 90).round(6).tolist()
    [[20.0, 0.0, 8.0, 4.0]]
    """
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    x, y = (boxes[:, :2] - np.array(size) / 2).T
    width, height = boxes[:, 2:].T
    center = np.stack([x * cos + y * sin, y * cos - x * sin], 1) + np.array(size) / 2
    extent = np.stack([np.hypot(width * cos, height * sin), np.hypot(width * sin, height * cos)], 1)
    return np.concatenate([center, extent], 1)
