"""Records are copied from a bucket completely, once per host, and only if they are intact; without TensorFlow."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest
import stub_bucket
from conftest import ROOT

from seqdigits.core import files as core_files
from seqdigits.core import interrupt
from seqdigits.core.errors import UserError
from seqdigits.data import bucket
from seqdigits.data import manifest as data_manifest
from seqdigits.data.bucket import fetch
from seqdigits.data.manifest import Shard

URL = "gs://b/set"
TRAIN = [f"d-train.tfrecord-{i:05}-of-00003" for i in range(3)]
TEST = "d-test.tfrecord-00000-of-00001"


def write_set(folder):
    folder.mkdir(parents=True)
    shards = []
    for i, name in enumerate((*TRAIN, TEST)):
        path = folder / name
        path.write_bytes(bytes(range(100 + i)) * 40)
        shards.append(Shard(name, name.split(".")[0][2:], 5, path.stat().st_size, core_files.sha256(path)))
    data_manifest.write_manifest(folder, shards, {"name": "d"})
    return folder


@pytest.fixture
def remote(tmp_path, monkeypatch):
    """The folder of a set of four files, which is also in a stub of a bucket, at URL."""
    monkeypatch.setattr(bucket, "_SECONDS_BEFORE_RETRY", 0)
    monkeypatch.setattr(bucket, "_CHUNK", 1000)
    folder = write_set(tmp_path / "buckets" / "b" / "set")
    stub_bucket.install(tmp_path / "buckets")
    yield folder
    stub_bucket.uninstall()


@pytest.fixture
def local(tmp_path):
    return tmp_path / "cache" / "set"


def copied():
    """Returns the names of the shards that were opened in the bucket."""
    return sorted(Path(path).name for path in stub_bucket.StubBucket.opened if not path.endswith("manifest.json"))


def assert_same_files(remote, local, names):
    assert sorted(path.name for path in local.iterdir() if ".tfrecord" in path.name) == sorted(names)
    for name in names:
        assert (local / name).read_bytes() == (remote / name).read_bytes()


def test_fetch_copies_the_files_of_the_splits_once(remote, local, monkeypatch):
    assert [shard.name for shard in fetch(URL, local, ["train"])] == TRAIN
    assert_same_files(remote, local, TRAIN)
    assert copied() == TRAIN
    monkeypatch.setattr(data_manifest, "sha256", lambda path: pytest.fail(f"{path} was read again"))
    fetch(URL, local, ["train"])
    assert copied() == TRAIN
    assert [shard.name for shard in fetch("s3://b/set", local, ["test"])] == [TEST]
    assert copied() == sorted([*TRAIN, TEST])
    assert fetch(URL, local, []) == []


def flipped(data):
    return data[:50] + bytes([data[50] ^ 1]) + data[51:]


DAMAGES = {
    "flipped": (flipped, "is damaged: its SHA-256 differs from the manifest"),
    "truncated": (lambda data: data[:60], "has 60 bytes, expected 4,040"),
    "longer": (lambda data: data + b"x" * 5000, "has more than the expected 4,040 bytes"),
    "empty": (lambda data: b"", "has 0 bytes, expected 4,040"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_copy_is_fetched_again(remote, local, damage):
    fetch(URL, local, ["train", "test"])
    path = local / TRAIN[1]
    path.write_bytes(DAMAGES[damage][0](path.read_bytes()))
    fetch(URL, local, ["train", "test"])
    assert copied() == sorted([*TRAIN, TEST, TRAIN[1]])
    assert_same_files(remote, local, [*TRAIN, TEST])


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_file_in_the_bucket_is_refused(remote, local, damage):
    break_, message = DAMAGES[damage]
    (remote / TRAIN[1]).write_bytes(break_((remote / TRAIN[1]).read_bytes()))
    with pytest.raises(UserError, match=rf"^{URL}/{TRAIN[1]} {message}. Copy the records .*gcloud storage rsync"):
        fetch(URL, local, ["train"])
    assert copied().count(TRAIN[1]) == 3
    assert not (local / TRAIN[1]).exists()
    assert not list(local.glob("*.partial"))


def test_missing_file_in_the_bucket_is_named(remote, local):
    (remote / TRAIN[2]).unlink()
    with pytest.raises(UserError, match=f"{URL}/{TRAIN[2]} is missing. Copy the records to the bucket again"):
        fetch(URL, local, ["train"])


def test_broken_connections_are_retried(remote, local, monkeypatch):
    tries = dict.fromkeys(TRAIN, 0)

    def spoil(path, content):
        name = Path(path).name
        if name in tries:
            tries[name] += 1
            if tries[name] == 1:
                raise OSError("connection reset")
            if tries[name] == 2:
                return flipped(content)
        return content

    monkeypatch.setattr(stub_bucket.StubBucket, "spoil", staticmethod(spoil))
    fetch(URL, local, ["train"])
    assert set(tries.values()) == {3}
    assert_same_files(remote, local, TRAIN)


class NoCredentialsError(Exception):
    """Not an OSError, as the services raise it."""


@pytest.mark.parametrize(
    ("scheme", "error", "fix"),
    [
        ("gs", PermissionError("403"), "PermissionError: 403\nCheck that.*gcloud auth application-default login"),
        ("s3", NoCredentialsError("none found"), "NoCredentialsError: none found\nCheck that.*aws configure"),
    ],
)
@pytest.mark.parametrize("name", ["manifest.json", TRAIN[0]])
def test_refused_access_is_explained(remote, local, monkeypatch, scheme, error, fix, name):
    def spoil(path, content):
        if path.endswith(name):
            raise error
        return content

    monkeypatch.setattr(stub_bucket.StubBucket, "spoil", staticmethod(spoil))
    with pytest.raises(UserError, match=rf"(?s)^{scheme}://b/set/{name} cannot be read: {fix}"):
        fetch(f"{scheme}://b/set", local, ["train"])


def test_missing_set_and_damaged_manifest_are_refused(remote, local):
    with pytest.raises(
        UserError, match=r"^s3://b/none has no records.*seqdigits prepare.*aws s3 sync FOLDER s3://b/none$"
    ):
        fetch("s3://b/none", local, ["train"])
    text = (remote / "manifest.json").read_text()
    for damaged in ("", "[]", text[:-20], text.replace('"examples": 5', '"examples": 4', 1)):
        (remote / "manifest.json").write_text(damaged)
        with pytest.raises(UserError, match=f"{URL}/manifest.json is damaged"):
            fetch(URL, local, ["train"])


@pytest.mark.parametrize(
    "name", ["../outside.tfrecord-00000-of-00001", "/tmp/x.tfrecord-00000-of-00001", "manifest.json"]
)
def test_names_outside_of_the_folder_are_refused(remote, local, name):
    data_manifest.write_manifest(remote, [Shard(name, "train", 1, 1, "")], {})
    with pytest.raises(UserError, match="is not the name of a file of records"):
        fetch(URL, local, ["train"])
    assert not list(local.glob("*.tfrecord*"))


@pytest.mark.parametrize(("scheme", "package"), [("gs", "gcsfs"), ("s3", "s3fs")])
def test_missing_package_is_named(local, monkeypatch, scheme, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(
        UserError, match=rf"{scheme}://b/set needs fsspec and {package} .*pip install 'seqdigits\[cloud\]'"
    ):
        fetch(f"{scheme}://b/set", local, ["train"])


def test_full_disk_is_refused_before_copying(remote, local, monkeypatch):
    monkeypatch.setattr(bucket.shutil, "disk_usage", lambda _: SimpleNamespace(free=10**6))
    with pytest.raises(
        UserError, match=r"needs 0 MB for records from gs://b/set, but only 1 MB are free.*SEQDIGITS_DATA"
    ):
        fetch(URL, local, ["train"])
    assert copied() == []


def test_files_of_an_older_manifest_are_removed(remote, local):
    fetch(URL, local, ["train", "test"])
    kept = [shard for shard in data_manifest.open_records(local) if shard.name != TRAIN[2]]
    data_manifest.write_manifest(remote, kept, {})
    fetch(URL, local, ["train"])
    assert data_manifest.open_records(local) == kept
    assert not (local / TRAIN[2]).exists()


def test_fetch_stops_with_the_command_and_resumes(remote, local, monkeypatch):
    stop = interrupt.Stop()

    def spoil(path, content):
        if path.endswith(TRAIN[1]):
            stop.set()
            time.sleep(0.5)
        return content

    monkeypatch.setattr(interrupt, "command", stop)
    monkeypatch.setattr(bucket, "_FILES_AT_ONCE", 1)
    monkeypatch.setattr(stub_bucket.StubBucket, "spoil", staticmethod(spoil))
    with pytest.raises(interrupt.Stopped):
        fetch(URL, local, ["train"])
    assert_same_files(remote, local, TRAIN[:1])
    monkeypatch.setattr(interrupt, "command", interrupt.Stop())
    fetch(URL, local, ["train"])
    assert copied() == [TRAIN[0], TRAIN[1], TRAIN[1], TRAIN[2]]


def test_simultaneous_fetches_copy_each_file_once(remote, local):
    with ThreadPoolExecutor(5) as pool:
        results = list(pool.map(lambda splits: fetch(URL, local, splits), [["train"]] * 3 + [["train", "test"]] * 2))
    assert [len(result) for result in results] == [3, 3, 3, 4, 4]
    assert copied() == sorted([*TRAIN, TEST])


def test_fetch_works_on_file_systems_without_locks(remote, local, monkeypatch):
    def refuse(*_):
        raise OSError("no locks available")

    monkeypatch.setattr(bucket.fcntl, "flock", refuse)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: fetch(URL, local, ["train"]), range(4)))
    assert_same_files(remote, local, TRAIN)


PROCESS = """
import sys
from pathlib import Path
import stub_bucket
from seqdigits.data import bucket
stub_bucket.install(Path(sys.argv[1]), 0.3)
bucket._FILES_AT_ONCE = 1
bucket.fetch("gs://b/set", Path(sys.argv[2]), ["train", "test"])
print(len([path for path in stub_bucket.StubBucket.opened if "tfrecord" in path]))
"""


def test_processes_share_the_copy_and_survive_a_kill(remote, local):
    """The first process is killed while it copies; two others finish, each file is copied once."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "tests")))}
    command = [sys.executable, "-c", PROCESS, str(remote.parent.parent), str(local)]

    def start():
        return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    killed = start()
    while not (local / TRAIN[0]).exists():
        assert killed.poll() is None, killed.stderr.read()
        time.sleep(0.01)
    others = [start(), start()]
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    (local / f"{TRAIN[1]}.0123.partial").write_bytes(b"half")
    outputs = [other.communicate(timeout=60) for other in others]
    assert [other.returncode for other in others] == [0, 0], outputs
    opened = [int(out.split()[-1]) for out, _ in outputs]
    assert min(opened) == 0
    assert 1 <= max(opened) <= 3, "the first file was already complete"
    assert_same_files(remote, local, [*TRAIN, TEST])


def test_copy_is_the_same_set(remote, local):
    fetch(URL, local, ["train", "test"])
    other = shutil.copytree(remote, local.parent / "copy")
    assert data_manifest.open_records(local) == data_manifest.open_records(other)
    assert json.loads((local / "manifest.json").read_text()) == json.loads((remote / "manifest.json").read_text())
