"""Photographs that are streamed from records equal those of the resident source byte for byte."""

import itertools
from functools import partial

import jax
import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="records on disk need TensorFlow: make stream")

from photo_folders import make
from process_shares import assert_processes_share

from seqdigits.core.errors import UserError
from seqdigits.core.interrupt import Stop
from seqdigits.data import record_location
from seqdigits.data.builders import registry as builders_registry
from seqdigits.data.builders import svhn_numbers, tfds, writer
from seqdigits.data.create import create_source
from seqdigits.data.photos import svhn, svhn_archive

CUSTOM = {
    "data.composition": "photograph",
    "data.photographs": "folder",
    "data.digits": "mnist",
    "data.height": 64,
    "data.width": 128,
    "data.max_length": 4,
    "data.train_examples": 165_000,
    "data.validation_examples": 15_000,
    "data.test_examples": 30_000,
}
HOUSE = {**CUSTOM, "data.photographs": "svhn_2000", "data.max_length": 6}


def both(small_config, changes, root, split):
    """Returns the resident and the streamed source of a split."""
    stream = {"data.source": "tfrecord", "data.records": str(root)}
    return create_source(small_config(changes), split), create_source(small_config(changes | stream), split)


def assert_same(resident, streamed, batch_size=50):
    streamed.arrays  # noqa: B018  # verifies the records
    seen = []
    for host_batch in streamed.all(batch_size):
        valid = host_batch["index"] >= 0
        index = host_batch["index"][valid]
        seen += index.tolist()
        for name, array in (("image", "images"), ("digits", "digits"), ("boxes", "boxes")):
            expected = resident.arrays[array][index]
            assert host_batch[name].dtype == expected.dtype
            assert (host_batch[name][valid] == expected).all(), name
    assert sorted(seen) == list(range(resident.count()))


@pytest.fixture(scope="module")
def custom(tmp_path_factory, small_config):
    """A folder of custom photos, and a folder of their records."""
    folder, root = make(tmp_path_factory.mktemp("folder")), tmp_path_factory.mktemp("records")
    config = small_config(CUSTOM | {"data.folder": str(folder), "data.source": "tfrecord", "data.records": str(root)})
    assert builders_registry.builder(config).prepare("", shards=3, workers=1, stop=Stop())
    return folder, root


@pytest.mark.parametrize(
    "changes",
    [{}, {"data.composition": "crop", "data.gray": True}, {"data.height": 200, "data.width": 40}],
    ids=["photograph", "crop", "high"],
)
@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_custom_photos_equal_the_resident_source(custom, small_config, split, changes):
    folder, root = custom
    assert_same(*both(small_config, CUSTOM | {"data.folder": str(folder)} | changes, root, split))


