"""Measures the speed of an experiment on this machine."""

from __future__ import annotations

import itertools
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from seqdigits.config.defaults import base_config
from seqdigits.core import interrupt, params, provenance
from seqdigits.core.errors import UserError
from seqdigits.core.interrupt import Stop
from seqdigits.core.progress import progress
from seqdigits.core.rng import RngStream, stream_key
from seqdigits.data.create import create_source
from seqdigits.data.half_scenes import check_devices
from seqdigits.data.source import DataSource
from seqdigits.experiments.operations import count_flops
from seqdigits.inference.predict_step import PredictStep
from seqdigits.models.build import build
from seqdigits.parallel.devices import Devices
from seqdigits.training.loop import next_call
from seqdigits.training.train_step import TrainStep


def starts(config_flags: list[str], stop: Stop) -> dict[str, Any]:
    """Measures the seconds of `import seqdigits`, and of a process up to the end of its first training step.

    The latter with an empty and with a filled cache of compiled programs. Each is measured in its own process.

    Raises:
      UserError: it does not run.
      Stopped: `stop` was set.
    """
    code = "import time; t = time.perf_counter(); import seqdigits; print(time.perf_counter() - t)"
    imported = float(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout)
    metrics: dict[str, Any] = {"import_seconds": imported}
    with tempfile.TemporaryDirectory() as folder:
        env = {**os.environ, "JAX_COMPILATION_CACHE_DIR": f"{folder}/compiled"}
        for name in ("cold", "warm"):
            command = [sys.executable, "-m", "seqdigits.main", *config_flags, "--workdir", f"{folder}/{name}"]
            began = time.monotonic()
            process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            assert process.stdout is not None, "stdout is a pipe"
            lines = []
            for line in process.stdout:
                lines.append(line)
                if line.startswith("first step"):
                    metrics[f"first_step_seconds_{name}"] = time.monotonic() - began
                    break
            else:
                raise UserError("the first step was not reached:\n" + "".join(lines).replace("error: ", ""))
            process.kill()
            process.wait()
            if stop.is_set():
                raise interrupt.Stopped
    return metrics


def stream_alone(config: Any) -> dict[str, Any]:
    """Measures the images per second that records deliver while nothing else runs, over 10 seconds, and the memory.

    Memory is that of such a process, and its growth since streaming began, in bytes.

    Args:
      config: the whole config, with data.source = tfrecord.

    Raises:
      UserError: it does not run.
    """
    command = [sys.executable, "-c", "from seqdigits.experiments.benchmark import _stream; _stream()", config.to_json()]
    process = subprocess.run(command, env={**os.environ, "JAX_PLATFORMS": "cpu"}, capture_output=True, text=True)
    if process.returncode:
        raise UserError(f"records could not be read:\n{process.stderr[-2000:]}")
    return json.loads(process.stdout.splitlines()[-1])


