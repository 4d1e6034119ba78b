"""Steps that are not finite: skipped and counted, or the end of the run, with its batch and state saved."""

import json
import os
import subprocess
import sys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import ROOT

from seqdigits.checkpoint import weights
from seqdigits.checkpoint.layout import all_steps, load_raw
from seqdigits.core.errors import UserError
from seqdigits.core.progress import Clock
from seqdigits.core.rng import RngStream, stream_key
from seqdigits.data.create import create_source
from seqdigits.models.build import build
from seqdigits.parallel.devices import PARALLEL, Devices
from seqdigits.training import nonfinite
from seqdigits.training.loop import next_call, train_and_evaluate
from seqdigits.training.train_step import TrainStep


@pytest.fixture
def inject(monkeypatch):
    """`inject([3, 4])` makes the loss, or with `of_gradient` a gradient, NaN in these steps."""
    original = TrainStep._gradient

    def at(steps, of_gradient=False):
        def gradient(self, state, batch):
            loss, terms, batch_stats, grads = original(self, state, batch)
            poison = jnp.where(jnp.isin(state.step, jnp.array(steps)), jnp.nan, 0.0)
            if of_gradient:
                return loss, terms, batch_stats, jax.tree.map(lambda g: g + poison, grads)
            terms = {name: term + poison for name, term in terms.items()}
            return loss + poison, terms, jax.tree.map(lambda x: x + poison, batch_stats), grads

        monkeypatch.setattr(TrainStep, "_gradient", gradient)

    return at


