"""Records equal the virtual source; tf.data yields each example once per epoch, in an order that can be resumed."""

import itertools
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from conftest import ROOT, SMALL
from process_shares import as_processes, assert_processes_share

from seqdigits.cli import benchmark as cli_benchmark
from seqdigits.cli import prepare as cli_prepare
from seqdigits.core.constants import NO_DIGIT
from seqdigits.core.errors import UserError
from seqdigits.core.interrupt import Stop, Stopped
from seqdigits.data import record_location
from seqdigits.data.builders import registry as builders_registry
from seqdigits.data.builders import shards, tf, tfds, writer
from seqdigits.data.builders.digit_sequences import DigitSequences, _serialized
from seqdigits.data.create import create_source
from seqdigits.data.manifest import MANIFEST, open_records, shards_of_split
from seqdigits.experiments.benchmark import stream_epoch
from seqdigits.models.build import build
from seqdigits.parallel.devices import Devices
from seqdigits.training.train_step import TrainStep

pytest.importorskip("tensorflow", reason="records on disk need TensorFlow: make stream")


SET = {"data.train_examples": 500, "data.validation_examples": 60, "data.test_examples": 85}


@pytest.fixture(scope="module")
def root(tmp_path_factory, small_config):
    """A folder with a small set in 4 + 1 + 1 files that two processes wrote."""
    folder = tmp_path_factory.mktemp("records")
    config = small_config({**SET, "data.source": "tfrecord", "data.records": str(folder)})
    assert builders_registry.builder(config).prepare("", shards=4, workers=2, stop=Stop())
    return folder


@pytest.fixture
def streamed(root, small_config):
    """A function of a split, and of changes of the config, that returns the source of that set."""

    def make(split, changes=None):
        return create_source(
            small_config({**SET, "data.source": "tfrecord", "data.records": str(root)} | (changes or {})), split
        )

    return make


@pytest.fixture
def damaged(root, tmp_path, small_config):
    """A verified copy of that set, to be damaged: its folder, and a function that creates its source."""
    copy = tmp_path / "copy"
    shutil.copytree(root, copy)
    config = small_config({**SET, "data.source": "tfrecord", "data.records": str(copy)})
    open_records(record_location.path(config))
    return record_location.path(config), lambda split="train": create_source(config, split)


_compiled = {}


def computed(source, index):
    """Returns examples of a virtual source as numpy arrays; each source is compiled once."""
    _, make = _compiled.setdefault(id(source), (source, jax.jit(partial(source.make, train=False))))
    return jax.device_get(make(source.arrays, {"index": index, "position": np.maximum(index, 0)}, jax.random.key(0)))


def assert_same_examples(host_batch, batch):
    valid = host_batch["index"] >= 0
    for name in ("image", "digits", "boxes"):
        value = getattr(batch, name)
        assert host_batch[name].dtype == value.dtype
        assert (host_batch[name][valid] == value[valid]).all(), name


def taken(batches, count):
    return np.concatenate([next(batches)["index"] for _ in range(count)])


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_all_equals_the_virtual_source(streamed, small_config, split):
    source, virtual = streamed(split), create_source(small_config(SET), split)
    seen = []
    for host_batch in source.all(40):
        assert_same_examples(host_batch, computed(virtual, host_batch["index"]))
        seen += host_batch["index"].tolist()
    count = virtual.count()
    assert seen == [*range(count), *[-1] * (-count % 40)]
    assert [h["index"][-1] for h in source.all(40, limit=50)] == [39, -1]


COMPOSITIONS = {
    "digit": {
        "data.composition": "digit",
        "data.min_length": 1,
        "data.max_length": 1,
        "data.height": 28,
        "data.width": 28,
    },
    "canvas": {},
    "centered": {"data.composition": "centered", "data.height": 64, "data.width": 64},
    "rotated": {
        "data.composition": "rotated",
        "data.height": 64,
        "data.width": 208,
        "data.max_length": 4,
        "data.jitter": 4,
    },
    "stacked": {
        "data.composition": "rotated",
        "data.height": 208,
        "data.width": 64,
        "data.stacked": True,
        "data.seed": 3,
    },
}