@pytest.mark.parametrize(
    ("count", "batch_size", "changes"),
    [
        (2, 8, {}),
        pytest.param(3, 8, {"data.cutout": 40}, marks=pytest.mark.slow),
        pytest.param(4, 7, {}, marks=pytest.mark.slow),
    ],
)
def test_processes_share_the_batches_of_one(custom, small_config, monkeypatch, count, batch_size, changes):
    """Over an epoch boundary, from a step in the middle, and in an evaluation."""
    folder, root = custom

    def source():
        return both(small_config, CUSTOM | {"data.folder": str(folder)} | changes, root, "train")[1]

    examples = source().count()
    steps = 2 * examples // batch_size + 2
    for start in (0, steps // 2):

        def batches(start=start):
            return list(itertools.islice(source().batches(start, batch_size), steps - start))

        assert_processes_share(monkeypatch, count, batch_size, batches)
    for limit in (None, examples - 3, 1):
        assert_processes_share(
            monkeypatch, count, batch_size, lambda limit=limit: list(source().all(batch_size, limit))
        )


def test_cut_outs_equal_the_resident_source(custom, small_config):
    folder, root = custom
    changes = CUSTOM | {"data.folder": str(folder), "data.cutout": 40}
    resident, streamed = both(small_config, changes, root, "train")
    host_batch, key = next(streamed.batches(3, 8)), jax.random.key(5)
    for train in (True, False):
        a, b = (
            jax.device_get(jax.jit(partial(source.make, train=train))(source.arrays, host_batch, key))
            for source in (resident, streamed)
        )
        jax.tree.map(np.testing.assert_array_equal, a, b)
    assert a.image.shape[1:3] == (40, 40)


def test_changed_labels_are_another_set(custom, small_config, tmp_path):
    folder, root = custom
    changes = {"data.folder": str(folder), "data.records": str(root)}
    before = record_location.location(small_config(CUSTOM | changes))
    text = (folder / "labels.csv").read_text()
    try:
        (folder / "labels.csv").write_text(text.rstrip().rsplit("\n", 1)[0] + "\n")
        assert record_location.location(small_config(CUSTOM | changes)) != before
        with pytest.raises(UserError, match="has no records. Write them"):
            _ = both(small_config, CUSTOM | {"data.folder": str(folder)}, root, "train")[1].arrays
    finally:
        (folder / "labels.csv").write_text(text)


def test_svhn_examples_covers_each_split_once():
    """With held out photographs, too long numbers, and two parts, as in the resident source."""
    known = svhn.PHOTOGRAPHS["svhn"].lengths
    shuffled = np.random.default_rng(0).permutation
    lengths = {part: shuffled(np.repeat(np.arange(1, 7), known[part])).astype(np.int32) for part in known}
    for max_length in (5, 6):
        splits = {
            split: svhn.examples("svhn", ("train", "extra"), split, max_length, lengths)
            for split in ("train", "validation", "test")
        }
        for split, indices in splits.items():
            index = np.concatenate(list(indices.values()))
            count = svhn.count("svhn", ("train", "extra"), split, max_length, False)
            assert index[index >= 0].tolist() == list(range(count))
        in_train, held = (splits[split]["extra"] >= 0 for split in ("train", "validation"))
        assert not (in_train & held).any()
        assert ((in_train | held) == (lengths["extra"] <= max_length)).all()


def test_records_are_made_one_photograph_at_a_time(svhn_folder, monkeypatch):
    opened = []
    decode_image = svhn_archive.decode_image
    monkeypatch.setattr(
        svhn_archive,
        "decode_image",
        lambda data, gray, described: opened.append(described) or decode_image(data, gray, described),
    )
    place = svhn_archive.place(svhn_folder / svhn_archive.SUBFOLDER, "test")
    annotations = svhn.read_annotations(place, "test", svhn.PHOTOGRAPHS["svhn_2000"].lengths["test"])
    records = svhn_numbers._serialized({"test": place}, {"test": annotations}, "whole", "test", 0, 500)
    for n in (1, 2, 3):
        next(records)
        assert len(opened) == n


def test_other_archive_is_refused(svhn_folder, tmp_path):
    builder = svhn_numbers.SvhnNumbers(data_dir=tmp_path, config="whole-without_extra")
    with pytest.raises(
        UserError, match=r"train.tar.gz is damaged or not the published archive.*expected 404,141,560.*svhn_2000"
    ):
        builder.prepare(str(svhn_folder), shards=0, workers=1, stop=Stop())


def test_checksums_of_published_archives_are_registered():
    known = svhn_numbers.SvhnNumbers.url_infos
    assert {url.removeprefix(f"{svhn_archive.URL}/"): info.size for url, info in known.items()} == {
        f"{part}.tar.gz": size for part, size in svhn_archive.BYTES.items()
    }
    assert all(len(info.checksum) == 64 for info in known.values())


@pytest.mark.slow
@pytest.mark.parametrize(
    "layout",
    [
        {"data.height": 128, "data.width": 256},
        {"data.composition": "crop", "data.height": 32, "data.width": 32, "data.gray": True, "data.max_length": 3},
    ],
    ids=["whole", "crop"],
)
def test_house_numbers_equal_the_resident_source(svhn_folder, small_config, tmp_path, layout):
    changes = HOUSE | layout | {"data.folder": str(svhn_folder)}
    config = small_config(changes | {"data.source": "tfrecord", "data.records": str(tmp_path)})
    builders_registry.builder(config).prepare(str(svhn_folder), shards=0, workers=2, stop=Stop())
    for split in ("train", "validation", "test"):
        assert_same(*both(small_config, changes, tmp_path, split))


@pytest.mark.slow
def test_tfds_load_reads_archives_from_manual_dir(svhn_folder, small_config, tmp_path):
    """The archives are in the folder itself, not in a subfolder."""
    manual = svhn_folder / svhn_archive.SUBFOLDER
    config = tfds.download.DownloadConfig(manual_dir=manual)
    loaded, info = tfds.load(
        "svhn_numbers/cropped-2000",
        data_dir=tmp_path,
        with_info=True,
        download_and_prepare_kwargs={"download_config": config},
    )
    assert {name: split.num_examples for name, split in info.splits.items()} == {"train": 2000, "test": 500}
    changes = HOUSE | {"data.composition": "crop", "data.height": 64, "data.width": 64, "data.folder": str(svhn_folder)}
    resident = create_source(small_config(changes), "test").arrays
    for example in tfds.as_numpy(loaded["test"]):
        index = example["index"]
        assert (example["image"] == resident["images"][index]).all()
        assert (example["digits"] == resident["digits"][index]).all()
        assert (example["boxes"] == resident["boxes"][index]).all()


def test_records_of_photos_that_change_meanwhile_are_refused(tmp_path, small_config, monkeypatch):
    (tmp_path / "folder").mkdir()
    folder = make(tmp_path / "folder", 10)
    config = small_config(
        CUSTOM | {"data.folder": str(folder), "data.source": "tfrecord", "data.records": str(tmp_path / "records")}
    )
    write = writer.write

    def changes(*args):
        found = write(*args)
        (folder / "labels.csv").write_text((folder / "labels.csv").read_text() + "\n")
        return found

    monkeypatch.setattr(writer, "write", changes)
    with pytest.raises(UserError, match="data files changed while records of them were written"):
        builders_registry.builder(config).prepare("", shards=1, workers=1, stop=Stop())
    assert list((tmp_path / "records").rglob("*.tfrecord*")) == []
