"""The page of runs: complete, self-contained, below its size limit, and clear about folders that are no runs."""

from __future__ import annotations

import re
import shutil
import sys

import numpy as np
import pytest
from conftest import StopAfter

from seqdigits.cli import page as cli_page
from seqdigits.core.errors import UserError
from seqdigits.core.interrupt import Stop, Stopped
from seqdigits.experiments import page
from seqdigits.experiments.run_folder import read_curves, read_metrics, read_run
from seqdigits.training.loop import train_and_evaluate
from seqdigits.visualization import html

WITHOUT_BOX = {
    "model.name": "heads",
    "model.encoder": "conv 3x3x4 /4, relu",
    "loss.digits": 1.0,
    "loss.cells": 0.0,
    "loss.cell_boxes": 0.0,
    "train.steps": 100,
    "evaluate.every": 100,
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory, small_config):
    """Two tiny runs: `finished`; and `begun`, whose model has no box, which was stopped before its first evaluation."""
    folder = tmp_path_factory.mktemp("runs")
    train_and_evaluate(small_config({"evaluate.splits": ("validation",), "seed": 3}), folder / "finished")
    with pytest.raises(Stopped):
        train_and_evaluate(small_config(WITHOUT_BOX), folder / "begun", StopAfter(3))
    return folder


@pytest.fixture(scope="module")
def evaluated(runs):
    """Both runs, each evaluated once."""
    folders = [read_run(runs / name, name) for name in ("finished", "begun")]
    return [cli_page.evaluate(folder, "validation", limit=40, kept=3, stop=Stop()) for folder in folders]


@pytest.fixture
def command(monkeypatch):
    """`command("--split=train", RUN)`: runs `seqdigits page` in this process."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["seqdigits page", *map(str, arguments)])
        cli_page.main(Stop())

    return call


def files(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def sections(text):
    return re.findall(r'<section id="(\w+)"', text)


def test_page_of_a_run_is_complete_and_self_contained(runs, command, tmp_path):
    before = files(runs / "finished")
    command(runs / "finished", f"--out={tmp_path}")
    assert files(runs / "finished") == before
    text = (tmp_path / "finished.html").read_text()
    assert len(text.encode()) <= page.LIMIT
    assert sections(text) == [
        *("metrics", "curves", "accuracy", "confusion", "confidence", "localization"),
        *("examples", "parameters", "config", "origin"),
    ]
    addresses = re.findall(r"""(?:src|href|url)\s*[=(]\s*["']?([^"'\s>)]+)""", text)
    assert addresses
    assert all(address.startswith(("data:image/", "#")) for address in addresses)
    assert not re.search(r"<(script|link|iframe|object|embed)\b|@import", text)
    for title in ("loss", "loss/cells", "sequence_accuracy", "localization_error", "Wrong digits per missed number"):
        assert f'aria-label="{title}' in text
    assert text.count("<svg") > 15
    assert "encoder/Conv_0/kernel" in text
    assert re.search(r'<th scope="row">seed</th>\s*<td>0</td>\s*<td>3</td>', text)  # its base value and its own
    assert "the first 40 examples of validation" in text
    assert "Complete evaluations that are in its folder" in text


def test_page_shows_right_and_wrong_examples_with_both_boxes(evaluated):
    text = page.html(evaluated[:1], "")
    shown = text.partition('<section id="examples"')[2].partition("</section>")[0]
    counts = [int(n) for n in re.findall(r'<span class="muted">(\d+)</span></h3>', shown)]
    assert all(n <= 3 for n in counts)
    assert shown.count("<figure") == sum(counts) > 0
    assert shown.count('<b class="wrong">') == counts[1] + counts[2]
    assert "<rect x=" in shown
    assert text == page.html(evaluated[:1], "")


def test_runs_side_by_side_without_evaluation_and_without_boxes(evaluated):
    text = page.html(evaluated, "")
    assert "<h1>finished, begun</h1>" in text
    assert text.count('<p class="legend">') == 4
    assert 'aria-label="loss by step. training of finished' in text
    assert "training of begun" in text
    assert 'class="split run2"' in text
    assert re.search(r'<tr class="changed"><th scope="row">model\.name</th>', text)


def test_page_of_a_run_without_evaluation(evaluated):
    text = page.html(evaluated[1:], "")
    assert "The model has no box." in text
    assert "Complete evaluations" not in text


def test_page_names_the_restriction_of_photographs(evaluated, monkeypatch):
    monkeypatch.setattr(page, "data_origin", lambda data: ("Restricted photographs.", True))
    assert '<p class="license">Restricted photographs.</p>' in page.html(evaluated[:1], "")


def test_page_of_no_run_is_refused(runs, tmp_path, command):
    with pytest.raises(UserError, match="is no folder"):
        command(tmp_path / "none")
    with pytest.raises(UserError, match="not the folder of a run"):
        command(tmp_path)
    with pytest.raises(UserError, match="named twice"):
        command(runs / "finished", runs / "begun" / ".." / "finished")
    with pytest.raises(UserError, match="at most 6"):
        command(*(runs / str(n) for n in range(7)))
    with pytest.raises(UserError, match="has the steps"):
        command(runs / "finished", "--checkpoint=77")


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("metrics.jsonl", '{"step": 2, "split": "train", "loss": 1}\n{"step": 4, "spl\n{}\n', "line 2 cannot be read"),
        ("evaluation/validation.json", "{}", r"validation.json is damaged.*Evaluate the run again"),
        (
            "evaluation/validation.json",
            '{"step": 4, "examples": 1, "sequence_accuracy": 1.0, "accuracy_by_length": null}',
            "validation.json is damaged: accuracy_by_length is not an object",
        ),
        ("provenance.json", "[", r"provenance.json is missing or damaged"),
        (
            "checkpoints/4/manifest.json",
            "{}",
            r"checkpoints/4 is damaged: manifest\.json cannot be read \('meta'\)\nNo checkpoint in \S*/copy/checkpoints "
            r"verifies\. Copy them again from where they were written, or train again\.$",
        ),
    ],
)
def test_a_damaged_folder_is_a_clear_error(runs, tmp_path, file, content, message):
    copy = tmp_path / "copy"
    shutil.copytree(runs / "finished", copy)
    for path in copy.glob("checkpoints/*/manifest.json") if "manifest" in file else [copy / file]:
        path.write_text(content)
    with pytest.raises(UserError, match=message):
        read_run(copy, "copy")


