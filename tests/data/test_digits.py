"""Single digits: sizes, splits, and errors for damaged and missing files."""

from __future__ import annotations

import functools
import gzip
import hashlib
import os
import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from seqdigits.core.constants import SPLITS
from seqdigits.core.errors import UserError
from seqdigits.core.files import data_folder
from seqdigits.data import digits
from seqdigits.data.create import create_source

TRAIN_IMAGES = "train-images-idx3-ubyte.gz"
TRAIN_LABELS = "train-labels-idx1-ubyte.gz"


def load_uci(split: str, validation: int = 0) -> tuple[np.ndarray, np.ndarray]:
    return digits.load("uci", split, validation=validation, folder="", url="")


def load_mnist(folder: Path | str, url: str = "", split: str = "validation") -> tuple[np.ndarray, np.ndarray]:
    return digits.load("mnist", split, validation=0, folder=str(folder), url=url)


@pytest.mark.parametrize(("split", "count"), [("train", 1257), ("validation", 270), ("test", 270)])
def test_uci_counts_types_and_margin(split, count):
    images, labels = load_uci(split)
    assert (images.shape, images.dtype) == ((count, 28, 28), np.uint8)
    assert (labels.shape, labels.dtype) == ((count,), np.int32)
    assert count == digits.num_digits("uci", split, 0)
    assert set(labels.tolist()) == set(range(10))
    frame = np.ones((28, 28), bool)
    frame[4:24, 4:24] = False
    assert not images[:, frame].any()
    assert (images.max((1, 2)) > 200).all(), "no digit is empty"


def test_uci_is_split_in_file_order():
    from sklearn.datasets import load_digits

    expected = load_digits()
    splits = [load_uci(split) for split in SPLITS]
    np.testing.assert_array_equal(np.concatenate([labels for _, labels in splits]), expected.target)
    np.testing.assert_array_equal(
        np.concatenate([images for images, _ in splits]), digits.enlarge(expected.images.astype(np.int64))
    )


@pytest.mark.parametrize(
    ("name", "validation", "place", "expected"),
    [
        ("uci", 0, "default", {"train": (0, 1257), "validation": (1257, 1527), "test": (1527, 1797)}),
        ("uci", 27, "default", {"train": (0, 1500), "validation": (1500, 1527), "test": (1527, 1797)}),
        ("mnist", 0, "default", {"train": (5_000, 60_000), "validation": (0, 5_000), "test": (60_000, 70_000)}),
        ("mnist", 10_000, "first", {"train": (10_000, 60_000), "validation": (0, 10_000), "test": (60_000, 70_000)}),
        ("mnist", 6_000, "last", {"train": (0, 54_000), "validation": (54_000, 60_000), "test": (60_000, 70_000)}),
        ("uci", 27, "first", {"train": (27, 1527), "validation": (0, 27), "test": (1527, 1797)}),
    ],
)
def test_splits_are_disjoint_and_cover_everything(name, validation, place, expected):
    slices = digits.DIGITS[name].slices(validation, place)
    assert {split: (part.start, part.stop) for split, part in slices.items()} == expected
    parts = sorted(expected.values())
    assert [start for start, _ in parts] == [0, *(stop for _, stop in parts[:-1])], "each begins where another ends"
    for split, (start, stop) in expected.items():
        assert digits.num_digits(name, split, validation) == stop - start


def test_validation_argument_does_not_change_test():
    labels = np.concatenate([load_uci(split)[1] for split in SPLITS])
    for split, start, stop in (("train", 0, 1500), ("validation", 1500, 1527), ("test", 1527, 1797)):
        np.testing.assert_array_equal(load_uci(split, validation=27)[1], labels[start:stop])


def test_cnn_dropout_holds_out_the_last_6000_training_digits(experiment, mnist_folder):
    config = experiment("mnist_cnn_dropout")
    config.data.folder = str(mnist_folder)
    labels = gzip.decompress((mnist_folder / "mnist" / TRAIN_LABELS).read_bytes())[8:]
    for split, expected in (("train", labels[:54_000]), ("validation", labels[54_000:])):
        source = create_source(config, split)
        assert source.spec.num_examples == len(expected)
        assert bytes(source.arrays["labels"].astype(np.uint8)) == expected


def test_enlarge_maps_maximum_to_255_in_central_20x20():
    expected = np.zeros((1, 28, 28), np.uint8)
    expected[:, 4:24, 4:24] = 255
    enlarged = digits.enlarge(np.full((1, 8, 8), 16))
    assert enlarged.dtype == np.uint8
    np.testing.assert_array_equal(enlarged, expected)


