"""Batches, losses and evaluation are the same on 1, 2, 4 and 8 devices of one process, and in 1, 2 and 4 processes."""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import subprocess
import sys

import photo_folders
import pytest
from conftest import ROOT
from five_steps import SOURCES, config_of
from test_devices import FLAGS
from test_distributed import free_port

from seqdigits.core.errors import UserError
from seqdigits.core.interrupt import Stop
from seqdigits.parallel import processes
from seqdigits.parallel.devices import PARALLEL

pytestmark = pytest.mark.slow

LAYOUTS = {(8, 1): False, (1, 2): True, (2, 2): False, (2, 1): True, (4, 1): True, (1, 4): True}
"""Devices of each process and processes; whether it is only run in soak, because it takes a minute or more."""


def soak(value, is_soak):
    return pytest.param(value, marks=pytest.mark.soak if is_soak else ())


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """`results(4, 2)`: what five_steps.py writes in 2 processes with 4 devices each."""
    folder = tmp_path_factory.mktemp("processes")
    (folder / "photos").mkdir()
    photo_folders.make(folder / "photos", 60)
    if importlib.util.find_spec("tensorflow"):
        from seqdigits.data.builders.registry import builder  # needs TensorFlow

        builder(config_of("streamed", folder)).prepare("", shards=4, workers=1, stop=Stop())

    @functools.cache
    def run(devices, count):
        target = folder / f"{devices}x{count}.json"
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "JAX_DISABLE_MOST_OPTIMIZATIONS": "0",
            "JAX_COMPILATION_CACHE_DIR": os.path.expanduser("~/.cache/seqdigits/test-compiled"),
            "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
        }
        if count > 1:
            environment |= {"SEQDIGITS_COORDINATOR": f"localhost:{free_port()}", "SEQDIGITS_NUM_PROCESSES": str(count)}
        command = [sys.executable, str(ROOT / "tests" / "parallel" / "five_steps.py"), str(folder), str(target)]
        started = [
            subprocess.Popen(
                command,
                env=environment | ({"SEQDIGITS_PROCESS_ID": str(rank)} if count > 1 else {}),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
            )
            for rank in range(count)
        ]
        errors = [process.communicate(timeout=900)[1] for process in started]
        assert [process.returncode for process in started] == [0] * count, "\n".join(errors)
        content = json.loads(target.read_text())
        assert (content.pop("devices"), content.pop("processes")) == (devices * count, count)
        return content

    return run


@pytest.mark.parametrize("layout", [soak(*item) for item in LAYOUTS.items()], ids=[f"{d}x{p}" for d, p in LAYOUTS])
def test_five_steps_are_the_same_everywhere(results, layout):
    devices, count = layout
    one, many = results(1, 1), results(devices, count)
    sources = [s for s in SOURCES if f"{s} jit" in one]
    assert many.keys() == one.keys() == {f"{s} {p}" for s in sources for p in PARALLEL}
    for name, result in many.items():
        expected = one[f"{name.split()[0]} jit"]
        assert result["data"] == expected["data"], name
        assert result["losses"] == pytest.approx(expected["losses"], rel=1e-5), name
        assert result["params"] == pytest.approx(expected["params"], rel=1e-4), name
        assert result["metrics"]["examples"] == expected["metrics"]["examples"]
        assert result["metrics"]["confusion"] == expected["metrics"]["confusion"]
        for metric in ("cross_entropy", "localization_error"):
            assert result["metrics"][metric] == pytest.approx(expected["metrics"][metric], rel=1e-4), name


def test_too_small_a_batch_is_refused(monkeypatch):
    monkeypatch.setattr(processes.jax, "process_count", lambda: 4)
    with pytest.raises(UserError, match="a batch of 2 cannot be shared out among 4 processes"):
        processes.process_slice(2)


def run_processes(workdir, steps, count, parallel="jit", **changes):
    """Runs the train command in some processes on test_devices.FLAGS; returns their status, output and errors."""
    command = [sys.executable, "-m", "seqdigits.main", "--config", str(ROOT / "configs" / "canvas_weighted.py")]
    command += ["--workdir", str(workdir), f"--config.train.steps={steps}", f"--config.parallel={parallel}"]
    command += [f"--config.{key}={value}" for key, value in {**FLAGS, **changes}.items()]
    port = free_port()
    places = [f"--coordinator=localhost:{port} --num_processes={count} --process_id={rank}" for rank in range(count)]
    started = [
        subprocess.Popen(
            [*command, *(place.split() if count > 1 else [])],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for place in places
    ]
    outputs = [process.communicate(timeout=900) for process in started]
    return [(process.returncode, *output) for process, output in zip(started, outputs, strict=True)]


def train(workdir, steps, count, parallel="jit"):
    """Runs the train command to its end; returns its evaluation."""
    ends = run_processes(workdir, steps, count, parallel)
    assert [status for status, _, _ in ends] == [0] * count, "\n".join(error for _, _, error in ends)
    outputs = [end[1:] for end in ends]
    assert f"on {count} cpu device(s)" in outputs[0][0]
    assert all("step" not in output for output, _ in outputs[1:])
    return json.loads((workdir / "evaluation" / "validation.json").read_text())


@pytest.mark.parametrize("parallel", [soak(parallel, parallel == "pmap") for parallel in PARALLEL])
def test_run_resumes_in_another_number_of_processes(tmp_path, parallel):
    one, two = train(tmp_path / "one", 4, 1), train(tmp_path / "two", 4, 2, parallel)
    resumed_in_two, resumed_in_one = train(tmp_path / "one", 8, 2, parallel), train(tmp_path / "two", 8, 1)
    assert resumed_in_one["step"] == resumed_in_two["step"] == 8
    assert two["examples"] == one["examples"] == 21
    if parallel == "jit":  # pmap draws other dropout masks
        assert two["confusion"] == one["confusion"]
        assert two["cross_entropy"] == pytest.approx(one["cross_entropy"], rel=1e-4)
        assert resumed_in_one["cross_entropy"] == pytest.approx(resumed_in_two["cross_entropy"], rel=1e-4)
    for workdir in (tmp_path / "one", tmp_path / "two"):
        steps = [json.loads(line)["step"] for line in (workdir / "metrics.jsonl").read_text().splitlines()]
        assert steps == [4, 4, 8, 8], "one line each of training and of validation"
        assert not (workdir / "lock").exists()


def test_nonfinite_loss_ends_all_processes_and_is_saved(tmp_path):
    ends = run_processes(tmp_path, 8, 2, **{"optim.learning_rate": 1e30, "optim.skip_nonfinite": 2})
    for status, _, error in ends:
        assert status == 2, error
        assert "not finite at step" in error
    names = {path.name.partition("-")[0] for path in (tmp_path / "nonfinite").iterdir()}
    assert names == {"batch", "state"}
    assert not list((tmp_path / "nonfinite").glob("*.partial"))
