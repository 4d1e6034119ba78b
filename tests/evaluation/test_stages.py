"""Tests of the table that shows where the Reader loses numbers."""

import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from seqdigits.cli import measure as cli_measure
from seqdigits.core.errors import UserError
from seqdigits.core.interrupt import Stop
from seqdigits.data.photos.labeled_pictures import labeled_pictures
from seqdigits.evaluation.stages import Stages, measure_stages, read_boxes, stages_table
from seqdigits.inference.reading import Place, make_reading

BOXES = np.array([[20.0, 20, 10, 20], [32, 20, 10, 20]])


def reading(text, x=0.0):
    return make_reading(BOXES[: len(text)] + np.array([x, 0, 0, 0]), np.eye(10)[[int(digit) for digit in text]])


class StubReader:
    """Finds the texts of `found`, reads them as `again`, and the true box, whose place is silent, as `cut`."""

    def __init__(self, found, again, cut, read):
        self.found, self.again, self.cut, self.number = found, again, cut, read

    def find(self, picture):
        unsure = [r._replace(digit_confidence=r.digit_confidence * 0.5) for r in self.found]
        return [Place(r, (r,), 1) for r in unsure]

    def read_places(self, picture, places):
        texts = [self.cut] if places[0].first.text == "" else self.again
        return [Place(p.first, (*p.readings, reading(t)), 2) for p, t in zip(places, texts, strict=True)]

    def read(self, picture):
        return SimpleNamespace(number=self.number)


def measured(tmp_path, reader, boxes=None):
    Image.new("RGB", (80, 40)).save(tmp_path / "a.png")
    (tmp_path / "labels.csv").write_text("image,number\na.png,47\n")
    (found,) = measure_stages(tmp_path, labeled_pictures(tmp_path), reader, boxes or {}, Stop()).values()
    return found


def test_each_stage_is_counted_for_itself(tmp_path):
    reader = StubReader([reading("47"), reading("12", 500)], ["40", "12"], "47", "40")
    assert measured(tmp_path, reader, {"a.png": BOXES}) == [Stages(True, True, True, False, False)]


def test_a_number_elsewhere_covers_nothing(tmp_path):
    reader = StubReader([reading("12", 500)], ["47"], "4", "47")
    assert measured(tmp_path, reader, {"a.png": BOXES}) == [Stages(False, False, False, True, True)]


def test_without_boxes_two_stages_are_unknown(tmp_path):
    found = measured(tmp_path, StubReader([reading("47")], ["47"], "47", "47"))
    assert found == [Stages(None, True, None, True, True)]
    assert stages_table({"a": found}).splitlines()[-1].split() == ["a", "1", "-", "1.000", "-", "1.000", "1.000"]


def test_boxes_are_read_by_file_name(tmp_path):
    file = tmp_path / "boxes.json"
    box = {"label": 4, "left": 15, "top": 10, "width": 10, "height": 20}
    file.write_text(json.dumps([{"filename": "folder/a.png", "boxes": [box]}]))
    assert {name: boxes.tolist() for name, boxes in read_boxes(file).items()} == {"a.png": [[20, 20, 10, 20]]}


@pytest.mark.parametrize(("flags", "covered"), [((), "-"), (("--boxes", "boxes.json"), "1.000")])
def test_command_prints_the_stages_and_writes_nothing(tmp_path, monkeypatch, capsys, flags, covered):
    folder = tmp_path / "pictures"
    folder.mkdir()
    Image.new("RGB", (80, 40)).save(folder / "a.png")
    (folder / "labels.csv").write_text("image,number\na.png,47\n")
    boxes = [{"left": x - w / 2, "top": y - h / 2, "width": w, "height": h} for x, y, w, h in BOXES]
    (tmp_path / "boxes.json").write_text(json.dumps([{"filename": "a.png", "boxes": boxes}]))
    reader = StubReader([reading("47"), reading("12", 500)], ["40", "12"], "47", "40")
    monkeypatch.setattr(cli_measure.Reader, "from_pretrained", lambda name: reader)
    monkeypatch.setattr(cli_measure, "prepare_jax", lambda: None)
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    monkeypatch.setattr(sys, "argv", ["seqdigits measure", "pictures", "--stages", "--out", "out", *flags])
    cli_measure.main(Stop())
    *_, head, last = capsys.readouterr().out.splitlines()
    assert head.split("  ")[0] == "folder"
    assert last.split()[1:] == ["1", covered, "1.000", covered, "0.000", "0.000"]
    assert sorted(tmp_path.rglob("*")) == before


FLAT = '[{"filename": "a", "boxes": [{"left": 1, "top": 2, "width": 3, "height": 0}]}]'


@pytest.mark.parametrize(
    "content",
    [
        *["", "[1]", '[{"filename": "a"}]', '[{"filename": "a", "boxes": [{"left": 1}]}]'],
        *['[{"filename": "a", "boxes": []}]', FLAT],
    ],
)
def test_other_files_of_boxes_are_refused(tmp_path, content):
    (tmp_path / "boxes.json").write_text(content)
    with pytest.raises(UserError, match="--boxes"):
        read_boxes(tmp_path / "boxes.json")
