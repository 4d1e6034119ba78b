"""Gradient accumulation gives the gradient of the whole batch, under jit and pmap, on any number of devices."""

import os
import subprocess
import sys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import ROOT, SMALL

from seqdigits.config.defaults import base_config
from seqdigits.core import boxes as bx
from seqdigits.core.constants import NO_DIGIT
from seqdigits.core.rng import RngStream, stream_key
from seqdigits.core.types import Batch
from seqdigits.data.create import create_source
from seqdigits.models import losses
from seqdigits.models.build import build
from seqdigits.parallel.devices import PARALLEL, Devices
from seqdigits.training.accumulate import accumulate
from seqdigits.training.train_step import TrainStep

PLAIN = {"model.encoder": "conv 5x5x8 /2, relu, conv 3x3x8 /2, relu, conv 3x3x16 /2, relu"}
BATCH = {"loss.normalizer": "batch"}
L2 = {"loss.l2": 0.01, "loss.l2_params": "encoder/.*/kernel"}


def one_step(parallel, parts, rows=10, **changes):
    """Returns the state before and after a step of 10 examples, with a learning rate of 1; `rows` leaves some out."""
    config = base_config()
    sgd = {"optim.name": "sgd", "optim.learning_rate": 1.0, "train.batch_size": 10, "train.accumulate": parts}
    config.update_from_flattened_dict(SMALL | sgd | {"parallel": parallel} | changes)
    devices, source = Devices(parallel), create_source(config, "train")
    step = TrainStep(config, build(config, source.spec, devices.axis))
    host_batch = next(source.batches(0, 10))
    host_batch["index"] = np.where(np.arange(10) < rows, host_batch["index"], -1)
    state = devices.jit(partial(step.init, source))()
    train = devices.compile_step(partial(step.train, source=source))
    return state, train(state, devices.replicate(source.arrays), devices.shard_batch(host_batch))


def gradient(parallel, parts, **changes):
    """Returns the gradient of the step by name, with its loss, its term of the cells, and the number of examples."""
    before, after = jax.device_get(one_step(parallel, parts, **PLAIN, **L2, **changes))
    steps = jax.tree.map(np.subtract, before.params, after.params)
    named = {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(steps)}
    cells = after.sums["loss/cells"]
    assert cells.count == 10
    return named | {"loss": after.sums["loss"].total, "loss/cells": cells.total / cells.count}


def write_gradients(target):
    """Writes the gradients of jit and pmap on all devices of this process, accumulated over 5 micro-batches."""
    found = {f"{parallel} {k}": v for parallel in PARALLEL for k, v in gradient(parallel, 5, **BATCH).items()}
    np.savez(target, **found)


def assert_close(found, expected):
    assert found.keys() == expected.keys()
    for name, value in found.items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-5, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("parallel", PARALLEL)
@pytest.mark.parametrize(("parts", "changes"), [(2, {}), (10, {}), (10, BATCH)], ids=["2", "10", "10-batch"])
def test_gradient_equals_that_of_the_whole_batch(parallel, parts, changes):
    assert_close(gradient(parallel, parts, **changes), gradient("jit", 1, **changes))


def test_gradient_on_three_devices_equals_one_device(tmp_path):
    """Each device has 4 rows, some of them padding, which 5 micro-batches do not divide."""
    flags = "--xla_force_host_platform_device_count=3"
    env = {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags}
    path, target = [str(ROOT / "tests"), str(ROOT / "tests" / "training")], tmp_path / "three.npz"
    code = f"import sys; sys.path[:0] = {path}; import test_accumulate as t; t.write_gradients({str(target)!r})"
    done = subprocess.run([sys.executable, "-c", code], env=env, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    expected = gradient("jit", 1, **BATCH)
    with np.load(target) as found:
        for parallel in PARALLEL:
            assert_close(
                {k.removeprefix(f"{parallel} "): v for k, v in found.items() if k.startswith(parallel)}, expected
            )


@pytest.mark.parametrize("parallel", PARALLEL)
def test_norms_use_the_statistics_of_each_micro_batch(parallel):
    """By hand: rows 0, 2, 4, .. and then 1, 3, 5, .., with running statistics that the first half has updated."""
    before, after = one_step(parallel, 2)
    config = base_config()
    config.update_from_flattened_dict(SMALL)
    source = create_source(config, "train")
    model, host_batch = build(config, source.spec), next(source.batches(0, 10))
    arrays = jax.device_put(source.arrays)
    key = stream_key(config.seed, RngStream.AUGMENT)

    def half(variables, host_batch):
        batch = source.make(arrays, host_batch, key, train=True)

        def loss(params):
            outputs, updated = model.apply(
                {**variables, "params": params}, batch.image, train=True, mask=batch.mask, mutable=["batch_stats"]
            )
            box = bx.enclosing_box(batch.boxes, batch.digits != NO_DIGIT)
            terms = losses.loss_terms(outputs, batch, box, config.loss)
            return losses.total_loss(terms, batch.mask, 10, config.loss), updated["batch_stats"]

        return jax.grad(loss, has_aux=True)(variables["params"])

    variables = {"params": before.params, "batch_stats": before.batch_stats, "input_stats": before.input_stats}
    total = jax.tree.map(np.zeros_like, before.params)
    for start in (0, 1):
        grads, variables["batch_stats"] = jax.jit(half)(variables, {k: v[start::2] for k, v in host_batch.items()})
        total = jax.tree.map(np.add, total, grads)
    updated = jax.tree.map(np.subtract, before.params, total)
    for found, by_hand in ((after.params, updated), (after.batch_stats, variables["batch_stats"])):
        for x, y in zip(jax.tree.leaves(found), jax.tree.leaves(by_hand), strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-5)


def test_micro_batch_without_an_example_updates_no_statistics():
    """Of 10 micro-batches of one row, the first 3 have an example."""
    _, with_empty = one_step("jit", 10, rows=3)
    _, without = one_step("jit", 5, rows=3)
    for x, y in zip(jax.tree.leaves(with_empty.batch_stats), jax.tree.leaves(without.batch_stats), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("rows", [8, 6])
def test_adjacent_rows_stay_together(rows):
    def gradient_of(params, batch_stats, batch, box, dropout):
        of_odd_rows = jnp.sum(batch.mask * (batch.index % 2)) / jnp.sum(batch.mask)
        terms = {"row": batch.index.astype(jnp.float32), "odd": jnp.broadcast_to(of_odd_rows, batch.index.shape)}
        return (jnp.zeros(()), (terms, batch_stats)), params

    index = jnp.arange(rows)
    batch = Batch(image=index, digits=index, boxes=index, index=index)
    inputs = ({"w": jnp.zeros(())}, {}, batch, jnp.zeros((rows, 4)), jax.random.key(0))
    (_, (terms, _)), _ = accumulate(gradient_of, 2, *inputs, group=2)
    assert terms["row"].tolist() == index.tolist()
    assert (terms["odd"] == 0.5).all(), "an even and an odd row of each pair"
    (_, (terms, _)), _ = accumulate(gradient_of, 2, *inputs)
    assert terms["row"].tolist() == index.tolist()
    assert terms["odd"].tolist() == (index % 2).tolist()
