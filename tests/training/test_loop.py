"""The training loop: a run that is stopped, even by kill -9, and resumed equals an uninterrupted run bit for bit."""

import json
import os
import signal
import subprocess
import sys
import time
from functools import partial

import jax
import numpy as np
import pytest
from conftest import ROOT, StopAfter
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.metadata import SESSION_START_INFO_TAG

from seqdigits.checkpoint.layout import all_steps, checkpoints_folder, find_checkpoint, load_raw
from seqdigits.core import boxes as bx
from seqdigits.core.constants import NO_DIGIT
from seqdigits.core.errors import TryAgain, UserError
from seqdigits.core.interrupt import Stopped
from seqdigits.data.create import create_source
from seqdigits.data.evaluated_config import as_evaluated
from seqdigits.evaluation.evaluator import Evaluator
from seqdigits.inference.predict_step import PredictStep
from seqdigits.metrics import eval_metrics
from seqdigits.models.build import build
from seqdigits.parallel.devices import Devices
from seqdigits.training import loop
from seqdigits.training.lock import Lock
from seqdigits.training.loop import train_and_evaluate


def saved(workdir):
    state, meta = load_raw(find_checkpoint(workdir, "latest"))
    leaves = {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(state)}
    return leaves, {name: value for name, value in meta.items() if name != "seconds"}


def lines(workdir):
    entries = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in ("images_per_second", "seconds")} for line in entries]


def assert_same_run(a, b):
    (leaves_a, meta_a), (leaves_b, meta_b) = saved(a), saved(b)
    assert leaves_a.keys() == leaves_b.keys()
    assert any("opt_state" in name for name in leaves_a)
    assert any("sums" in name for name in leaves_a)
    for name, leaf in leaves_a.items():
        assert leaf.tobytes() == leaves_b[name].tobytes(), name
    assert meta_a == meta_b
    assert lines(a) == lines(b)


@pytest.fixture
def run_config(small_config):
    def make(changes):
        return small_config(
            {
                "train.steps": 12,
                "train.log_every": 5,
                "train.checkpoint_every": 4,
                "evaluate.every": 6,
                "evaluate.splits": ("validation",),
                "optim.moving_average": 0.9,
                **changes,
            }
        )

    return make


@pytest.mark.parametrize(
    ("train_examples", "stops"),
    [
        pytest.param(20, [(7, 6), (7, 11), (6, 12)], id="finite"),
        pytest.param(20, [(7, 6), (1, 6), (4, 8), (2, 11), (6, 12)], marks=pytest.mark.slow, id="finite-more-stops"),
        pytest.param(0, [(7, 6), (1, 6), (4, 8), (2, 11), (6, 12)], marks=pytest.mark.slow, id="endless"),
    ],
)
def test_resume_after_any_stop_equals_uninterrupted_run(tmp_path, run_config, train_examples, stops):
    """Stopped in the first evaluation (3 batches), in it again, at a checkpoint, between log lines, and in the last evaluation."""
    config = run_config({"data.train_examples": train_examples, "data.rotation": 10})
    full, parts = tmp_path / "full", tmp_path / "parts"
    train_and_evaluate(config, full)
    for checks, step in stops:
        with pytest.raises(Stopped):
            train_and_evaluate(config, parts, StopAfter(checks))
        assert all_steps(parts / "checkpoints")[-1] == step
    train_and_evaluate(config, parts)
    assert_same_run(full, parts)


def test_curves_of_all_splits_have_no_duplicates_after_a_stop(tmp_path, run_config):
    """The run is stopped while it evaluates the training examples, after validation."""
    config = run_config({"data.train_examples": 20, "evaluate.curves": ("train", "test"), "evaluate.splits": ()})
    full, parts = tmp_path / "full", tmp_path / "parts"
    train_and_evaluate(config, full)
    with pytest.raises(Stopped):
        train_and_evaluate(config, parts, StopAfter(9))
    assert "train_evaluated" not in (parts / "metrics.jsonl").read_text()
    train_and_evaluate(config, parts)
    assert_same_run(full, parts)
    assert [(line["step"], line["split"]) for line in lines(parts) if line["split"] != "train"] == [
        (step, split) for step in (6, 12) for split in ("validation", "train_evaluated", "test")
    ]
    assert [line["examples"] for line in lines(parts) if "examples" in line] == [40, 20, 40] * 2
    events = EventAccumulator(str(parts / "tensorboard"), size_guidance={"scalars": 0, "images": 0})
    events.Reload()
    for split in ("validation", "train_evaluated", "test"):
        for name in ("sequence_accuracy", "accuracy_by_position/3"):
            assert sorted(event.step for event in events.Scalars(f"{split}/{name}")) == [6, 12]
        for name in ("confusion", "reliability"):
            assert sorted(event.step for event in events.Images(f"{split}/{name}")) == [6, 12]
    assert sorted(event.step for event in events.Images("validation/wrong")) == [6, 12]
    assert events.Tags()["tensors"] == [SESSION_START_INFO_TAG]
    assert list(events.PluginTagToContent("hparams")) == [SESSION_START_INFO_TAG]


