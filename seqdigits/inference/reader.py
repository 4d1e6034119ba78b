"""The Reader: reads the numbers in a picture of any size. Numpy and Pillow; an engine evaluates the network.

docs/reading.md describes the steps: `reading.py` has their arithmetic, `views.py` their pixels.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple, Protocol, overload

import numpy as np
from PIL import Image

from seqdigits.checkpoint import pretrained
from seqdigits.core.errors import UserError, short
from seqdigits.data.photos.picture_files import DAMAGED, as_rgb, open_reduced
from seqdigits.inference.onnx_engine import OnnxEngine
from seqdigits.inference.reading import (
    MIN_SHARED_AREA,
    Choice,
    Edges,
    Place,
    Reading,
    add_readings,
    choose,
    find_places,
    group,
    remove_overlaps,
    shared_edges_area,
)
from seqdigits.inference.views import CutSize, View, cut, cut_geometry, overview_levels

OVERVIEW, MAX_OVERVIEW = 512, 1024
"""The overview of a picture of 4:3 is this many pixels wide; the largest that `overview` allows."""

PLACES, FIRST_CUTS = 6, (CutSize(32.0, 0.4, 0.6),)
"""The best PLACES of the overview are cut and read again."""

FINALISTS, LAST_CUTS = 2, (CutSize(36.0, 0.4, 1.0), CutSize(28.0, 0.5, 1.0), CutSize(22.0, 0.7, 0.5))
"""The best FINALISTS of these are read a third time, in cuts around what was read before."""

MIN_CONFIDENCE, MIN_SIDEWAYS_CONFIDENCE = 0.1, 0.5
"""An answer with a lower confidence is no number; the second value is for a picture that is turned sideways."""

SIDEWAYS = (Image.Transpose.ROTATE_90, Image.Transpose.ROTATE_270)
"""Rotations, counterclockwise, that are tried where nothing upright is read but unsure single digits, with an overview of half
the size, because they would take most of the time."""

Box = tuple[float, float, float, float]
"""Left, top, width and height, in pixels of the picture."""

ENGINES = ("onnx", "jax")
"""What evaluates pretrained weights: ONNX Runtime, or JAX."""

Picture = str | Path | Image.Image | np.ndarray
"""A file in any format that Pillow reads, an image of Pillow, or pixels: u8 [H, W] or [H, W, 1], 3 or 4 channels."""


class Engine(Protocol):
    """A network, and the merging of its cells.

    Attributes:
      channels: of the images that it takes, 1 or 3.
      min_score: a candidate with a lower score, the sum of its probabilities, is no digit.
    """

    channels: int
    min_score: float

    def __call__(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns the best M candidates for digits of each image u8 [B, H, W, channels].

        Returns:
          f32 [B, M, 4], cxcywh in pixels, and f32 [B, M, 10], the probability of each digit; zeros where an image has fewer.
        """


class Digit(NamedTuple):
    """A digit of a number: 0..9, its confidence, 0..1, and its box."""

    digit: int
    confidence: float
    box: Box


class Number(NamedTuple):
    """A number in a picture.

    Attributes:
      number: the digits in reading order.
      confidence: that all of them are right, 0..1.
      box: of the number.
      digits: in reading order.
    """

    number: str
    confidence: float
    box: Box
    digits: tuple[Digit, ...]


class Result(NamedTuple):
    """What is read in a picture.

    Attributes:
      numbers: all numbers, best first; empty where there is none.
    """

    numbers: tuple[Number, ...]

    @property
    def number(self) -> str | None:
        """The digits of the best number, or None."""
        return self.numbers[0].number if self.numbers else None

    @property
    def confidence(self) -> float:
        """The confidence of the best number; 0 where there is none."""
        return self.numbers[0].confidence if self.numbers else 0.0

    @property
    def box(self) -> Box | None:
        """The box of the best number, or None."""
        return self.numbers[0].box if self.numbers else None

    def scaled(self, factor: float) -> Result:
        """Returns the result with boxes in pixels of a picture that is `factor` times as large."""
        if factor == 1:
            return self

        def scale(box: Box) -> Box:
            left, top, width, height = box
            return left * factor, top * factor, width * factor, height * factor

        return Result(
            tuple(
                number._replace(
                    box=scale(number.box), digits=tuple(d._replace(box=scale(d.box)) for d in number.digits)
                )
                for number in self.numbers
            )
        )


