"""The benchmark measures a real run."""

import json
import re
import sys
from functools import partial

import jax
import pytest
from exported import saved

from seqdigits.cli import benchmark as cli_benchmark
from seqdigits.core.errors import UserError
from seqdigits.core.interrupt import Stop, Stopped
from seqdigits.data.create import create_source
from seqdigits.experiments import benchmark
from seqdigits.experiments.export_benchmark import measure_exports
from seqdigits.experiments.operations import count_flops
from seqdigits.models.build import build
from seqdigits.parallel.distributed import Launch
from seqdigits.training.train_step import TrainStep


@pytest.mark.slow
@pytest.mark.parametrize("parallel", ["jit", "pmap"])
def test_benchmark_measures_and_prints(small_config, parallel):
    metrics = benchmark.measure(small_config({"parallel": parallel}), None, rounds=3, stop=Stop())
    assert metrics["train_images_per_second"] > 0
    assert metrics["predict_images_per_second"] > 0
    assert metrics["data_share"] < 1
    assert json.loads(json.dumps(metrics))["config"]["train"]["batch_size"] == 8
    starts = {"import_seconds": 0.1, "first_step_seconds_cold": 20.0, "first_step_seconds_warm": 6.0}
    text = cli_benchmark.table(metrics | starts)
    assert "data share of a training step" in text
    assert "20.0 s" in text
    first = 2 * 8 * (14 * 46) * (5 * 5 * 8)  # of its first convolution, forward, where no padding is read
    assert 2 * first < metrics["step_flops"] < 20 * first
    assert metrics["peak_share"] == pytest.approx(metrics["flops_per_second"] / metrics["peak_flops_per_second"])
    assert 0 < metrics["peak_share"] < 1
    assert metrics["peak_flops_per_second"] > 1e8


def test_operations_of_a_step_by_hand(experiment):
    """A linear classifier of 28x28: forward, and the gradient of its weights; the image needs none."""
    config = experiment("mnist_linear")
    config.data.digits = "uci"
    source = create_source(config, "train")
    step = TrainStep(config, build(config, source.spec))
    state, batch = jax.eval_shape(partial(step.init, source)), next(source.batches(0, 50))
    assert count_flops(partial(step.train, source=source), state, source.arrays, batch) == 2 * (2 * 50 * 784 * 10)


def test_table_shows_the_share_of_the_peak():
    metrics = {
        "compile_seconds": 1.0,
        "train_images_per_second": 9.0,
        "predict_images_per_second": 9.0,
        "data_share": 0.1,
    }
    metrics |= benchmark._share_of_peak(12_340_000_000, 0.25, 98.72e9)
    metrics |= {"peak_size": 2048, "config": {"model": {"compute_dtype": "float32"}}, "devices": ["cpu cpu"]}
    lines = [re.split(r"  +", line.strip()) for line in cli_benchmark.table(metrics).splitlines()]
    assert lines[5:9] == [
        ["operations of a training step", "12.34 GFLOP"],
        ["a second", "49.4 GFLOP/s"],
        ["peak: 2,048 x 2,048 matrices, float32", "98.7 GFLOP/s"],
        ["share of it in a training step", "50.0%"],
    ]


def test_benchmark_of_exports_measures_each_format(small_config, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "tensorflow", None)  # its conversions take long
    file = saved(tmp_path, small_config({"model.name": "gru", "model.gru_units": 12}))
    arguments = ["--exports", file, "--rounds", "2", "--json", tmp_path / "a.json"]
    monkeypatch.setattr(sys, "argv", ["seqdigits benchmark", *map(str, arguments)])
    cli_benchmark.main(Stop())
    printed = capsys.readouterr()
    rows = [line.split() for line in printed.out.splitlines()]
    assert rows[-1][1:4] == ["million", "multiply-adds", "an"]
    assert [row[:2] for row in rows[1:-1]] == [
        ["jax", "float32"],
        ["onnx", "float16"],
        ["onnx", "float32"],
        ["stablehlo", "float32"],
    ]
    assert [row[4] for row in rows if row[1] == "float32"] == ["1.0000"] * 3
    assert printed.err.count("was not measured: TensorFlow") == 3
    measured = json.loads((tmp_path / "a.json").read_text())
    assert measured[2]["bytes"] > measured[1]["bytes"] > 1000
    assert measured[0]["multiply_adds"] > 1000
    assert all(row["milliseconds"] > 0 for row in measured if "error" not in row)


@pytest.mark.slow
def test_benchmark_of_exports_measures_the_candidates_of_a_detector(tmp_path, small_config, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    changes = {"model.pixels": "image_mean", "decode.min_score": 0.3}
    rows = measure_exports(str(saved(tmp_path, small_config(changes))), 2, Stop())
    assert (rows[2]["format"], rows[2]["dtype"], rows[2]["same"], rows[2]["accuracy"]) == ("onnx", "float32", 1.0, None)


def test_benchmark_can_be_stopped(small_config):
    stop = Stop()
    stop.set()
    with pytest.raises(Stopped):
        benchmark.measure(small_config({}), None, rounds=1, stop=stop)


def test_flags_and_their_values_reach_the_processes_that_are_timed(monkeypatch):
    flags = ["--config", "quickstart", "--config.seed", "1", "--config.train.steps=9"]
    monkeypatch.setattr(sys, "argv", ["seqdigits benchmark", *flags[:2], "--rounds", "2", *flags[2:]])

    def starts(arguments, stop):
        assert arguments == flags
        raise Stopped

    monkeypatch.setattr(cli_benchmark, "starts", starts)
    with pytest.raises(Stopped):
        cli_benchmark.main(Stop())


def test_an_epoch_is_read_by_one_process_alone(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["seqdigits benchmark", "canvas_variable", "--epoch"])
    monkeypatch.setattr(cli_benchmark.distributed, "detect", lambda *_: Launch("a:1", 2, 0))
    monkeypatch.setattr(cli_benchmark.distributed, "connect", lambda *_: None)
    monkeypatch.setattr(cli_benchmark, "prepare_jax", lambda: None)
    with pytest.raises(UserError, match="--epoch measures one process alone. Run it without other processes"):
        cli_benchmark.main(Stop())


@pytest.mark.parametrize("what", [["quickstart"], ["--exports", "scene"]], ids=["config", "exports"])
def test_the_file_of_the_metrics_is_checked_before_anything_is_measured(tmp_path, monkeypatch, what):
    def measure(*_):
        assert (tmp_path / "new").is_dir()
        raise Stopped

    def call(file):
        monkeypatch.setattr(sys, "argv", ["seqdigits benchmark", *what, "--json", str(tmp_path / file)])
        cli_benchmark.main(Stop())

    for name in ("starts", "measure_exports"):
        monkeypatch.setattr(cli_benchmark, name, measure)
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="--json: .*file cannot be used: "):
        call("file/a.json")
    with pytest.raises(UserError, match="is a folder. Name a file"):
        call(".")
    with pytest.raises(Stopped):
        call("new/a.json")
