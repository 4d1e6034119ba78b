"""Resizing in TensorFlow equals Pillow byte for byte, and boxes are bit-exact."""

import numpy as np
import pytest
from PIL import Image

from seqdigits.data.builders import tf
from seqdigits.data.photos import svhn, svhn_archive
from seqdigits.data.photos.crop import crop_photo
from seqdigits.data.tfdata import resize

pytest.importorskip("tensorflow", reason="records on disk need TensorFlow: make stream")


LENGTH = 6
SIZES = [(128, 256, False), (64, 64, False), (32, 32, True)]


def in_graph(photographs, kind, height, width, gray):
    """Returns an iterator over images and boxes of photographs that are processed by tf.data."""
    signature = (
        tf.TensorSpec((None, None, 3), tf.uint8),
        tf.TensorSpec((LENGTH, 4), tf.float32),
        tf.TensorSpec((LENGTH,), tf.bool),
    )

    def each():
        for photo, boxes in photographs:
            padded = np.pad(boxes, ((0, LENGTH - len(boxes)), (0, 0)))
            yield np.asarray(photo), padded, np.arange(LENGTH) < len(boxes)

    stream = tf.data.Dataset.from_generator(each, output_signature=signature)
    made = stream.map(lambda *example: resize.crop_photo(*example, kind=kind, height=height, width=width, gray=gray))
    assert made.element_spec[0].shape == (height, width, 1 if gray else 3)
    return made.as_numpy_iterator()


def assert_same(photographs, kind, height, width, gray):
    made = list(in_graph(photographs, kind, height, width, gray))
    assert len(made) == len(photographs)
    for (image, boxes), (photo, true) in zip(made, photographs, strict=True):
        pixels, moved = crop_photo(photo.convert("L") if gray else photo, true, kind, height, width, "")
        np.testing.assert_array_equal(image, pixels.reshape(image.shape), str(photo.size))
        np.testing.assert_array_equal(boxes[: len(moved)], moved.astype(np.float32), str(photo.size))
        assert not boxes[len(moved) :].any()


def noise(seed, width, height):
    """Returns a photograph of noise, which reveals every wrong weight, and boxes, some of which extend beyond it."""
    random = np.random.default_rng(seed)
    photo = Image.fromarray(random.integers(0, 256, (height, width, 3), np.uint8))
    middles = random.uniform(0, 1, (1 + seed % LENGTH, 2)) * [width, height]
    sizes = random.uniform(0.05, 0.6, middles.shape) * [width, height]
    return photo, np.concatenate([middles, sizes], 1).astype(np.float32)


# Width and height: equal to the image, larger and smaller, each also with great heights, where Pillow resizes the
# vertical axis first; scales of up to 37; a single pixel.
SHAPES = [
    *((256, 128), (64, 64), (128, 256), (57, 31), (300, 131), (97, 400), (400, 97), (40, 129), (60, 70), (300, 260)),
    *((65, 1), (1, 200), (1, 1), (1200, 40), (33, 1100), (700, 501)),
]


@pytest.mark.parametrize(("height", "width", "gray"), SIZES)
@pytest.mark.parametrize("kind", ["photograph", "crop"])
def test_view_photo_equals_pillow_on_noise(kind, height, width, gray):
    assert_same([noise(seed, *shape) for seed, shape in enumerate(SHAPES)], kind, height, width, gray)


def test_view_photo_equals_pillow_for_many_windows():
    random = np.random.default_rng(1)
    shapes = random.integers(20, 160, (60, 2)).tolist()
    assert_same([noise(seed, *shape) for seed, shape in enumerate(shapes)], "crop", 45, 77, False)


def test_view_photo_gray_equals_pillow():
    colors = np.random.default_rng(2).integers(0, 256, (64, 64, 3), np.uint8)
    colors[:6, 0] = [[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255], [127, 128, 129]]
    assert_same([(Image.fromarray(colors), np.float32([[32, 32, 8, 16]]))], "photograph", 64, 64, True)


def test_view_photo_refuses_a_window_without_area():
    photo, _ = noise(0, 40, 20)
    with pytest.raises(tf.errors.InvalidArgumentError, match="no area within the photograph"):
        list(in_graph([(photo, np.float32([[60, 10, 4, 8]]))], "crop", 32, 32, False))


def photographs(svhn_folder, part, numbers):
    """Returns photographs of a part, each with the boxes of its digits."""
    place = svhn_archive.place(svhn_folder / svhn_archive.SUBFOLDER, part)
    annotations = svhn.read_annotations(place, part, svhn.PHOTOGRAPHS["svhn_2000"].lengths[part])
    boxes = {annotation.number: annotation.boxes for annotation in annotations}
    files = dict(svhn_archive.photographs(place, part, numbers))
    return [(svhn_archive.decode_image(files[number], False, ""), boxes[number]) for number in numbers]


@pytest.fixture(scope="module")
def hundred(svhn_folder):
    return photographs(svhn_folder, "train", range(1, 71)) + photographs(svhn_folder, "test", range(1, 31))


@pytest.mark.parametrize(("height", "width", "gray"), SIZES)
@pytest.mark.parametrize("kind", ["photograph", "crop"])
def test_view_photo_equals_pillow_on_photographs(hundred, kind, height, width, gray):
    assert_same(hundred, kind, height, width, gray)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "height", "width", "gray"),
    [("photograph", 128, 256, False), ("crop", 64, 64, False), ("crop", 32, 32, True)],
)
def test_view_photo_equals_svhn_load(svhn_folder, kind, height, width, gray):
    held = svhn.held_out(2000, 200)
    numbers = {"train": np.flatnonzero(~held) + 1, "validation": np.flatnonzero(held) + 1, "test": np.arange(500) + 1}
    for split, chosen in numbers.items():
        loaded = svhn.load(
            "svhn_2000", ("train",), split, kind=kind, height=height, width=width, gray=gray, max_length=LENGTH,
            folder=str(svhn_folder),
        )  # fmt: skip
        part = photographs(svhn_folder, "test" if split == "test" else "train", chosen.tolist())
        for row, (image, boxes) in enumerate(in_graph(part, kind, height, width, gray)):
            assert (image == loaded["images"][row]).all(), (split, chosen[row])
            assert (boxes == loaded["boxes"][row]).all(), (split, chosen[row])
        assert row + 1 == len(loaded["images"]) == len(chosen)
