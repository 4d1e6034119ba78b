"""The Reader with an engine that reads colored rectangles instead of digits."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from seqdigits.core.errors import UserError
from seqdigits.data.photos import picture_files
from seqdigits.inference.reader import Reader

COLORS = np.array(
    [
        *[(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (255, 0, 255)],
        *[(0, 255, 255), (255, 128, 0), (255, 0, 128), (128, 255, 0), (255, 255, 255)],
    ],
    np.uint8,
)
"""The color of each digit; the largest channel is 255, so that it tells how much of a pixel is covered."""

M = 16


class Colors:
    """An engine (reader.Engine): on black, each rectangle is the digit of its color, and surest when 28 pixels high, but
    none when below 3 pixels.

    It undoes a reduced contrast: the darkest pixel is black, and the brightest belongs to a rectangle.
    """

    min_score = 0.2

    def __init__(self, channels=3):
        self.channels = channels
        self.shapes = []

    def __call__(self, images):
        assert images.dtype == np.uint8
        self.shapes.append(images.shape)
        box, probability = np.zeros((len(images), M, 4), np.float32), np.zeros((len(images), M, 10), np.float32)
        for i, image in enumerate(images):
            image = image - image.min((0, 1)).astype(float)
            covered = image.max(-1) / max(image.max(), 1)
            labels, _ = ndimage.label(covered > 0.1)
            for j, (rows, columns) in enumerate(ndimage.find_objects(labels)[:M]):
                part = np.where(labels[rows, columns] == j + 1, covered[rows, columns], 0)
                x, y = np.arange(part.shape[1]) + columns.start + 0.5, np.arange(part.shape[0]) + rows.start + 0.5
                center = (part * x).sum() / part.sum(), (part * y[:, None]).sum() / part.sum()
                box[i, j] = *center, part.max(0).sum(), part.max(1).sum()
                if box[i, j, 3] < 3:
                    continue
                color = image[rows, columns][part > 0.9 * part.max()].mean(0)
                digit = np.abs(color / color.max() - COLORS / 255).sum(-1).argmin()
                probability[i, j, digit] = max(0.98 - 0.01 * abs(box[i, j, 3] - 28), 0.3)
        return box, probability


def drawn(size, *numbers):
    """A black picture [H, W, 3] with numbers: a text, left, top, and the height of its digits; their boxes are ltwh."""
    pixels, boxes = np.zeros((size[1], size[0], 3), np.uint8), []
    for text, left, top, height in numbers:
        width, step = height // 2, height * 3 // 4
        boxes.append([(left + i * step, top, width, height) for i in range(len(text))])
        for digit, (x, y, w, h) in zip(text, boxes[-1], strict=True):
            pixels[y : y + h, x : x + w] = COLORS[int(digit)]
    return pixels, boxes


def whole(boxes):
    left, top = min(b[0] for b in boxes), min(b[1] for b in boxes)
    return left, top, max(b[0] + b[2] for b in boxes) - left, max(b[1] + b[3] for b in boxes) - top


def assert_read(number, text, boxes):
    """The number, and its boxes within a pixel of the picture."""
    assert number.number == text
    assert "".join(str(digit.digit) for digit in number.digits) == text
    np.testing.assert_allclose(number.box, whole(boxes), atol=1)
    np.testing.assert_allclose([digit.box for digit in number.digits], boxes, atol=1)
    assert 0.5 < number.confidence <= 1
    assert all(0.5 < digit.confidence <= 1 for digit in number.digits)


@pytest.fixture
def reader():
    return Reader(Colors())


@pytest.mark.parametrize("height", [40, 90])
@pytest.mark.parametrize("size", [(1600, 1200), (1200, 1600), (2000, 700), (1000, 1000)])
def test_a_number_is_found_in_a_large_picture(reader, size, height):
    picture, [boxes] = drawn(size, ("4071", size[0] * 5 // 8, size[1] // 5, height))
    result = reader.read(picture)
    assert_read(result.numbers[0], "4071", boxes)
    assert len(result.numbers) == 1
    assert (result.number, result.confidence, result.box) == ("4071", *result.numbers[0][1:3])


@pytest.mark.parametrize("size", [(60, 40), (120, 33)])
def test_a_number_is_found_in_a_small_picture(reader, size):
    picture, [boxes] = drawn(size, ("52", 20, 8, 20))
    assert_read(reader.read(picture).numbers[0], "52", boxes)


def test_a_number_that_fills_the_picture_is_found(reader):
    picture, [boxes] = drawn((700, 460), ("31", 30, 30, 400))
    assert_read(reader.read(picture).numbers[0], "31", boxes)


def test_two_numbers_are_read_best_first(reader):
    picture, boxes = drawn((1024, 768), ("65", 100, 600, 50), ("832", 500, 100, 70))
    result = reader.read(picture)
    assert [number.number for number in result.numbers] == ["832", "65"]
    assert_read(result.numbers[0], "832", boxes[1])
    assert_read(result.numbers[1], "65", boxes[0])


def test_digits_below_each_other_are_read_from_top_to_bottom(reader):
    one, [[first]] = drawn((800, 600), ("2", 300, 200, 60))
    two, [[second]] = drawn((800, 600), ("5", 300, 290, 60))
    assert_read(reader.read(one | two).numbers[0], "25", [first, second])


@pytest.mark.parametrize("size", [(1024, 768), (1, 1), (2000, 3), (3, 2000)])
def test_nothing_is_read_in_an_empty_picture(reader, size):
    result = reader.read(np.zeros((size[1], size[0], 3), np.uint8))
    assert (result.numbers, result.number, result.confidence, result.box) == ((), None, 0, None)


class Upright(Colors):
    """An engine that sees nothing where rectangles lie on their side."""

    def __call__(self, images):
        box, probability = super().__call__(images)
        return box, probability * (box[..., 3:] > box[..., 2:3])


@pytest.mark.parametrize("turns", [1, 3])
def test_a_number_in_a_picture_turned_sideways_is_read(turns):
    upright, [boxes] = drawn((900, 640), ("404", 500, 200, 60))  # the same from both sides: rectangles have no top
    (number,) = Reader(Upright()).read(np.rot90(upright, turns)).numbers
    assert number.number == "404"

    def turned(box):
        left, top, width, height = box
        return (top, 900 - left - width, height, width) if turns == 1 else (640 - top - height, left, height, width)

    np.testing.assert_allclose(number.box, turned(whole(boxes)), atol=1)
    digit_boxes = sorted((digit.box for digit in number.digits), key=lambda box: box[1])
    expected = sorted((turned(box) for box in boxes), key=lambda box: box[1])
    np.testing.assert_allclose(digit_boxes, expected, atol=1)


def test_a_number_on_its_side_precedes_an_unsure_digit():
    class Unsure(Upright):
        """Digits of the color 8 are unsure."""

        def __call__(self, images):
            box, probability = super().__call__(images)
            probability[..., 8] *= 0.8
            return box, probability

    sideways, _ = drawn((700, 900), ("404", 100, 200, 60))
    upright, _ = drawn((900, 700), ("8", 700, 100, 60))
    sure, _ = drawn((900, 700), ("3", 700, 100, 60))
    reader = Reader(Unsure())
    assert [n.number for n in reader.read(np.rot90(sideways) | upright).numbers] == ["404", "8"]
    assert [n.number for n in reader.read(np.rot90(sideways) | sure).numbers] == ["3"]


def test_arrays_images_and_files_are_the_same_picture(reader, tmp_path):
    picture, [boxes] = drawn((400, 300), ("160", 100, 100, 40))
    Image.fromarray(picture).save(tmp_path / "number.png")
    expected = reader.read(picture)
    assert_read(expected.numbers[0], "160", boxes)
    opaque = np.concatenate([picture, np.full((300, 400, 1), 255, np.uint8)], 2)
    for same in (opaque, Image.fromarray(picture), tmp_path / "number.png", str(tmp_path / "number.png")):
        assert reader.read(same) == expected


def test_boxes_of_a_huge_file_are_in_its_own_pixels(reader, tmp_path, monkeypatch):
    monkeypatch.setattr("seqdigits.data.photos.picture_files.MAX_PIXELS", 300_000)
    pixels, [boxes] = drawn((1600, 1200), ("4071", 1000, 240, 90))
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert picture_files.open_reduced(tmp_path / "a.png")[1] == 3
    (number,) = reader.read(tmp_path / "a.png").numbers
    assert number.number == "4071"
    np.testing.assert_allclose(number.box, whole(boxes), atol=3)
    np.testing.assert_allclose([digit.box for digit in number.digits], boxes, atol=3)


def test_transparent_pixels_are_white(reader):
    """White is the digit 9."""
    picture, _ = drawn((400, 300), ("11", 100, 100, 40))
    alpha = np.full((300, 400, 1), 255, np.uint8)
    alpha[100:140, 130:150] = 0
    assert reader.read(np.concatenate([picture, alpha], 2)).number == "19"


@pytest.mark.parametrize("shape", [(300, 400), (300, 400, 1)])
@pytest.mark.parametrize("channels", [1, 3])
def test_gray_arrays_are_read(shape, channels):
    engine = Colors(channels)
    picture, [boxes] = drawn((400, 300), ("999", 100, 100, 40))
    assert_read(Reader(engine).read(picture[..., 0].reshape(shape)).numbers[0], "999", boxes)
    assert {shape[-1] for shape in engine.shapes} == {channels}


@pytest.mark.parametrize(
    "wrong",
    [
        *[np.zeros((30, 40, 3), np.float32), np.zeros((30, 40), bool), np.zeros((30, 40, 2), np.uint8)],
        *[np.zeros((2, 30, 40, 3), np.uint8), np.zeros(30, np.uint8), np.zeros((0, 40, 3), np.uint8)],
    ],
    ids=lambda array: f"{array.dtype} {array.shape}",
)
def test_other_arrays_are_refused(reader, wrong):
    with pytest.raises(UserError, match="uint8"):
        reader.read(wrong)


@pytest.mark.parametrize("wrong", [None, 7, b"a.png", [None]], ids=repr)
def test_what_is_no_picture_is_refused(reader, wrong):
    with pytest.raises(UserError, match="is no picture: allowed are a path"):
        reader.read(wrong)


def test_a_truncated_image_is_refused(reader, tmp_path):
    """Pillow opens it, and decodes it only when its pixels are needed."""
    Image.effect_noise((300, 200), 50).save(tmp_path / "cut.png")
    content = (tmp_path / "cut.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(content[: len(content) // 2])
    with Image.open(tmp_path / "cut.png") as image, pytest.raises(UserError, match="the image cannot be read"):
        reader.read(image)


def test_an_image_without_pixels_is_refused(reader):
    with pytest.raises(UserError, match="0 x 5"):
        reader.read(Image.new("RGB", (0, 5)))


def test_a_file_that_is_no_picture_is_refused(reader, tmp_path):
    (tmp_path / "text.png").write_text("no picture")
    for name in ("text.png", "missing.png"):
        with pytest.raises(UserError, match=name):
            reader.read(tmp_path / name)


@pytest.mark.parametrize("overview", [0, 100, -128, 2048])
def test_overview_is_checked(overview):
    with pytest.raises(UserError, match=f"overview = {overview}"):
        Reader(Colors(), overview)


def test_a_larger_overview_finds_smaller_numbers():
    picture, _ = drawn((6000, 4500), ("12", 1000, 1000, 40))
    assert Reader(Colors(), 128).read(picture).number is None
    assert Reader(Colors(), 1024).read(picture).number == "12"


def test_a_list_gives_a_list(reader):
    pictures = [drawn((300, 200), (text, 50, 50, 30))[0] for text in ("12", "345", "6")]
    assert [result.number for result in reader.read(pictures)] == ["12", "345", "6"]
    assert reader.read(pictures) == [reader.read(picture) for picture in pictures]
    assert reader.read([]) == []


def test_threads_share_a_reader(reader):
    rng = np.random.default_rng(0)
    pictures = [
        drawn((int(w), 400), ("".join(map(str, rng.integers(0, 10, 3))), int(x), 150, 40))[0]
        for w, x in rng.integers((500, 50), (900, 300), (24, 2))
    ]
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(reader.read, pictures)) == reader.read(pictures)


def test_few_shapes_reach_the_engine():
    """Each one is compiled."""
    engine = Colors()
    reader = Reader(engine)
    for width in range(600, 900, 20):
        reader.read(drawn((width, 600), ("12345"[: 1 + width % 5], 100, 100, width // 20))[0])
    shapes = {shape[1:] for shape in engine.shapes}
    assert len(shapes) <= 2 * 3 + 3  # two aspect ratios at three levels, and the cuts


PROGRAM = """
import sys
sys.modules["jax"] = None
import numpy as np
from seqdigits.inference.reader import Reader

class Nothing:
    channels, min_score = 1, 0.4
    def __call__(self, images):
        return np.zeros((len(images), 4, 4), np.float32), np.zeros((len(images), 4, 10), np.float32)

assert Reader(Nothing()).read(np.zeros((300, 400, 3), np.uint8)).numbers == ()
"""


def test_no_jax_is_needed():
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", PROGRAM], check=True, env=environment)