def test_curves_are_of_fewer_examples_than_reports(tmp_path, run_config, monkeypatch):
    monkeypatch.setattr(loop, "_CURVE_TRAIN", 10)
    changes = {"train.steps": 2, "evaluate.every": 1, "evaluate.examples": 15, "evaluate.curves": ("train",)}
    train_and_evaluate(run_config(changes), tmp_path)
    counts = [(line["step"], line["split"], line["examples"]) for line in lines(tmp_path) if "examples" in line]
    assert counts == [(step, *of) for step in (1, 2) for of in (("validation", 15), ("train_evaluated", 10))]
    assert json.loads((tmp_path / "evaluation" / "validation.json").read_text())["examples"] == 40


@pytest.mark.slow
def test_calls_of_several_steps_end_at_every_boundary(tmp_path, run_config):
    """Logs, evaluations and checkpoints are at the same steps as with single steps, though 5 divides no interval."""
    single, several = run_config({"data.train_examples": 20}), run_config({"data.train_examples": 20})
    several.train.steps_per_call = 5
    train_and_evaluate(single, tmp_path / "single")
    with pytest.raises(Stopped):
        train_and_evaluate(several, tmp_path / "several", StopAfter(4))
    several.train.steps_per_call = 3  # a run may be resumed with another number of steps per call
    train_and_evaluate(several, tmp_path / "several")
    (leaves_a, meta_a), (leaves_b, meta_b) = (saved(tmp_path / name) for name in ("single", "several"))
    for name, leaf in leaves_a.items():
        np.testing.assert_allclose(leaf, leaves_b[name], atol=1e-3, err_msg=name)
    assert meta_a["step"] == meta_b["step"] == 12
    for a, b in zip(*(lines(tmp_path / name) for name in ("single", "several")), strict=True):
        assert (a["step"], a["split"]) == (b["step"], b["split"])
    several.train.steps_per_call = 5  # with the same number, a resumed run equals an uninterrupted one
    train_and_evaluate(several, tmp_path / "full")
    with pytest.raises(Stopped):
        train_and_evaluate(several, tmp_path / "parts", StopAfter(4))
    train_and_evaluate(several, tmp_path / "parts")
    assert_same_run(tmp_path / "full", tmp_path / "parts")
    trained = json.loads((tmp_path / "several" / "provenance.json").read_text())
    assert [part["steps_per_call"] for part in trained] == [5, 3]


@pytest.mark.soak  # the chaos rounds of the slow tests kill runs at random steps
@pytest.mark.parametrize(
    ("source", "train_examples"),
    [("device", 100), ("device", 0), ("tfrecord", 100)],
    ids=["finite", "endless", "tfrecord"],
)
def test_resume_after_kill_9_equals_uninterrupted_run(tmp_path, source, train_examples):
    def command(workdir):
        changes = {
            "train.steps": 40,
            "train.log_every": 7,
            "train.checkpoint_every": 10,
            "evaluate.every": 20,
            "evaluate.examples": 100,
            "evaluate.splits": "('validation',)",
            "data.validation_examples": 100,
            "data.train_examples": train_examples,
            "optim.moving_average": 0.99,
        }
        if source == "tfrecord":
            pytest.importorskip("tensorflow")
            changes |= {"data.source": "tfrecord", "data.records": tmp_path / "records", "data.test_examples": 100}
            changes |= {f"data.{name}": 0 for name in ("rotation", "zoom", "shear", "shift")}
        flags = [f"--config.{key}={value}" for key, value in changes.items()]
        config = ["--config", str(ROOT / "configs" / "quickstart.py")]
        if workdir is None:
            return [sys.executable, "-m", "seqdigits", "prepare", *config, *flags]
        return [sys.executable, "-m", "seqdigits.main", *config, "--workdir", str(workdir), *flags]

    if source == "tfrecord":
        subprocess.run(command(None), check=True, cwd=ROOT, capture_output=True)
    full, killed = tmp_path / "full", tmp_path / "killed"
    subprocess.run(command(full), check=True, cwd=ROOT, capture_output=True)
    process = subprocess.Popen(command(killed), cwd=ROOT, stdout=subprocess.DEVNULL)
    while not (killed / "checkpoints" / "20" / "manifest.json").exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert 40 not in all_steps(killed / "checkpoints")
    resumed = subprocess.run(command(killed), check=True, cwd=ROOT, capture_output=True, text=True)
    assert "resumed from step" in resumed.stdout
    assert_same_run(full, killed)