@pytest.fixture(scope="module", params=COMPOSITIONS)
def composed(request, small_config):
    """The config changes of each composition, and its first 200 examples from the virtual source."""
    changes = {"data.train_examples": 200, **COMPOSITIONS[request.param]}
    return changes, computed(create_source(small_config(changes), "train"), np.arange(200, dtype=np.int32))


@pytest.mark.parametrize("form", record_location.FORMS)
def test_records_equal_virtual_examples_in_each_form(small_config, tmp_path, composed, form):
    changes, expected = composed
    config = small_config(
        {**changes, "data.records_form": form, "data.source": "tfrecord", "data.records": str(tmp_path)}
    )
    records = builders_registry.builder(config)._records("")("train", 0, 200)
    source = create_source(config, "train")
    decoded = tf.data.Dataset.from_generator(lambda: records, output_signature=tf.TensorSpec((), tf.string))
    (host_batch,) = decoded.enumerate().map(source._decode).batch(250).as_numpy_iterator()
    assert_same_examples(host_batch, expected)
    assert host_batch["index"].tolist() == list(range(200))


def assert_tfds_reads(config, virtual):
    """Checks metadata, examples and sub-splits as read by TFDS without this package."""
    builder = tfds.builder_from_directory(record_location.path(config))
    sizes = {name: split.num_examples for name, split in builder.info.splits.items()}
    assert sizes == {"train": 500, "validation": 60, "test": 85}
    assert builder.info.splits["train"].shard_lengths == [125] * 4
    examples = list(tfds.as_numpy(builder.as_dataset(split="train[20%:40%]")))
    assert [example["index"] for example in examples] == list(range(100, 200))
    batch = computed(virtual, np.arange(100, 200, dtype=np.int32))
    for row, example in enumerate(examples):
        image = np.round(example["image"] * 255) if config.data.records_form == "float64" else example["image"]
        assert (image == batch.image[row]).all()
        assert (example["digits"] == batch.digits[row]).all()
        assert (example["boxes"] == batch.boxes[row]).all()
        assert example["length"] == (batch.digits[row] != NO_DIGIT).sum()


def test_tfds_reads_the_records_and_sub_splits(root, small_config):
    config = small_config({**SET, "data.records": str(root)})
    assert_tfds_reads(config, create_source(small_config(SET), "train"))


@pytest.mark.slow
@pytest.mark.parametrize("form", ["raw", "float64"])
def test_tfds_reads_raw_and_float64_records(small_config, tmp_path, form):
    changes = {**SET, "data.source": "tfrecord", "data.records": str(tmp_path), "data.records_form": form}
    config = small_config(changes)
    assert builders_registry.builder(config).prepare("", shards=4, workers=1, stop=Stop())
    assert_tfds_reads(config, create_source(small_config(SET), "train"))


@pytest.mark.slow
def test_tfds_load_writes_a_set_once(tmp_path):
    found = []
    for _ in range(2):
        loaded, info = tfds.load("digit_sequences/uci-digit", data_dir=tmp_path, split="test", with_info=True)
        assert len(list(loaded)) == info.splits["test"].num_examples == 270
        files = {path: path.stat() for path in Path(info.data_dir).iterdir()}
        found.append({path: (state.st_ino, state.st_mtime_ns) for path, state in files.items()})
    assert found[0] == found[1]
    assert any("tfrecord" in path.name for path in found[0])
    assert "digit_sequences/mnist-canvas-128x256-1to5" in {
        f"digit_sequences/{name}" for name in DigitSequences.builder_configs
    }


