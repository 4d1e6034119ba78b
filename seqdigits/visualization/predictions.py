"""Pictures of what was read: sheets of examples with boxes and strings."""

from __future__ import annotations

import io

import jax
import numpy as np
from jax import Array
from PIL import Image, ImageDraw, ImageFont

from seqdigits.core.constants import NO_DIGIT
from seqdigits.core.types import Batch, Prediction, digits_to_text
from seqdigits.metrics import matching

TRUE, PREDICTED = (0, 200, 70), (235, 50, 40)
"""True boxes are green, predicted ones red."""

_GROUND, _TEXT = (24, 24, 28), (230, 230, 230)
_CAPTION = 18  # pixels below each picture


def make_example_grid(batch: Batch, prediction: Prediction, count: int = 12, columns: int = 3) -> Image.Image:
    """Up to `count` examples, wrong ones first (at most half, if there are enough right ones): each picture with the true
    boxes in green and the predicted ones in red, below it the reading with its certainty, and the truth where it differs.

    Args:
      batch, reading: of the same rows, as numpy.
      count: pictures at most.
      columns: pictures in a row.
    """
    batch, prediction = jax.tree.map(np.asarray, (batch, prediction))
    rows = np.flatnonzero(batch.index >= 0)
    truths, read = {r: _true(batch, r) for r in rows}, {r: _read(prediction, r) for r in rows}
    correct = np.asarray(jax.jit(matching.match_predictions)(batch, prediction).exact_match)
    wrong, right = [r for r in rows if not correct[r]], [r for r in rows if correct[r]]
    chosen = wrong[: max(count // 2, count - len(right))] + right
    chosen = chosen[:count]
    height, width = batch.image.shape[1:3]
    zoom = max(1, 256 // width)
    cell = (width * zoom + 8, height * zoom + _CAPTION + 8)
    columns = min(columns, max(len(chosen), 1))
    page = Image.new("RGB", (cell[0] * columns, cell[1] * max(-(-len(chosen) // columns), 1)), _GROUND)
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(12)
    for i, row in enumerate(chosen):
        x, y = i % columns * cell[0] + 4, i // columns * cell[1] + 4
        page.paste(_picture(batch, prediction, row, zoom), (x, y))
        text = f"{read[row]}  {prediction.confidence[row, 0]:.0%}"
        color = TRUE if row in right else PREDICTED
        draw.text((x, y + height * zoom + 2), text, color, font)
        if row not in right:
            beside = x + max(120, round(draw.textlength(text, font)) + 12)
            draw.text((beside, y + height * zoom + 2), f"is {truths[row]}", _TEXT, font)
    return page


def _true(batch: Batch, row: np.integer) -> str:
    """The numbers of an image, a space between two."""
    digits = batch.digits[row]
    number = np.zeros_like(digits) if batch.number is None else batch.number[row]
    return " ".join(
        digits_to_text(digits[(number == n) & (digits != NO_DIGIT)]) for n in np.unique(number[digits != NO_DIGIT])
    )


def _read(prediction: Prediction, row: np.integer) -> str:
    """The numbers that were read, best first; behind one of more than L digits a plus."""
    most, lengths = prediction.digits.shape[-1], prediction.length[row]
    numbers = zip(prediction.digits[row], lengths, strict=True)
    return " ".join(digits_to_text(digits) + ("+" if n > most else "") for digits, n in numbers if n) or "nothing"


def _picture(batch: Batch, prediction: Prediction, row: np.integer, zoom: int) -> Image.Image:
    pixels = np.broadcast_to(batch.image[row], (*batch.image.shape[1:3], 3))
    picture = Image.fromarray(np.ascontiguousarray(pixels))
    picture = picture.resize((picture.width * zoom, picture.height * zoom), Image.Resampling.NEAREST)
    draw = ImageDraw.Draw(picture)
    for box in batch.boxes[row][batch.digits[row] != NO_DIGIT]:
        _rectangle(draw, box, TRUE, zoom, inset=0)
    if prediction.digit_boxes is not None:
        for box in prediction.digit_boxes[row][prediction.digits[row] != NO_DIGIT]:
            _rectangle(draw, box, PREDICTED, zoom, inset=2)
    elif prediction.box is not None:
        _rectangle(draw, prediction.box[row, 0], PREDICTED, zoom, inset=2)
    return picture


def _rectangle(
    draw: ImageDraw.ImageDraw, box: np.ndarray | Array, color: tuple[int, int, int], zoom: int, inset: int
) -> None:
    """`inset`: pixels by which the box is drawn smaller, so that one does not hide the other."""
    x, y, w, h = (float(v) * zoom for v in box)
    left, top, right, bottom = x - w / 2 + inset, y - h / 2 + inset, x + w / 2 - 1 - inset, y + h / 2 - 1 - inset
    if right > left and bottom > top:
        draw.rectangle((left, top, right, bottom), outline=color)


def png(image: Image.Image) -> bytes:
    """The picture as a PNG file."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()