def _peak_memory() -> int:
    """Returns the most bytes of memory that this program has held so far."""
    try:
        # Linux counts in getrusage also what the process held before it became this program: the memory of its parent.
        line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _stream() -> None:
    """Runs as the process of `stream_alone`; its last line of output is the result."""
    config = base_config()
    config.update(json.loads(sys.argv[1]))
    source = create_source(config, "train")
    source.arrays  # noqa: B018  # verifies the records
    before, size = _peak_memory(), config.train.batch_size
    batches = source.batches(0, size)
    for _ in range(-(-1000 // size)):
        next(batches)  # fills the buffer
    began, done = time.monotonic(), 0
    while time.monotonic() - began < 10:
        next(batches)
        done += size
    rate = done / (time.monotonic() - began)
    peak = _peak_memory()
    print(json.dumps({"stream_images_per_second": rate, "stream_bytes": peak, "stream_grew": peak - before}))


def stream_epoch(config: Any, stop: Stop) -> dict[str, Any]:
    """Measures one epoch of the training records, all whole batches, read in this process while nothing else runs.

    The records are verified first, which the seconds of the epoch exclude. What of them the operating system still has in its page
    cache counts: empty it before, or run twice. Memory is that of this process, where JAX may hold an accelerator.

    Args:
      config: the whole config, with data.source = tfrecord.
      stop: ends it early.

    Raises:
      UserError: the records are missing or damaged, or fewer than one batch.
      Stopped: `stop` was set.
    """
    from seqdigits.data.tfdata.source import StreamedSource  # imports TensorFlow

    source = create_source(config, "train")
    assert isinstance(source, StreamedSource), "data.source is tfrecord"
    began = time.monotonic()
    source.arrays  # noqa: B018  # verifies the records
    verified, before, size = time.monotonic(), _peak_memory(), config.train.batch_size
    steps = source.count() // size
    if not steps:
        raise UserError(
            f"train.batch_size = {size:,}, but there are {source.count():,} training examples. Set it to at most that."
        )
    reading = progress(itertools.islice(source.batches(0, size), steps), steps, f"batches of {size}", "train")
    for _ in reading:
        if stop.is_set():
            raise interrupt.Stopped
    seconds, peak = time.monotonic() - verified, _peak_memory()
    return {
        "config": config.to_dict(),
        "epoch_images": steps * size,
        "epoch_bytes": source.stored_bytes,
        "verify_seconds": verified - began,
        "epoch_seconds": seconds,
        "stream_images_per_second": steps * size / seconds,
        "stream_bytes": peak,
        "stream_grew": peak - before,
        **provenance.describe(),
    }


_PEAK_SIZE = (2048, 8192)
"""Rows of the matrices whose product shows the peak: on a CPU a fifth of a second of two cores, on an accelerator milliseconds."""


def _share_of_peak(flops: int, seconds: float, peak: float) -> dict[str, float]:
    """Returns the metrics of a step of `flops` operations that takes `seconds` on a machine of `peak` operations a second.

    >>> _share_of_peak(3_000_000, 0.5, 10_000_000.0)
    {'step_flops': 3000000, 'flops_per_second': 6000000.0, 'peak_flops_per_second': 10000000.0, 'peak_share': 0.6}
    """
    rate = flops / seconds
    return {
        "step_flops": flops,
        "flops_per_second": rate,
        "peak_flops_per_second": peak,
        "peak_share": rate / peak,
    }


def measure(config: Any, streamed: Any, rounds: int, stop: Stop) -> dict[str, Any]:
    """Measures compile seconds, images per second, and the share of a training step that is spent on data.

    data share = 1 - (time of a step on one fixed Batch) / (time of a whole step, data included); the two are timed in
    alternation. The operations of a training step, and what share of the peak of the machine they reach in the time of a whole step; the
    peak is measured as well, by a product of matrices in the same alternation. On several devices also the share of a step that a sum of the gradients over all devices takes, when it is done alone:
    an upper limit, because compilers overlap it with computation.

    Args:
      config: the whole config; its data are computed, or resident.
      streamed: the same config with records, timed in alternation; or None.
      rounds: number of timings; medians are returned.
      stop: ends it early.

    Raises:
      Stopped: `stop` was set.
    """
    devices, source = Devices(config.parallel), create_source(config, "train")
    if config.data.half_scenes:
        check_devices(config.train.batch_size, devices.count)
    model = build(config, source.spec, devices.axis)
    train_step = TrainStep(config, model)
    predict_step = PredictStep(config, model)
    arrays = devices.replicate(source.arrays)
    state = devices.jit(partial(train_step.init, source))()
    size = config.train.batch_size

    train_on = devices.compile_step(train_step.train_on)
    predict = devices.jit(lambda variables, batch: predict_step.predict(variables, batch, source.spec))
    host_batch = devices.shard_batch(next(source.batches(0, size)))
    key = stream_key(config.seed, RngStream.AUGMENT)
    batch = jax.jit(partial(source.make, train=True))(arrays, host_batch, key)

    # Of all devices; that of `train_step` is of one device under pmap.
    whole_step = partial(TrainStep(config, build(config, source.spec)).train, source=source)
    jax.config.update("jax_enable_compilation_cache", False)
    began = time.monotonic()
    jax.jit(whole_step).lower(state, arrays, host_batch).compile()
    compile_seconds = time.monotonic() - began
    jax.config.update("jax_enable_compilation_cache", True)

    def timed(function: Callable[[], Any]) -> float:
        if stop.is_set():
            raise interrupt.Stopped
        began = time.monotonic()
        jax.block_until_ready(function())
        return time.monotonic() - began

    calls = config.train.steps_per_call

    def whole_call(source: DataSource, arrays: Any) -> Callable[[], Any]:
        """One call of the training loop, of train.steps_per_call steps."""
        train = devices.compile_step(partial(train_step.train, source=source), stacked=calls > 1)
        batches = source.batches(0, size)
        return lambda: train(state, arrays, next_call(batches, calls, devices))

    functions: list[Callable[[], Any]] = [
        lambda: train_on(state, batch),
        lambda: predict(state.variables(), batch),
        whole_call(source, arrays),
    ]
    if streamed is not None:
        from_disk = create_source(streamed, "train")
        functions.append(whole_call(from_disk, devices.replicate(from_disk.arrays)))
    over_devices = Devices("pmap")
    peak_size = _PEAK_SIZE[jax.default_backend() != "cpu"]
    pair = over_devices.replicate(np.full((2, peak_size, peak_size), 0.5, config.model.compute_dtype))
    multiply = over_devices.compile_step(lambda pair, _: pair[0] @ pair[1])
    functions.append(lambda: multiply(pair, host_batch))
    if devices.count > 1:
        sum_gradients = over_devices.compile_step(lambda gradients, _: jax.lax.psum(gradients, over_devices.axis))
        functions.append(lambda: sum_gradients(state.params, host_batch))
    for function in functions:
        timed(function)  # the first call compiles
    times = [[timed(function) for function in functions] for _ in range(rounds)]
    columns = [sorted(column) for column in zip(*times, strict=True)]
    without, predict_only, *others = (column[rounds // 2] for column in columns)
    gradient_sum = others.pop() if devices.count > 1 else None
    *with_data, _ = others
    fastest_product = columns[2 + len(with_data)][0]  # a peak is what is reached at best
    metrics = {
        "config": config.to_dict(),
        "compile_seconds": compile_seconds,
        "train_images_per_second": calls * size / with_data[0],
        "predict_images_per_second": size / predict_only,
        "data_share": 1 - calls * without / with_data[0],
        **_share_of_peak(
            count_flops(
                whole_step, *jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), (state, arrays, host_batch))
            ),
            with_data[0] / calls,
            devices.count * 2 * peak_size**3 / fastest_product,
        ),
        "peak_size": peak_size,
        "rounds": rounds,
        **provenance.describe(),
    }
    if gradient_sum is not None:
        metrics |= {
            "gradient_bytes": params.count(state.params) * 4,
            "gradient_sum_seconds": gradient_sum,
            "gradient_sum_share": calls * gradient_sum / with_data[0],
        }
    if streamed is not None:
        metrics |= {
            "train_images_per_second_streamed": calls * size / with_data[1],
            "data_share_streamed": 1 - calls * without / with_data[1],
        }
    return metrics
