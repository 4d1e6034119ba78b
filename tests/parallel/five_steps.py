"""Trains five steps of each kind of source, with jit and pmap, and writes what they were: the data, losses, parameters.

A program: `python tests/parallel/five_steps.py FOLDER TARGET.json`. Several processes are started with the variables of
parallel.distributed; process 0 writes the file. FOLDER holds the custom photos and the records.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from functools import partial
from pathlib import Path

import jax
import numpy as np

from seqdigits.config.defaults import base_config
from seqdigits.core import app
from seqdigits.data.create import create_source
from seqdigits.evaluation.evaluator import Evaluator
from seqdigits.inference.predict_step import PredictStep
from seqdigits.metrics import averages
from seqdigits.metrics.matching import match_predictions
from seqdigits.models.build import build
from seqdigits.parallel import distributed
from seqdigits.parallel.devices import PARALLEL, Devices
from seqdigits.parallel.processes import is_main
from seqdigits.training.train_step import TrainStep

SOURCES = ("virtual", "resident", "streamed")


def config_of(source, folder, parallel="jit"):
    config = base_config()
    config.parallel = parallel
    config.data.height, config.data.width = 32, 64
    config.data.min_length, config.data.max_length = 1, 3
    if source == "resident":
        config.data.composition, config.data.photographs = "photograph", "folder"
        config.data.folder = str(folder / "photos")
    else:
        config.data.digits, config.data.composition = "uci", "canvas"
        config.data.train_examples, config.data.validation_examples, config.data.test_examples = 43, 21, 5
    if source == "streamed":
        config.data.source, config.data.records = "tfrecord", str(folder / "records")
    config.model.name = "heads"
    config.model.encoder = "conv 5x5x4 /2, norm, relu, conv 3x3x8 /2, relu, norm shift, pool 2, dense 24, relu"
    config.model.localize = True
    config.loss.digits, config.loss.box = 1.0, 0.001
    config.train.batch_size, config.evaluate.batch_size = 14, 10  # which 4 and 8 devices do not divide
    return config


def five_steps(config):
    devices, source = Devices(config.parallel), create_source(config, "train")
    step = TrainStep(config, build(config, source.spec, devices.axis))
    train = devices.compile_step(partial(step.train, source=source), donate=0)
    make = devices.jit(lambda arrays, batch: source.make(arrays, batch, jax.random.key(0), train=True))
    state, arrays = devices.jit(partial(step.init, source))(), devices.replicate(source.arrays)
    digest = hashlib.sha256()
    losses = []
    batches = source.batches(0, config.train.batch_size)
    for _ in range(5):
        host_batch = devices.shard_batch(next(batches))
        made = jax.device_get(make(arrays, host_batch))
        rows = made.index >= 0
        assert rows.sum() == config.train.batch_size
        for value in (made.index, made.image, made.digits, made.boxes):
            digest.update(value[rows].tobytes())
        state = train(state, arrays, host_batch)
        losses.append(averages.compute(jax.device_get(state.sums))["loss"])
    evaluator = Evaluator(PredictStep(config, step.model), create_source(config, "validation"), devices)
    metrics = evaluator.evaluate(state.variables(), None, "validation")
    for is_right in (True, False):
        kept, prediction = evaluator.examples(state.variables(), is_right=is_right)
        rows = kept.index >= 0
        assert (np.asarray(match_predictions(kept, prediction).exact_match)[rows] == is_right).all()
        assert rows.sum() == round(
            (metrics["sequence_accuracy"] if is_right else 1 - metrics["sequence_accuracy"]) * metrics["examples"]
        )
    kept = {name: metrics[name] for name in ("examples", "cross_entropy", "localization_error", "confusion")}
    params = [float(np.abs(leaf).sum()) for leaf in jax.tree.leaves(jax.device_get(state.params))]
    return {"data": digest.hexdigest(), "losses": losses, "params": params, "metrics": kept}


def main(stop):
    distributed.connect(distributed.detect(None, None, None, os.environ), stop)
    folder, target = (Path(argument) for argument in sys.argv[1:])
    sources = [name for name in SOURCES if name != "streamed" or (folder / "records").exists()]
    results = {f"{s} {p}": five_steps(config_of(s, folder, p)) for s in sources for p in PARALLEL}
    if is_main():
        target.write_text(json.dumps({"devices": jax.device_count(), "processes": jax.process_count(), **results}))


if __name__ == "__main__":
    app.run("__main__:main")
