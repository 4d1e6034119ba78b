"""Compares the engine of an exported network with another engine, on drawn images and others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from seqdigits.core.errors import UserError
from seqdigits.core.interrupt import Stop, Stopped
from seqdigits.export.onnx import to_onnx
from seqdigits.export.program import Program
from seqdigits.inference.jax_engine import BATCHES, JaxEngine
from seqdigits.inference.onnx_engine import OnnxEngine
from seqdigits.inference.reader import Engine

SIZES = ((33, 47), (64, 128), (70, 130), (96, 64), (128, 256), (200, 320), (256, 256))
"""Heights and widths of drawn images, in pixels: multiples of the strides of networks, and others."""

MAX_BOX_DIFFERENCE = 0.05
"""In pixels."""

MAX_OTHER_DIGITS = 0.005
"""Share of digits that may differ where weights are stored as float16."""

IMAGES_OF_SIZE = 6
"""One batch of the engine that runs JAX, so that it compiles once for each size."""


class Parity(NamedTuple):
    """How far the candidates of two engines differ.

    Attributes:
      images: number of images that were compared.
      digits: number of candidates; in each image, those of the engine that finds more.
      same: number of candidates to which both engines give the same digit.
      box: largest difference of a value of a box, in pixels; 0 where nothing could be compared.
      probability: largest difference of the probability of a digit; likewise.
    """

    images: int
    digits: int
    same: int
    box: float
    probability: float


def compared_detector(program: Program, weights: Path, dtype: str, out: Path, stop: Stop, exact: bool) -> bytes:
    """Returns the ONNX file of a dense detector after its candidates have been compared, and prints the figures.

    Args:
      program: the trained network; the images are its validation examples and drawn ones.
      weights: see checkpoint.load.load_variables.
      dtype: see export.onnx.to_onnx.
      out: the file, for messages.
      stop: is polled before the comparison.
      exact: see check.

    Raises:
      UserError: see to_onnx; the data are missing; or the file gives other candidates than the network.
      Stopped: `stop` was set.
    """
    content = to_onnx(weights, dtype)
    engine, expected = OnnxEngine(out, content), JaxEngine(weights)
    if stop.is_set():
        raise Stopped
    images = np.asarray(program.examples().image)
    examples = (images[start : start + BATCHES[-1]] for start in range(0, len(images), BATCHES[-1]))
    found = compare_batches(engine, expected, chain(examples, drawn_batches(expected.channels)))
    print(text(found, "validation and drawn images"), flush=True)
    check(found, out, exact)
    return content


def compare(
    engine: Engine,
    expected: Engine,
    sizes: Sequence[tuple[int, int]] = SIZES,
    count: int = IMAGES_OF_SIZE,
    seed: int = 0,
) -> Parity:
    """Compares the candidates of two engines on drawn images, each with the one whose box is nearest.

    Args:
      engine: of the exported network.
      expected: of the network itself.
      sizes: heights and widths of the images, in pixels.
      count: number of images of each size.
      seed: of the images.
    """
    return compare_batches(engine, expected, drawn_batches(expected.channels, sizes, count, seed))


def drawn_batches(
    channels: int, sizes: Sequence[tuple[int, int]] = SIZES, count: int = IMAGES_OF_SIZE, seed: int = 0
) -> Iterator[np.ndarray]:
    """Yields a batch of drawn images, u8 [count, H, W, channels], for each size; see `compare`."""
    rng = np.random.default_rng(seed)
    for height, width in sizes:
        yield np.stack([draw(rng, height, width, channels) for _ in range(count)])


def compare_batches(engine: Engine, expected: Engine, batches: Iterable[np.ndarray]) -> Parity:
    """Compares the candidates of two engines on batches of images, u8 [B, H, W, channels], as `compare` does."""
    count, digits, same, largest_box, largest_probability = 0, 0, 0, 0.0, 0.0
    for images in batches:
        count += len(images)
        for (box, probability), (expected_box, expected_probability) in zip(
            _found(engine, images), _found(expected, images), strict=True
        ):
            digits += max(len(box), len(expected_box))
            if not len(box) or not len(expected_box):
                continue
            distance = np.abs(box - expected_box[:, None]).max(-1)
            nearest = distance.argmin(1)  # not the candidate of the same rank: ranks of equal scores are arbitrary
            probability = probability[nearest]
            equal = probability.argmax(-1) == expected_probability.argmax(-1)
            same += len(np.unique(nearest[equal]))
            largest_box = np.maximum(largest_box, distance.min(1).max())  # NaN stays NaN
            largest_probability = np.maximum(largest_probability, np.abs(probability - expected_probability).max())
    return Parity(count, digits, same, float(largest_box), float(largest_probability))


def check(parity: Parity, out: Path, exact: bool) -> None:
    """Checks that a file gives the candidates of its network.

    Args:
      parity: of the file.
      out: the file, for messages.
      exact: whether it stores the weights as they are: then no digit may differ, and no box by more than MAX_BOX_DIFFERENCE.
        Otherwise MAX_OTHER_DIGITS of the digits may.

    Raises:
      UserError: it does not, or there was nothing to compare.
    """
    if not parity.digits:
        raise UserError(
            f"{out} was not written: the network finds no digit in the images, so that nothing could be compared. "
            "Train it longer."
        )
    if exact and (parity.same < parity.digits or not parity.box <= MAX_BOX_DIFFERENCE):
        raise UserError(
            f"{out} was not written: the file gives other candidates than the network. Allowed are no other digits, and boxes "
            f"that differ by at most {MAX_BOX_DIFFERENCE} px. Try another version of ONNX Runtime."
        )
    if parity.digits - parity.same > MAX_OTHER_DIGITS * parity.digits or np.isnan(parity.box):
        raise UserError(
            f"{out} was not written: the file gives other candidates than the network. Allowed are {MAX_OTHER_DIGITS:.1%} other "
            "digits. Use --dtype float32."
        )


def text(parity: Parity, images: str = "drawn images") -> str:
    """Returns the figures of a comparison on such images as text for standard output."""
    return (
        f"{parity.images} {images}, ONNX Runtime beside JAX: same digits {parity.same:,} of {parity.digits:,}, largest "
        f"difference of boxes {parity.box:.5f} px, of probabilities {parity.probability:.6f}"
    )


def draw(rng: np.random.Generator, height: int, width: int, channels: int) -> np.ndarray:
    """Returns an image with some numbers in Pillow's own font and noise, u8 [height, width, channels]; channels are 1 or 3.

    Without noise, the cells of a flat area have equal scores, and rounding decides which of them become candidates.
    """
    picture = Image.new("RGB", (width, height), _color(rng, 0, 100))
    for _ in range(3):
        at = int(rng.integers(0, width // 2)), int(rng.integers(0, height // 2))
        font = ImageFont.load_default(int(rng.integers(14, 40)))
        ink = _color(rng, 160, 256)
        ImageDraw.Draw(picture).text(at, str(rng.integers(10, 9999)), ink, font)
    pixels = np.asarray(picture if channels == 3 else picture.convert("L")).reshape(height, width, channels)
    return np.minimum(pixels + rng.integers(0, 40, pixels.shape), 255).astype(np.uint8)


def _color(rng: np.random.Generator, low: int, high: int) -> tuple[int, int, int]:
    red, green, blue = rng.integers(low, high, 3).tolist()
    return red, green, blue


def _found(engine: Engine, images: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Returns the boxes f32 [n, 4] and probabilities f32 [n, 10] of the n candidates of each image."""
    return [(box[p.sum(-1) > 0], p[p.sum(-1) > 0]) for box, p in zip(*engine(images), strict=True)]
