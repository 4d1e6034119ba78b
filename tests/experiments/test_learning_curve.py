"""Learning curves: which pictures are trained on, what is run again, the command, its table and its chart."""

from __future__ import annotations

import dataclasses
import io
import json
import os
from pathlib import Path

import numpy as np
import pytest
from conftest import SMALL
from photo_folders import drawn, write
from PIL import Image

from seqdigits.checkpoint import pretrained
from seqdigits.cli import learning_curve as cli_learning_curve
from seqdigits.config.saved import to_json
from seqdigits.config_checks.validate import validate
from seqdigits.core.errors import UserError
from seqdigits.core.interrupt import Stop, Stopped
from seqdigits.data.create import create_source
from seqdigits.data.photos.folder import chosen_rows
from seqdigits.experiments import learning_curve, learning_curve_table
from seqdigits.experiments.learning_curve import Curve, Point, config_of
from seqdigits.metrics.intervals import wilson_interval

SPLIT = ["train"] * 12 + ["validation"] * 3 + ["test"] * 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A folder of 12, 3 and 4 pictures."""
    made = tmp_path_factory.mktemp("doors")
    lines = ["image,number,boxes,split"]
    for i, split in enumerate(SPLIT):
        number = str(100 + i)[: i % 3 + 1]
        picture, boxes = drawn(number, i)
        picture.save(made / f"{i}.png")
        lines.append(f"{i}.png,{number},{boxes},{split}")
    return write(made, lines)


def point(config, initialization: str, pictures: int, accuracy: float = 0.75) -> Point:
    return Point(
        initialization=initialization,
        pictures=pictures,
        steps=config.train.steps if pictures else 0,
        best_step=config.train.steps if pictures else 0,
        right=round(accuracy * 4),
        examples=4,
        accuracy=accuracy,
        interval=wilson_interval(accuracy, 4),
        digit_accuracy=0.9,
        minutes=1.5,
        config=json.loads(to_json(config)),
        weights_sha256=pretrained.facts("scene")["sha256"] if initialization == "scene" else None,
        commit="0123456789",
        devices=["cpu cpu"],
        cores=2,
        versions={"jax": "1"},
    )


@pytest.fixture
def runs(monkeypatch) -> list[tuple[str, int]]:
    """Replaces training; returns the list of the runs."""
    done: list[tuple[str, int]] = []

    def run(config, initialization, pictures, _workdir, stop):
        if stop.is_set():
            raise Stopped
        done.append((initialization, pictures))
        return point(config, initialization, pictures)

    monkeypatch.setattr(learning_curve, "run", run)
    return done


def train_lines(folder: Path, most: int) -> set[int]:
    return {row.line for row in chosen_rows(folder, "train", most=most)}


def test_pictures_are_nested_and_of_train_only(folder):
    assert [len(train_lines(folder, most)) for most in (1, 4, 8, 12, 99, 0)] == [1, 4, 8, 12, 12, 12]
    assert train_lines(folder, 4) < train_lines(folder, 8) < train_lines(folder, 12)
    assert train_lines(folder, 12) == set(range(2, 14))
    assert train_lines(folder, 4) != {2, 3, 4, 5}, "drawn, because a file may be sorted"
    others = [{row.line for row in chosen_rows(folder, split)} for split in ("validation", "test")]
    assert not set.union(*others) & train_lines(folder, 0)


def test_source_trains_on_the_drawn_pictures_in_file_order(folder):
    few, every = (create_source(config_of(folder, "random", size), "train") for size in (4, 12))
    assert few.spec.num_examples == 4
    places = sorted(line - 2 for line in train_lines(folder, 4))
    np.testing.assert_array_equal(few.arrays["images"], every.arrays["images"][places])
    np.testing.assert_array_equal(few.arrays["digits"], every.arrays["digits"][places])
    for split, count in (("validation", 3), ("test", 4)):
        assert create_source(config_of(folder, "random", 4), split).spec.num_examples == count


def test_configs_differ_in_initialization_and_rate_alone(folder):
    scene, random = (config_of(folder, name, 12) for name in ("scene", "random"))
    validate(scene)
    validate(random)
    assert (scene.init.path, random.init.path) == ("scene", "")
    random.init.path, random.optim.learning_rate = scene.init.path, scene.optim.learning_rate
    assert to_json(random) == to_json(scene)
    assert scene.data.max_length == 3, "of the folder"
    assert scene.train.steps == scene.optim.decay_steps == learning_curve.steps_of(12)
    assert scene.evaluate.splits == scene.evaluate.curves == (), "test is evaluated once, with the best checkpoint"


def curve_of(folder: Path, tmp_path: Path, sizes=(4, 8), **others) -> Curve:
    return learning_curve.learning_curve(folder, sizes, out=tmp_path, workdirs=tmp_path / "runs", **others)


def test_saved_points_are_not_run_again(folder, tmp_path, runs):
    curve_of(folder, tmp_path, sizes=(4,))
    assert runs == [("scene", 0), ("scene", 4), ("random", 4)]
    curve = curve_of(folder, tmp_path)
    assert runs[3:] == [("scene", 8), ("random", 8)]
    assert Curve.from_json((tmp_path / f"{folder.name}.json").read_text()) == curve
    assert curve.pictures == {"train": 12, "validation": 3, "test": 4}
    assert curve_of(folder, tmp_path, sizes=(4,)) == curve, "points of other sizes are kept"
    curve_of(folder, tmp_path, sizes=(4,), steps=7)
    assert runs[5:] == [("scene", 0), ("scene", 4), ("random", 4)], "another schedule"


def test_stopped_command_resumes(folder, tmp_path, runs, monkeypatch):
    stop, faked = Stop(), learning_curve.run

    def run(*arguments):
        if len(runs) == 2:
            stop.set()
        return faked(*arguments)

    monkeypatch.setattr(learning_curve, "run", run)
    with pytest.raises(Stopped):
        curve_of(folder, tmp_path, stop=stop)
    monkeypatch.setattr(learning_curve, "run", faked)
    curve_of(folder, tmp_path)
    assert runs == learning_curve.plan([4, 8])


def test_points_of_other_labels_are_run_again(folder, tmp_path, runs, capsys):
    path = tmp_path / f"{folder.name}.json"
    curve = curve_of(folder, tmp_path, sizes=(4,))
    path.write_text(dataclasses.replace(curve, labels_sha256="0").to_json())
    curve_of(folder, tmp_path, sizes=(4,))
    assert len(runs) == 6
    assert "other labels" in capsys.readouterr().out
    path.write_text("{}")
    with pytest.raises(UserError, match=r"is damaged .* Delete it"):
        curve_of(folder, tmp_path)


def test_points_of_other_weights_are_run_again_in_another_workdir(folder, tmp_path, runs, monkeypatch):
    workdirs, faked = [], learning_curve.run

    def run(config, initialization, pictures, workdir, stop):
        workdirs.append(workdir.name)
        return faked(config, initialization, pictures, workdir, stop)

    monkeypatch.setattr(learning_curve, "run", run)
    curve_of(folder, tmp_path, sizes=(4,), steps=7)
    facts = pretrained.facts("scene")
    monkeypatch.setattr(pretrained, "facts", lambda _: {**facts, "sha256": "0123456789"})
    curve_of(folder, tmp_path, sizes=(4,), steps=7)
    assert runs[3:] == [("scene", 0), ("scene", 4)], "those at random are kept"
    own = str(facts["sha256"])[:8]
    assert workdirs[:3] == [f"scene-{own}-0-7", f"scene-{own}-4-7", f"random-{own}-4-7"]
    assert workdirs[3:] == ["scene-01234567-0-7", "scene-01234567-4-7"]


def test_points_with_other_decoding_are_run_again(folder, tmp_path, runs):
    curve = curve_of(folder, tmp_path, sizes=(4,))
    points = [
        dataclasses.replace(p, config={**p.config, "decode": {**p.config["decode"], "min_score": 0.9}})
        for p in curve.points
    ]
    path = tmp_path / f"{folder.name}.json"
    path.write_text(dataclasses.replace(curve, points=points).to_json())
    curve_of(folder, tmp_path, sizes=(4,))
    assert runs[3:] == runs[:3]


def test_file_without_the_digest_of_the_weights_keeps_its_random_points(folder, tmp_path, runs):
    curve_of(folder, tmp_path, sizes=(4,))
    path = tmp_path / f"{folder.name}.json"
    saved = json.loads(path.read_text())
    for one in saved["points"]:
        del one["weights_sha256"]
    path.write_text(json.dumps(saved))
    curve_of(folder, tmp_path, sizes=(4,))
    assert runs[3:] == [("scene", 0), ("scene", 4)]


def test_run_evaluates_the_best_checkpoint_on_test(folder, tmp_path):
    config = config_of(folder, "random", 4, steps=4)
    small = {key: value for key, value in SMALL.items() if key.startswith(("model.encoder", "train.batch_size"))}
    config.update_from_flattened_dict({**small, "data.height": 32, "data.width": 64, "decode.octaves": 0})
    config.update_from_flattened_dict({"data.train_height": 0, "data.train_width": 0, "evaluate.every": 2})
    config.evaluate.batch_size = 4
    found = learning_curve.run(config, "random", 4, tmp_path / "run", Stop())
    assert (found.pictures, found.steps, found.examples) == (4, 4, 4)
    assert found.best_step in (2, 4)
    assert found.right == found.accuracy * 4
    assert found.interval == wilson_interval(found.accuracy, 4)
    report = json.loads((tmp_path / "run" / "evaluation" / "test.json").read_text())
    assert (report["checkpoint"], report["step"]) == ("best", found.best_step)
    assert not (tmp_path / "run" / "evaluation" / "train.json").exists()


def main(monkeypatch, *arguments) -> None:
    monkeypatch.setattr("sys.argv", ["learning-curve", *map(str, arguments)])
    monkeypatch.setattr(cli_learning_curve, "prepare_jax", lambda: None)
    monkeypatch.setattr(os, "nice", lambda _: 0)  # it could not be undone for the other tests
    cli_learning_curve.main(Stop())


def test_command_writes_results_table_and_chart(folder, tmp_path, runs, monkeypatch, capsys):
    main(monkeypatch, folder, "--sizes", "4,8", "--out", tmp_path / "out")
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {f"{folder.name}.json", "table.md", "learning_curve.png"}
    rows = (tmp_path / "out" / "table.md").read_text().splitlines()
    cell = "0.750 (0.301 to 0.954)"
    assert rows[4] == f"| {folder.name} | 4 | 0 | {cell} |  |  |  |"
    assert rows[5] == f"| {folder.name} | 4 | 4 | {cell} | {cell} | {learning_curve.steps_of(4):,} | 1.5 + 1.5 |"
    assert "\n".join(rows) in capsys.readouterr().out
    with Image.open(tmp_path / "out" / "learning_curve.png") as chart:
        assert chart.width > chart.height > 400


def test_command_makes_missing_folders(folder, tmp_path, runs, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli_learning_curve.displays, "COUNTS", {"train": 4, "validation": 1, "test": 1})
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "house_numbers").symlink_to(folder)
    monkeypatch.setattr(cli_learning_curve, "HOUSE_NUMBERS", Path("runs/house_numbers"))
    main(monkeypatch, "--sizes", "4")
    assert {path.name for path in Path("results/learning_curve").glob("*.json")} == {
        "displays.json",
        f"{folder.name}.json",
    }
    assert len(runs) == 6


def test_chart_is_the_same_for_the_same_points(folder):
    points = [point(config_of(folder, name, size), name, size) for name, size in learning_curve.plan([4, 8])]
    curve = Curve("doors", "0", {"test": 4}, points)
    first = learning_curve_table.chart([curve, curve])
    assert first == learning_curve_table.chart([curve, curve])
    assert Image.open(io.BytesIO(first)).width > Image.open(io.BytesIO(learning_curve_table.chart([curve]))).width


@pytest.mark.parametrize(
    ("change", "arguments", "message"),
    [
        ({}, ["--sizes", "4,13"], r"--sizes 13: .* has 12 rows of the split train. Give sizes of at most 12"),
        ({}, ["--sizes", "0"], "--sizes"),
        ({}, ["--sizes", "some"], "--sizes"),
        ({}, ["--steps", "0"], "--steps"),
        ({"test": "train"}, ["--sizes", "4"], "has no row for the split test"),
        ({"boxes": ""}, ["--sizes", "4"], "has no boxes in labels.csv line"),
        ({"image": "missing.png"}, ["--sizes", "4"], "no such file"),
    ],
)
def test_bad_input_is_refused_before_any_run(folder, tmp_path, runs, monkeypatch, change, arguments, message):
    lines = (folder / "labels.csv").read_text().splitlines()
    copy = tmp_path / "copy"
    copy.mkdir()
    for image in folder.glob("*.png"):
        (copy / image.name).symlink_to(image)
    cells = [line.split(",") for line in lines[1:]]
    for row in cells:
        row[3] = change.get(row[3], row[3])
    cells[0][2] = change.get("boxes", cells[0][2])
    cells[0][0] = change.get("image", cells[0][0])
    write(copy, [lines[0], *(",".join(row) for row in cells)])
    with pytest.raises(UserError, match=message):
        main(monkeypatch, copy, *arguments, "--out", tmp_path / "out")
    assert not runs


def test_folders_of_one_name_and_missing_ones_are_refused(folder, tmp_path, runs, monkeypatch):
    (tmp_path / folder.name).mkdir()
    with pytest.raises(UserError, match=f"two folders are named {folder.name}"):
        main(monkeypatch, folder, tmp_path / folder.name, "--out", tmp_path / "out")
    with pytest.raises(UserError, match=r"labels\.csv cannot be read"):
        main(monkeypatch, tmp_path / "none", "--out", tmp_path / "out")
