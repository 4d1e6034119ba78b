"""Initialization from another run, frozen parameters, and files of weights."""

import json

import jax
import numpy as np
import pytest

from seqdigits.checkpoint import weights
from seqdigits.checkpoint.load import load_variables
from seqdigits.checkpoint.manifest import read_meta
from seqdigits.config.saved import to_json
from seqdigits.core import params
from seqdigits.core.errors import UserError
from seqdigits.data.create import create_source
from seqdigits.evaluation.evaluate import evaluate_checkpoint
from seqdigits.models.build import build
from seqdigits.training.loop import train_and_evaluate

HEADS = {
    "model.name": "heads",
    "model.pixels": "per_pixel",
    "model.encoder": "conv 8x8x8 /8, norm, relu",
    "loss.cells": 0.0,
    "loss.cell_boxes": 0.0,
    "loss.digits": 1.0,
    "evaluate.splits": ("validation",),
}
BOX = HEADS | {
    "model.localize": True,
    "model.box_head": "dense 8, relu",
    "loss.digits": 0.0,
    "loss.box": 1.0,
    "init.params": "encoder/.*|head_.*",
    "optim.freeze": "encoder/.*|head_.*",
    "optim.name": "adamw",
    "optim.weight_decay": 0.1,
    "optim.moving_average": 0.9,
}


def leaves(tree):
    return dict(zip(params.names(tree), jax.tree.leaves(jax.device_get(tree)), strict=True))


@pytest.fixture(scope="module")
def first(small_config, tmp_path_factory):
    """A run trained on digits: its workdir and its last state."""
    workdir = tmp_path_factory.mktemp("first")
    return workdir, train_and_evaluate(small_config(HEADS), workdir)


@pytest.mark.slow
def test_second_stage_trains_only_the_box_head(small_config, first, tmp_path, capsys):
    workdir, learned = first
    config = small_config(BOX | {"init.path": f"{workdir}/checkpoints/4"})
    state = train_and_evaluate(config, tmp_path)
    before, after = leaves(learned.params), leaves(state.params)
    assert set(after) - set(before) == {f"box_head/Dense_{i}/{name}" for i in (0, 1) for name in ("kernel", "bias")}
    for name, value in before.items():
        np.testing.assert_array_equal(after[name], value, err_msg=name)  # neither gradient nor decay
    for name, value in leaves(learned.batch_stats).items():
        np.testing.assert_array_equal(leaves(state.batch_stats)[name], value, err_msg=name)
        np.testing.assert_array_equal(leaves(state.average["batch_stats"])[name], value, err_msg=name)
    for name, value in leaves(learned.input_stats).items():
        np.testing.assert_array_equal(leaves(state.input_stats)[name], value, err_msg=name)
    output = capsys.readouterr().out
    assert f"initialized from {workdir}/checkpoints/4: encoder/.* (" in output
    assert "randomly initialized: box_head/.* (4)" in output


@pytest.mark.slow
def test_second_stage_changes_the_box_head(small_config, first, tmp_path):
    config = small_config(BOX | {"init.path": str(first[0]), "train.steps": 2})
    early = leaves(train_and_evaluate(config, tmp_path).params)
    config.train.steps = 4
    later = leaves(train_and_evaluate(config, tmp_path).params)
    assert np.abs(later["box_head/Dense_1/bias"] - early["box_head/Dense_1/bias"]).max() > 0


def test_resumed_run_is_not_initialized_again(small_config, first, tmp_path, capsys):
    config = small_config(HEADS | {"init.path": str(first[0]), "train.steps": 2})
    train_and_evaluate(config, tmp_path)
    capsys.readouterr()
    config.train.steps = 4
    train_and_evaluate(config, tmp_path)
    output = capsys.readouterr().out
    assert "resumed from step 2" in output
    assert "initialized from" not in output
    for step in ("2", "4"):  # the record is kept
        record = read_meta(tmp_path / "checkpoints" / step)["initialized_from"]
        assert (record["path"], record["config"]["model"]["encoder"]) == (str(first[0]), HEADS["model.encoder"])