def test_enlarge_interpolates_bilinearly():
    """Output pixel i is at (4i - 3) / 10 source pixels: at -0.3, 0.1, 0.5, 0.9, 1.3, ..

    The weights of a corner pixel are therefore 1, 0.9, 0.5, 0.1, 0 along each axis. 255 times their products is rounded,
    halves up.
    """
    small = np.zeros((1, 8, 8), np.int64)
    small[0, 0, 0] = 16
    assert digits.enlarge(small)[0, 4:9, 4:9].tolist() == [
        [255, 230, 128, 26, 0],  # 255, 229.5, 127.5, 25.5, 0
        [230, 207, 115, 23, 0],  # 229.5, 206.55, 114.75, 22.95, 0
        [128, 115, 64, 13, 0],  # 127.5, 114.75, 63.75, 12.75, 0
        [26, 23, 13, 3, 0],  # 25.5, 22.95, 12.75, 2.55, 0
        [0, 0, 0, 0, 0],
    ]


def test_enlarge_keeps_rows_and_columns_apart():
    """Row 2 has value 10. Pixel 6 is at 2.1 and has 0.9 of 10/16 of 255 = 143.4; pixel 4 is at 1.3 and has 0.3."""
    small = np.zeros((1, 8, 8), np.int64)
    small[0, 2, :] = 10
    enlarged = digits.enlarge(small)[0]
    assert (enlarged[4 + 6, 4:24] == 143).all()
    assert (enlarged[4 + 4, 4:24] == 48).all()  # 47.8
    assert (enlarged[4 + 8, 4:24] == 16).all()  # at 2.9: 0.1, 15.9
    assert not enlarged[4 + 9 :].any()  # from 3.3 on
    np.testing.assert_array_equal(digits.enlarge(small.transpose(0, 2, 1))[0], enlarged.T)


@pytest.mark.parametrize(
    ("split", "count", "first"),
    [
        ("train", 55_000, [7, 3, 4, 6, 1]),
        ("validation", 5_000, [5, 0, 4, 1, 9]),  # the first labels of the published training file
        ("test", 10_000, [7, 2, 1, 0, 4]),
    ],
)
def test_mnist_sizes_and_first_labels(mnist_folder, split, count, first):
    images, labels = load_mnist(mnist_folder, split=split)
    assert (images.shape, images.dtype) == ((count, 28, 28), np.uint8)
    assert (labels.shape, labels.dtype) == ((count,), np.int32)
    assert labels[:5].tolist() == first
    assert set(labels.tolist()) == set(range(10))


def test_mnist_validation_is_first_5000_of_the_training_file(mnist_folder):
    images = gzip.decompress((mnist_folder / "mnist" / TRAIN_IMAGES).read_bytes())[16:]
    labels = gzip.decompress((mnist_folder / "mnist" / TRAIN_LABELS).read_bytes())[8:]
    ours = [load_mnist(mnist_folder, split=split) for split in ("validation", "train")]
    assert b"".join(part.tobytes() for part, _ in ours) == images
    assert bytes(np.concatenate([part for _, part in ours]).astype(np.uint8)) == labels


