"""Beginning with what another run learned; frozen parameters stay to the bit; files of weights."""

import json

import jax
import numpy as np
import pytest

from seqdigits import params, transfer, weights
from seqdigits.config import to_json
from seqdigits.errors import UserError
from seqdigits.evaluate import evaluate_checkpoint
from seqdigits.train import train_and_evaluate

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
    """A run that learned digits: its workdir and its last state."""
    workdir = tmp_path_factory.mktemp("first")
    return workdir, train_and_evaluate(small_config(HEADS), workdir)


def test_the_second_stage_trains_the_box_head_alone(small_config, first, tmp_path, capsys):
    workdir, learned = first
    config = small_config(BOX | {"init.path": f"{workdir}/checkpoints/4"})
    state = train_and_evaluate(config, tmp_path)
    before, after = leaves(learned.params), leaves(state.params)
    assert set(after) - set(before) == {f"box_head/Dense_{i}/{name}" for i in (0, 1) for name in ("kernel", "bias")}
    for name, value in before.items():
        np.testing.assert_array_equal(after[name], value, err_msg=name)  # no gradient, no decay
    for name, value in leaves(learned.batch_stats).items():
        np.testing.assert_array_equal(leaves(state.batch_stats)[name], value, err_msg=name)
        np.testing.assert_array_equal(leaves(state.average["batch_stats"])[name], value, err_msg=name)
    for name, value in leaves(learned.input_stats).items():
        np.testing.assert_array_equal(leaves(state.input_stats)[name], value, err_msg=name)
    said = capsys.readouterr().out
    assert f"taken from {workdir}/checkpoints/4: encoder/Conv_0/kernel, " in said
    assert "begins anew: box_head/Dense_0/bias, " in said


def test_the_box_head_learned(small_config, first, tmp_path):
    config = small_config(BOX | {"init.path": str(first[0]), "train.steps": 2})
    begun = leaves(train_and_evaluate(config, tmp_path).params)
    config.train.steps = 4
    later = leaves(train_and_evaluate(config, tmp_path).params)
    assert np.abs(later["box_head/Dense_1/bias"] - begun["box_head/Dense_1/bias"]).max() > 0


def test_a_run_that_goes_on_does_not_begin_anew(small_config, first, tmp_path, capsys):
    config = small_config(HEADS | {"init.path": str(first[0]), "train.steps": 2})
    train_and_evaluate(config, tmp_path)
    capsys.readouterr()
    config.train.steps = 4
    train_and_evaluate(config, tmp_path)
    said = capsys.readouterr().out
    assert "going on from step 2" in said
    assert "taken from" not in said


def test_a_workdir_means_its_best_checkpoint(first):
    workdir, _ = first
    best = json.loads((workdir / "checkpoints" / "4" / "manifest.json").read_text())["meta"]["best"]["step"]
    _, meta = transfer.load(workdir)
    assert meta["step"] == best


def test_another_pixel_layer_measures_its_statistics_anew(small_config, first, tmp_path):
    config = small_config(HEADS | {"init.path": str(first[0]), "init.params": "head.*", "data.width": 96, "seed": 3})
    config.model.pixels = "unit"
    assert train_and_evaluate(config, tmp_path).input_stats == {}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"init.path": "/nowhere/at/all"}, "there is nothing at /nowhere/at/all"),
        ({"init.path": "/nowhere/w.npz"}, "there is no file of weights"),
        ({"init.params": "conv.*"}, "init.params = 'conv.*' takes nothing from"),
        ({"data.height": 40}, "takes head_0/Dense_0/kernel, which is .* Narrow the pattern"),
        ({"optim.freeze": "encoder"}, "optim.freeze = 'encoder' fits no parameter. It must fit the whole name"),
        ({"loss.l2": 1.0, "loss.l2_params": "kernel"}, "loss.l2_params = 'kernel' fits no parameter"),
    ],
)
def test_what_cannot_be_taken_is_refused(small_config, first, tmp_path, changes, message):
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


def test_weights_come_back_in_half_precision_statistics_whole(weights_file):
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


def test_weights_can_be_evaluated_and_begun_with(small_config, first, weights_file, tmp_path):
    path, _ = weights_file
    config = small_config(HEADS)
    of_file = evaluate_checkpoint(config, tmp_path, which=str(path), splits=("validation",))
    of_run = evaluate_checkpoint(config, first[0], which="4", splits=("validation",))
    assert of_file["validation"]["cross_entropy"] == pytest.approx(of_run["validation"]["cross_entropy"], rel=1e-2)
    state = train_and_evaluate(
        small_config(HEADS | {"init.path": str(path), "optim.learning_rate": 0.0}), tmp_path / "w"
    )
    kernel = leaves(weights.load(path)[0])["params/head_0/Dense_0/kernel"]
    np.testing.assert_array_equal(leaves(state.params)["head_0/Dense_0/kernel"], kernel)


@pytest.mark.parametrize("damage", ["flip", "cut", "text"])
def test_a_damaged_file_of_weights_is_refused(weights_file, damage):
    path, _ = weights_file
    data = bytearray(path.read_bytes())
    if damage == "flip":
        data[len(data) // 2] ^= 1
    path.write_bytes(b"hello" if damage == "text" else data[: len(data) // 2] if damage == "cut" else data)
    with pytest.raises(UserError, match="is not a file of weights, or damaged"):
        weights.load(path)
