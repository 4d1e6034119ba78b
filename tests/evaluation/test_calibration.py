"""Calibration: fits to synthetic logits, and the command on a small run."""

import json
import math
import sys
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqdigits.cli import calibrate as cli_calibrate
from seqdigits.core.errors import UserError
from seqdigits.core.interrupt import Stop, Stopped
from seqdigits.core.types import Batch, Outputs
from seqdigits.decoding.decode import _calibrated
from seqdigits.decoding.options import DecodeOptions
from seqdigits.evaluation import calibration, calibration_objective
from seqdigits.evaluation.calibration_objective import Settings
from seqdigits.metrics.confidence import confidence_histogram
from seqdigits.training.loop import train_and_evaluate
from seqdigits.visualization import reliability as visualization_reliability

OPTIONS = DecodeOptions(max_length=1, min_score=0.4, max_overlap=0.4)


def make_overconfident(factor, count=4_000):
    """Returns single digits drawn from the probabilities of logits, and outputs whose logits are `factor` times those."""
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(count, 1, 10)) * 2
    truth = np.argmax(logits + rng.gumbel(size=logits.shape), axis=-1)
    batch = Batch(
        image=jnp.zeros((count, 0, 4, 1), jnp.uint8),
        digits=jnp.array(truth),
        boxes=jnp.zeros((count, 1, 4)),
        index=jnp.arange(count),
    )
    return batch, Outputs(digit_logits=jnp.array(logits * factor, jnp.float32))


def test_fit_temperature_of_overconfident_logits():
    batch, outputs = make_overconfident(2.5)
    objective_sums = jax.jit(lambda t: calibration_objective.objective_sums(OPTIONS, batch, outputs, Settings(t, 0.4)))
    result = calibration.fit_temperature(lambda t: float(objective_sums(t).digit_loss))
    assert result == pytest.approx(2.5, rel=0.1)
    before, after = jax.device_get((objective_sums(1.0), objective_sums(result)))
    assert before.digits.calibration_error() > 0.1
    assert after.digits.calibration_error() < 0.02
    assert after.numbers.calibration_error() == before.numbers.calibration_error()
    assert before.exact_match == after.exact_match


def test_fit_platt_scaling_of_underconfident_scores():
    rng = np.random.default_rng(1)
    logits = rng.normal(size=4_000)
    correct = jnp.array(rng.uniform(size=4_000) < 1 / (1 + np.exp(-(2 * logits + 1))))

    def loss(platt_scale, platt_bias):
        confidence = _calibrated(
            jax.nn.sigmoid(jnp.array(logits)), OPTIONS._replace(platt_scale=platt_scale, platt_bias=platt_bias)
        )
        return float(jnp.mean(calibration_objective.negative_log_likelihood(confidence, correct)))

    platt_scale, platt_bias = calibration.fit_platt_scaling(loss)
    assert platt_scale == pytest.approx(2, rel=0.1)
    assert platt_bias == pytest.approx(1, abs=0.15)
    assert loss(platt_scale, platt_bias) < loss(1.0, 0.0)


@pytest.mark.parametrize("best", [0.0625, 0.07, 0.3, 1.0, 7.5, 8.0])
def test_fit_temperature_up_to_the_ends_of_the_range(best):
    calls = []

    def loss(t):
        calls.append(t)
        return abs(math.log(t / best))

    assert calibration.fit_temperature(loss) == pytest.approx(best, rel=0.01)
    assert len(calls) < 30, "each round of the golden section needs one new loss"
    assert min(calls) > 0.0624
    assert max(calls) < 8.01


def test_objective_sums_ignore_padding():
    batch, outputs = make_overconfident(1.0, 20)
    padded = calibration_objective.objective_sums(
        OPTIONS, batch.replace(index=jnp.where(jnp.arange(20) < 12, batch.index, -1)), outputs, Settings(1.0, 0.4)
    )
    first = calibration_objective.objective_sums(
        OPTIONS, *jax.tree.map(lambda x: x[:12], (batch, outputs)), Settings(1.0, 0.4)
    )
    assert jax.tree.all(jax.tree.map(lambda a, b: np.allclose(a, b, atol=1e-5), padded, first))


@pytest.fixture(scope="module")
def trained(tmp_path_factory, small_config):
    config, workdir = small_config({"evaluate.splits": ("validation",)}), tmp_path_factory.mktemp("run")
    train_and_evaluate(config, workdir)
    return config, workdir


def test_calibrate_a_run(trained, monkeypatch):
    config, workdir = trained
    result = calibration.calibrate(config, workdir, which="best", examples=30)
    assert result == json.loads((workdir / "evaluation" / "calibration.json").read_text())
    assert result["before"]["examples"] == 30
    assert result["after"]["negative_log_likelihood"] <= result["before"]["negative_log_likelihood"] + 1e-6
    assert result["after"]["sequence_accuracy"] >= result["before"]["sequence_accuracy"]
    text = cli_calibrate.text(result)
    for key in ("temperature", "platt_scale", "platt_bias", "min_score"):
        assert f"--config.decode.{key}={result['after'][key]:g}" in text
    assert "Reliability diagram" in (workdir / "evaluation" / "reliability.svg").read_text()
    monkeypatch.setattr(calibration_objective, "_MAX_CACHED_BYTES", 0)  # recomputed each time, with the same result
    again = calibration.calibrate(config, workdir, which="best", examples=30)
    assert again == result


