"""Cropped house numbers from the published MATLAB files: splits, images, and errors for missing and other files."""

import sys

import numpy as np
import pytest
from cropped_files import CROPPED, SIZES, noise, publish
from PIL import Image

from seqdigits.config_checks.validate import validate
from seqdigits.core.constants import NO_DIGIT, SPLITS
from seqdigits.core.errors import UserError
from seqdigits.data import digits
from seqdigits.data.create import create_source
from seqdigits.data.photos import svhn, svhn_cropped
from seqdigits.data.photos.svhn_cropped import count, load


@pytest.fixture
def data(tmp_path, monkeypatch):
    """A data folder with small parts."""
    publish(
        monkeypatch,
        tmp_path,
        {part: (*noise(seed, n), held) for seed, (part, (n, held)) in enumerate(SIZES.items())},
    )
    return tmp_path


def loaded(data, split="train", parts=("train",), **changes):
    settings = {"height": 32, "width": 32, "gray": False, "folder": str(data)}
    return load(parts, split, **settings | changes)


def test_sizes_equal_published_counts():
    assert sum(part.digits for part in svhn_cropped.PARTS.values()) == 630_420
    for name, part in svhn_cropped.PARTS.items():  # as many as digits in the photographs
        assert part.digits == sum(n * k for n, k in enumerate(svhn.PHOTOGRAPHS["svhn"].lengths[name], 1))
        assert part.validation == svhn.PHOTOGRAPHS["svhn"].validation_digits.get(name, 0)


def test_load_splits_types_and_boxes(data):
    images, labels = noise(0, 30)
    held = svhn.held_out(30, 6)
    for split, mask in (("train", ~held), ("validation", held)):
        arrays = loaded(data, split)
        np.testing.assert_array_equal(arrays["images"], images[mask])
        np.testing.assert_array_equal(arrays["digits"][:, 0], labels[mask])
        assert [arrays[name].dtype for name in ("images", "digits", "boxes")] == [np.uint8, np.int32, np.float32]
        assert (arrays["digits"] != NO_DIGIT).all()
        np.testing.assert_array_equal(
            arrays["boxes"], np.broadcast_to(np.float32([16, 16, 32, 32]), (mask.sum(), 1, 4))
        )
    images, labels = noise(1, 12)
    np.testing.assert_array_equal(loaded(data, "test", ("train", "extra"))["images"], images)
    assert set(loaded(data, "test")["digits"].ravel().tolist()) == set(range(10))


def test_load_concatenates_parts_in_the_given_order(data):
    both, train, extra = (loaded(data, parts=parts)["digits"] for parts in (("extra", "train"), ("train",), ("extra",)))
    np.testing.assert_array_equal(both, np.concatenate([extra, train]))
    assert (
        count(("extra", "train"), "validation") == len(loaded(data, "validation", ("extra", "train"))["digits"]) == 10
    )


@pytest.mark.parametrize(("height", "width"), [(32, 32), (40, 28), (64, 96)])
def test_load_resizes_and_grays_as_pillow_does(data, height, width):
    images, _ = noise(1, 12)
    for gray, mode in ((True, "L"), (False, "RGB")):
        arrays = loaded(data, "test", height=height, width=width, gray=gray)
        assert arrays["images"].shape == (12, height, width, 1 if gray else 3)
        for image, pixels in zip(images, arrays["images"], strict=True):
            expected = Image.fromarray(image).convert(mode).resize((width, height), Image.Resampling.BILINEAR)
            np.testing.assert_array_equal(pixels, np.asarray(expected).reshape(pixels.shape))
        np.testing.assert_array_equal(arrays["boxes"][5, 0], [width / 2, height / 2, width, height])


def test_source_counts_and_spec(data, small_config):
    config = small_config({**CROPPED, "data.folder": str(data), "data.parts": ("train", "extra"), "data.gray": True})
    for split, size in (("train", 40), ("validation", 10), ("test", 12)):
        source = create_source(config, split)
        assert source.count() == size
        assert {name: (a.shape, a.dtype) for name, a in source.arrays.items()} == {
            name: (a.shape, a.dtype) for name, a in source.spec.arrays.items()
        }


@pytest.mark.parametrize("source", ["device", "tfds"])
def test_svhn_cropped_cnn_accepts_the_set(experiment, source):
    config = experiment("svhn_cropped_cnn")
    config.data.photographs, config.data.source = "svhn_cropped", source
    validate(config)
    assert [create_source(config, split).count() for split in SPLITS] == [598_388, 6_000, 26_032]


def test_missing_file(tmp_path, monkeypatch):
    monkeypatch.setenv("SEQDIGITS_DATA", str(tmp_path))
    with pytest.raises(UserError) as e:
        loaded("", "validation", ("extra",))
    for text in (
        f"{tmp_path}/svhn_cropped/extra_32x32.mat is missing",
        "http://ufldl.stanford.edu/housenumbers/extra_32x32.mat (1,329,278,602 bytes",
        "non-commercial use only",
        "SEQDIGITS_DATA",
        "--config.data.folder",
    ):
        assert text in str(e.value)


@pytest.mark.parametrize("content", [b"", b"MATLAB 5.0 MAT-file"])
def test_other_file_is_refused_and_kept(data, content):
    path = data / "svhn_cropped" / "train_32x32.mat"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"train_32x32\.mat is damaged or not SVHN's: .* bytes with SHA-256"):
        loaded(data)
    assert path.read_bytes() == content
    assert len(loaded(data, "test")["images"]) == 12


@pytest.fixture
def no_tensorflow(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    for name in [name for name in sys.modules if name.startswith(("seqdigits.data.builders", "seqdigits.data.tfdata"))]:
        monkeypatch.delitem(sys.modules, name)


def test_tfds_source_without_tensorflow_is_refused(data, no_tensorflow, small_config):
    one = {"data.min_length": 1, "data.max_length": 1}
    for changes in (
        {"data.composition": "cropped_digit", "data.photographs": "svhn_cropped", **one},
        {"data.composition": "digit", "data.digits": "mnist", **one},
    ):
        config = small_config({"data.source": "tfds", "data.folder": str(data), **changes})
        with pytest.raises(UserError, match=r"need TensorFlow.*make stream.*pip install 'seqdigits\[stream\]'"):
            _ = create_source(config, "test").arrays
    assert len(loaded(data)["images"]) == 24
    assert len(digits.load("uci", "test", validation=0, folder="", url="")[0]) == 270