def states(config, count, per_call=1, start=None):
    """Returns the states after each call of `per_call` steps."""
    devices, source = Devices(config.parallel), create_source(config, "train")
    step = TrainStep(config, build(config, source.spec, devices.axis))
    train = devices.compile_step(partial(step.train, source=source), stacked=per_call > 1)
    state = devices.jit(partial(step.init, source))() if start is None else start
    batches, arrays = source.batches(int(state.step), config.train.batch_size), devices.replicate(source.arrays)
    result = [state]
    for _ in range(count // per_call):
        result.append(train(result[-1], arrays, next_call(batches, per_call, devices)))
    return result


def assert_equal(a, b, *names):
    for name in names:
        for (path, x), y in zip(
            jax.tree_util.tree_leaves_with_path(getattr(a, name)), jax.tree.leaves(getattr(b, name)), strict=True
        ):
            np.testing.assert_array_equal(x, y, err_msg=name + jax.tree_util.keystr(path))


LEARNED = ("params", "batch_stats", "opt_state", "average")


@pytest.mark.parametrize("parallel", PARALLEL)
@pytest.mark.parametrize("of_gradient", [False, True], ids=["loss", "gradient"])
def test_skipped_step_changes_nothing_and_is_counted(small_config, inject, parallel, of_gradient):
    inject([1], of_gradient)
    config = small_config({"optim.skip_nonfinite": 2, "optim.moving_average": 0.9, "parallel": parallel})
    begin, one, skipped, after = states(config, 3)
    assert_equal(skipped, one, *LEARNED)
    assert [int(s.first_nonfinite) for s in (begin, one, skipped, after)] == [-1, -1, 1, -1]
    assert [int(s.step) for s in (begin, one, skipped, after)] == [0, 1, 2, 3]
    assert_equal(after, states(config, 1, start=skipped)[-1], *LEARNED)
    assert np.any(after.params["digits"]["kernel"] != skipped.params["digits"]["kernel"])
    first, values = nonfinite.compute(jax.device_get(one.sums)), nonfinite.compute(jax.device_get(after.sums))
    assert nonfinite.compute(jax.device_get(skipped.sums)) == {**first, "skipped_steps": 1}
    assert values["skipped_steps"] == 1
    assert "skipped_steps" not in first
    assert all(np.isfinite(value) for value in values.values())


def test_state_no_longer_changes_after_the_last_allowed_step(small_config, inject):
    inject([1, 3, 4])
    config = small_config({"optim.skip_nonfinite": 2})
    result = states(config, 7)
    assert [int(s.first_nonfinite) for s in result] == [-1, -1, 1, -1, 3, 3, 3, 3]
    assert_equal(result[-1], result[3], *LEARNED)


def test_steps_of_one_call_are_skipped_like_single_steps(small_config, inject):
    inject([1, 3, 4])
    config = small_config({"optim.skip_nonfinite": 2})
    single, (_, several) = states(config, 6), states(config, 6, per_call=6)
    assert (int(several.step), int(several.first_nonfinite)) == (6, 3)
    for x, y in zip(jax.tree.leaves(several.params), jax.tree.leaves(single[-1].params), strict=True):
        np.testing.assert_allclose(x, y, rtol=0, atol=1e-5)
    assert nonfinite.compute(jax.device_get(several.sums))["skipped_steps"] == 4  # two of them after the series


@pytest.mark.slow
def test_skipping_on_three_devices():
    """The tests above on three devices, which do not divide the batch."""
    env = {**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=3"}
    selected = ["-m", "not slow", "-k", "changes_nothing or one_call", "-p", "no:xdist"]
    command = [sys.executable, "-m", "pytest", "tests/training/test_nonfinite.py", *selected]
    done = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_log_line_without_averages():
    assert Clock(0.0, 8, 4).line(2, {"skipped_steps": 1}) == "step       2/8  1 steps skipped, not finite"


@pytest.fixture
def run_config(small_config):
    def make(changes):
        steps = {"train.steps": 8, "train.log_every": 1, "train.checkpoint_every": 2, "evaluate.every": 8}
        return small_config({**steps, "evaluate.splits": (), "data.rotation": 10, **changes})

    return make


def lines(workdir):
    entries = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return {line["step"]: line for line in entries if line["split"] == "train"}


def test_run_skips_a_step_and_ends(tmp_path, run_config, inject, capsys):
    inject([4])
    state = train_and_evaluate(run_config({"optim.skip_nonfinite": 2, "train.log_every": 5}), tmp_path)
    assert int(state.step) == 8
    logged = lines(tmp_path)
    assert logged[5]["skipped_steps"] == 1
    assert np.isfinite(logged[5]["loss"])
    assert "skipped_steps" not in logged[8]
    assert "1 steps skipped" in capsys.readouterr().out
    assert not (tmp_path / "nonfinite").exists()


def test_steps_in_a_row_stop_the_run_and_save_batch_and_state(tmp_path, run_config, inject):
    inject([1, 5, 6])
    config = run_config({"optim.skip_nonfinite": 2, "optim.moving_average": 0.9})
    with pytest.raises(UserError, match=r"(?s)not finite at step 5 and in 2 steps in a row.*batch-5.npz.*state-5.npz"):
        train_and_evaluate(config, tmp_path)
    assert "loss" not in lines(tmp_path)[2]  # the only step since the last line was skipped
    assert lines(tmp_path)[6]["skipped_steps"] == 1
    assert all_steps(tmp_path / "checkpoints") == [4, 6]
    variables, about = weights.load(tmp_path / "nonfinite" / "state-5.npz")
    assert about["step"] == 5
    saved, _ = load_raw(tmp_path / "checkpoints" / "6")  # step 5 was skipped, so it has the same parameters
    for x, y in zip(jax.tree.leaves(variables["params"]), jax.tree.leaves(saved["params"]), strict=True):
        np.testing.assert_array_equal(x, y)
    source = create_source(config, "train")
    batches = source.batches(5, 8)
    key = stream_key(config.seed, RngStream.AUGMENT)
    expected = jax.jit(partial(source.make, key=key, train=True))(source.arrays, next(batches))
    with np.load(tmp_path / "nonfinite" / "batch-5.npz", allow_pickle=False) as batch:
        for name in ("image", "digits", "boxes", "index"):
            np.testing.assert_array_equal(batch[name], getattr(expected, name), err_msg=name)

    with pytest.raises(UserError, match="not finite at step 5"):  # the same command stops at the same step
        train_and_evaluate(config, tmp_path)
    assert all_steps(tmp_path / "checkpoints") == [4, 6]
    config.optim.skip_nonfinite = 3
    assert int(train_and_evaluate(config, tmp_path).step) == 8


def test_first_step_stops_the_run_by_default(tmp_path, run_config, inject):
    inject([3])
    config = run_config({})
    with pytest.raises(UserError, match=r"not finite at step 3\. .*batch-3.npz.*optim.skip_nonfinite=3"):
        train_and_evaluate(config, tmp_path)
    assert all_steps(tmp_path / "checkpoints") == [2]
    assert [path.name for path in (tmp_path / "nonfinite").iterdir()] == ["batch-3.npz"]
    config.optim.skip_nonfinite = 1  # repeats the steps since the last checkpoint, and saves the state before step 3
    with pytest.raises(UserError, match="state-3.npz"):
        train_and_evaluate(config, tmp_path)
    variables, _ = weights.load(tmp_path / "nonfinite" / "state-3.npz")
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(variables))
    config.optim.skip_nonfinite = 3
    assert int(train_and_evaluate(config, tmp_path).step) == 8