def test_calibrate_keeps_the_threshold_of_the_config(small_config, trained):
    threshold = 0.73  # none of those that are tried
    config = small_config({"evaluate.splits": ("validation",), "decode.min_score": threshold})
    result = calibration.calibrate(config, trained[1], which="best", examples=30, fit_min_score=False)
    assert result["after"]["min_score"] == result["before"]["min_score"] == threshold
    assert "min_score" not in cli_calibrate.text(result)


class PeaksAt:
    """A stub of the objective: 0.9 of the numbers are right with each min_score of `best`, fewer the farther from them."""

    best = ()

    def __init__(self, *_):
        pass

    def metrics(self, settings):
        accuracy = 0.9 - min(abs(settings.min_score - s) for s in self.best)
        losses = ("negative_log_likelihood", "calibration_error", "digit_calibration_error", "coverage_at_98")
        none = confidence_histogram(jnp.zeros(0), jnp.zeros(0, bool), jnp.zeros(0, bool)).reliability()
        metrics = {"examples": 9, "sequence_accuracy": accuracy, "reliability": {"numbers": none, "digits": none}}
        return metrics | dict.fromkeys(losses)

    def digit_loss(self, settings):
        return math.log(settings.temperature) ** 2

    def loss(self, settings):
        return math.log(settings.platt_scale) ** 2 + settings.platt_bias**2


@pytest.mark.parametrize(
    ("of_config", "best", "chosen"),
    [
        (0.4, (0.55, 0.6), 0.55),  # of equally good ones the nearest to the config's
        (0.4, (0.1, 0.2), 0.2),
        (0.4, (0.3, 0.45), 0.45),
        (0.4, (0.35, 0.5), 0.35),
        (0.4, (0.2, 0.4, 0.45), 0.4),
        (0.9, (0.1,), 0.1),  # the ends of those that are tried
        (0.1, (0.9,), 0.9),
        (0.43, (0.43,), 0.43),  # the config's own is tried too
    ],
)
def test_calibrate_chooses_the_best_threshold(tmp_path, small_config, monkeypatch, of_config, best, chosen):
    config = small_config({"decode.min_score": of_config})
    monkeypatch.setattr(calibration, "restore", lambda *_: SimpleNamespace(step=4))
    monkeypatch.setattr(calibration, "CalibrationObjective", PeaksAt)
    monkeypatch.setattr(PeaksAt, "best", best)
    result = calibration.calibrate(config, tmp_path, which="best", examples=9)
    assert (result["before"]["min_score"], result["after"]["min_score"]) == (of_config, chosen)
    assert result["after"]["sequence_accuracy"] == 0.9
    kept = calibration.calibrate(config, tmp_path, which="best", examples=9, fit_min_score=False)
    assert kept["after"]["min_score"] == of_config


@pytest.mark.parametrize(("flags", "chosen"), [((), 0.6), (("--nofit_min_score",), 0.4)])
def test_command_calibrates_and_prints_the_flags(tmp_path, monkeypatch, capsys, flags, chosen):
    restored = []

    def restore(config, workdir, which, split):
        restored.append((workdir, which, split))
        return SimpleNamespace(step=7)

    class Objective(PeaksAt):
        best = (0.6,)

        def __init__(self, config, restored, examples, stop):
            assert (restored.step, examples) == (7, 25)

    monkeypatch.setattr(calibration, "restore", restore)
    monkeypatch.setattr(calibration, "CalibrationObjective", Objective)
    monkeypatch.setattr(cli_calibrate, "prepare_jax", lambda: None)
    words = [
        "quickstart",
        "--workdir",
        str(tmp_path),
        "--checkpoint=4",
        "--examples",
        "25",
        "--config.decode.min_score=0.4",
    ]
    monkeypatch.setattr(sys, "argv", ["seqdigits calibrate", *words, *flags])
    cli_calibrate.main(Stop())
    assert restored == [(tmp_path, "4", "validation")]
    result = json.loads((tmp_path / "evaluation" / "calibration.json").read_text())
    assert (result["checkpoint"], result["step"], result["after"]["min_score"]) == ("4", 7, chosen)
    assert (tmp_path / "evaluation" / "reliability.svg").exists()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "validation, 9 examples"
    expected = [f"--config.decode.{key}" for key in ("temperature=1", "platt_scale=1", "platt_bias=0", "min_score=0.6")]
    assert lines[-len(expected) + len(flags) :] == expected[: len(expected) - len(flags)]


def test_calibrate_before_equals_evaluation(trained):
    config, workdir = trained
    report = json.loads((workdir / "evaluation" / "validation.json").read_text())
    result = calibration.calibrate(config, workdir, which="latest", examples=4_000)["before"]
    for name in ("examples", "sequence_accuracy", "calibration_error", "digit_calibration_error", "coverage_at_98"):
        assert result[name] == pytest.approx(report[name], abs=1e-6), name


def test_calibrate_errors_and_stop(trained, small_config, tmp_path):
    config, workdir = trained
    with pytest.raises(UserError, match="belongs to another model"):
        calibration.calibrate(small_config({"model.pixels": "raw"}), workdir, which="best", examples=9)
    stop = Stop()
    stop.set()
    with pytest.raises(Stopped):
        calibration.calibrate(config, workdir, which="best", examples=9, stop=stop)


def test_reliability_diagram_of_no_examples():
    none = confidence_histogram(jnp.zeros(0), jnp.zeros(0, bool), jnp.zeros(0, bool))
    reliability = {"numbers": none.reliability(), "digits": none.reliability()}
    metrics = {"reliability": reliability, "calibration_error": None, "digit_calibration_error": None}
    assert "digits, before: calibration error -" in visualization_reliability.reliability(metrics, metrics)
