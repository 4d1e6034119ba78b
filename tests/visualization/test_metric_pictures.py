"""Pictures of metrics: the diagonal in one color, errors in another, and dots where the bins are."""

import numpy as np
from PIL import Image

from seqdigits.visualization import metric_pictures
from seqdigits.visualization.metric_pictures import _CELL, _MARGIN, _SIDE, confusion_picture, reliability_picture


def cell(picture, row, column):
    return picture.getpixel((_MARGIN + column * _CELL + 4, _MARGIN + row * _CELL + 4))


def test_confusion_picture_shows_shares_of_rows():
    counts = np.zeros((11, 11), int)
    counts[3, 3], counts[3, 5], counts[7, 7] = 30, 10, 5
    picture = confusion_picture(counts.tolist())
    assert cell(picture, 7, 7) == metric_pictures._blend((58, 118, 240), 0.85)
    assert cell(picture, 3, 5) == metric_pictures._blend((208, 50, 60), 0.85 * 0.5)
    assert cell(picture, 5, 3) == cell(picture, 0, 0) == (255, 255, 255)


def test_reliability_picture_draws_each_bin():
    bins = [
        {"confidence": None, "accuracy": None, "count": 0},
        {"confidence": 0.5, "accuracy": 0.75, "count": 10},
    ]
    one, empty = (reliability_picture({"numbers": found, "digits": bins[:1]}) for found in (bins, bins[:1]))
    assert one.size == (_SIDE + 2 * _MARGIN, 2 * (_SIDE + 2 * _MARGIN))
    left, top, right, bottom = Image.frombytes(
        "RGB", one.size, bytes(np.abs(np.subtract(one, empty, dtype=int)).astype(np.uint8))
    ).getbbox()
    assert (left + right - 1) / 2 == _MARGIN + _SIDE / 2
    assert (top + bottom - 1) / 2 == _MARGIN + _SIDE / 4
