"""Measuring an engine on labeled pictures: the choice of rows, the files, the sheet, the command."""

import json
import re
import sys
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from photo_folders import write
from PIL import Image

from seqdigits.cli import measure as cli_measure
from seqdigits.core.errors import Help, UserError
from seqdigits.core.interrupt import Stop, Stopped
from seqdigits.data.photos.labeled_pictures import labeled_pictures
from seqdigits.evaluation.answer_files import write_files
from seqdigits.evaluation.answers import Answer
from seqdigits.evaluation.pictures import choose, measure_pictures, score_folders
from seqdigits.visualization.wrong_answers import BOX, SIDE, WrongAnswer, draw_sheet, thumbnail

LABELS = [
    "filename,label,note",
    "doors/1.png,11,",
    "doors/2.png,12,",
    "cards/3.png,13,",
    "doors/4.png,14,UNCERTAIN",
    "doors/5.png,15,",
    "none/6.png,,",
    "none/7.png,,",
]


@pytest.fixture
def folder(tmp_path):
    """Pictures 1 to 7, each of one gray level 10 x its number, in three subfolders."""
    for line in LABELS[1:]:
        name = line.split(",")[0]
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("L", (80, 40), 10 * int(re.sub(r"\D", "", name))).save(tmp_path / name)
    return write(tmp_path, LABELS)


def engine(picture: Image.Image) -> Answer:
    """Reads 11, 1, 13, 25, none, 7 in the pictures 1, 2, 3, 5, 6, 7."""
    level = np.asarray(picture)[0, 0, 0] // 10
    number = {1: "11", 2: "1", 3: "13", 5: "25", 7: "7"}.get(level)
    if number is None:
        return Answer(None, 0.0, 2.0)
    return Answer(number, 0.5 + level / 20, 2.0, (number,), (40.0, 20.0, 20.0, 10.0))


def measured(folder, **chosen):
    rows, _ = choose(folder, labeled_pictures(folder), chosen.get("only", ()), chosen.get("limit"))
    return measure_pictures(folder, rows, engine, Stop())


def test_choose_leaves_out_uncertain_labels(folder):
    rows = labeled_pictures(folder)
    everything, uncertain = choose(folder, rows, (), None)
    assert [row.path.stem for row in everything] == ["1", "2", "3", "5", "6", "7"]
    assert uncertain == 1
    assert [row.path.stem for row in choose(folder, rows, (), 1)[0]] == ["1", "3", "6"]
    assert [row.path.stem for row in choose(folder, rows, ("doors/",), 3)[0]] == ["1", "2", "5"]
    assert choose(folder, rows, ("cards", "none"), None)[1] == 0


def test_choose_names_the_subfolders(folder):
    with pytest.raises(UserError, match=r"--only door: .*has no picture there\. Allowed are cards, doors, none\."):
        choose(folder, labeled_pictures(folder), ("door",), None)
    write(folder, [LABELS[0], LABELS[4]])
    with pytest.raises(UserError, match="no picture whose label is certain in doors"):
        choose(folder, labeled_pictures(folder), (), None)


def test_measure_pictures_scores_each_folder(folder):
    scores = score_folders(measured(folder), 0.7)
    assert list(scores["folders"]) == ["doors", "cards", "none"]
    assert scores["folders"]["doors"]["right"] == pytest.approx(1 / 3)
    assert scores["folders"]["cards"]["right"] == 1.0
    assert scores["all"]["right"] == 0.5
    assert scores["all"]["part_read"] == 0.25
    assert scores["folders"]["none"]["no_number"]["false_answers"] == scores["all"]["no_number"]["false_answers"] == 0.5


def test_measure_pictures_goes_on_after_an_unreadable_picture(folder):
    (folder / "doors/2.png").write_text("not a picture")
    found = measured(folder)
    assert [row.path.stem for row in found.pictures] == ["1", "3", "5", "6", "7"]
    assert found.unreadable[0][0] == 3
    assert "doors/2.png cannot be read as PNG or JPEG" in found.unreadable[0][1]


def test_measure_pictures_can_be_stopped(folder):
    stop = Stop()
    stop.set()
    with pytest.raises(Stopped):
        measure_pictures(folder, labeled_pictures(folder), engine, stop)


