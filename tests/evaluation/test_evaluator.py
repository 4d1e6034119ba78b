"""Evaluation of a saved run: every example counted once, the table, the report, the example grid."""

import json
import sys

import numpy as np
import pytest

from seqdigits.checkpoint.layout import find_checkpoint
from seqdigits.cli import train as cli_train
from seqdigits.config.saved import to_json
from seqdigits.core.errors import UserError
from seqdigits.core.interrupt import Stop, Stopped
from seqdigits.evaluation.evaluate import evaluate_checkpoint
from seqdigits.evaluation.table import report_table
from seqdigits.training.loop import train_and_evaluate


@pytest.fixture(scope="module")
def trained(tmp_path_factory, small_config):
    config = small_config({"evaluate.splits": ("train", "validation", "test"), "optim.moving_average": 0.9})
    workdir = tmp_path_factory.mktemp("run")
    train_and_evaluate(config, workdir)
    return config, workdir


def report(workdir, split):
    return json.loads((workdir / "evaluation" / f"{split}.json").read_text())


def test_evaluate_equals_final_evaluation_of_training(trained):
    config, workdir = trained
    after_training = {split: report(workdir, split) for split in ("train", "validation", "test")}
    evaluate_checkpoint(config, workdir, which="latest", splits=())
    for split, expected in after_training.items():
        assert report(workdir, split) == {**expected, "differs_from_training": []}
    assert [after_training[s]["examples"] for s in after_training] == [200, 40, 40]


def test_report_has_every_metric(trained):
    _, workdir = trained
    metrics = report(workdir, "test")
    for name in ("sequence_accuracy", "character_accuracy", "digit_accuracy", "length_accuracy", "iou"):
        assert 0 <= metrics[name] <= 1
    assert metrics["localization_error"] > 0
    assert metrics["center_error"] > 0
    assert metrics["cross_entropy"] is None  # a dense detector has no logits of positions
    assert len(metrics["accuracy_by_position"]) == 3
    assert sum(metrics["examples_by_length"].values()) == metrics["examples"] == 40
    assert np.sum(metrics["confusion"]) == 40 * 3
    missed = sum(metrics["wrong_digits_per_missed_number"])
    assert missed == 40 - round(metrics["sequence_accuracy"] * 40)
    assert (metrics["step"], metrics["checkpoint"]) == (4, "latest")


def test_evaluate_step_path_and_other_data(trained, tmp_path):
    config, workdir = trained
    evaluate_checkpoint(config, workdir, which="2", splits=("test",))
    assert report(workdir, "test")["step"] == 2
    path = find_checkpoint(workdir, "4")
    other = config.copy_and_resolve_references()
    other.data.test_examples = 17
    evaluate_checkpoint(other, tmp_path, which=str(path), splits=("test",))
    assert report(tmp_path, "test")["examples"] == 17
    assert report(tmp_path, "test")["differs_from_training"] == ["data.test_examples: 40 -> 17"]


def test_command_evaluates_the_splits_and_the_checkpoint(trained, tmp_path, monkeypatch, capsys):
    """`python -m seqdigits.main --mode evaluate`"""
    config, workdir = trained
    file, out, checkpoint = tmp_path / "small.py", tmp_path / "out", find_checkpoint(workdir, "2")
    file.write_text(
        "import json\nfrom seqdigits.config.saved import complete_config\n\n\ndef get_config():\n"
        f"    return complete_config(json.loads({to_json(config)!r}), 'small')\n"
    )
    words = ["--config", str(file), "--workdir", str(out), "--mode=evaluate", "--config.data.test_examples=17"]
    monkeypatch.setattr(sys, "argv", ["main", *words, "--split", "validation,test", "--checkpoint", str(checkpoint)])
    monkeypatch.setattr(cli_train, "prepare_jax", lambda: None)
    cli_train.main(Stop())
    assert {path.name for path in (out / "evaluation").glob("*.json")} == {"validation.json", "test.json"}
    reports = {split: report(out, split) for split in ("validation", "test")}
    assert [(r["step"], r["checkpoint"], r["examples"]) for r in reports.values()] == [
        (2, str(checkpoint), 40),
        (2, str(checkpoint), 17),
    ]
    assert (out / "evaluation" / "test_first.png").exists()
    assert capsys.readouterr().out.endswith(f"{report_table(reports)}\n")


def test_evaluation_may_compute_otherwise_than_training(trained, small_config, tmp_path):
    """In bfloat16, which the report says; remat concerns training only."""
    _, workdir = trained
    other = small_config({"model.compute_dtype": "bfloat16", "model.remat": True})
    evaluate_checkpoint(other, tmp_path, which=str(find_checkpoint(workdir, "latest")), splits=("test",))
    differs = report(tmp_path, "test")["differs_from_training"]
    assert "model.compute_dtype: 'float32' -> 'bfloat16'" in differs
    assert not any("remat" in line for line in differs)


def test_restore_rejects_another_model(trained, small_config):
    _, workdir = trained
    other = small_config({"model.pixels": "raw"})  # of the same shapes
    with pytest.raises(UserError, match=r"(?s)belongs to another model:.*model.pixels: 'unit' -> 'raw'"):
        evaluate_checkpoint(other, workdir, which="latest", splits=("test",))


def test_evaluate_rejects_unknown_split(trained):
    config, workdir = trained
    with pytest.raises(UserError, match="--split dev: allowed are train, validation, test"):
        evaluate_checkpoint(config, workdir, which="latest", splits=("dev",))


def test_evaluate_rejects_unwritable_workdir(trained, tmp_path):
    config, workdir = trained
    (tmp_path / "file").write_text("")
    path = str(find_checkpoint(workdir, "latest"))
    with pytest.raises(UserError, match="cannot be used"):
        evaluate_checkpoint(config, tmp_path / "file" / "w", which=path, splits=("test",))


def test_evaluate_stops(trained):
    config, workdir = trained
    stop = Stop()
    stop.set()
    with pytest.raises(Stopped):
        evaluate_checkpoint(config, workdir, which="latest", splits=("test",), stop=stop)


def test_report_table_has_a_column_per_split(trained):
    _, workdir = trained
    text = report_table({split: report(workdir, split) for split in ("validation", "test")})
    assert "validation" in text.splitlines()[0]
    assert "localization_error" in text
    assert "cross_entropy" not in text
    assert "of 1 digit " in text
