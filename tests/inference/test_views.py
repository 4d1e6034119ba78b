"""The views of a picture: the shapes of the overview, and cuts whose pixels are where they should be."""

import json
import math
import os
import subprocess
import sys
import time

import make_view_vectors
import numpy as np
import pytest
from PIL import Image

from seqdigits.inference.reading import Reading
from seqdigits.inference.views import (
    ASPECTS,
    CUT_HEIGHT,
    CUT_WIDTHS,
    CutSize,
    View,
    cut,
    cut_geometry,
    level_shapes,
    overview_levels,
)

WIDE, NARROW = CutSize(36.0, 0.4, 1.0), CutSize(28.0, 0.5, 1.0)


def drawn(size, boxes, degrees):
    """A black picture with white rectangles f [n, 4], cxcywh, each turned clockwise about its center."""
    factor = 4  # each pixel is a mean of 16
    x, y = (np.arange(n * factor) / factor + 0.5 / factor for n in size)
    dx, dy = x[None, :, None] - boxes[:, 0], y[:, None, None] - boxes[:, 1]
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    along, across = dx * cosine + dy * sine, dy * cosine - dx * sine
    inside = ((np.abs(along) < boxes[:, 2] / 2) & (np.abs(across) < boxes[:, 3] / 2)).any(-1)
    gray = inside.reshape(size[1], factor, size[0], factor).mean((1, 3)) * 255
    return Image.fromarray(gray.round().astype(np.uint8)).convert("RGB")


def number(boxes, degrees=0.0):
    return Reading("1" * len(boxes), np.array(boxes, float), np.ones(len(boxes)), math.radians(degrees))


def measured(pixels):
    """Center and size of what is white, in pixels."""
    gray = pixels[..., 0] / 255
    x, y = np.arange(gray.shape[1]) + 0.5, np.arange(gray.shape[0]) + 0.5
    center = [(gray * x).sum() / gray.sum(), (gray * y[:, None]).sum() / gray.sum()]
    return [*center, gray.max(0).sum(), gray.max(1).sum()]


@pytest.mark.parametrize("height", [12.0, 30.0, 75.0, 160.0])
@pytest.mark.parametrize("degrees", [0.0, 17.0, -40.0, 45.0])
def test_a_digit_is_upright_and_in_the_middle_of_its_cut(height, degrees):
    box = np.array([[201.25, 148.5, 0.6 * height, height]])
    view = cut(drawn((400, 300), box, degrees), cut_geometry(number(box, degrees), WIDE), 1.0)
    assert view.pixels.shape == (CUT_HEIGHT, CUT_WIDTHS[0], 3)
    *center, width, height = measured(view.pixels)
    assert center == pytest.approx([48, 32], abs=0.3)
    assert (width, height) == pytest.approx((0.6 * 36, 36), abs=1)  # some wider where a blurred edge is enlarged


@pytest.mark.parametrize(("degrees", "scale"), [(0.0, 1.0), (25.0, 0.4), (-30.0, 3.0)])
def test_each_digit_is_where_the_matrix_says(degrees, scale):
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    box = np.array(
        [[200 + 20 * i * cosine * scale, 150 + 20 * i * sine * scale, 10 * scale, 22 * scale] for i in (-1, 1)]
    )
    geometry = cut_geometry(number(box, degrees), NARROW)
    for one in box:  # one at a time, in the cut of both
        x, y, width, height = measured(cut(drawn((400, 300), one[None], degrees), geometry, 1.0).pixels)
        in_picture = View(np.zeros(0), geometry.matrix, geometry.scale, (0, 0)).to_picture(
            np.array([[x, y, width, height]])
        )
        np.testing.assert_allclose(in_picture[0], one, atol=0.8 * max(scale, 1 / geometry.scale))
        assert y == pytest.approx(CUT_HEIGHT / 2, abs=0.5)


def test_contrast_is_reduced_around_the_mean_of_the_cut():
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8))
    geometry = cut_geometry(number([[48.0, 32, 20, 28]]), NARROW)
    whole, soft, none = (cut(picture, geometry, contrast).pixels.astype(float) for contrast in (1.0, 0.5, 0.0))
    np.testing.assert_array_equal(whole, np.asarray(picture))
    np.testing.assert_allclose(soft, (whole + whole.mean()) / 2, atol=0.5)
    assert (none == round(whole.mean())).all()


def test_a_stack_is_cut_upright_and_whole():
    box = np.array([[100.0, 60 + 50 * i, 25, 40] for i in range(3)])
    reading = number(box)._replace(angle=math.pi / 2)
    pixels = cut(drawn((200, 250), box, 0.0), cut_geometry(reading, WIDE), 1.0).pixels
    x, y, width, height = measured(pixels)
    assert (x, y) == pytest.approx((48, 32), abs=0.3)
    assert width / height == pytest.approx(25 / 120, rel=0.1)
    assert not pixels[0].any()
    assert not pixels[-1].any()