def test_write_files(folder, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    found = measured(folder)
    files = write_files(out, found, score_folders(found, 0.8), {"engine": "fake"})
    assert [file.name for file in files] == ["answers.json", "reliability.svg", "wrong.jpg"]
    record = json.loads((out / "answers.json").read_text())
    assert record["engine"] == "fake"
    assert record["scores"]["all"]["right"] == 0.5
    assert record["answers"][1] == {
        "path": "doors/2.png",
        "truth": "12",
        "answer": "1",
        "confidence": 0.6,
        "box": [40.0, 20.0, 20.0, 10.0],
        "numbers": ["1"],
        "milliseconds": 2.0,
    }
    assert record["answers"][4]["answer"] is None
    assert "Reliability diagram. numbers, calibration error" in (out / "reliability.svg").read_text()
    with Image.open(out / "wrong.jpg") as sheet:  # 2, 5 and 7
        assert sheet.size == (3 * (SIDE + 8), SIDE // 2 + 8 + 32)
        levels = [np.asarray(sheet)[SIDE // 4 + 40, i * (SIDE + 8) + 20].mean() for i in range(3)]
    np.testing.assert_allclose(levels, [70, 50, 20], atol=3)  # the most confident first

    right = measured(folder, only=("cards",))
    assert [f.name for f in write_files(out, right, score_folders(right, 0.8), {})] == [
        "answers.json",
        "reliability.svg",
    ]
    assert not (out / "wrong.jpg").exists()


def test_sheet_of_many_pictures_and_its_box():
    wrong = thumbnail(
        WrongAnswer(Image.new("RGB", (512, 1024), "white"), (192.0, 480.0, 128.0, 64.0), "12  80%", "is 13")
    )
    assert wrong.picture.size == (128, 256)
    assert wrong.box == (48.0, 120.0, 32.0, 16.0)
    small = thumbnail(WrongAnswer(Image.new("RGB", (16, 4), "white"), None, "nothing", "is 13"))
    assert small.picture.size == (256, 64)
    assert draw_sheet([small] * 5).size == (5 * 264, 64 + 40)
    assert draw_sheet([small] * 6 + [wrong]).size == (6 * 264, 64 + 256 + 2 * 40)  # each row as high as its pictures
    sheet = draw_sheet([*[wrong] * 7])
    assert sheet.size == (6 * 264, 2 * 296)
    left = 4 + (256 - 128) // 2
    assert sheet.getpixel((left + 64 - 16, 4 + 128)) == BOX
    assert sheet.getpixel((left + 64, 4 + 128)) == (255, 255, 255)


class FakeReader:
    """Answers as `engine` does."""

    loaded: str

    @classmethod
    def from_pretrained(cls, name):
        cls.loaded = f"weights {name}"
        return cls()

    @classmethod
    def from_workdir(cls, workdir):
        cls.loaded = f"workdir {workdir}"
        return cls()

    def read(self, picture):
        answer = engine(picture)
        best = SimpleNamespace(number=answer.number, confidence=answer.confidence, box=answer.box)
        return SimpleNamespace(**vars(best), numbers=[best] if answer.number else [])


@pytest.fixture
def command(monkeypatch, tmp_path):
    """Runs the command on a FakeReader; the files are in the folder out."""
    monkeypatch.setattr(cli_measure, "Reader", FakeReader)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["seqdigits measure", *map(str, arguments)])
        cli_measure.main(Stop())

    return run


def test_command_prints_tables_and_writes_files(folder, tmp_path, command, capsys):
    command(folder, "--out", tmp_path / "out", "--min-confidence", "0.75", "--limit", 2)
    printed = capsys.readouterr().out
    assert printed.startswith(f"{folder}: 1 picture with an uncertain label is left out\n")
    rows = [line.split() for line in printed.splitlines()]
    assert [row[:3] for row in rows if row[:1] == ["doors"]] == [["doors", "2", "0.500"]]
    assert [row[:3] for row in rows if row[:1] == ["all"]] == [["all", "3", "0.667"], ["all", "2", "0.500"]]
    assert "precision at 0.75" in printed
    assert str(tmp_path / "out" / "wrong.jpg") in printed
    record = json.loads((tmp_path / "out" / "answers.json").read_text())
    assert FakeReader.loaded == "weights scene"
    assert record["engine"] == {"weights": "scene"}
    assert (record["min_confidence"], record["limit"], record["uncertain"]) == (0.75, 2, 1)
    assert "versions" in record["provenance"]
    assert [answer["answer"] for answer in record["answers"]] == ["11", "1", "13", None, "7"]


def test_command_measures_a_workdir(folder, tmp_path, command, capsys):
    command("--workdir", "runs/mine", folder, "--out", tmp_path / "out", "--only", "cards", "--only", "none")
    assert FakeReader.loaded == "workdir runs/mine"
    printed = capsys.readouterr().out
    assert "uncertain" not in printed
    assert "doors" not in printed


def test_command_resizes_pictures_and_keeps_the_places_of_boxes(folder, tmp_path, command, monkeypatch, capsys):
    seen = []
    monkeypatch.setattr(
        FakeReader, "read", lambda self, picture, read=FakeReader.read: seen.append(picture.size) or read(self, picture)
    )
    command(folder, "--out", tmp_path / "out", "--only", "doors", "--resize", "40x10")
    assert set(seen) == {(40, 10)}
    record = json.loads((tmp_path / "out" / "answers.json").read_text())
    assert record["resize"] == "40x10"
    # The pictures have 80x40 pixels: the box 40, 20, 20, 10 of the resized one is twice as far and wide, 4 times as low and high.
    assert [answer["box"] for answer in record["answers"]] == [[80, 80, 40, 40]] * 3
    assert capsys.readouterr().out.splitlines()[-1] == str(tmp_path / "out" / "wrong.jpg")


def test_command_reports_unreadable_pictures_at_the_end(folder, tmp_path, command, capsys):
    (folder / "doors/1.png").write_text("not a picture")
    with pytest.raises(
        UserError, match=r"1 to fix\n  labels\.csv line 2: .*doors/1\.png cannot be read as PNG or JPEG"
    ):
        command(folder, "--out", tmp_path / "out")
    assert "doors" in capsys.readouterr().out
    assert "1.png" in json.loads((tmp_path / "out" / "answers.json").read_text())["unreadable"][0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "FOLDER is missing.\nusage: "),
        (("FOLDER", "more"), "'more' is not understood"),
        (("FOLDER", "--limit", "0"), "limit"),
        (("FOLDER", "--min-confidence", "nan"), "--min-confidence = nan is out of range: 0 to 1"),
        (("FOLDER", "--min-confidence", "80"), "--min-confidence = 80.0 is out of range"),
        (("FOLDER", "--weights", "scene", "--workdir", "W"), "--weights scene and --workdir W: allowed is one of them"),
        (("FOLDER", "--only", "windows"), "--only windows: "),
        (("FOLDER", "--boxes", "b.json"), "--boxes is used by --stages only. Add --stages"),
        (
            ("FOLDER", "--stages", "--resize", "9x9"),
            "--resize is not used by --stages, which measures no time. Leave it out",
        ),
        (("FOLDER", "--resize", "9"), "--resize 9: allowed is WIDTHxHEIGHT in pixels"),
        (("FOLDER", "--resize", "20000x20000"), "--resize 20000x20000: at most [0-9,]+ pixels are allowed"),
        (("/nowhere",), "labels.csv cannot be read"),
        (("FOLDER", "--out", "FOLDER/labels.csv"), "--out: .*labels.csv cannot be used"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_command_errors(folder, command, arguments, message):
    with pytest.raises(UserError, match=message):
        command(*(argument.replace("FOLDER", str(folder)) for argument in arguments))


def test_command_help(command):
    with pytest.raises(Help, match=r"usage: seqdigits measure FOLDER(.|\n)*filename,label"):
        command("--help")


def test_reader_engine_does_not_time_compilation():
    read = []

    class Compiling(FakeReader):
        def read(self, picture):
            read.append(picture.size)
            jax.block_until_ready(double(np.asarray(picture)))
            return super().read(picture)

    double = jax.jit(lambda pixels: 2 * pixels)
    answer = cli_measure.reader_engine(Compiling())
    for width in (5, 5, 6, 5):
        assert answer(Image.new("RGB", (width, 4), (10, 10, 10))).number == "11"
    assert [width for width, _ in read] == [5, 5, 5, 6, 6, 5]


def test_resized_pictures_keep_their_boxes():
    seen = []

    def engine(picture):
        seen.append(picture.size)
        return Answer("4", 1.0, 1.0, ("4",), (10.0, 20.0, 30.0, 40.0))

    answer = cli_measure.at_size(engine, (100, 50))(Image.new("RGB", (200, 200)))
    assert seen == [(100, 50)]
    assert answer.box == (20, 80, 60, 160)


@pytest.mark.parametrize("text", ["1024", "0x10", "10x-3", "x"])
def test_invalid_sizes_are_refused(text):
    with pytest.raises(UserError, match="--resize"):
        cli_measure.parse_size(text)
