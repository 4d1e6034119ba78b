"""A run on records in a bucket equals one on the local folder; commands that cannot use a bucket say so."""

import dataclasses
import json
import subprocess
import sys

import jax
import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="records on disk need TensorFlow: make stream")

import stub_bucket
from conftest import ROOT
from photo_folders import make
from process_shares import as_processes

from seqdigits.core.errors import UserError
from seqdigits.core.interrupt import Stop
from seqdigits.data import record_location
from seqdigits.data.builders import registry as builders_registry
from seqdigits.data.create import create_source
from seqdigits.evaluation.evaluate import evaluate_checkpoint
from seqdigits.inspection.inspect import inspect
from seqdigits.training.loop import train_and_evaluate

STREAM = {"data.source": "tfrecord"}
URL = "gs://records/digits"


@pytest.fixture(scope="module")
def buckets(tmp_path_factory, small_config):
    """The folder of all buckets, with a set of 8 + 2 + 2 files and a set of custom photos in one of them."""
    folder = tmp_path_factory.mktemp("buckets")
    root = {"data.records": str(folder / "records" / "digits")}
    assert builders_registry.builder(small_config(STREAM | root)).prepare("", shards=8, workers=1, stop=Stop())
    photos = photo_changes(make(tmp_path_factory.mktemp("photos")))
    assert builders_registry.builder(small_config(photos | root)).prepare("", shards=3, workers=1, stop=Stop())
    return folder, photos


def photo_changes(folder):
    return STREAM | {
        "data.composition": "photograph",
        "data.photographs": "folder",
        "data.folder": str(folder),
        "data.digits": "mnist",
        "data.train_examples": 165_000,
        "data.validation_examples": 15_000,
        "data.test_examples": 30_000,
    }


@pytest.fixture
def bucket(buckets, tmp_path, monkeypatch):
    """The local folder of the set in the bucket; files are copied to another folder."""
    monkeypatch.setenv("SEQDIGITS_DATA", str(tmp_path / "cache"))
    stub_bucket.install(buckets[0])
    yield buckets[0] / "records" / "digits"
    stub_bucket.uninstall()


def opened():
    return [path for path in stub_bucket.StubBucket.opened if ".tfrecord" in path]


def without_times(values):
    return {name: value for name, value in values.items() if "second" not in name}


@pytest.mark.slow
def test_run_from_a_bucket_equals_that_from_a_folder(bucket, tmp_path, small_config):
    """Training on 8 files, validation, test, and an evaluation later, from gs://."""
    states, results = [], []
    for name, records in (("local", str(bucket)), ("remote", URL)):
        config = small_config(STREAM | {"data.records": records, "evaluate.splits": ("test",)})
        states.append(jax.device_get(train_and_evaluate(config, tmp_path / name)))
        reports = evaluate_checkpoint(config, tmp_path / name, which="latest", splits=("validation", "test"))
        lines = [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        results.append([without_times(values) for values in (*reports.values(), *lines)])
    jax.tree.map(np.testing.assert_array_equal, *states)
    assert results[0] == results[1]
    assert any("loss" in values for values in results[0])
    copy = tmp_path / "cache" / "records" / "gs" / "records" / "digits"
    config = small_config(STREAM | {"data.records": URL})
    assert record_location.path(config).is_relative_to(copy)
    assert len(opened()) == len(set(opened())) == 12, "8 files of train, 2 of validation, 2 of test, once each"


def test_only_files_of_the_split_are_copied(bucket, small_config):
    source = create_source(small_config(STREAM | {"data.records": "s3://records/digits/"}), "test")
    assert opened() == [], "creating a source reads nothing"
    assert len(list(source.all(16))) == 3
    assert sorted({path.split(".tfrecord")[0].rpartition("-")[2] for path in opened()}) == ["test"]


def test_photographs_are_read_from_a_bucket(bucket, buckets, small_config):
    local, remote = (
        create_source(small_config(buckets[1] | {"data.records": records}), "train") for records in (str(bucket), URL)
    )
    for a, b in zip(local.all(16), remote.all(16), strict=True):
        assert a.keys() == b.keys()
        for name in a:
            np.testing.assert_array_equal(a[name], b[name])
    assert opened()
    assert all("-train.tfrecord" in path for path in opened())


def test_inspect_reads_records_from_a_bucket(bucket, small_config):
    local, remote = (
        inspect(small_config(STREAM | {"data.records": records}), ("test",), None, Stop())
        for records in (str(bucket), URL)
    )
    assert remote[0].examples == local[0].examples == 40
    for a, b in zip(dataclasses.astuple(local[0].prints), dataclasses.astuple(remote[0].prints), strict=True):
        np.testing.assert_array_equal(a, b)


def test_processes_of_a_host_share_the_copy(bucket, small_config, monkeypatch):
    for process in range(2):
        as_processes(monkeypatch, process, 2)
        next(create_source(small_config(STREAM | {"data.records": URL}), "train").batches(0, 8))
    assert len(opened()) == 8


def test_damage_of_the_copy_while_reading_names_the_fix(bucket, small_config):
    config = small_config(STREAM | {"data.records": URL})
    source = create_source(config, "test")
    assert source.arrays == {}
    path = sorted(record_location.path(config).glob("*-test.tfrecord-*"))[0]
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(
        UserError, match=rf"{path.name} is damaged.* run the same command again: .*copied again from {URL}"
    ):
        list(source.all(16))
    assert len(list(create_source(config, "test").all(16))) == 3


@pytest.mark.parametrize(("url", "command"), [(URL, "gcloud storage rsync -r"), ("s3://b/f", "aws s3 sync")])
def test_prepare_refuses_a_bucket_and_names_the_copy_command(small_config, monkeypatch, url, command):
    match = rf"{url}/digit_sequences/.* is in a bucket.*data.records=DIR.* {command} DIR/digit_sequences/\S+ {url}/digit_seq"
    with pytest.raises(UserError, match=match):
        builders_registry.builder(small_config(STREAM | {"data.records": url}))
    monkeypatch.setenv("TFDS_DATA_DIR", url)
    with pytest.raises(UserError, match=match):
        builders_registry.builder(small_config(STREAM))


@pytest.mark.slow
def test_prepare_command_refuses_a_bucket_in_a_line():
    done = subprocess.run(
        [sys.executable, "-m", "seqdigits", "prepare", "configs/canvas_variable.py", f"--config.data.records={URL}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {URL}/digit_sequences/mnist-canvas")
    assert "Traceback" not in done.stderr
