"""The tables of the commands as they are piped: the exact text, from values given by hand."""

from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from seqdigits.cli import benchmark, calibrate, check_photos, pretrained, upper_bound
from seqdigits.cli import inspect as cli_inspect
from seqdigits.data.photos.labels import Row
from seqdigits.evaluation.table import report_table
from seqdigits.evaluation.upper_bound import UpperBound
from seqdigits.experiments import run as run_of_series
from seqdigits.experiments.published import Published, PublishedMetric
from seqdigits.experiments.run import Run
from seqdigits.experiments.table import progress_table


def test_report_table_is_stable():
    train = {
        "examples": 10_000,
        "sequence_accuracy": 0.97571,
        "localization_error": 0.384,
        "coverage_at_98": None,
        "accuracy_by_length": {"1": 0.98851, "2": None},
    }
    test = train | {"examples": 500, "localization_error": 12.5, "accuracy_by_length": {"1": 1.0, "2": 0.5, "10": 0.25}}
    assert report_table({"train": train, "test": test}) == (
        "                       train       test\n"
        "examples              10,000        500\n"
        "sequence_accuracy     0.9757     0.9757\n"
        "localization_error  0.38 px²  12.50 px²\n"
        "  of 1 digit          0.9885     1.0000\n"
        "  of 2 digits              -     0.5000\n"
        "  of 10 digits             -     0.2500"
    )


def test_progress_table_is_stable(monkeypatch, tmp_path):
    metrics = (PublishedMetric("test", "sequence_accuracy", 0.88), PublishedMetric("test", "localization_error", 2.1))
    monkeypatch.setattr(run_of_series, "PUBLISHED", {"a": Published("A", 7, metrics), "b": Published("B", 7)})
    reports = {"test": {"examples": 30_000, "sequence_accuracy": 0.9, "localization_error": 0.9}}
    result = SimpleNamespace(
        name="a", seed=0, steps=30_000, minutes=61.25, reports=reports, comparable=True, settings={}, config={}
    )
    done = Run("a", {}, tmp_path, tmp_path, "done before", config={}, planned=30_000, result=result)
    failed = Run("b", {"seed": 3}, tmp_path, tmp_path, "failed", problem="out of memory")
    assert progress_table([done, failed]) == (
        "experiment  state                steps  minutes  metric                       ours  published  beside it\n"
        "a           done before  30,000/30,000     61.2  test sequence_accuracy     0.9000       0.88  better\n"
        "                                                 test localization_error  0.90 px²       2.10  better*\n"
        "b+seed=3    failed                 0/?        -  -                               -          -  -\n"
        "\n"
        "b+seed=3 failed: out of memory"
    )


def test_check_photos_table_is_stable():
    boxes = np.zeros((2, 4), np.float32)
    found = (
        Row(2, Path("a.png"), np.array([1, 7]), boxes, "train"),
        Row(3, Path("b.png"), np.array([7]), None, "test"),
    )
    assert check_photos.table(found) == (
        "               train  validation  test\n"
        "photographs        1           0     1\n"
        "with boxes         1           0     0\n"
        "of 1 digit(s)      0           0     1\n"
        "of 2 digit(s)      1           0     0\n"
        "digit 0            0           0     0\n"
        "digit 1            1           0     0\n"
        "digit 2            0           0     0\n"
        "digit 3            0           0     0\n"
        "digit 4            0           0     0\n"
        "digit 5            0           0     0\n"
        "digit 6            0           0     0\n"
        "digit 7            1           0     1\n"
        "digit 8            0           0     0\n"
        "digit 9            0           0     0"
    )


def test_inspect_table_is_stable(monkeypatch):
    def statistics(split, examples, lengths, faults):
        return SimpleNamespace(
            split=split,
            prints=None,
            examples=examples,
            digits=np.full((3, 10), 50),
            lengths=np.array(lengths),
            pixels=(120.25,),
            notes=Counter(over=3),
            faults=Counter(faults),
        )

    copies = {("train", "train"): 2, ("train", "test"): 1, ("test", "train"): 1, ("test", "test"): 0}
    monkeypatch.setattr(cli_inspect.checks, "copies", lambda prints: copies)
    found = [statistics("train", 10_000, [0, 5, 5, 1], {}), statistics("test", 500, [0, 0, 5, 0], {"label": 4})]
    assert cli_inspect.table(found) == (
        "                       train   test\n"
        "examples              10,000    500\n"
        "digits                 1,500  1,500\n"
        "lengths               1 to 3      2\n"
        "mean pixel             120.2  120.2\n"
        "boxes over the edge        3      3\n"
        "boxes not known            0      0\n"
        "digits out of order        0      0\n"
        "images of one color        0      0\n"
        "images also in train       2      1\n"
        "images also in test        1      0\n"
        "faults                     0      4"
    )


