"""Sets read with TFDS's own builders equal those read from the published files, in the same order."""

import functools
import gzip
import hashlib
import shutil

import numpy as np
import pytest
from cropped_files import CROPPED, SIZES, noise, publish

pytest.importorskip("tensorflow", reason="records on disk need TensorFlow: make stream")

from tensorflow_datasets.image_classification import mnist as tfds_mnist

from seqdigits.core.constants import SPLITS
from seqdigits.core.errors import UserError
from seqdigits.data import digits
from seqdigits.data.builders import tfds
from seqdigits.data.create import create_source
from seqdigits.data.digits import DigitSet
from seqdigits.data.photos import svhn, svhn_archive, svhn_cropped
from seqdigits.data.tfdata import tfds_sets

URL = "https://storage.googleapis.com/cvdf-datasets/mnist/"


def register_checksum(builder, url, content, monkeypatch):
    """Makes a builder expect `content` at a URL."""
    info = tfds.download.checksums.UrlInfo(
        size=len(content), checksum=hashlib.sha256(content).hexdigest(), filename=url.rsplit("/", 1)[1]
    )
    monkeypatch.setitem(builder.url_infos, url, info)


@pytest.fixture
def tiny_mnist(tmp_path, monkeypatch):
    """A data folder with an MNIST of 300 + 40 digits of noise, and a folder for the records of TFDS."""
    images = np.random.default_rng(0).integers(0, 256, (340, 28, 28), np.uint8)
    labels = (np.arange(340) * 3 % 10).astype(np.uint8)
    (tmp_path / "mnist").mkdir()
    checksums = {}
    for name in digits.MNIST_FILES:
        part = slice(0, 300) if name.startswith("train") else slice(300, 340)
        values, header = (images, (2051, 0, 28, 28)) if "images" in name else (labels, (2049, 0))
        content = gzip.compress(np.array(header, ">i4").tobytes() + values[part].tobytes(), mtime=0)
        (tmp_path / "mnist" / name).write_bytes(content)
        checksums[name] = hashlib.sha256(content).hexdigest()
        register_checksum(tfds_mnist.MNIST, URL + name, content, monkeypatch)
    monkeypatch.setattr(digits, "MNIST_FILES", checksums)
    monkeypatch.setitem(digits.DIGITS, "mnist", DigitSet(300, 40, 50, True))
    monkeypatch.setattr(tfds_mnist, "_TRAIN_EXAMPLES", 300)
    monkeypatch.setattr(tfds_mnist, "_TEST_EXAMPLES", 40)
    monkeypatch.setattr(tfds_sets, "MNIST_SHA256", hashlib.sha256(images.tobytes() + labels.tobytes()).hexdigest())
    return tmp_path, tmp_path / "tfds"


def mnist(folder, split="train", tfds=None):
    read = tfds and functools.partial(tfds_sets.mnist, root=tfds)
    return digits.load("mnist", split, validation=0, folder=str(folder), url="nowhere", read_mnist=read)


