"""Images of predictions: grids of examples with boxes and strings."""

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
"""The colors of true boxes (green) and of predicted ones (red)."""

_BACKGROUND, _TEXT = (24, 24, 28), (230, 230, 230)
_CAPTION = 18  # pixels below each image
_SMALL = 144  # longest side of an image on a sheet, in pixels


def make_example_grid(
    batch: Batch, prediction: Prediction, count: int = 12, columns: int = 3, *, seeks_errors: bool = True
) -> Image.Image:
    """Draws a grid of examples with their true boxes in green and predicted boxes in red.

    Below each image are the prediction with its confidence, and the ground truth if it differs.

    Args:
      batch: the examples, as numpy arrays or on a device; padding is left out.
      prediction: the predictions for the same rows.
      count: the maximum number of examples.
      columns: the number of examples in a row.
      seeks_errors: whether wrong predictions come first, which then fill at most half of the grid if there are enough
        correct ones. If False, the first examples are drawn, none of them chosen, with the wrong predictions last.
    """
    batch, prediction = jax.tree.map(np.asarray, (batch, prediction))
    rows = np.flatnonzero(batch.index >= 0)
    truths, predicted = {r: true_text(batch, r) for r in rows}, {r: predicted_text(prediction, r) for r in rows}
    is_exact_match = np.asarray(jax.jit(matching.match_predictions)(batch, prediction).exact_match)
    wrong, correct = [r for r in rows if not is_exact_match[r]], [r for r in rows if is_exact_match[r]]
    if seeks_errors:
        chosen = (wrong[: max(count // 2, count - len(correct))] + correct)[:count]
    else:
        chosen = sorted(rows[:count], key=lambda row: not is_exact_match[row])
    height, width = batch.image.shape[1:3]
    zoom = max(1, 256 // width)
    cell = (width * zoom + 8, height * zoom + _CAPTION + 8)
    columns = min(columns, max(len(chosen), 1))
    page = Image.new("RGB", (cell[0] * columns, cell[1] * max(-(-len(chosen) // columns), 1)), _BACKGROUND)
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(12)
    for i, row in enumerate(chosen):
        x, y = i % columns * cell[0] + 4, i // columns * cell[1] + 4
        page.paste(_draw_example(batch, prediction, row, zoom), (x, y))
        text = f"{predicted[row]}  {prediction.confidence[row, 0]:.0%}"
        color = TRUE if row in correct else PREDICTED
        draw.text((x, y + height * zoom + 2), text, color, font)
        if row not in correct:
            truth_x = x + max(120, round(draw.textlength(text, font)) + 12)
            draw.text((truth_x, y + height * zoom + 2), f"is {truths[row]}", _TEXT, font)
    return page


def make_example_sheet(batch: Batch, prediction: Prediction, *, is_right: bool, columns: int = 10) -> Image.Image:
    """Draws small images of examples with their true boxes in green and predicted boxes in red.

    Below each image are the prediction with its confidence, and the ground truth if it is wrong.

    Args:
      batch: the examples, as numpy arrays; padding is left out.
      prediction: the predictions for the same rows.
      is_right: whether they are right, which sets the color of the text.
      columns: the number of examples in a row.
    """
    rows = np.flatnonzero(batch.index >= 0)
    height, width = batch.image.shape[1:3]
    zoom = max(1, round(_SMALL / max(height, width)))
    scale = min(1.0, _SMALL / (zoom * max(height, width)))
    size = round(width * zoom * scale), round(height * zoom * scale)
    cell = (max(size[0], _SMALL) + 6, size[1] + _CAPTION + 6)
    columns = min(columns, len(rows))
    page = Image.new("RGB", (cell[0] * columns, cell[1] * -(-len(rows) // columns)), _BACKGROUND)
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(12)
    for i, row in enumerate(rows):
        x, y = i % columns * cell[0] + 3, i // columns * cell[1] + 3
        page.paste(_draw_example(batch, prediction, row, zoom).resize(size), (x, y))
        text, truth = predicted_text(prediction, row), true_text(batch, row)
        said = text if is_right else f"{text}, is {truth}"
        draw.text(
            (x, y + size[1] + 2), f"{said}  {prediction.confidence[row, 0]:.0%}", TRUE if is_right else PREDICTED, font
        )
    return page


def true_text(batch: Batch, row: int | np.integer) -> str:
    """Returns the true numbers of an image, separated by spaces, or "nothing"."""
    digits = batch.digits[row]
    number = np.zeros_like(digits) if batch.number is None else batch.number[row]
    numbers = np.unique(number[digits != NO_DIGIT])
    return " ".join(digits_to_text(digits[(number == n) & (digits != NO_DIGIT)]) for n in numbers) or "nothing"


def predicted_text(prediction: Prediction, row: int | np.integer) -> str:
    """Returns the predicted numbers, best first, separated by spaces; "+" marks a number cut to L digits."""
    max_digits, lengths = prediction.digits.shape[-1], prediction.length[row]
    numbers = zip(prediction.digits[row], lengths, strict=True)
    return " ".join(digits_to_text(digits) + ("+" if n > max_digits else "") for digits, n in numbers if n) or "nothing"


def _draw_example(batch: Batch, prediction: Prediction, row: int | np.integer, zoom: int) -> Image.Image:
    """Returns the image of one row, enlarged by an integer factor, with its boxes."""
    pixels = np.broadcast_to(batch.image[row], (*batch.image.shape[1:3], 3))
    image = Image.fromarray(np.ascontiguousarray(pixels))
    image = image.resize((image.width * zoom, image.height * zoom), Image.Resampling.NEAREST)
    draw = ImageDraw.Draw(image)
    for box in true_boxes(batch, row):
        _rectangle(draw, box, TRUE, zoom, inset=0)
    for box in predicted_boxes(prediction, row):
        _rectangle(draw, box, PREDICTED, zoom, inset=2)
    return image


def true_boxes(batch: Batch, row: int | np.integer) -> np.ndarray:
    """Returns the boxes of the true digits of an image, f32 [n, 4], cxcywh in pixels."""
    return np.asarray(batch.boxes[row][batch.digits[row] != NO_DIGIT])


def predicted_boxes(prediction: Prediction, row: int | np.integer) -> np.ndarray:
    """Returns the boxes of the predicted digits, f32 [n, 4], or of the number where digits have none; cxcywh in pixels."""
    if prediction.digit_boxes is not None:
        return np.asarray(prediction.digit_boxes[row][prediction.digits[row] != NO_DIGIT])
    return np.zeros((0, 4), np.float32) if prediction.box is None else np.asarray(prediction.box[row, :1])


def _rectangle(
    draw: ImageDraw.ImageDraw, box: np.ndarray | Array, color: tuple[int, int, int], zoom: int, inset: int
) -> None:
    """Draws a box, f32 [4] cxcywh, `inset` pixels smaller on each side so that it does not hide another box."""
    x, y, w, h = (float(v) * zoom for v in box)
    left, top, right, bottom = x - w / 2 + inset, y - h / 2 + inset, x + w / 2 - 1 - inset, y + h / 2 - 1 - inset
    if right > left and bottom > top:
        draw.rectangle((left, top, right, bottom), outline=color)


def jpeg(image: Image.Image) -> bytes:
    """Returns the bytes of a JPEG file of the image."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=80)
    return buffer.getvalue()


def png(image: Image.Image) -> bytes:
    """Returns the bytes of a PNG file of the image."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()