@pytest.mark.slow
def test_tfds_build_writes_a_set(tmp_path):
    """The command of TFDS. It imports apache-beam and mlcroissant for other subcommands; they are mocked here."""
    code = (
        "import sys; from unittest.mock import MagicMock; sys.modules |= {'apache_beam': MagicMock(), 'mlcroissant': MagicMock()}\n"
        "from tensorflow_datasets.scripts.cli import main\n"
        "main.main(main._parse_flags(sys.argv))"
    )
    command = ["build", "digit_sequences/uci-digit", "--imports", "seqdigits.data.builders.digit_sequences"]
    done = subprocess.run(
        [sys.executable, "-c", code, *command, "--data_dir", str(tmp_path), "--num_shards", "2"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    shards = open_records(tmp_path / "digit_sequences" / "uci-digit" / record_location.VERSION)
    assert [shard.examples for shard in shards_of_split(shards, "train")] == [628, 629]


def test_batches_reshuffle_every_epoch(streamed):
    order = taken(streamed("train").batches(0, 50), 30)
    epochs = order.reshape(3, 500)
    for epoch in epochs:
        assert sorted(epoch) == list(range(500))
        assert abs(np.corrcoef(epoch, np.arange(500))[0, 1]) < 0.2  # shuffled across files
    assert (epochs[0] != epochs[1]).mean() > 0.9
    assert (taken(streamed("train").batches(0, 50), 30) == order).all()
    assert (taken(streamed("train", {"seed": 1}).batches(0, 50), 10) != epochs[0]).mean() > 0.9


@pytest.mark.parametrize("start", [0, 1, 9, 12, 13, 40])
def test_batches_can_start_at_any_step(streamed, start):
    """500 examples in batches of 40: the 13th batch straddles two epochs."""
    expected = taken(streamed("train").batches(0, 40), 45)
    batches = streamed("train").batches(start, 40)
    host_batch = next(batches)
    assert host_batch["position"].tolist() == list(range(start * 40, (start + 1) * 40))
    assert (np.concatenate([host_batch["index"], taken(batches, 4)]) == expected[start * 40 : (start + 5) * 40]).all()


@pytest.mark.parametrize("start", [0, 7])
@pytest.mark.parametrize(("count", "batch_size"), [(2, 50), (3, 50), (4, 27), (4, 50)])
def test_batches_of_processes_equal_those_of_one(streamed, monkeypatch, count, batch_size, start):
    """Over two epochs of 500 examples, from the beginning and from a step in the middle."""

    def batches():
        return list(itertools.islice(streamed("train").batches(start, batch_size), 1000 // batch_size - start))

    expected = assert_processes_share(monkeypatch, count, batch_size, batches)
    if start == 0:
        index = np.concatenate([host_batch["index"] for host_batch in expected])
        assert sorted(index[:500]) == list(range(500))


@pytest.mark.parametrize("limit", [None, 33, 7, 1])
@pytest.mark.parametrize(("count", "batch_size"), [(2, 16), (3, 16), (4, 17), (4, 85)])
def test_all_of_processes_equals_that_of_one(streamed, small_config, monkeypatch, count, batch_size, limit):
    assert_processes_share(monkeypatch, count, batch_size, lambda: list(streamed("test").all(batch_size, limit)))
    for process in range(count):
        as_processes(monkeypatch, process, count)
        virtual = create_source(small_config(SET), "test").all(batch_size, limit)
        for one, other in zip(streamed("test").all(batch_size, limit), virtual, strict=True):
            assert one["index"].tolist() == other["index"].tolist()


@pytest.mark.parametrize("limit", [None, 7, 1])
@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "virtual"])
def test_all_of_processes_covers_each_example_once(streamed, small_config, monkeypatch, count, limit, stream):
    seen, batches = [], set()
    for process in range(count):
        as_processes(monkeypatch, process, count)
        source = streamed("test") if stream else create_source(small_config(SET), "test")
        host_batches = list(source.all(16, limit))
        seen += [index for host_batch in host_batches for index in host_batch["index"] if index >= 0]
        batches.add((len(host_batches), *{len(value) for host_batch in host_batches for value in host_batch.values()}))
    assert sorted(seen) == list(range(limit or 85))
    assert len(batches) == 1, "every process has the same number and size of batches"


def test_batches_refuse_more_processes_than_rows(streamed, monkeypatch):
    as_processes(monkeypatch, 0, 8)
    with pytest.raises(UserError, match=r"batch of 4 cannot be shared out among 8 processes.*train.batch_size"):
        next(streamed("train").batches(0, 4))


PROCESS = """
import json, sys
rank, folder, settings = int(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3])
import jax
if rank >= 0:
    jax.distributed.initialize(sys.argv[4], 2, rank)
import hashlib
from functools import partial
import numpy as np
from seqdigits.config import base_config
from seqdigits.data.create import create_source
from seqdigits.evaluation.evaluator import Evaluator
from seqdigits.models.build import build
from seqdigits.parallel.devices import Devices
from seqdigits.inference.predict_step import PredictStep
from seqdigits.training.train_step import TrainStep
config = base_config()
config.update_from_flattened_dict(settings)
devices, source = Devices(), create_source(config, "train")
steps = TrainStep(config, build(config, source.spec))
state = devices.jit(partial(steps.init, source))()
arrays = devices.replicate(source.arrays)
metrics = Evaluator(PredictStep(config, steps.model), create_source(config, "test"), devices).evaluate(state.variables(), None, "test")
train, seen = devices.compile_step(partial(steps.train, source=source)), []
batches = source.batches(0, config.train.batch_size)
for _ in range(62):
    host = next(batches)
    seen += host["index"][host["index"] >= 0].tolist()
    state = train(state, arrays, devices.shard_batch(host))
params = b"".join(np.asarray(x).tobytes() for x in jax.tree.leaves(state.params))
print(json.dumps({"metrics": metrics, "seen": seen, "count": jax.process_count(), "params": hashlib.sha256(params).hexdigest()}))
"""


@pytest.mark.slow
def test_two_processes_train_and_evaluate_on_records(root):
    """Two processes connected over loopback train on the order of one, and count each test example once."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    settings = json.dumps(SMALL | SET | {"data.source": "tfrecord", "data.records": str(root)})

    def start(rank):
        command = [sys.executable, "-c", PROCESS, str(rank), str(root), settings, address]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    results = []
    for ranks in ((0, 1), (-1,)):
        for process in [start(rank) for rank in ranks]:
            out, error = process.communicate(timeout=300)
            assert process.returncode == 0, error
            results.append(json.loads(out.splitlines()[-1]))
    first, second, single = results
    assert (first["count"], second["count"], single["count"]) == (2, 2, 1)
    assert first["params"] == second["params"]
    halves = (np.reshape(result["seen"], (62, 4)) for result in (first, second))
    assert np.concatenate([*halves], 1).ravel().tolist() == single["seen"]
    assert first["metrics"]["examples"] == 85
    for name in ("character_accuracy", "localization_error", "sequence_accuracy", "length_accuracy"):
        assert first["metrics"][name] == pytest.approx(single["metrics"][name], rel=1e-5)


def test_losses_equal_those_of_the_virtual_source(root, small_config):
    """200 steps on the stream, and on the virtual source with the indices of the stream."""
    config = small_config({**SET, "data.source": "tfrecord", "data.records": str(root)})
    plain = small_config(SET)
    devices, streams, computes = Devices(), create_source(config, "train"), create_source(plain, "train")
    steps = TrainStep(plain, build(plain, computes.spec))
    runs = []
    for source in (streams, computes):
        state = devices.jit(partial(steps.init, source))()
        runs.append(
            [state, devices.replicate(source.arrays), devices.compile_step(partial(steps.train, source=source)), []]
        )
    host_batches = streams.batches(0, 8)
    for _ in range(200):
        host_batch = next(host_batches)
        for run, names in zip(runs, (host_batch.keys(), ("index", "position")), strict=True):
            run[0] = run[2](run[0], run[1], devices.shard_batch({name: host_batch[name] for name in names}))
            run[3].append(np.asarray(run[0].sums["loss"].total).tobytes())
    assert len(set(runs[0][3])) == 200
    assert runs[0][3] == runs[1][3]
    for a, b in zip(jax.tree.leaves(runs[0][0].params), jax.tree.leaves(runs[1][0].params), strict=True):
        assert (a == b).all()


@pytest.mark.parametrize("parallel", ["jit", "pmap"])
def test_payload_is_sharded_with_its_batch(streamed, parallel):
    host_batch = next(streamed("train").batches(0, 7))
    placed = Devices(parallel).shard_batch(host_batch)
    missing = -7 % jax.device_count()
    assert placed["index"].tolist() == [*host_batch["index"].tolist(), *[-1] * missing]
    for name in ("image", "digits", "boxes"):
        assert (np.asarray(placed[name])[:7] == host_batch[name]).all()
        assert (np.asarray(placed[name])[7:] == host_batch[name][0]).all()


def spoil(path: Path, content: bytes) -> None:
    """Replaces the content but not the size and the modification time, so that open_records does not notice."""
    stat = path.stat()
    path.write_bytes(content[: stat.st_size].ljust(stat.st_size, b"\0"))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :]


@pytest.mark.parametrize(
    "content",
    [lambda d: flipped(d, len(d) // 2), lambda d: flipped(d, 3), lambda d: d[: len(d) // 2], lambda d: b""],
    ids=["flipped bit", "flipped bit in a length", "half zeros", "all zeros"],
)
@pytest.mark.parametrize("evaluate", [True, False], ids=["all", "batches"])
def test_damage_while_reading_names_the_file(damaged, content, evaluate):
    folder, source = damaged
    path = folder / "digit_sequences-train.tfrecord-00002-of-00004"
    train = source()
    assert train.arrays == {}
    spoil(path, content(path.read_bytes()))
    host_batches = train.all(50) if evaluate else train.batches(0, 50)
    with pytest.raises(
        UserError, match=rf"{path.name} is damaged: its SHA-256 differs. Delete .* write the records again"
    ):
        for _ in zip(range(11), host_batches, strict=False):
            pass


@pytest.mark.parametrize("evaluate", [True, False], ids=["all", "batches"])
def test_truncated_file_does_not_shorten_an_epoch(damaged, evaluate):
    """The file is truncated at the end of a record, where it is valid."""
    folder, source = damaged
    path = folder / "digit_sequences-train.tfrecord-00003-of-00004"
    train = source()
    assert train.arrays == {}
    last = len(list(tf.data.TFRecordDataset(str(path)).as_numpy_iterator())[-1])
    path.write_bytes(path.read_bytes()[: -last - 16])
    host_batches = train.all(50) if evaluate else train.batches(0, 50)
    with pytest.raises(UserError, match=rf"{path.name} is damaged"):
        for _ in zip(range(11), host_batches, strict=False):
            pass


@pytest.mark.parametrize("process", range(3))
def test_every_process_sees_that_a_record_is_missing(damaged, monkeypatch, process):
    folder, source = damaged
    path = folder / "digit_sequences-test.tfrecord-00000-of-00001"
    test = source("test")
    assert test.arrays == {}
    last = len(list(tf.data.TFRecordDataset(str(path)).as_numpy_iterator())[-1])
    path.write_bytes(path.read_bytes()[: -last - 16])
    as_processes(monkeypatch, process, 3)
    with pytest.raises(UserError, match=rf"{path.name} is damaged"):
        list(test.all(85))


def test_file_removed_while_reading_is_named(damaged):
    folder, source = damaged
    train = source()
    assert train.arrays == {}
    (folder / "digit_sequences-train.tfrecord-00001-of-00004").unlink()
    with pytest.raises(UserError, match="00001-of-00004 cannot be read: No such file"):
        list(train.all(50))


def test_records_of_another_set_are_refused(root, streamed, small_config):
    requested = small_config({**SET, "data.test_examples": 84, "data.source": "tfrecord", "data.records": str(root)})
    shutil.copytree(
        record_location.path(small_config({**SET, "data.records": str(root)})), record_location.path(requested)
    )
    with pytest.raises(UserError, match="has the records of another set, digit_sequences/.*Move them"):
        _ = create_source(requested, "test").arrays


def manifest(folder):
    return json.loads((folder / MANIFEST).read_text())["shards"]


@pytest.mark.slow
def test_prepare_is_deterministic_for_any_worker_count(root, small_config, tmp_path):
    """What one process writes equals what the two of `root` wrote."""
    config = small_config({**SET, "data.source": "tfrecord", "data.records": str(tmp_path)})
    builders_registry.builder(config).prepare("", shards=4, workers=1, stop=Stop())
    first = record_location.path(small_config({**SET, "data.records": str(root)}))
    assert manifest(record_location.path(config)) == manifest(first)


@pytest.mark.slow
def test_prepare_resumes_after_kill_9(tmp_path):
    def command(folder):
        changes = {
            "digits": "uci",
            "train_examples": 4_800,
            "validation_examples": 50,
            "test_examples": 50,
            "records": folder,
        }
        flags = [f"--config.data.{key}={value}" for key, value in changes.items()]
        return [
            sys.executable,
            "-m",
            "seqdigits",
            "prepare",
            str(ROOT / "configs" / "canvas_variable.py"),
            *flags,
            "--shards=24",
        ]

    name = "digit_sequences/uci-canvas-128x256-1to5-4800_50_50"
    complete, killed = (
        tmp_path / "complete" / name / record_location.VERSION,
        tmp_path / "killed" / name / record_location.VERSION,
    )
    subprocess.run(command(tmp_path / "complete"), check=True, capture_output=True)
    partial_ = killed.with_name(f"incomplete-{record_location.VERSION}")
    process = subprocess.Popen(command(tmp_path / "killed"), stdout=subprocess.PIPE)
    while len(done := list(partial_.glob("*.done"))) < 3:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)  # its workers keep the pipe open until they have ended too
    assert not killed.exists(), "an unfinished set does not have the final name"
    assert len(list(partial_.glob("*.done"))) < 24
    kept, spoiled = (partial_ / path.stem for path in sorted(done)[:2])
    written = kept.stat().st_mtime_ns
    spoil(spoiled, flipped(spoiled.read_bytes(), 1000))
    again = subprocess.run(command(tmp_path / "killed"), check=True, capture_output=True, text=True)
    assert "resumed" in again.stdout
    assert manifest(killed) == manifest(complete)
    assert (killed / kept.name).stat().st_mtime_ns == written, "finished shards are not written again"
    assert {path.name for path in killed.iterdir()} == {path.name for path in complete.iterdir()}
    rerun = subprocess.run(command(tmp_path / "killed"), check=True, capture_output=True, text=True)
    assert "written in" not in rerun.stdout


def test_prepare_refuses_a_full_disk(small_config, tmp_path, monkeypatch, capsys):
    config = small_config({"data.train_examples": 1_000_000, "data.source": "tfrecord", "data.records": str(tmp_path)})
    monkeypatch.setattr(shards.shutil, "disk_usage", lambda _: SimpleNamespace(free=10**8))
    with pytest.raises(UserError, match=r"needs another \d+ MB, but only 100 MB are free.*--config\.data\.records=DIR"):
        builders_registry.builder(config).prepare("", shards=0, workers=1, stop=Stop())
    assert " MB in total, 100 MB free" in capsys.readouterr().out
    assert list(tmp_path.rglob("*.tfrecord*")) == []


def test_prepare_refuses_another_identity(small_config, tmp_path):
    config = small_config({**SET, "data.source": "tfrecord", "data.records": str(tmp_path)})
    begun = record_location.path(config).with_name(f"incomplete-{record_location.VERSION}")
    begun.mkdir(parents=True)
    (begun / "begun.json").write_text('{"version": "0.9.0"}')
    with pytest.raises(UserError, match="is an unfinished set with other shards.* Delete it to start over"):
        builders_registry.builder(config).prepare("", shards=0, workers=1, stop=Stop())


@pytest.mark.slow
def test_write_reports_the_error_of_a_worker_once(small_config, tmp_path):
    """A missing data file is reported by the worker's own message, without its traceback."""
    data = {**small_config().data.to_dict(), "digits": "mnist", "url": "http://127.0.0.1:9"}
    records = partial(_serialized, json.dumps(data | {"folder": str(tmp_path / "nowhere")}))
    with pytest.raises(UserError, match=r"(?s)^\S*train-images-idx3-ubyte.gz is missing and could not be downloaded"):
        writer.write(tmp_path / "set", [shards.plan_shards("d", {"train": 10}, 1)], records, {}, 1, Stop())


def numbered(split, start, stop):
    """Yields records that contain their index."""
    return (b"%03d" % number for number in range(start, stop))


@pytest.mark.parametrize("missing", [(0,), (1, 3), (0, 1, 2, 3), (2, 3)])
def test_write_job_restores_missing_shards(tmp_path, missing):
    """Missing shards may be interleaved with finished ones."""
    job = shards.plan_shards("d", {"train": 20}, 4)
    shards.write_job(tmp_path, job, numbered)
    before = {plan.name: (tmp_path / plan.name).read_bytes() for plan in job}
    for i in missing:
        (tmp_path / f"{job[i].name}.done").unlink()
        (tmp_path / job[i].name).write_bytes(b"half")
    shards.write_job(tmp_path, job, numbered)
    assert {plan.name: (tmp_path / plan.name).read_bytes() for plan in job} == before
    last = tf.data.TFRecordDataset(str(tmp_path / job[3].name))
    assert list(last.as_numpy_iterator()) == [b"015", b"016", b"017", b"018", b"019"]


def test_unfinished_file_that_a_worker_renames_meanwhile_is_passed_over(tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "glob", lambda folder, pattern: iter([folder / "renamed.partial"]))
    assert writer.write(tmp_path / "set", [], numbered, {}, 0, Stop()) == []


def test_write_job_refuses_too_few_records(tmp_path):
    job = shards.plan_shards("d", {"train": 20}, 4)
    with pytest.raises(UserError, match=r"00003-of-00004: only 2 of 5 examples exist"):
        shards.write_job(tmp_path, job, lambda split, start, stop: numbered(split, start, stop - 3))
    assert not (tmp_path / job[3].name).exists()


def test_builder_uses_the_mirror_of_the_config(experiment):
    config = experiment("canvas_variable")
    config.data.source, config.data.url = "tfrecord", "http://127.0.0.1:9"
    assert '"url": "http://127.0.0.1:9"' in builders_registry.builder(config)._records("").args[0]


def test_exclusive_access_refuses_a_second_process(tmp_path):
    refused = pytest.raises(UserError, match="is being written by another process")
    with shards.exclusive_access(tmp_path), refused, shards.exclusive_access(tmp_path):
        pass


def test_plan_shards_covers_all_examples():
    cut = shards.plan_shards("d", {"train": 10_001, "test": 3}, 0)
    assert [(p.start, p.stop) for p in cut if p.split == "train"] == [
        (0, 2000),
        (2000, 4000),
        (4000, 6000),
        (6000, 8000),
        (8000, 10_001),
    ]
    assert cut[-1].name == "d-test.tfrecord-00000-of-00001"


def test_benchmark_reads_a_whole_epoch(root, small_config):
    config = small_config({**SET, "data.source": "tfrecord", "data.records": str(root), "train.batch_size": 7})
    metrics = stream_epoch(config, Stop())
    assert metrics["epoch_images"] == 497, "of 500, the whole batches"
    files = record_location.path(config).glob("*-train.tfrecord-*")
    assert metrics["epoch_bytes"] == sum(file.stat().st_size for file in files) > 0
    assert metrics["stream_images_per_second"] == pytest.approx(497 / metrics["epoch_seconds"])
    assert metrics["stream_bytes"] > metrics["stream_grew"] >= 0
    stopped = Stop()
    stopped.set()
    with pytest.raises(Stopped):
        stream_epoch(config, stopped)
    config.train.batch_size = 501
    with pytest.raises(UserError, match="batch_size = 501, but there are 500 training examples"):
        stream_epoch(config, Stop())


def config_file(folder, changes):
    """Writes a config of the small set with changes, and returns its file."""
    (folder / "small.py").write_text(
        "from seqdigits.config.defaults import base_config\n\n\ndef get_config():\n    config = base_config()\n"
        f"    config.update_from_flattened_dict({SMALL | SET | changes!r})\n    return config\n"
    )
    return folder / "small.py"


def test_command_writes_a_set_once(small_config, monkeypatch, capsys, tmp_path):
    """The processes that write are left out: this one writes their shards."""
    sizes = {"data.train_examples": 50, "data.validation_examples": 10, "data.test_examples": 12}
    file = config_file(tmp_path, {**sizes, "data.records": str(tmp_path / "records")})
    folder = record_location.path(small_config({**sizes, "data.records": str(tmp_path / "records")}))
    asked = []

    def write_here(folder, jobs, records, workers, *_):
        asked.append(workers)
        for job in jobs:
            shards.write_job(folder, job, records)

    def run(*flags):
        monkeypatch.setattr(sys, "argv", ["seqdigits prepare", str(file), *flags])
        cli_prepare.main(Stop())
        return capsys.readouterr().out.splitlines()[-1]

    monkeypatch.setattr(writer, "_run_workers", write_here)
    monkeypatch.setattr(cli_prepare, "prepare_jax", lambda: None)
    found = run("--shards=3", "--workers=2")
    assert re.fullmatch(rf"{folder}: 72 examples in 5 files, 0\.000 GB, written in 0?\d s", found), found
    assert [shard.examples for shard in shards_of_split(open_records(folder), "train")] == [16, 17, 17]
    written = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    for flags in ((), ("--shards=3",)):
        assert run(*flags) == f"{folder}: 72 examples in 5 files, 0.000 GB, already present and intact"
    with pytest.raises(UserError, match=rf"^{folder} exists with 3 files, not --shards=2\. Delete it first\.$"):
        run("--shards=2")
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == written
    assert asked == [2]


def test_command_reads_an_epoch(root, monkeypatch, capsys, tmp_path):
    """Records of a set that a config file describes, with the flags of the command."""
    file = config_file(tmp_path, {"data.records": str(root), "data.source": "tfrecord"})

    def run(*flags):
        monkeypatch.setattr(sys, "argv", ["seqdigits benchmark", str(file), "--epoch", *flags])
        monkeypatch.setattr("seqdigits.cli.benchmark.prepare_jax", lambda: None)
        cli_benchmark.main(Stop())

    run("--json", str(tmp_path / "epoch.json"))
    rows = dict(re.split(r"  +", line.strip()) for line in capsys.readouterr().out.splitlines())
    assert rows["images"] == "496"
    assert json.loads((tmp_path / "epoch.json").read_text())["epoch_images"] == 496
    with pytest.raises(UserError, match="--epoch and --rounds: allowed is one of them"):
        run("--rounds=3")
    with pytest.raises(UserError, match="has no records"):
        run(f"--config.data.records={tmp_path}")


@pytest.mark.parametrize("count", [1, 7, 60, 399, 800, 900])
def test_largest_split_has_as_many_shards_as_asked_for(count):
    plans = shards.plan_shards("d", {"train": 800, "test": 100}, count)
    sizes = {split: [p.stop - p.start for p in plans if p.split == split] for split in ("train", "test")}
    assert len(sizes["train"]) == min(count, 800)
    assert len(sizes["test"]) == max(1, -(-100 * min(count, 800) // 800))
    assert all(min(of_split) > 0 for of_split in sizes.values())
    assert [sum(of_split) for of_split in sizes.values()] == [800, 100]


def test_example_that_cannot_be_read_is_no_error_of_writing(tmp_path):
    def unreadable(split, start, stop):
        yield b"0"
        raise OSError(5, "Input/output error")

    with pytest.raises(UserError, match="an example of the split train cannot be read: .*Input/output error"):
        shards.write_job(tmp_path, shards.plan_shards("d", {"train": 2}, 1), unreadable)


def test_file_system_without_locks_is_named(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(37, "No locks available")

    monkeypatch.setattr(shards.fcntl, "flock", refuse)
    with pytest.raises(UserError, match="cannot be locked: No locks available"), shards.exclusive_access(tmp_path):
        pass