def assert_same(actual, expected):
    for a, b in zip(actual, expected, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


def test_mnist_is_prepared_once_in_file_order(tiny_mnist, capsys):
    folder, root = tiny_mnist
    for split in SPLITS:
        assert_same(mnist(folder, split, tfds=str(root)), mnist(folder, split))
    assert capsys.readouterr().out.count("is missing; TFDS prepares it from the files in") == 1
    first, *_ = next(
        tfds.builder("mnist", data_dir=root).as_dataset(split="train", as_supervised=True).as_numpy_iterator()
    )
    assert (first[..., 0] != digits.load("mnist", "validation", validation=0, folder=str(folder), url="")[0][0]).any()
    shutil.rmtree(folder / "mnist")  # no longer needed
    assert len(mnist(folder, tfds=str(root))[0]) == 250
    assert not capsys.readouterr().out


def test_mnist_equals_the_published_files(tiny_mnist, small_config):
    folder, root = tiny_mnist
    changes = {"data.digits": "mnist", "data.folder": str(folder)}
    for split in SPLITS:
        plain = create_source(small_config(changes), split)
        other = create_source(small_config({**changes, "data.source": "tfds", "data.records": str(root)}), split)
        assert plain.spec == other.spec
        assert_same(other.arrays.values(), plain.arrays.values())


def test_mnist_downloads_missing_files(tiny_mnist):
    folder, root = tiny_mnist
    (folder / "mnist" / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(
        UserError, match=r"t10k-labels-idx1-ubyte\.gz is missing and could not be downloaded from nowhere/"
    ):
        mnist(folder, tfds=str(root))


def damage(root, how):
    """Applies `how` to the file of test digits."""
    path = root / "mnist" / "3.0.1" / "mnist-test.tfrecord-00000-of-00001"
    how(path)


@pytest.mark.parametrize(
    "how",
    [
        lambda path: path.unlink(),
        lambda path: path.write_bytes(path.read_bytes()[:-10]),
        lambda path: path.write_bytes(path.read_bytes()[:5000] + b"?" + path.read_bytes()[5001:]),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.with_name(path.name.replace("test", "train")).read_bytes()),
        lambda path: (path.parent / "dataset_info.json").unlink(),
        lambda path: (path.parent / "dataset_info.json").write_text("{"),
    ],
    ids=["missing", "truncated", "flipped", "empty", "other", "no info", "wrong info"],
)
def test_damaged_records_are_refused(tiny_mnist, how):
    folder, root = tiny_mnist
    mnist(folder, tfds=str(root))
    damage(root, how)
    with pytest.raises(UserError, match="Delete .*mnist.* and run again.*data.source=device"):
        mnist(folder, tfds=str(root))


def test_records_of_another_set_are_refused(tiny_mnist, monkeypatch):
    folder, root = tiny_mnist
    monkeypatch.setattr(tfds_sets, "MNIST_SHA256", "0" * 64)
    with pytest.raises(UserError, match=r"mnist/3\.0\.1 is not MNIST"):
        mnist(folder, tfds=str(root))


def test_unwritable_folder_is_refused(tiny_mnist):
    folder, root = tiny_mnist
    root.write_bytes(b"in the way")
    with pytest.raises(UserError, match=r"TFDS cannot prepare .*NotADirectoryError.*\s.*data\.records=DIR"):
        mnist(folder, tfds=str(root))


@pytest.mark.slow
def test_mnist_real_files(mnist_folder, tmp_path):
    for split in SPLITS:
        assert_same(mnist(mnist_folder, split, tfds=str(tmp_path)), mnist(mnist_folder, split))


@pytest.fixture
def cropped(tmp_path, monkeypatch):
    """A function of {part: (images, labels, held out)} that returns their data folder and a folder for TFDS."""

    def make(parts):
        publish(monkeypatch, tmp_path, parts)
        for part in parts:
            name = svhn_cropped.file_name(part)
            content = (tmp_path / "svhn_cropped" / name).read_bytes()
            url = f"{svhn_archive.URL}/{name}"
            register_checksum(tfds.builder_cls("svhn_cropped"), url, content, monkeypatch)
        return tmp_path, tmp_path / "tfds"

    return make


def of_both(small_config, folder, root, split, changes=None):
    """Returns the arrays from the published files, and from TFDS."""
    config = {**CROPPED, "data.folder": str(folder), "data.parts": ("extra", "train")} | (changes or {})
    plain = create_source(small_config(config), split)
    other = create_source(small_config({**config, "data.source": "tfds", "data.records": str(root)}), split)
    assert plain.spec == other.spec
    return plain.arrays, other.arrays


@pytest.mark.parametrize("changes", [{}, {"data.gray": True, "data.height": 40, "data.width": 28}])
def test_svhn_cropped_equals_the_published_files(cropped, small_config, changes):
    folder, root = cropped({part: (*noise(seed, n), held) for seed, (part, (n, held)) in enumerate(SIZES.items())})
    for split in SPLITS:
        plain, other = of_both(small_config, folder, root, split, changes)
        assert plain.keys() == other.keys()
        assert_same(other.values(), plain.values())


def test_svhn_cropped_real_digits(cropped, small_config, svhn_folder):
    real = svhn.load(
        "svhn_2000", ("train",), "test", kind="cropped_digit", height=32, width=32, gray=False, max_length=1,
        folder=str(svhn_folder),
    )  # fmt: skip
    images, labels = real["images"], real["digits"][:, 0]
    rows = {"train": slice(0, 500), "test": slice(500, 700), "extra": slice(700, 971)}
    folder, root = cropped({part: (images[chosen], labels[chosen], 20) for part, chosen in rows.items()})
    for split in ("validation", "train"):
        plain, other = of_both(small_config, folder, root, split)
        assert_same(other.values(), plain.values())
    both = np.concatenate([images[rows["extra"]], images[rows["train"]]])
    mask = np.concatenate([svhn.held_out(271, 20), svhn.held_out(500, 20)])
    np.testing.assert_array_equal(other["images"], both[~mask])


def test_damaged_published_file_is_refused(cropped, small_config):
    folder, root = cropped({part: (*noise(0, 8), 2) for part in SIZES})
    path = folder / "svhn_cropped" / "extra_32x32.mat"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UserError, match=r"NonMatchingChecksumError.*extra_32x32\.mat"):
        of_both(small_config, folder, root, "test")


def test_svhn_cropped_reads_many_shards_in_order(cropped, small_config):
    folder, root = cropped({part: (*noise(0, 40), 2) for part in SIZES})
    config = tfds.download.DownloadConfig(manual_dir=folder / "svhn_cropped", num_shards=4, try_download_gcs=False)
    tfds.builder("svhn_cropped", data_dir=root).download_and_prepare(download_config=config)
    assert len(list(root.rglob("*-train.tfrecord-*-of-00004"))) == 4
    plain, other = of_both(small_config, folder, root, "train")
    assert_same(other.values(), plain.values())


def test_svhn_cropped_in_another_order_is_refused(cropped, small_config):
    folder, root = cropped({part: (*noise(0, 8), 2) for part in SIZES})
    of_both(small_config, folder, root, "test")
    test, train = (next(root.rglob(f"*-{part}.tfrecord-*")) for part in ("test", "train"))
    test.write_bytes(train.read_bytes())
    with pytest.raises(UserError, match=r"svhn_cropped/3\.1\.0 is in another order"):
        of_both(small_config, folder, root, "test")
