"""How fast an experiment runs here: `python -m seqdigits benchmark configs/X.py [--config.key=value ...] [--json FILE]`."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import jax

from seqdigits.config.defaults import base_config
from seqdigits.core import interrupt, provenance
from seqdigits.core.errors import UserError
from seqdigits.core.interrupt import Stop
from seqdigits.core.rng import RngStream, stream_key
from seqdigits.data.create import create_source
from seqdigits.data.source import DataSource
from seqdigits.inference.predict_step import PredictStep
from seqdigits.models.build import build
from seqdigits.parallel.devices import Devices
from seqdigits.training.loop import next_call
from seqdigits.training.train_step import TrainStep


def starts(config_flags: list[str], stop: Stop) -> dict[str, Any]:
    """Seconds of `import seqdigits`, and from the start of a process to the end of its first training step, with an empty
    cache of compiled programs and with a filled one; each in a process of its own.

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
            assert process.stdout is not None, "it is a pipe"
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
    """Images per second that come from records while nothing else is done, in 10 seconds, and the memory of such a process: in
    all, and by how much it grew when the reading began.

    `config`: whole, with data.source = tfrecord.

    Raises:
      UserError: it does not run.
    """
    command = [sys.executable, "-c", "from seqdigits.experiments.benchmark import _stream; _stream()", config.to_json()]
    process = subprocess.run(command, env={**os.environ, "JAX_PLATFORMS": "cpu"}, capture_output=True, text=True)
    if process.returncode:
        raise UserError(f"records could not be read:\n{process.stderr[-2000:]}")
    return json.loads(process.stdout.splitlines()[-1])


def _stream() -> None:
    """The process of `stream_alone`; its last line is the result."""

    def memory() -> int:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)

    config = base_config()
    config.update(json.loads(sys.argv[1]))
    source = create_source(config, "train")
    source.arrays  # noqa: B018  # finds out whether the records are whole
    before, size = memory(), config.train.batch_size
    batches = source.batches(0, size)
    for _ in range(-(-1000 // size)):
        next(batches)  # the buffer is filled
    began, done = time.monotonic(), 0
    while time.monotonic() - began < 10:
        next(batches)
        done += size
    rate = done / (time.monotonic() - began)
    print(json.dumps({"stream_images_per_second": rate, "stream_bytes": memory(), "stream_grew": memory() - before}))


def measure(config: Any, streamed: Any, rounds: int, stop: Stop) -> dict[str, Any]:
    """Compile seconds, images per second, and the share of a training step that goes into data.

    data share = 1 - (time of the step on one fixed Batch) / (time of the whole step, data included), from the two timed in
    turn.

    Args:
      config: whole; its data are computed, or resident.
      streamed: the same, read from records, to be timed in turn with it; or None.
      rounds: how often each thing is timed.
      stop: ends it early.

    Raises:
      Stopped: `stop` was set.
    """
    devices, source = Devices(config.parallel), create_source(config, "train")
    model = build(config, source.spec, devices.axis)
    train_step = TrainStep(config, model, devices.axis)
    predict_step = PredictStep(config, model, devices.axis)
    arrays = devices.replicate(source.arrays)
    state = devices.jit(partial(train_step.init, source))()
    size = config.train.batch_size

    train_on = devices.compile_step(train_step.train_on)
    read = devices.jit(lambda variables, batch: predict_step.predict(variables, batch, source.spec))
    host_batch = devices.shard_batch(next(source.batches(0, size)))
    key = stream_key(config.seed, RngStream.AUGMENT)
    batch = jax.jit(partial(source.make, train=True))(arrays, host_batch, key)

    jax.config.update("jax_enable_compilation_cache", False)
    began = time.monotonic()
    jax.jit(partial(train_step.train, source=source)).lower(state, arrays, host_batch).compile()
    compile_seconds = time.monotonic() - began
    jax.config.update("jax_enable_compilation_cache", True)

    def timed(function: Callable[[], Any]) -> float:
        if stop.is_set():
            raise interrupt.Stopped
        began = time.monotonic()
        jax.block_until_ready(function())
        return time.monotonic() - began

    calls = config.train.steps_per_call

    def whole(source: DataSource, arrays: Any) -> Callable[[], Any]:
        """One call of the training loop, of train.steps_per_call steps."""
        train = devices.compile_step(partial(train_step.train, source=source), stacked=calls > 1)
        batches = source.batches(0, size)
        return lambda: train(state, arrays, next_call(batches, calls, devices))

    functions: list[Callable[[], Any]] = [
        lambda: train_on(state, batch),
        lambda: read(state.variables(), batch),
        whole(source, arrays),
    ]
    if streamed is not None:
        from_disk = create_source(streamed, "train")
        functions.append(whole(from_disk, devices.replicate(from_disk.arrays)))
    for function in functions:
        timed(function)  # the first call compiles
    times = [[timed(function) for function in functions] for _ in range(rounds)]
    without, read_only, *with_data = (sorted(column)[rounds // 2] for column in zip(*times, strict=True))
    metrics = {
        "config": config.to_dict(),
        "compile_seconds": compile_seconds,
        "train_images_per_second": calls * size / with_data[0],
        "read_images_per_second": size / read_only,
        "data_share": 1 - calls * without / with_data[0],
        "rounds": rounds,
        **provenance.describe(),
    }
    if streamed is not None:
        metrics |= {
            "train_images_per_second_streamed": calls * size / with_data[1],
            "data_share_streamed": 1 - calls * without / with_data[1],
        }
    return metrics