@pytest.mark.slow
def test_jumping_clock_changes_nothing(tmp_path, run_config, monkeypatch):
    """The time of day jumps by up to two minutes at each call, while the run trains, stops and resumes."""
    config = run_config({"data.train_examples": 20})
    train_and_evaluate(config, tmp_path / "steady")
    draw, steady = np.random.default_rng(0), time.time
    monkeypatch.setattr("time.time", lambda: steady() + draw.uniform(-60, 60))
    with pytest.raises(Stopped):
        train_and_evaluate(config, tmp_path / "jumping", StopAfter(4))
    train_and_evaluate(config, tmp_path / "jumping")
    assert_same_run(tmp_path / "steady", tmp_path / "jumping")
    entries = [json.loads(line) for line in (tmp_path / "jumping" / "metrics.jsonl").read_text().splitlines()]
    assert all(0 <= entry["seconds"] < 600 for entry in entries if "seconds" in entry)


@pytest.mark.slow
def test_clock_that_jumps_by_days_ends_a_save_but_loses_nothing(tmp_path, run_config, monkeypatch):
    """Orbax gives up a save then; the run is to be tried again."""
    config = run_config({"data.train_examples": 20})
    train_and_evaluate(config, tmp_path / "steady")
    steady, began = time.time, time.monotonic()
    with monkeypatch.context() as jumping:
        jumping.setattr("time.time", lambda: steady() + 1e5 * (time.monotonic() - began))  # a day in a second
        with pytest.raises(TryAgain, match="the checkpoint of step 4 was not written .* clock of this machine jumped"):
            train_and_evaluate(config, tmp_path / "jumping")
    train_and_evaluate(config, tmp_path / "jumping")
    assert_same_run(tmp_path / "steady", tmp_path / "jumping")


def test_finished_run_is_not_retrained_but_can_be_extended(tmp_path, run_config, capsys):
    config = run_config({"train.steps": 6})
    train_and_evaluate(config, tmp_path)
    before = lines(tmp_path)
    train_and_evaluate(config, tmp_path)
    assert lines(tmp_path) == before
    config.train.steps = 8
    state = train_and_evaluate(config, tmp_path)
    assert int(state.step) == 8
    assert "resumed from step 6" in capsys.readouterr().out


def test_resume_rejects_other_learning_rate(tmp_path, run_config):
    config = run_config({"train.steps": 5})
    train_and_evaluate(config, tmp_path)
    config.optim.learning_rate = 0.5
    with pytest.raises(UserError, match=r"(?s)optim.learning_rate: 0.001 -> 0.5.*another --workdir"):
        train_and_evaluate(config, tmp_path)


def test_nonfinite_loss_ends_run_and_keeps_good_checkpoint(tmp_path, run_config):
    config = run_config(
        {"train.steps": 8, "train.checkpoint_every": 1, "optim.name": "sgd", "optim.learning_rate": 1e30}
    )
    with pytest.raises(UserError, match=r"not finite at step 1\. .*optim.learning_rate"):
        train_and_evaluate(config, tmp_path)
    assert all_steps(tmp_path / "checkpoints") == [1]
    state, _ = load_raw(tmp_path / "checkpoints" / "1")
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state["params"]))


@pytest.mark.parametrize(
    ("metric", "values"),
    [
        ("sequence_accuracy", [0.5, 0.9, 0.7]),
        ("sequence_accuracy", [0.9, 0.9, 0.5]),  # of two equal values the later step
        ("localization_error", [3.0, 1.0, 2.0]),
    ],
    ids=["accuracy", "tie", "error"],
)
def test_best_checkpoint_is_kept_and_found(tmp_path, run_config, monkeypatch, metric, values):
    left = iter(values)

    def evaluated(evaluator, variables, *_):
        nothing = jax.device_get(evaluator._zero(variables))
        summary = eval_metrics.summarize(nothing, localizes=True, has_logits=False)
        return summary | {"sequence_accuracy": 0.0, "localization_error": 0.0, metric: next(left)}

    monkeypatch.setattr(Evaluator, "evaluate", evaluated)
    monkeypatch.setattr(Evaluator, "example_sheets", lambda *_: {})
    changes = {"train.steps": 6, "evaluate.every": 2, "train.checkpoint_every": 6, "evaluate.splits": ()}
    train_and_evaluate(run_config({**changes, "train.keep_checkpoints": 1, "train.best_metric": metric}), tmp_path)
    assert find_checkpoint(tmp_path, "best").name == "4"
    assert all_steps(tmp_path / "checkpoints") == [4, 6]
    _, meta = load_raw(find_checkpoint(tmp_path, "latest"))
    assert meta["best"] == {"step": 4, "metric": metric, "value": values[1]}