def test_a_long_number_is_scaled_down_to_fit():
    box = np.array([[100.0 + 30 * i, 150, 25, 40] for i in range(10)])
    pixels = cut(drawn((500, 300), box, 0.0), cut_geometry(number(box), WIDE), 1.0).pixels
    assert pixels.shape == (CUT_HEIGHT, CUT_WIDTHS[-1], 3)
    x, _, width, _ = measured(pixels)
    assert x == pytest.approx(CUT_WIDTHS[-1] / 2, abs=0.3)
    assert not pixels[:, 0].any()
    assert not pixels[:, -1].any()
    assert 0 < width < CUT_WIDTHS[-1]


@pytest.mark.parametrize("height", [8.0, 40.0, 300.0])
def test_the_edge_is_repeated_beyond_the_picture(height):
    """A ramp from left to right, and a number at its right edge; then beyond it, on all sides."""
    ramp = np.broadcast_to(np.arange(200, dtype=np.uint8)[None, :, None], (100, 200, 3))
    picture = Image.fromarray(np.ascontiguousarray(ramp))
    for x, y in [(200.0, 50.0), (199.0, 0.0), (0.0, 100.0), (1000.0, 50.0), (-1000.0, -1000.0)]:
        view = cut(picture, cut_geometry(number([[x, y, 0.6 * height, height]]), NARROW), 1.0)
        at = np.clip((np.arange(view.pixels.shape[1]) + 0.5) / view.scale + view.matrix[0, 2] - 0.5, 0, 199)
        difference = np.abs(view.pixels.astype(float) - at[None, :, None])
        assert difference.max() <= 1 + 0.6 / view.scale  # a reduced block at the edge is a mean


def test_levels_repeat_the_edge_and_halve():
    picture = Image.fromarray(np.full((300, 500, 3), (10, 200, 90), np.uint8))
    levels = overview_levels(picture, 512)
    assert [view.size[0] for view in levels] == sorted((view.size[0] for view in levels), reverse=True)
    for view, (size, shape) in zip(levels, level_shapes(500, 300, 512), strict=True):
        assert (view.size, view.pixels.shape[:2]) == (size, shape)
        assert (view.pixels == (10, 200, 90)).all()
        whole = np.array([[size[0] / 2, size[1] / 2, *size]], float)
        np.testing.assert_allclose(view.to_picture(whole), [[250, 150, 500, 300]], rtol=0.01)
        beyond = np.array([[size[0] + 0.5, 3, 5, 5], [3, size[1] + 0.5, 5, 5], [3, 3, 5, 5]])
        assert view.shows(beyond).tolist() == [False, False, True]


@pytest.mark.parametrize("overview", [64, 128, 192, 512, 1024])
def test_few_shapes_hold_pictures_of_every_size(overview):
    rng = np.random.default_rng(0)
    shapes = set()
    for width, height in np.exp(rng.uniform(0, math.log(20_000), (3000, 2))).astype(int).tolist():
        for size, shape in level_shapes(width, height, overview):
            assert 1 <= size[0] <= shape[1]
            assert 1 <= size[1] <= shape[0]
            shapes.add(shape)
    assert len(shapes) <= len(ASPECTS) * 5


PROGRAM = """
import resource, time
import numpy as np
from PIL import Image
from seqdigits.inference.reading import Reading
from seqdigits.inference.views import CutSize, cut, cut_geometry
picture = Image.new("RGB", (8000, 5000), "white")
unit = 2**20 if __import__("sys").platform == "darwin" else 2**10
for height in (40.0, 400.0, 2500.0):
    number = Reading("12", np.array([[4000, 2500, height / 2, height]] * 2), np.ones(2), 0.3)
    geometry = cut_geometry(number, CutSize(28.0, 0.5, 1.0))
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    cut(picture, geometry, 1.0)
    print(time.perf_counter() - start, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / unit)
"""


def test_a_cut_of_a_large_picture_takes_little_memory_and_time():
    """40 megapixels, which are 120 MB; the largest number fills them."""
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    for line in run.stdout.splitlines():
        seconds, megabytes = map(float, line.split())
        assert seconds < 1
        assert megabytes < 10


def test_a_cut_takes_milliseconds():
    picture = Image.new("RGB", (1024, 768))
    geometry = cut_geometry(number([[500, 400, 30, 50], [540, 400, 30, 50]], 10.0), NARROW)
    start = time.perf_counter()
    for _ in range(20):
        cut(picture, geometry, 0.5)
    assert (time.perf_counter() - start) / 20 < 0.05


@pytest.mark.parametrize("section", make_view_vectors.ANSWERS)
def test_vectors_are_reproduced(section):
    saved = json.loads(make_view_vectors.PATH.read_text())
    assert list(saved) == list(make_view_vectors.ANSWERS)
    assert [case["output"] for case in saved[section]] == [
        make_view_vectors.ANSWERS[section](case["input"]) for case in saved[section]
    ]
