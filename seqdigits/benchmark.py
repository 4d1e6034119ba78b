"""How fast an experiment runs here: `python -m seqdigits.benchmark configs/X.py [--config.key=value ...] [--json FILE]`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from seqdigits import interrupt
from seqdigits.errors import UserError
from seqdigits.interrupt import Stop

USAGE = "python -m seqdigits.benchmark configs/X.py [--config.key=value ...] [--json FILE] [--rounds N]"


def _main(stop: Stop) -> None:
    from absl import flags

    from seqdigits import command_line
    from seqdigits.validation import validate

    values = command_line.experiment_flags()
    flags.DEFINE_string("json", None, "also writes the figures to this file", flag_values=values)
    flags.DEFINE_integer(
        "rounds", 10, "how often each thing is timed; medians count", lower_bound=1, flag_values=values
    )
    argv = command_line.with_config(sys.argv)
    command_line.parse(values, argv, USAGE, needed=("config",))
    command_line.prepare_jax()
    validate(values["config"].value)
    figures = starts([a for a in argv[1:] if a.startswith("--config")], stop)
    figures |= measure(values["config"].value, values["rounds"].value, stop)
    print(table(figures))
    if values["json"].value:
        from seqdigits.writers import write_atomically

        write_atomically(Path(values["json"].value), json.dumps(figures, indent=1))


def starts(config_flags: list[str], stop: Stop) -> dict[str, Any]:
    """Seconds of `import seqdigits`, and from the start of a process to the end of its first training step, with an empty
    cache of compiled programs and with a filled one; each in a process of its own.

    Raises:
      UserError: it does not run.
      Stopped: `stop` was set.
    """
    code = "import time; t = time.perf_counter(); import seqdigits; print(time.perf_counter() - t)"
    imported = float(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout)
    figures: dict[str, Any] = {"import_seconds": imported}
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
                    figures[f"first_step_seconds_{name}"] = time.monotonic() - began
                    break
            else:
                raise UserError("the first step was not reached:\n" + "".join(lines).replace("error: ", ""))
            process.kill()
            process.wait()
            if stop.is_set():
                raise interrupt.Stopped
    return figures


def measure(config: Any, rounds: int, stop: Stop) -> dict[str, Any]:
    """Compile seconds, images per second, and the share of a training step that goes into data.

    data share = 1 - (time of the step on one fixed Batch) / (time of the whole step, data included), from the two timed in
    turn.

    Raises:
      Stopped: `stop` was set.
    """
    import jax

    from seqdigits import provenance
    from seqdigits.data import sources
    from seqdigits.models.build import build
    from seqdigits.parallel import Devices
    from seqdigits.steps import Steps
    from seqdigits.streams import Stream, stream_key

    devices, source = Devices(config.parallel), sources.create(config, "train")
    steps = Steps(config, build(config, source.spec, devices.axis), devices.axis)
    arrays = devices.replicate(source.arrays)
    state = devices.jit(partial(steps.init, source))()
    size = config.train.batch_size
    batches = source.batches(0, size)

    train = devices.step(partial(steps.train_one, source=source))
    train_on = devices.step(steps.train_on)
    read = devices.jit(lambda variables, batch: steps.read_batch(variables, batch, source.spec))
    host = devices.split(next(batches))
    key = stream_key(config.seed, Stream.AUGMENT)
    batch = jax.jit(partial(source.make, train=True))(arrays, host, key)

    jax.config.update("jax_enable_compilation_cache", False)
    began = time.monotonic()
    jax.jit(partial(steps.train_one, source=source)).lower(state, arrays, host).compile()
    compile_seconds = time.monotonic() - began
    jax.config.update("jax_enable_compilation_cache", True)

    def timed(function: Callable[[], Any]) -> float:
        if stop.is_set():
            raise interrupt.Stopped
        began = time.monotonic()
        jax.block_until_ready(function())
        return time.monotonic() - began

    whole: Callable[[], Any] = lambda: train(state, arrays, devices.split(next(batches)))  # noqa: E731
    fixed: Callable[[], Any] = lambda: train_on(state, batch)  # noqa: E731
    reading: Callable[[], Any] = lambda: read(state.variables(), batch)  # noqa: E731
    for function in (whole, fixed, reading):
        timed(function)  # the first call compiles
    times = [(timed(whole), timed(fixed), timed(reading)) for _ in range(rounds)]
    with_data, without, read_only = (sorted(column)[rounds // 2] for column in zip(*times, strict=True))
    return {
        "config": config.to_dict(),
        "compile_seconds": compile_seconds,
        "train_images_per_second": size / with_data,
        "read_images_per_second": size / read_only,
        "data_share": 1 - without / with_data,
        "rounds": rounds,
        **provenance.describe(),
    }


def table(figures: dict[str, Any]) -> str:
    """The figures for a person."""
    rows = (
        ("import seqdigits", f"{figures['import_seconds']:.3f} s"),
        ("first step, nothing compiled", f"{figures['first_step_seconds_cold']:.1f} s"),
        ("first step, compiled before", f"{figures['first_step_seconds_warm']:.1f} s"),
        ("compile the training step", f"{figures['compile_seconds']:.1f} s"),
        ("train", f"{figures['train_images_per_second']:,.0f} images/s"),
        ("read", f"{figures['read_images_per_second']:,.0f} images/s"),
        ("data share of a training step", f"{figures['data_share']:.1%}"),
        ("on", ", ".join(figures["devices"])),
    )
    return "\n".join(f"{name:<32}{value:>20}" for name, value in rows)


if __name__ == "__main__":
    interrupt.run(_main)
