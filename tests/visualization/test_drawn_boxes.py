"""Boxes drawn on pictures."""

import numpy as np
import pytest
from PIL import Image

from seqdigits.visualization.boxes import BOX, draw_box, draw_number


def test_draw_box_draws_inside_of_the_edges():
    picture = Image.new("RGB", (20, 10))
    draw_box(picture, (3, 2, 10, 5), line=1)
    red = (np.asarray(picture) == BOX).all(-1)
    assert np.argwhere(red).min(0).tolist() == [2, 3]
    assert np.argwhere(red).max(0).tolist() == [7, 13]
    assert not red[3:7, 4:13].any()


def test_draw_number_frames_digits_and_labels_them_above_or_below():
    for top, label_rows in ((50, slice(0, 47)), (5, slice(28, 100))):
        picture = Image.new("RGB", (200, 100), (90, 90, 90))
        draw_number(picture, (40, top, 30, 20), [(40, top, 14, 20), (56, top, 14, 20)], "12  98%")
        pixels = np.asarray(picture)
        assert picture.getpixel((40, top)) == picture.getpixel((56, top)) == (255, 190, 0)
        assert picture.getpixel((39, top - 1)) == picture.getpixel((72, top + 22)) == BOX
        labeled = (pixels > 150).all(-1)
        assert labeled.any()
        assert labeled.sum() == labeled[label_rows].sum()


@pytest.mark.parametrize("size", [(1, 1), (8, 8), (5000, 2), (2, 3000)])
@pytest.mark.parametrize("box", [(0, 0, 1, 1), (-50, -50, 5, 5), (9000, 9000, 5, 5), (3, 3, -0.5, 0)])
def test_draw_number_on_any_picture(size, box):
    picture = Image.new("RGB", size)
    draw_number(picture, box, [box], "123456789  100%")
    assert picture.size == size