@pytest.mark.slow
def test_provenance_lists_every_training_part(tmp_path, run_config):
    config = run_config({"train.steps": 5})
    train_and_evaluate(config, tmp_path)
    train_and_evaluate(config, tmp_path)  # finished: nothing is trained, so nothing is added
    config.train.steps = 6
    train_and_evaluate(config, tmp_path)
    provenance = json.loads((tmp_path / "provenance.json").read_text())
    assert [entry["step"] for entry in provenance] == [0, 5]
    assert provenance[0]["versions"]["jax"] == jax.__version__
    report = json.loads((tmp_path / "evaluation" / "validation.json").read_text())
    assert (report["step"], report["examples"], report["split"]) == (6, 40, "validation")
    assert (tmp_path / "evaluation" / "validation.png").read_bytes().startswith(b"\x89PNG")


def test_failed_start_does_not_block_workdir(tmp_path, run_config):
    unreachable = run_config(
        {"data.digits": "mnist", "data.folder": str(tmp_path / "none"), "data.url": "http://127.0.0.1:9"}
    )
    with pytest.raises(UserError, match="could not be downloaded"):
        train_and_evaluate(unreachable, tmp_path / "run")
    train_and_evaluate(run_config({"train.steps": 1}), tmp_path / "run")


def test_workdir_rejects_second_run(tmp_path, run_config):
    lock = Lock(tmp_path)
    with pytest.raises(UserError, match=rf"is in use by another run: process {os.getpid()} on"):
        train_and_evaluate(run_config({}), tmp_path)
    lock.release()


def test_unwritable_workdir_is_rejected(tmp_path, run_config):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be used.*Name a folder that can be written"):
        train_and_evaluate(run_config({}), tmp_path / "file" / "workdir")
    if os.geteuid() != 0:
        (tmp_path / "closed").mkdir(mode=0o500)
        with pytest.raises(UserError, match="cannot be used.*Permission denied"):
            train_and_evaluate(run_config({}), tmp_path / "closed" / "workdir")


def test_input_stats_are_measured_once_and_kept(tmp_path, run_config):
    config = run_config({"train.steps": 2, "model.pixels": "per_pixel", "evaluate.splits": ()})
    first = train_and_evaluate(config, tmp_path).input_stats
    assert 0 < float(first["pixels"]["mean"].mean()) < 255
    config.train.steps = 3
    resumed = train_and_evaluate(config, tmp_path).input_stats
    assert jax.tree.all(jax.tree.map(np.array_equal, first, resumed))


@pytest.mark.slow
def test_training_on_small_canvases_evaluates_full_size(small_config, tmp_path):
    config = small_config(
        {
            "data.train_height": 32,
            "data.train_width": 88,
            "data.height": 48,
            "data.train_min_length": 2,
            "evaluate.splits": ("train", "test"),
        }
    )
    state = train_and_evaluate(config, tmp_path)
    full = create_source(as_evaluated(config), "train")
    trained_on = create_source(config, "train").spec
    assert (trained_on.image, trained_on.min_length, trained_on.max_length) == ((32, 88, 1), 2, 3)
    assert (full.spec.min_length, create_source(config, "validation").spec.min_length) == (1, 1)
    assert full.spec.image == create_source(config, "test").spec.image == (48, 96, 1)
    report = json.loads((tmp_path / "evaluation" / "train.json").read_text())
    step = PredictStep(config, build(config, full.spec))
    metrics = Evaluator(step, full, Devices()).evaluate(state.variables(), None, "train")
    assert metrics["localization_error"] == pytest.approx(report["localization_error"])
    make = jax.jit(partial(full.make, key=jax.random.key(0), train=False))
    batch = make(full.arrays, next(full.all(200)))
    box = np.asarray(bx.enclosing_box(batch.boxes, batch.digits != NO_DIGIT))[np.asarray(batch.mask)]
    np.testing.assert_allclose(state.input_stats["mean_box"], box.mean(0), rtol=1e-4)


def test_the_hook_ends_a_run_after_its_evaluation(small_config, tmp_path):
    seen = []

    def ends(step, score):
        seen.append((step, score))
        return step == 2

    state = train_and_evaluate(small_config(), tmp_path, on_evaluation=ends)
    assert int(state.step) == 2
    assert [step for step, _ in seen] == [2]
    assert all_steps(checkpoints_folder(tmp_path)) == [2]
    assert not (tmp_path / "evaluation").exists()
    assert int(train_and_evaluate(small_config(), tmp_path).step) == 4  # the run itself can be continued