def test_a_run_without_checkpoint_is_refused(runs, tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UserError, match="no checkpoint yet"):
        read_run(tmp_path, "new")


def test_curves_of_a_running_training_lack_its_last_line(tmp_path):
    path = tmp_path / "metrics.jsonl"
    assert read_curves(path) == {}
    path.write_text('{"step": 2, "split": "train", "loss": 5.0, "seconds": 1}\n{"step": 4, "spl')
    curves = read_curves(path)
    assert list(curves) == ["loss"]
    assert [values.tolist() for values in curves["loss"]["train"]] == [[2], [5.0]]


@pytest.mark.parametrize(
    "line",
    ["", "{}", "[]", "7", '{"step": 1}', '{"step": "2", "split": "train"}', "[" * 100_000],
    ids=lambda line: line[:9],
)
def test_a_damaged_line_of_metrics_is_a_clear_error(tmp_path, line):
    path = tmp_path / "metrics.jsonl"
    path.write_text(f'{{"step": 2, "split": "train"}}\n{line}\n')
    with pytest.raises(UserError, match="metrics.jsonl is damaged: line 2 cannot be read"):
        read_metrics(path)


def test_images_are_made_smaller_until_they_fit():
    random = np.random.default_rng(0)
    images = [random.integers(0, 256, (128, 256, 3), np.uint8) for _ in range(4)]
    for budget, kind in ((10**6, "png"), (150_000, "webp"), (20_000, "webp")):
        uris = html.encode(images, budget)
        assert all(uri.startswith(f"data:image/{kind}") for uri in uris)
        assert sum(map(len, uris)) <= budget
    assert html.encode(images, 1_000) is None


def test_a_page_that_cannot_be_small_enough_is_refused(evaluated, monkeypatch):
    monkeypatch.setattr(page, "LIMIT", 20_000)
    with pytest.raises(UserError, match="Name fewer runs"):
        page.html(evaluated, "")