class Reader:
    """Reads the numbers in pictures of any size. It keeps no state between pictures: threads may share it."""

    def __init__(self, engine: Engine, overview: int = OVERVIEW) -> None:
        """Creates a Reader.

        Args:
          engine: evaluates the network.
          overview: width of the overview of a picture of 4:3, in pixels, a multiple of 128 up to MAX_OVERVIEW. A larger one
            finds smaller numbers and takes longer.

        Raises:
          UserError: `overview` is not allowed.
        """
        if overview % 128 or not 0 < overview <= MAX_OVERVIEW:
            raise UserError(f"overview = {overview} is not allowed: allowed are multiples of 128 up to {MAX_OVERVIEW}.")
        self._engine = engine
        self._overview = overview

    @classmethod
    def from_pretrained(
        cls, name: str | Path = "scene", overview: int = OVERVIEW, *, engine: Literal["onnx", "jax"] = "onnx"
    ) -> Reader:
        """Creates a Reader with pretrained weights, or with a file of `seqdigits export --to onnx`.

        Args:
          name: one of checkpoint.pretrained.NAMES, or the path of such a file, NAME.onnx.
          overview: see __init__.
          engine: what evaluates the network: ONNX Runtime on one core, which starts in half a second, or JAX.

        Raises:
          UserError: the name or the engine is unknown, the weights are missing or damaged, or ONNX Runtime is not installed.
        """
        if engine not in ENGINES:
            raise UserError(f"engine = {engine!r} is not allowed: allowed are {' and '.join(map(repr, ENGINES))}.")
        if Path(name).suffix == ".onnx":
            if engine != "onnx":
                raise UserError(f"engine = {engine!r} cannot evaluate {name}. Leave it out, or name weights.")
            return cls(OnnxEngine(Path(name)), overview)
        if engine == "jax":
            return cls(_jax_engine(pretrained.path(str(name))), overview)
        return cls(_pretrained_onnx_engine(str(name)), overview)

    @classmethod
    def from_workdir(cls, workdir: str | Path, overview: int = OVERVIEW) -> Reader:
        """Creates a Reader with the best checkpoint of a run, which JAX evaluates.

        Args:
          workdir: the folder of the run; or a checkpoint W/checkpoints/STEP, or a file of weights.
          overview: see __init__.

        Raises:
          UserError: there is no checkpoint, it is damaged, or its model is no dense detector.
        """
        return cls(_jax_engine(Path(workdir)), overview)

    @overload
    def read(self, picture: Picture) -> Result: ...  # type: ignore[overload-overlap] # a str is a sequence of str
    @overload
    def read(self, picture: Sequence[Picture]) -> list[Result]: ...
    def read(self, picture: Picture | Sequence[Picture]) -> Result | list[Result]:
        """Reads the numbers in a picture, or in each picture of a list.

        A file of more than picture_files.MAX_PIXELS is reduced before it is read; boxes are in its own pixels all the same.

        Raises:
          UserError: a file or image cannot be read, an array has another shape or dtype, or it is none of these.
        """
        if isinstance(picture, str | Path | Image.Image | np.ndarray) or not isinstance(picture, Iterable):
            return self._open_and_read(picture)
        return [self._open_and_read(one) for one in picture]

    def _open_and_read(self, picture: Picture) -> Result:
        if isinstance(picture, str | Path):
            opened, factor = open_reduced(picture)
            return self._read(opened).scaled(factor)
        return self._read(_opened(picture))

    def _read(self, picture: Image.Image) -> Result:
        upright = self.read_upright(picture)
        if any(len(n.number) > 1 or n.confidence >= MIN_SIDEWAYS_CONFIDENCE for n in upright):
            return Result(tuple(upright))
        sideways = []
        for rotation in SIDEWAYS:
            turned = self.read_upright(picture.transpose(rotation), self._overview // 2)
            sure = [number for number in turned if number.confidence >= MIN_SIDEWAYS_CONFIDENCE]
            sideways += [_turned_back(number, rotation, picture.size) for number in sure]
        distinct: list[Number] = []  # both rotations, and the upright picture, may show something at one place
        for number in (*sorted(sideways, key=lambda number: -number.confidence), *upright):
            if all(shared_edges_area(_edges(number.box), _edges(better.box)) <= MIN_SHARED_AREA for better in distinct):
                distinct.append(number)
        return Result(tuple(distinct))

    def read_upright(self, picture: Image.Image, overview_width: int | None = None) -> list[Number]:
        """Returns the numbers in a picture in mode RGB that are not turned sideways, best first."""
        places = self.read_places(picture, self.find(picture, overview_width))
        choices = remove_overlaps([choose(place, max(picture.size)) for place in places])
        numbers = [_number(choice) for choice in choices]
        return [number for number in numbers if number.confidence >= MIN_CONFIDENCE]

    def find(self, picture: Image.Image, overview_width: int | None = None) -> list[Place]:
        """Returns the best places of the overview of a picture in mode RGB, best first, as the levels show them."""
        levels = overview_levels(picture, overview_width or self._overview)
        overview = [reading for readings in self._readings(levels) for reading in readings]
        return find_places(overview, PLACES, views=len(levels))

    def read_places(self, picture: Image.Image, places: Sequence[Place]) -> list[Place]:
        """Reads places again, in cuts from the original pixels. Returns them best first, with the readings of the cuts."""
        longer_side = max(picture.size)
        again = self._read_again(picture, places, FIRST_CUTS)
        again.sort(key=lambda place: -choose(place, longer_side).rank)
        again = self._read_again(picture, again[:FINALISTS], LAST_CUTS) + again[FINALISTS:]
        return sorted(again, key=lambda place: -choose(place, longer_side).rank)

    def _read_again(self, picture: Image.Image, places: Sequence[Place], sizes: Sequence[CutSize]) -> list[Place]:
        """Adds to each place the readings of cuts around the number that its readings agree on."""
        around = [choose(place, max(picture.size)).reading for place in places]
        cuts = [cut(picture, cut_geometry(reading, size), size.contrast) for reading in around for size in sizes]
        found = iter(self._readings(cuts))
        return [
            add_readings(place, [reading for _ in sizes for reading in next(found)], len(sizes)) for place in places
        ]

    def _readings(self, views: Sequence[View]) -> list[list[Reading]]:
        """Returns the readings of each view, in pixels of the picture; views of one shape are one batch."""
        result: list[list[Reading]] = [[] for _ in views]
        for shape in sorted({view.pixels.shape for view in views}):
            chosen = [i for i, view in enumerate(views) if view.pixels.shape == shape]
            images = np.stack([self._image(views[i].pixels) for i in chosen])
            for i, box, probability in zip(chosen, *self._engine(images), strict=True):
                box, probability = box.astype(np.float64), probability.astype(np.float64)
                shown = views[i].shows(box)
                result[i] = group(views[i].to_picture(box[shown]), probability[shown], self._engine.min_score)
        return result

    def _image(self, pixels: np.ndarray) -> np.ndarray:
        if self._engine.channels == 3:
            return pixels
        return np.asarray(Image.fromarray(pixels).convert("L"))[..., None]


def _pretrained_onnx_engine(name: str) -> OnnxEngine:
    file = pretrained.onnx_path(name)
    engine = OnnxEngine(file)
    if engine.weights_sha256 != pretrained.sums().get(name):
        raise UserError(f"{file} was exported from other weights than those of {name!r}. {pretrained.ONNX_FIX}")
    return engine


def _jax_engine(weights: Path) -> Engine:
    from seqdigits.inference.jax_engine import JaxEngine  # here, because the Reader itself imports no JAX

    return JaxEngine(weights)


def _opened(picture: Image.Image | np.ndarray) -> Image.Image:
    if isinstance(picture, np.ndarray):
        channels = picture.shape[2] if picture.ndim == 3 else 1
        if picture.dtype != np.uint8 or picture.ndim not in (2, 3) or channels not in (1, 3, 4) or not picture.size:
            raise UserError(
                f"an array of {picture.dtype} {list(picture.shape)} is no picture: allowed is uint8 [height, width] or "
                "[height, width, channels], with 1, 3 (RGB) or 4 (RGBA) channels."
            )
        picture = Image.fromarray(picture[..., 0] if picture.ndim == 3 and channels == 1 else picture)
    if not isinstance(picture, Image.Image):
        raise UserError(
            f"{type(picture).__name__} is no picture: allowed are a path, an image of Pillow, an array of uint8, or a list of "
            "these."
        )
    if not picture.width or not picture.height:
        raise UserError(f"an image of {picture.width} x {picture.height} pixels is no picture: it has no pixels.")
    try:
        return as_rgb(picture)
    except DAMAGED as e:  # an image of Pillow is decoded only now
        raise UserError(f"the image cannot be read: {short(e)}") from e


def _number(choice: Choice) -> Number:
    reading = choice.reading
    left, top, right, bottom = reading.edges
    digits = tuple(
        Digit(int(digit), float(confidence), (x - w / 2, y - h / 2, w, h))
        for digit, confidence, (x, y, w, h) in zip(
            reading.text, reading.digit_confidence, reading.box.tolist(), strict=True
        )
    )
    return Number(reading.text, choice.confidence, (left, top, right - left, bottom - top), digits)


def _edges(box: Box) -> Edges:
    left, top, width, height = box
    return left, top, left + width, top + height


def _turned_back(number: Number, rotation: Image.Transpose, size: tuple[int, int]) -> Number:
    """Maps a number from the picture after `rotation` to the picture of `size` (width, height)."""

    def back(box: Box) -> Box:
        left, top, width, height = box
        if rotation == Image.Transpose.ROTATE_90:  # the top of the rotated picture is the right side of this one
            return size[0] - top - height, left, height, width
        return top, size[1] - left - width, height, width

    digits = tuple(digit._replace(box=back(digit.box)) for digit in number.digits)
    return number._replace(box=back(number.box), digits=digits)
