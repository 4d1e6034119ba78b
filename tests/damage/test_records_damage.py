"""Every file of a set of records is damaged in every way: an error names the file and the fix, or nothing changes."""

from __future__ import annotations

import shutil

import pytest
from damages import DAMAGES, Matrix, files_of, fingerprint

from seqdigits.core.errors import UserError
from seqdigits.core.interrupt import Stop
from seqdigits.data import record_location
from seqdigits.data.create import create_source
from seqdigits.data.manifest import open_records

pytest.importorskip("tensorflow", reason="records on disk need TensorFlow: make stream")

from seqdigits.data.builders import registry as builders_registry
from seqdigits.data.builders import shards

SET = {"data.train_examples": 60, "data.validation_examples": 20, "data.test_examples": 20}
SIZES = {"train": 60, "validation": 20, "test": 20}
NOT_READ = ("dataset_info.json", "features.json", "LICENSE")
"""Metadata for users of TFDS, which training does not read."""


@pytest.fixture(scope="module")
def make_config(small_config):
    def make(folder, **changes):
        return small_config({**SET, "data.source": "tfrecord", "data.records": str(folder), **changes})

    return make


@pytest.fixture(scope="module")
def root(tmp_path_factory, make_config):
    """A folder with a small set in 2 + 1 + 1 files."""
    folder = tmp_path_factory.mktemp("records")
    assert builders_registry.builder(make_config(folder)).prepare("", shards=2, workers=1, stop=Stop())
    open_records(record_location.path(make_config(folder)))  # writes verified.json
    return folder


def read(config) -> list[bytes]:
    """The bits of all examples of all splits."""
    result = []
    for split in ("train", "validation", "test"):
        source = create_source(config, split)
        assert source.arrays == {}
        result += [part for batch in source.all(20) for part in fingerprint(batch)]
    return result


def test_every_damage_of_records_is_found(root, make_config, tmp_path, capsys):
    matrix = Matrix("records")
    intact = read(make_config(root))
    files = files_of(record_location.path(make_config(root)))
    assert len(files) == 9
    assert {"manifest.json", "verified.json", *NOT_READ} < set(files)
    for damage, break_ in DAMAGES.items():
        for at, file in enumerate(files):
            copy = tmp_path / "copy"
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(root, copy)
            folder = record_location.path(make_config(copy))
            unread = {file, files[at - 1]} <= {"verified.json", *NOT_READ}
            other = "manifest.json" if unread else files[at - 1]
            break_(folder / file, folder / other)
            try:
                found = read(make_config(copy)) == intact and file in ("verified.json", *NOT_READ)
            except UserError as e:
                named = [name for name in (file, other) if damage == "swap" or name == file]
                missing = damage == "delete" and file == "manifest.json" and "has no records" in str(e)
                found = (missing or any(str(folder / name) in str(e) for name in named)) and "prepare" in str(e)
            matrix.add(damage, file, found)
    matrix.report(capsys)


@pytest.mark.parametrize("content", [b"", b"{", b"{\xff}"])
def test_prepare_names_damaged_metadata(root, make_config, tmp_path, content):
    copy = tmp_path / "copy"
    shutil.copytree(root, copy)
    info = record_location.path(make_config(copy)) / "dataset_info.json"
    info.write_bytes(content)
    with pytest.raises(UserError, match=r"dataset_info\.json is damaged.*write the records again"):
        builders_registry.builder(make_config(copy))


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_unfinished_set_is_completed_or_refused(make_config, tmp_path, damage):
    """What a killed `prepare` leaves: finished shards with their .done files, and begun.json."""
    builder = builders_registry.builder(make_config(tmp_path))
    plans = shards.plan_shards("d", SIZES, 2)
    identity = {"shards": [plan.name for plan in plans]}

    def write(folder):
        shards.check_identity(folder, identity)
        assert shards.finished_examples(folder) <= sum(SIZES.values())
        for plan in plans:
            shards.write_job(folder, [plan], builder._records(""))
        return {plan.name: (folder / plan.name).read_bytes() for plan in plans}

    intact = write(tmp_path / "intact")
    for file, other in (
        ("begun.json", f"{plans[0].name}.done"),
        (f"{plans[0].name}.done", plans[0].name),
        (plans[0].name, plans[1].name),
    ):
        folder = tmp_path / "damaged"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(tmp_path / "intact", folder)
        DAMAGES[damage](folder / file, folder / other)
        message = ""
        try:
            assert write(folder) == intact
        except UserError as e:
            message = str(e)
        assert not message or (file == "begun.json" and "Delete it to start over" in message)
