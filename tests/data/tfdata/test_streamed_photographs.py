"""Photographs in records, at their own size, come out of tf.data as the resident ones, byte for byte."""

from functools import partial

import jax
import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="records on disk need TensorFlow: make stream")

from photo_folders import make

from seqdigits.core.errors import UserError
from seqdigits.core.interrupt import Stop
from seqdigits.data import record_location
from seqdigits.data.builders import registry as builders_registry
from seqdigits.data.builders import svhn_numbers, tfds
from seqdigits.data.create import create_source
from seqdigits.data.photos import svhn, svhn_archive

OWN = {
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
HOUSE = {**OWN, "data.photographs": "svhn_2000", "data.max_length": 6}


def both(small_config, changes, root, split):
    """The resident source of a split, and the streamed one."""
    stream = {"data.source": "tfrecord", "data.records": str(root)}
    return create_source(small_config(changes), split), create_source(small_config(changes | stream), split)


def assert_same(resident, streamed, batch_size=50):
    streamed.arrays  # noqa: B018  # finds out whether the records are whole
    seen = []
    for host_batch in streamed.all(batch_size):
        there = host_batch["index"] >= 0
        index = host_batch["index"][there]
        seen += index.tolist()
        for name, array in (("image", "images"), ("digits", "digits"), ("boxes", "boxes")):
            expected = resident.arrays[array][index]
            assert host_batch[name].dtype == expected.dtype
            assert (host_batch[name][there] == expected).all(), name
    assert sorted(seen) == list(range(resident.count()))


@pytest.fixture(scope="module")
def own(tmp_path_factory, small_config):
    """A folder of photographs, and their records."""
    folder, root = make(tmp_path_factory.mktemp("folder")), tmp_path_factory.mktemp("records")
    config = small_config(OWN | {"data.folder": str(folder), "data.source": "tfrecord", "data.records": str(root)})
    assert builders_registry.builder(config).prepare("", shards=3, workers=1, stop=Stop())
    return folder, root


@pytest.mark.parametrize(
    "changes",
    [{}, {"data.composition": "crop", "data.gray": True}, {"data.height": 200, "data.width": 40}],
    ids=["whole", "crop", "high"],
)
@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_own_photographs(own, small_config, split, changes):
    folder, root = own
    assert_same(*both(small_config, OWN | {"data.folder": str(folder)} | changes, root, split))


def test_cut_outs_are_those_of_the_resident_source(own, small_config):
    folder, root = own
    changes = OWN | {"data.folder": str(folder), "data.cutout": 40}
    resident, streamed = both(small_config, changes, root, "train")
    host_batch, key = next(streamed.batches(3, 8)), jax.random.key(5)
    for train in (True, False):
        a, b = (
            jax.device_get(jax.jit(partial(source.make, train=train))(source.arrays, host_batch, key))
            for source in (resident, streamed)
        )
        jax.tree.map(np.testing.assert_array_equal, a, b)
    assert a.image.shape[1:3] == (40, 40)


def test_other_labels_are_another_set(own, small_config, tmp_path):
    folder, root = own
    changes = {"data.folder": str(folder), "data.records": str(root)}
    before = record_location.location(small_config(OWN | changes))
    text = (folder / "labels.csv").read_text()
    try:
        (folder / "labels.csv").write_text(text.rstrip().rsplit("\n", 1)[0] + "\n")
        assert record_location.location(small_config(OWN | changes)) != before
        with pytest.raises(UserError, match="there are no records in .*Write them"):
            _ = both(small_config, OWN | {"data.folder": str(folder)}, root, "train")[1].arrays
    finally:
        (folder / "labels.csv").write_text(text)


def test_which_example_each_house_number_is():
    """As the resident source has them: held out, too long, in two parts."""
    known = svhn.PHOTOGRAPHS["svhn"].lengths
    shuffled = np.random.default_rng(0).permutation
    lengths = {part: shuffled(np.repeat(np.arange(1, 7), known[part])).astype(np.int32) for part in known}
    for longest in (5, 6):
        splits = {
            split: svhn.examples("svhn", ("train", "extra"), split, longest, lengths)
            for split in ("train", "validation", "test")
        }
        for split, which in splits.items():
            found = np.concatenate(list(which.values()))
            assert found[found >= 0].tolist() == list(
                range(svhn.count("svhn", ("train", "extra"), split, longest, False))
            )
        in_train, held = (splits[split]["extra"] >= 0 for split in ("train", "validation"))
        assert not (in_train & held).any()
        assert ((in_train | held) == (lengths["extra"] <= longest)).all()


def test_one_photograph_is_in_memory_at_a_time(svhn_folder, monkeypatch):
    opened = []
    decode_image = svhn_archive.decode_image
    monkeypatch.setattr(
        svhn_archive,
        "decode_image",
        lambda data, gray, described: opened.append(described) or decode_image(data, gray, described),
    )
    place = svhn_archive.place(svhn_folder / svhn_archive.SUBFOLDER, "test")
    those = svhn.read_annotations(place, "test", svhn.PHOTOGRAPHS["svhn_2000"].lengths["test"])
    made = svhn_numbers._serialized({"test": place}, {"test": those}, "whole", "test", 0, 500)
    for n in (1, 2, 3):
        next(made)
        assert len(opened) == n


def test_an_archive_that_is_not_the_published_one_is_refused(svhn_folder, tmp_path):
    builder = svhn_numbers.SvhnNumbers(data_dir=tmp_path, config="whole-without_extra")
    with pytest.raises(
        UserError, match=r"train.tar.gz is damaged or not the published one.*expected 404,141,560.*svhn_2000"
    ):
        builder.prepare(str(svhn_folder), shards=0, workers=1, stop=Stop())


def test_the_checksums_of_the_published_archives_are_registered():
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
def test_house_numbers(svhn_folder, small_config, tmp_path, layout):
    changes = HOUSE | layout | {"data.folder": str(svhn_folder)}
    config = small_config(changes | {"data.source": "tfrecord", "data.records": str(tmp_path)})
    builders_registry.builder(config).prepare(str(svhn_folder), shards=0, workers=2, stop=Stop())
    for split in ("train", "validation", "test"):
        assert_same(*both(small_config, changes, tmp_path, split))


@pytest.mark.slow
def test_tfds_load_of_cropped_house_numbers_from_a_manual_dir(svhn_folder, small_config, tmp_path):
    """Archives in the folder itself, as TFDS has it."""
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