@pytest.mark.slow
def test_resume_without_config_file_compares_the_checkpoint(small_config, tmp_path):
    config = small_config({"train.steps": 2})
    train_and_evaluate(config, tmp_path)
    (tmp_path / "config.json").unlink()
    config.train.steps, config.seed = 4, 7
    with pytest.raises(UserError, match="(?s)may not change when a run is resumed:.*seed: 0 -> 7"):
        train_and_evaluate(config, tmp_path)
    assert not (tmp_path / "config.json").exists()
    config.seed = 0
    train_and_evaluate(config, tmp_path)


def test_load_variables_takes_the_best_checkpoint(first):
    workdir, _ = first
    best = json.loads((workdir / "checkpoints" / "4" / "manifest.json").read_text())["meta"]["best"]["step"]
    _, meta = load_variables(workdir)
    assert meta["step"] == best


@pytest.mark.slow
def test_pixel_statistics_are_taken_with_the_encoder_only(small_config, first, tmp_path):
    """On other images, where measured statistics differ from those that are taken."""
    workdir, learned = first
    other = HEADS | {"init.path": str(workdir), "train.steps": 1, "data.min_length": 2, "data.seed": 9}
    of_first = leaves(learned.input_stats)["pixels/mean"]
    with_encoder = train_and_evaluate(small_config(other), tmp_path / "a")
    np.testing.assert_array_equal(leaves(with_encoder.input_stats)["pixels/mean"], of_first)
    without = small_config(other | {"init.params": "encoder/Conv_0/kernel|head.*"})
    assert (leaves(train_and_evaluate(without, tmp_path / "b").input_stats)["pixels/mean"] == of_first).all()
    head = train_and_evaluate(small_config(other | {"init.params": "head_[01].*"}), tmp_path / "c")
    assert np.abs(leaves(head.input_stats)["pixels/mean"] - of_first).max() > 1


@pytest.mark.slow
def test_mean_box_is_always_measured(small_config, tmp_path):
    """It belongs to the data: a detector returns it where it detects no digit."""
    train_and_evaluate(small_config({"evaluate.splits": ()}), tmp_path / "a")
    other = small_config(
        {"init.path": str(tmp_path / "a"), "data.height": 64, "data.width": 192, "evaluate.splits": ()}
    )
    alone = small_config({"data.height": 64, "data.width": 192, "evaluate.splits": ()})
    boxes = [
        train_and_evaluate(config, tmp_path / str(i)).input_stats["mean_box"] for i, config in enumerate((other, alone))
    ]
    np.testing.assert_array_equal(*boxes)


@pytest.mark.slow
def test_frozen_norm_is_the_same_in_training_and_evaluation(small_config, first):
    _, learned = first
    config = small_config(BOX | {"init.path": "somewhere"})
    source = create_source(config, "train")
    model = build(config, source.spec)
    arrays = jax.tree.map(jax.numpy.asarray, source.arrays)
    batch = source.make(arrays, next(source.all(8)), jax.random.key(0), False)
    variables = model.init(jax.random.key(0), batch.image, train=False, mask=batch.mask)
    taken = {**variables["params"], **learned.params}
    state = {"params": taken, "batch_stats": learned.batch_stats, "input_stats": learned.input_stats}
    plain = model.apply(state, batch.image, train=False, mask=batch.mask)
    training, updated = model.apply(state, batch.image, train=True, mask=batch.mask, mutable=["batch_stats"])
    np.testing.assert_array_equal(plain.digit_logits, training.digit_logits)
    np.testing.assert_array_equal(plain.box, training.box)
    assert leaves(updated["batch_stats"]).keys() == leaves(learned.batch_stats).keys()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"init.path": "/nowhere/at/all"}, "/nowhere/at/all does not exist. Allowed are a workdir, a checkpoint"),
        ({"init.path": __file__}, "test_warm_start.py is a file without the suffix .npz. Allowed are"),
        ({"init.path": "/nowhere/w.npz"}, "there is no file of weights"),
        ({"init.params": "conv.*"}, "init.params = 'conv.*' selects nothing from"),
        ({"data.height": 40}, "selects head_0/Dense_0/kernel, whose shape is .* Narrow the pattern"),
        (
            {"data.height": 40, "init.params": "encoder/.*"},
            "selects the encoder of .* trained on other pixel statistics",
        ),
        ({"optim.freeze": ".*"}, "optim.freeze = '.*' matches every parameter"),
        ({"optim.freeze": "encoder"}, "optim.freeze = 'encoder' matches no parameter. It must match the full name"),
        ({"loss.l2": 1.0, "loss.l2_params": "kernel"}, "loss.l2_params = 'kernel' matches no parameter"),
    ],
)
def test_initialization_refuses_what_does_not_match(small_config, first, tmp_path, changes, message):
    config = small_config(HEADS | {"init.path": str(first[0])} | changes)
    with pytest.raises(UserError, match=message):
        train_and_evaluate(config, tmp_path)


