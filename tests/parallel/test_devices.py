"""jit and pmap, on any number of devices, train and evaluate as one device does; a run may be resumed with the other."""

import json
import os
import subprocess
import sys
from functools import cache, partial

import jax
import numpy as np
import pytest
from conftest import ROOT, production_compiler

from seqdigits.config.defaults import base_config
from seqdigits.data.create import create_source
from seqdigits.evaluation.evaluator import Evaluator
from seqdigits.inference.predict_step import PredictStep
from seqdigits.metrics import averages
from seqdigits.metrics.matching import match_predictions
from seqdigits.models.build import build
from seqdigits.parallel.devices import PARALLEL, Devices
from seqdigits.training.train_step import TrainStep

COUNTS = (1, 3, *(pytest.param(count, marks=pytest.mark.slow) for count in (4, 8)))


def config_of(parallel, **changes):
    """Two convolutions with norms, heads, a box head and L2, on 32x64 images of 1 or 2 digits; 21 validation examples."""
    config = base_config()
    config.parallel = parallel
    config.data.digits, config.data.height, config.data.width = "uci", 32, 64
    config.data.min_length, config.data.max_length, config.data.rotation = 1, 2, 15
    config.data.train_examples, config.data.validation_examples = 70, 21
    config.model.name = "heads"
    config.model.encoder = "conv 5x5x4 /2, norm, relu, conv 3x3x8 /2, relu, norm shift, pool 2, dense 24, relu"
    config.model.localize = True
    config.loss.digits, config.loss.box = 1.0, 0.01
    config.loss.l2, config.loss.l2_params = 0.01, "encoder/.*/kernel"
    config.evaluate.batch_size = 10
    config.update_from_flattened_dict(changes)
    return config


