"""The verification of records on disk, without TensorFlow."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

from seqdigits.core import files as core_files
from seqdigits.core.errors import UserError
from seqdigits.data import manifest as data_manifest
from seqdigits.data import record_location
from seqdigits.data.manifest import Shard


@pytest.fixture
def folder(tmp_path):
    """A folder of two shards that were verified once."""
    shards = []
    for i, split in enumerate(("train", "test")):
        path = tmp_path / f"d-{split}.tfrecord-00000-of-00001"
        path.write_bytes(bytes(range(100 + i)))
        shards.append(Shard(path.name, split, 5, 100 + i, core_files.sha256(path)))
    data_manifest.write_manifest(tmp_path, shards, {"name": "d"})
    assert data_manifest.open_records(tmp_path) == shards
    return tmp_path


def flip(path, at=50, time_of_change=None):
    """Flips one bit of a file."""
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)
    if time_of_change is not None:
        os.utime(path, ns=(time_of_change, time_of_change))


FILE = "d-train.tfrecord-00000-of-00001"
DAMAGES = {
    "flipped bit": (flip, "is damaged: its SHA-256 differs"),
    "truncated": (lambda p: p.write_bytes(p.read_bytes()[:60]), "has 60 bytes, expected 100"),
    "empty": (lambda p: p.write_bytes(b""), "has 0 bytes, expected 100"),
    "missing": (lambda p: p.unlink(), "is missing"),
    "foreign": (lambda p: p.write_bytes(bytes(100)), "is damaged: its SHA-256 differs"),
    "other split": (lambda p: shutil.copy(p.with_name(FILE.replace("train", "test")), p), "has 101 bytes"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_open_records_names_the_damaged_file(folder, damage):
    break_, message = DAMAGES[damage]
    break_(folder / FILE)
    with pytest.raises(UserError, match=rf"{FILE} {message}.*write the records again: seqdigits prepare"):
        data_manifest.open_records(folder)


def test_open_records_refuses_foreign_files(folder):
    stranger = folder / "d-train.tfrecord-00001-of-00002"
    stranger.write_bytes(b"x")
    with pytest.raises(UserError, match=f"{stranger.name} does not belong to these records"):
        data_manifest.open_records(folder)


def test_verified_files_are_not_read_again_until_changed(folder, monkeypatch):
    monkeypatch.setattr(data_manifest, "sha256", lambda path: pytest.fail(f"{path} was read"))
    data_manifest.open_records(folder)
    flip(folder / FILE)
    with pytest.raises(pytest.fail.Exception, match=FILE):
        data_manifest.open_records(folder)


def test_replaced_file_of_equal_size_and_time_is_read_again(folder):
    path = folder / FILE
    time_of_change = path.stat().st_mtime_ns
    other = folder / "other"
    other.write_bytes(bytes(100))
    os.replace(other, path)
    os.utime(path, ns=(time_of_change, time_of_change))
    with pytest.raises(UserError, match=f"{FILE} is damaged: its SHA-256 differs"):
        data_manifest.open_records(folder)


def test_read_only_folder_is_verified_each_time(folder, monkeypatch):
    (folder / "verified.json").unlink()

    def refuse(*_):
        raise PermissionError

    monkeypatch.setattr(data_manifest, "write_atomically", refuse)
    assert len(data_manifest.open_records(folder)) == 2
    flip(folder / FILE, time_of_change=(folder / FILE).stat().st_mtime_ns)
    with pytest.raises(UserError, match="is damaged: its SHA-256 differs"):
        data_manifest.open_records(folder)


def test_missing_records_and_damaged_manifest_are_refused(folder, tmp_path):
    with pytest.raises(UserError, match=r"nowhere has no records\. Write them: seqdigits prepare"):
        data_manifest.open_records(tmp_path / "nowhere")
    text = (folder / "manifest.json").read_text()
    for damaged in ("{", "[]", text.replace('"examples": 5', '"examples": 4', 1)):
        (folder / "manifest.json").write_text(damaged)
        with pytest.raises(UserError, match=r"manifest.json cannot be read.*write the records again"):
            data_manifest.open_records(folder)


def test_location_is_unique_for_each_set(experiment):
    """Keys that change an example change the name; other keys do not."""
    base = experiment("strip4_multi_head")
    same = experiment("strip4_multi_head")
    same.data.folder, same.seed, same.data.url = "/somewhere", 7, "http://mirror"
    assert record_location.location(base) == record_location.location(same)
    names = {record_location.location(base)}
    changes = {
        "digits": "uci",
        "height": 65,
        "width": 209,
        "min_length": 1,
        "max_length": 5,
        "jitter": 3,
        "stacked": True,
    }
    changes |= {"train_examples": 7, "validation_examples": 7, "test_examples": 7, "seed": 7, "validation_percent": 7}
    changes |= {"composition": "canvas", "records_form": "raw", "validation_place": "last"}
    changes |= {"max_rotation": 15, "distinct_digits": 100, "share_digits": True, "digit_order": "passes"}
    for key, value in changes.items():
        config = experiment("strip4_multi_head")
        config.data[key] = value
        names.add(record_location.location(config))
    assert len(names) == 1 + len(changes)


def test_package_does_not_import_tensorflow():
    code = (
        "import sys, tempfile, pathlib; import seqdigits.training.loop, seqdigits.experiments.reproduce, seqdigits.experiments.report; "
        "from seqdigits.training.writers import Writers; w = Writers(pathlib.Path(tempfile.mkdtemp()), 0); "
        "w.write(1, 'train', {'loss': 1.0}); w.close(); print('tensorflow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_missing_tensorflow_is_refused_with_the_fix(tmp_path):
    code = (
        "import sys; sys.modules['tensorflow'] = None; sys.argv = ['main', '--config', 'configs/mnist_linear.py', "
        f"'--config.data.source=tfrecord', '--workdir', {str(tmp_path)!r}]; "
        "from seqdigits.core import app; app.run('seqdigits.cli.train:main')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 2
    assert "make stream" in done.stderr
    assert "Traceback" not in done.stderr


def test_file_that_should_have_changed_is_read_again(folder):
    """A manifest that was replaced, while the file of equal size stayed."""
    other = [Shard(FILE, "train", 5, 100, "0" * 64)]
    assert [fault for _, fault in data_manifest.faults(folder, other)] == [
        "is damaged: its SHA-256 differs from the manifest"
    ]


def test_records_are_found_below_the_current_folder(tmp_path, monkeypatch):
    (tmp_path / "d" / "x").mkdir(parents=True)
    data_manifest.write_manifest(tmp_path / "d" / "x", [], {"name": "d/x"})
    monkeypatch.chdir(tmp_path)
    assert data_manifest.open_records(Path("d/x")) == []
    shutil.copy("d/x/manifest.json", "d")
    with pytest.raises(UserError, match=r"d has the records of another set, d/x"):
        data_manifest.open_records(Path("d"))