def flip(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


def cut(data: bytes) -> bytes:
    return data[:-1]


@pytest.mark.parametrize("name", digits.MNIST_FILES)
@pytest.mark.parametrize("damage", [flip, cut])
def test_damaged_mnist_file_is_refused_and_kept(mnist_folder, tmp_path, name, damage):
    folder = tmp_path / "mnist"
    folder.mkdir()
    for each in digits.MNIST_FILES:
        if each != name:
            (folder / each).symlink_to(mnist_folder / "mnist" / each)
    damaged = damage((mnist_folder / "mnist" / name).read_bytes())
    (folder / name).write_bytes(damaged)
    with pytest.raises(UserError) as error:
        load_mnist(tmp_path)
    assert str(folder / name) in str(error.value)
    assert "Delete it" in str(error.value)
    assert (folder / name).read_bytes() == damaged


@pytest.mark.parametrize("content", [b"", b"not MNIST"])
def test_other_file_of_the_same_name_is_refused_and_kept(tmp_path, content):
    path = tmp_path / "mnist" / TRAIN_IMAGES
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(UserError) as error:
        load_mnist(tmp_path)
    message = str(error.value)
    assert str(path) in message
    assert f"{len(content)} bytes" in message
    assert hashlib.sha256(content).hexdigest()[:12] in message
    assert "440fcabf73cc" in message, "the expected SHA-256"
    assert "Delete it" in message
    assert path.read_bytes() == content


def test_folder_in_place_of_a_file_is_refused(tmp_path):
    path = tmp_path / "mnist" / TRAIN_IMAGES
    path.mkdir(parents=True)
    with pytest.raises(UserError) as error:
        load_mnist(tmp_path)
    assert str(path) in str(error.value)
    assert "data.folder" in str(error.value)


class Quiet(SimpleHTTPRequestHandler):
    def log_request(self, code="-", size="-"):
        self.server.requested.append(self.path)

    def log_message(self, format, *args):
        pass


@contextmanager
def serving(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """Serves a folder over HTTP on this machine; yields the URL and the list of requested paths."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    server.requested = []
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", server.requested
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    """Requests to the local server bypass any proxy of the environment."""
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "127.0.0.1")


def unused_url() -> str:
    """Returns a URL without a server."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


def files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if not path.is_dir()]


def assert_names_the_fix(message: str, path: Path, url: str) -> None:
    assert str(path) in message
    assert f"{url}/{path.name}" in message
    for fix in ("SEQDIGITS_DATA", "data.folder", "data.url", "data.digits=uci", *digits.MNIST_FILES):
        assert fix in message


def test_missing_file_and_unreachable_server(tmp_path):
    url = unused_url()
    with pytest.raises(UserError) as error:
        load_mnist(tmp_path, url)
    assert_names_the_fix(str(error.value), tmp_path / "mnist" / TRAIN_IMAGES, url)
    assert not files_below(tmp_path)


def test_missing_file_and_server_without_it(tmp_path, monkeypatch):
    (tmp_path / "served").mkdir()
    monkeypatch.setenv("SEQDIGITS_DATA", str(tmp_path / "data"))
    with serving(tmp_path / "served") as (url, requested):
        with pytest.raises(UserError) as error:
            load_mnist("", url)
        assert requested == [f"/{TRAIN_IMAGES}"]
    assert_names_the_fix(str(error.value), tmp_path / "data" / "mnist" / TRAIN_IMAGES, url)
    assert "404" in str(error.value)
    assert not files_below(tmp_path)


def test_missing_file_and_unwritable_folder(tmp_path):
    (tmp_path / "file").write_bytes(b"in the way")
    url = unused_url()
    with pytest.raises(UserError) as error:
        load_mnist(tmp_path / "file", url)
    assert_names_the_fix(str(error.value), tmp_path / "file" / "mnist" / TRAIN_IMAGES, url)


def test_download_of_wrong_bytes_leaves_no_file(tmp_path):
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / TRAIN_IMAGES).write_bytes(b"<html>log in first</html>")
    with serving(tmp_path / "served") as (url, requested):
        with pytest.raises(UserError) as error:
            load_mnist(tmp_path / "data", url)
        assert requested == [f"/{TRAIN_IMAGES}"], "the bytes were fetched, and then refused"
    assert_names_the_fix(str(error.value), tmp_path / "data" / "mnist" / TRAIN_IMAGES, url)
    assert not files_below(tmp_path / "data")


def test_missing_files_are_downloaded_once_and_used(mnist_folder, tmp_path):
    with serving(mnist_folder / "mnist") as (url, requested):
        _, labels = load_mnist(tmp_path, url + "/")  # a trailing slash is allowed
        assert sorted(requested) == sorted(f"/{name}" for name in digits.MNIST_FILES)
        assert labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert sorted(path.name for path in files_below(tmp_path)) == sorted(digits.MNIST_FILES)
    for name, sha256 in digits.MNIST_FILES.items():
        assert hashlib.sha256((tmp_path / "mnist" / name).read_bytes()).hexdigest() == sha256
    _, again = load_mnist(tmp_path, unused_url())
    np.testing.assert_array_equal(again, labels)


def test_only_the_missing_file_is_downloaded(mnist_folder, tmp_path):
    shutil.copytree(mnist_folder / "mnist", tmp_path / "mnist", ignore=shutil.ignore_patterns(TRAIN_LABELS))
    with serving(mnist_folder / "mnist") as (url, requested):
        load_mnist(tmp_path, url)
        assert requested == [f"/{TRAIN_LABELS}"]


def test_data_folder_order_of_precedence(monkeypatch):
    monkeypatch.setenv("HOME", "/home/reader")
    monkeypatch.setenv("SEQDIGITS_DATA", "/from/environment")
    assert data_folder("/from/config") == Path("/from/config")
    assert data_folder("") == Path("/from/environment")
    monkeypatch.setenv("SEQDIGITS_DATA", "")
    assert data_folder("") == Path("/home/reader/.cache/seqdigits")
    monkeypatch.delenv("SEQDIGITS_DATA")
    assert data_folder("") == Path("/home/reader/.cache/seqdigits")


def test_data_folder_expands_the_home_folder(monkeypatch):
    monkeypatch.setenv("HOME", "/home/reader")
    monkeypatch.setenv("SEQDIGITS_DATA", "~/digits")
    assert data_folder("~/mine") == Path("/home/reader/mine")
    assert data_folder("") == Path("/home/reader/digits")


def test_mnist_is_found_through_the_environment(mnist_folder, monkeypatch):
    monkeypatch.setenv("SEQDIGITS_DATA", os.fspath(mnist_folder))
    assert load_mnist("", unused_url())[1][:5].tolist() == [5, 0, 4, 1, 9]
