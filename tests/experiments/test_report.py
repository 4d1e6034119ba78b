"""The page of results, from results made up by hand."""

import sys

import pytest
from conftest import ROOT

from seqdigits.cli import report as cli_report
from seqdigits.config.defaults import digest
from seqdigits.core.errors import UserError
from seqdigits.core.interrupt import Stop
from seqdigits.experiments import report
from seqdigits.experiments.results import ComparedMetric, Comparison, CurvePoint, Result, TrainedPart


def result(name, **changes):
    values = {
        "name": name,
        "settings": {},
        "config": config(),
        "seed": 0,
        "commit": "0123456789",
        "devices": ["cpu"],
        "cores": 2,
        "python": "3.11",
        "versions": {},
        "trained": [TrainedPart(0, "0123456789", ["cpu"])],
        "steps": 30_000,
        "steps_planned": 30_000,
        "fraction": 1.0,
        "partial": False,
        "comparable": True,
        "minutes": 61.25,
        "parameters": 7,
        "reports": reports(),
        "published": published(won=(False, True, True)),
        "curve": [],
    }
    values |= changes
    return Result(**values, config_sha256=digest(values["config"]))


def config(name="gru", path="", **sections):
    return {"model": {"name": name}, "init": {"path": path}, **sections}


def reports(**metrics):
    return {
        split: {"sequence_accuracy": value, "localization_error": None, "examples": 30_000, **metrics}
        for split, value in (("train", 0.99), ("validation", 0.91), ("test", 0.9))
    }


def published(won, family="B"):
    values = (("train", 1.0), ("validation", 0.86), ("test", 0.88))
    return Comparison(
        family,
        7,
        "",
        [
            ComparedMetric(split, "sequence_accuracy", value, None, improves)
            for (split, value), improves in zip(values, won, strict=True)
        ],
    )


def rows(*results):
    page = report.text(list(results))
    return page, [line for line in page.splitlines() if line.startswith(("| `", "|  |"))]


def test_text_has_one_row_per_metric():
    page, (row,) = rows(result("strip5_batchnorm", settings={"data.folder": "/data"}))
    assert "## B. A strip of digits" in page
    assert row == (
        "| `strip5_batchnorm`<br>data.folder=/data | 30,000 | sequence accuracy | 1 / 0.86 / 0.88 | 0.9900 / 0.9100 / 0.9000 ± 0.0034 | yes | "
        "61.2 | `0123456`; 0; cpu |"
    )


def test_text_lists_training_time_of_detectors():
    points = [(10, 60.0, None), (20, 90.0, 0.7), (30, 150.0, 0.85), (40, 300.0, 0.84), (50, 600.0, 0.96)]
    curve = [
        CurvePoint(step, seconds=s, sequence_accuracy=a, localization_error=1 - a if a else None)
        for step, s, a in points
    ]
    fresh = config("dense_detector", evaluate={"examples": 400})
    page = report.text([result("reader_canvas", published=None, config=fresh, curve=curve)])
    assert "| config | examples | 0.80 | 0.95 | 0.99 | commit; seed; device |" in page
    assert "| `reader_canvas` | 400 | 2.5, 0.15 px² | 10.0, 0.04 px² | - | `0123456`; 0; cpu |" in page
    initialized = config("dense_detector", "runs/another", evaluate={"examples": 400})
    page = report.text([result("reader_mnist", published=None, config=initialized, curve=curve)])
    assert "Training time" not in page, "it is not randomly initialized"


def test_text_marks_a_partial_run():
    beside = published(won=(None, None, None))
    _, (row,) = rows(result("strip5_batchnorm", partial=True, comparable=False, steps=3_000, published=beside))
    assert "| 3,000 of 30,000, *partial* |" in row
    assert "| - | 61.2 |" in row


def test_text_separates_other_data():
    page, (row,) = rows(
        result("svhn_crop32+data.photographs=svhn_2000", settings={"data.photographs": "svhn_2000"}, comparable=False)
    )
    assert "## Experiments of our own" in page
    assert "## B" not in page
    assert row.startswith("| `svhn_crop32`<br>data.photographs=svhn_2000 |")


def test_text_names_the_split_that_is_not_improved():
    _, (row,) = rows(result("strip5_gru", published=published(won=(False, True, False))))
    assert "| validation yes, test no |" in row


def test_text_formats_positions_and_errors():
    beside = Comparison("B", 7, "", [ComparedMetric("validation", "accuracy_by_position/2", 0.9, 0, True)])
    measured = reports(accuracy_by_position=[0.1, 0.25], localization_error=2.345)
    _, (first, *others) = rows(result("strip4_multi_head", published=beside, reports=measured))
    assert "| accuracy by position/2 | 0.9 (validation) | 0.2500 / 0.2500 / 0.2500 | yes |" in first
    assert [line.split(" | ")[2:5] for line in others] == [
        ["sequence accuracy", "-", "0.9900 / 0.9100 / 0.9000 ± 0.0034"],
        ["localization error", "-", "2.35 / 2.35 / 2.35"],
    ]


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["report", *map(str, arguments)])
    cli_report.main(Stop())


def test_report_writes_rows_in_published_order(monkeypatch, tmp_path, capsys):
    for name in ("svhn_crop32", "mnist_linear", "reader_canvas"):
        beside = None if name == "reader_canvas" else Comparison("D" if name[0] == "s" else "A", 7, "", [])
        (tmp_path / f"{name}.json").write_text(result(name, published=beside).to_json())
    run(monkeypatch, tmp_path, tmp_path / "page.md")
    page = (tmp_path / "page.md").read_text()
    assert page.index("mnist_linear") < page.index("svhn_crop32") < page.index("reader_canvas")
    assert "3 results" in capsys.readouterr().out


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"name": "a", "reports": {}, "steps": 1, "partial": false}'])
def test_report_names_an_invalid_result(monkeypatch, tmp_path, content):
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(UserError, match=r"x\.json is not a result"):
        run(monkeypatch, tmp_path, tmp_path / "page.md")
    assert not (tmp_path / "page.md").exists()


def test_report_refuses_bad_arguments(monkeypatch, tmp_path):
    with pytest.raises(UserError, match="has no results"):
        run(monkeypatch, tmp_path)
    with pytest.raises(UserError, match="is not understood"):
        run(monkeypatch, "a", "b", "c")
    (tmp_path / "a.json").write_text(result("mnist_linear").to_json())
    with pytest.raises(UserError, match="cannot be written"):
        run(monkeypatch, tmp_path, "/nowhere/at/all.md")


def test_page_in_the_tree_equals_the_generated_text():
    assert (ROOT / "RESULTS.md").read_text() == report.text(report.load_results(ROOT / "results"))