def test_calibrate_table_is_stable():
    before = {
        "examples": 4_000,
        "sequence_accuracy": 0.95,
        "negative_log_likelihood": 1.25,
        "calibration_error": 0.1,
        "digit_calibration_error": 0.05,
        "coverage_at_98": None,
        "temperature": 1.0,
        "platt_scale": 1.0,
        "platt_bias": 0.0,
        "min_score": 0.3,
    }
    after = before | {"coverage_at_98": 0.875, "temperature": 1.5}
    assert calibrate.text({"before": before, "after": after, "fits_min_score": False}) == (
        "validation, 4,000 examples\n"
        "                         before   after\n"
        "sequence_accuracy        0.9500  0.9500\n"
        "negative_log_likelihood  1.2500  1.2500\n"
        "calibration_error        0.1000  0.1000\n"
        "digit_calibration_error  0.0500  0.0500\n"
        "coverage_at_98                -  0.8750\n"
        "\n"
        "--config.decode.temperature=1.5\n"
        "--config.decode.platt_scale=1\n"
        "--config.decode.platt_bias=0"
    )


def test_upper_bound_table_is_stable(small_config):
    bounds = [UpperBound(4, (8, 24), 4_000, 4_000, 3_000, 3_000), UpperBound(8, (4, 12), 4_000, 2_000, 3_000, 1_000)]
    config = small_config({"decode.max_overlap": 0.4})
    assert upper_bound.table(bounds, config) == (
        "4,000 images\n"
        "stride  grid  one digit per cell  overlap <= 0.4    both\n"
        "     4  8x24              1.0000          0.7500  0.7500\n"
        "     8  4x12              0.5000          0.7500  0.2500  the model's"
    )


def test_benchmark_table_is_stable():
    figures = {
        "import_seconds": 0.0012,
        "first_step_seconds_cold": 10.7,
        "first_step_seconds_warm": 3.9,
        "compile_seconds": 3.9,
        "train_images_per_second": 94.0,
        "predict_images_per_second": 5_440.0,
        "data_share": 0.002,
        "step_flops": 4.81e9,
        "flops_per_second": 24.1e9,
        "peak_size": 2_048,
        "config": {"model": {"compute_dtype": "float32"}},
        "peak_flops_per_second": 96.4e9,
        "peak_share": 0.25,
        "devices": ["cpu"],
    }
    assert benchmark.table(figures) == (
        "measurement                                     value\n"
        "import seqdigits                              0.001 s\n"
        "first step, cold compilation cache             10.7 s\n"
        "first step, warm compilation cache              3.9 s\n"
        "compile the training step                       3.9 s\n"
        "train                                     94 images/s\n"
        "predict                                5,440 images/s\n"
        "data share of a training step                    0.2%\n"
        "operations of a training step              4.81 GFLOP\n"
        "  a second                               24.1 GFLOP/s\n"
        "peak: 2,048 x 2,048 matrices, float32    96.4 GFLOP/s\n"
        "  share of it in a training step                25.0%\n"
        "devices                                           cpu"
    )


@pytest.fixture
def weights(monkeypatch, tmp_path):
    """Weights of one name, with metrics given by hand."""
    measured = {"sequence_accuracy": 0.98541, "half_interval": 0.00241, "examples": 10_000, "limit": None}
    known = {
        "bytes": 879_659,
        "sha256": "0123456789abcdef",
        "parameters": 465_103,
        "metrics": {"canvas": measured, "strip": measured | {"examples": 500, "limit": 500}, "photograph": None},
    }
    (tmp_path / "handwriting.npz").touch()
    monkeypatch.setattr(pretrained.pretrained, "FOLDER", tmp_path)
    monkeypatch.setattr(pretrained, "path", lambda name: f"W/{name}.npz")
    monkeypatch.setattr(pretrained, "facts", lambda name: known)
    return known


def test_pretrained_table_is_stable(weights):
    head = "handwriting: W/handwriting.npz, 879,659 bytes, SHA-256 0123456789ab..., 465,103 parameters"
    assert pretrained.listing("handwriting") == (
        f"{head}\n"
        "test data   sequence accuracy (95% interval)       examples\n"
        "canvas                       0.9854 ± 0.0024         10,000\n"
        "strip                        0.9854 ± 0.0024  the first 500\n"
        "photograph                      not measured"
    )
    weights["metrics"] = {}
    assert pretrained.listing("handwriting") == f"{head}; not measured"