@pytest.fixture
def weights_file(small_config, first, tmp_path):
    _, state = first
    about = {"step": 4, "config": json.loads(to_json(small_config(HEADS)))}
    path = tmp_path / "heads.npz"
    weights.save(path, state.variables(), about, half=True)
    return path, state


def test_weights_load_in_half_precision_except_statistics(weights_file):
    path, state = weights_file
    found, about = weights.load(path)
    assert about["step"] == 4
    for name, value in leaves(state.variables()).items():
        other = leaves(found)[name]
        assert other.dtype == np.float32
        if name.startswith("params/"):
            np.testing.assert_array_equal(other, value.astype(np.float16).astype(np.float32))
        else:
            np.testing.assert_array_equal(other, value)


def test_weights_can_be_evaluated_and_initialized_from(small_config, first, weights_file, tmp_path):
    path, _ = weights_file
    config = small_config(HEADS)
    from_file = evaluate_checkpoint(config, tmp_path, which=str(path), splits=("validation",))
    from_run = evaluate_checkpoint(config, first[0], which="4", splits=("validation",))
    assert from_file["validation"]["cross_entropy"] == pytest.approx(from_run["validation"]["cross_entropy"], rel=1e-2)
    state = train_and_evaluate(
        small_config(HEADS | {"init.path": str(path), "optim.learning_rate": 0.0}), tmp_path / "w"
    )
    kernel = leaves(weights.load(path)[0])["params/head_0/Dense_0/kernel"]
    np.testing.assert_array_equal(leaves(state.params)["head_0/Dense_0/kernel"], kernel)


def test_weights_load_refuses_a_damaged_file(weights_file):
    path, _ = weights_file
    content = path.read_bytes()
    np.save(path.with_suffix(".npy"), np.arange(3))
    for other in (b"", b"hello", content[: len(content) // 2], path.with_suffix(".npy").read_bytes()):
        path.write_bytes(other)
        with pytest.raises(UserError, match=r"is damaged, or not a file of weights \(an .npz of plain arrays\)"):
            weights.load(path)


@pytest.mark.parametrize("about", [{}, [], {"step": 1}])
def test_weights_load_refuses_missing_metadata(tmp_path, about):
    weights.save(tmp_path / "w.npz", {"params": {"a": np.zeros(2)}}, about)
    with pytest.raises(UserError, match="not a file of weights"):
        weights.load(tmp_path / "w.npz")


def test_weights_beyond_half_precision_stay_single(tmp_path):
    values = {"small": np.array([0.5, 2.0], np.float32), "large": np.array([1e5, 1.0], np.float32)}
    weights.save(tmp_path / "w.npz", {"params": values}, {"step": 1, "config": {"model": {}, "data": {}}}, half=True)
    found, _ = weights.load(tmp_path / "w.npz")
    for name, value in values.items():
        np.testing.assert_array_equal(found["params"][name], value)
