"""The benchmark measures a real run."""

import json
import sys

import pytest

from seqdigits.cli import benchmark as cli_benchmark
from seqdigits.core.interrupt import Stop, Stopped
from seqdigits.experiments import benchmark


@pytest.mark.slow
def test_benchmark_measures_and_prints(small_config):
    metrics = benchmark.measure(small_config({}), None, rounds=3, stop=Stop())
    assert metrics["train_images_per_second"] > 0
    assert metrics["predict_images_per_second"] > 0
    assert metrics["data_share"] < 1
    assert json.loads(json.dumps(metrics))["config"]["train"]["batch_size"] == 8
    starts = {"import_seconds": 0.1, "first_step_seconds_cold": 20.0, "first_step_seconds_warm": 6.0}
    text = cli_benchmark.table(metrics | starts)
    assert "data share of a training step" in text
    assert "20.0 s" in text


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