def six_steps(parallel, **changes):
    """Variables, sums and metrics after six steps of 50 examples and an evaluation, on all devices of this process."""
    config = config_of(parallel, **changes)
    devices, source = Devices(parallel), create_source(config, "train")
    steps = TrainStep(config, build(config, source.spec, devices.axis))
    per_call = config.train.steps_per_call
    train = devices.compile_step(partial(steps.train, source=source), donate=0, stacked=per_call > 1)
    state, arrays = devices.jit(partial(steps.init, source))(), devices.replicate(source.arrays)
    batches = source.batches(0, config.train.batch_size)
    for _ in range(6 // per_call):
        if per_call == 1:
            host_batch = devices.shard_batch(next(batches))
            assert len({str(shard.index) for shard in host_batch["index"].addressable_shards}) == devices.count
        else:
            steps_of_call = [next(batches) for _ in range(per_call)]
            stack = {k: np.stack([h[k] for h in steps_of_call]) for k in steps_of_call[0]}
            host_batch = devices.shard_batch(stack, stacked=True)
        state = train(state, arrays, host_batch)
    assert all(leaf.sharding.is_fully_replicated for leaf in jax.tree.leaves(state))
    predict_step = PredictStep(config, steps.model)
    evaluator = Evaluator(predict_step, create_source(config, "validation"), devices)
    metrics = evaluator.evaluate(state.variables(), None, "validation")
    for is_right in (True, False):
        kept, prediction = evaluator.examples(state.variables(), is_right=is_right)
        rows = kept.index >= 0
        assert (np.asarray(match_predictions(kept, prediction).exact_match)[rows] == is_right).all()
        assert rows.sum() == round(
            (metrics["sequence_accuracy"] if is_right else 1 - metrics["sequence_accuracy"]) * metrics["examples"]
        )
    variables = {"params": state.params, "batch_stats": state.batch_stats}
    return jax.device_get(variables), averages.compute(state.sums), metrics


def write_six_steps(target):
    """Writes the results of jit and pmap to a file. Other numbers of devices need their own process."""
    content = {}
    for parallel in PARALLEL:
        variables, sums, metrics = six_steps(parallel)
        for path, leaf in jax.tree_util.tree_leaves_with_path(variables):
            content[f"{parallel} {jax.tree_util.keystr(path)}"] = leaf
        content[f"{parallel} logged"] = json.dumps([sums, metrics])
        if jax.device_count() == 3:
            changes = {"train.steps_per_call": 2, "optim.moving_average": 0.9, "optim.clip_norm": 1.0}
            _, sums, metrics = six_steps(parallel, **changes, **{"optim.freeze": "encoder/Conv_0/.*"})
            content[f"{parallel} two_steps_per_call"] = json.dumps([sums, metrics["cross_entropy"]])
    np.savez(target, **content)


@pytest.fixture(scope="module", autouse=True)
def optimized_programs():
    """Without optimizations the results of three devices differ from those of one."""
    with production_compiler():
        yield


@pytest.fixture(scope="module")
def over_devices(tmp_path_factory):
    """`over_devices(3)`: results of six_steps on 3 devices by "jit" and "pmap", and "two_steps_per_call" of both."""
    folder = tmp_path_factory.mktemp("devices")

    @cache
    def results(count):
        target = folder / f"{count}.npz"
        if count == jax.device_count():
            write_six_steps(target)
        else:
            flags = f"--xla_force_host_platform_device_count={count}"
            env = {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags, "JAX_DISABLE_MOST_OPTIMIZATIONS": "0"}
            if jax.config.jax_compilation_cache_dir:
                env["JAX_COMPILATION_CACHE_DIR"] = jax.config.jax_compilation_cache_dir
                env["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.3"
            path = [str(ROOT / "tests"), str(ROOT / "tests" / "parallel")]
            code = f"import sys; sys.path[:0] = {path}; import test_devices as t; t.write_six_steps({str(target)!r})"
            done = subprocess.run([sys.executable, "-c", code], env=env, cwd=ROOT, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
        two_steps_per_call, result = {}, {}
        with np.load(target) as values:
            for parallel in PARALLEL:
                mine = {k.removeprefix(f"{parallel} "): v for k, v in values.items() if k.startswith(parallel)}
                two_steps_per_call[parallel] = json.loads(str(mine.pop("two_steps_per_call", "null")))
                result[parallel] = (mine, *json.loads(str(mine.pop("logged"))))
        return result | {"two_steps_per_call": two_steps_per_call}

    return results


@pytest.mark.parametrize("parallel", PARALLEL)
@pytest.mark.parametrize("count", COUNTS)
def test_step_on_many_devices_equals_one_device(over_devices, count, parallel):
    """Adam, norms and L2, with a batch of 50, which 3, 4 and 8 devices do not divide."""
    variables, sums, _ = over_devices(count)[parallel]
    expected, expected_sums, _ = over_devices(1)["jit"]
    assert variables.keys() == expected.keys()
    for name, value in variables.items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-6, atol=1e-5, err_msg=name)
    assert set(sums) == {"loss", "loss/digits", "loss/box", "loss/l2", "gradient_norm"}
    assert sums == pytest.approx(expected_sums, rel=1e-4)


@pytest.mark.parametrize("parallel", PARALLEL)
@pytest.mark.parametrize("count", COUNTS)
def test_evaluation_counts_every_example_once(over_devices, count, parallel):
    _, _, metrics = over_devices(count)[parallel]
    _, _, expected = over_devices(1)["jit"]
    assert metrics["examples"] == 21
    assert np.sum(metrics["confusion"]) == 42
    assert metrics["confusion"] == expected["confusion"]
    for name in ("localization_error", "iou", "cross_entropy"):
        assert metrics[name] == pytest.approx(expected[name], rel=1e-4)


def test_clipping_freezing_and_ema_agree_under_jit_and_pmap(over_devices):
    (sums, entropy), (sums_pmap, entropy_pmap) = (
        over_devices(3)["two_steps_per_call"][parallel] for parallel in PARALLEL
    )
    assert sums_pmap == pytest.approx(sums, rel=1e-4)
    assert entropy_pmap == pytest.approx(entropy, rel=1e-4)


@pytest.mark.parametrize("parallel", PARALLEL)
def test_two_steps_per_call_equal_two_calls(over_devices, parallel):
    variables, sums, _ = six_steps(parallel, **{"train.steps_per_call": 2})
    expected, expected_sums, _ = over_devices(1)["jit"]
    for path, leaf in jax.tree_util.tree_leaves_with_path(variables):
        name = jax.tree_util.keystr(path)
        np.testing.assert_allclose(leaf, expected[name], rtol=0, atol=1e-5, err_msg=name)
    assert sums == pytest.approx(expected_sums, rel=1e-4)


def test_dropout_differs_between_jit_and_pmap():
    """Under pmap the dropout key depends on the device, even if there is only one."""
    changes = {"model.encoder": "conv 8x8x8 /8, relu, dropout 0.5"}
    changes |= {"loss.l2": 0.0, "loss.l2_params": "", "optim.learning_rate": 0.0}
    (_, one, _), (_, other, _) = (six_steps(parallel, **changes) for parallel in PARALLEL)
    assert one["loss"] != other["loss"]


def test_shard_batch_pads_each_step_of_a_stack():
    devices = Devices()
    devices.count = 4  # as if there were four; the only device holds all shards
    host_batch = {
        "index": np.arange(12, dtype=np.int32).reshape(2, 6),
        "position": np.arange(5, 17, dtype=np.int32).reshape(2, 6),
    }
    split = devices.shard_batch(host_batch, stacked=True)
    np.testing.assert_array_equal(split["index"], [[0, 1, 2, 3, 4, 5, -1, -1], [6, 7, 8, 9, 10, 11, -1, -1]])
    # Everything but index is padded with the first row.
    np.testing.assert_array_equal(split["position"], [[5, 6, 7, 8, 9, 10, 5, 5], [11, 12, 13, 14, 15, 16, 11, 11]])


FLAGS = {
    "data.digits": "uci",
    "data.height": 32,
    "data.width": 64,
    "data.min_length": 1,
    "data.max_length": 2,
    "data.train_examples": 50,
    "data.validation_examples": 21,
    "model.encoder": "conv 5x5x8 /2, norm, relu, conv 3x3x8 /2, relu, pool 2, dropout 0.2",
    "model.pixels": "per_pixel",
    "model.gru_units": 16,
    "model.box_head": "dense 16, relu",
    "optim.moving_average": 0.9,
    "evaluate.curves": "()",
    "train.batch_size": 6,  # which four devices do not divide
    "train.log_every": 4,
    "train.checkpoint_every": 4,
    "evaluate.every": 4,
    "evaluate.batch_size": 10,
    "evaluate.splits": "('validation',)",
}


def run(workdir, parallel, devices, steps):
    command = [sys.executable, "-m", "seqdigits.main", "--config", str(ROOT / "configs" / "canvas_weighted.py")]
    command += ["--workdir", str(workdir), f"--config.train.steps={steps}", f"--config.parallel={parallel}"]
    command += [f"--config.{key}={value}" for key, value in FLAGS.items()]
    env = {**os.environ, "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}", "JAX_PLATFORMS": "cpu"}
    result = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert f"on {devices} cpu device(s)" in result.stdout
    return json.loads((workdir / "evaluation" / "validation.json").read_text())


@pytest.mark.slow
@pytest.mark.parametrize("parallel", PARALLEL)
def test_run_resumes_on_other_devices_and_with_the_other_mode(tmp_path, parallel):
    """The train command with a GRU, dropout, norms, per-pixel statistics, a box head and EMA."""
    one, four = run(tmp_path / "one", "jit", 1, 4), run(tmp_path / "four", parallel, 4, 4)
    assert four["examples"] == 21
    if parallel == "jit":  # pmap draws other dropout masks
        for name in ("sequence_accuracy", "localization_error", "iou", "cross_entropy"):
            assert four[name] == pytest.approx(one[name], rel=1e-4)
        assert four["confusion"] == one["confusion"]
    on_four, on_one = run(tmp_path / "one", parallel, 4, 8), run(tmp_path / "four", "jit", 1, 8)
    assert on_four["step"] == on_one["step"] == 8
    if parallel == "jit":
        assert on_four["cross_entropy"] == pytest.approx(on_one["cross_entropy"], rel=1e-4)
