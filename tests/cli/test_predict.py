"""The command `predict`: its answers, errors and exit statuses."""

import csv
import errno
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import IO

import jax
import numpy as np
import pytest
from conftest import ROOT
from PIL import Image, ImageDraw, ImageFont

from seqdigits.cli import predict
from seqdigits.core.errors import Help, UserError
from seqdigits.core.interrupt import Stop, Stopped
from seqdigits.inference import drawings
from seqdigits.inference.reader import Digit, Number, Result
from seqdigits.visualization.boxes import BOX

DIGITS = tuple(
    Digit(digit, np.float64(0.9), (5.0 + 6 * i, 6.0, 5.0, np.float64(8.04))) for i, digit in enumerate((4, 0, 7))
)
FOUND = Result(
    (
        Number("407", np.float64(0.38768), (np.float64(5.04), 6.0, -0.26, 8.0), DIGITS),
        Number("12", 0.75, (1.0, 2.0, 3.0, 4.0), ()),
    )
)
BEST = {
    "number": "407",
    "confidence": 0.3877,
    "box": [5.0, 6.0, -0.3, 8.0],
    "digits": [
        {"digit": 4, "confidence": 0.9, "box": [5.0, 6.0, 5.0, 8.0]},
        {"digit": 0, "confidence": 0.9, "box": [11.0, 6.0, 5.0, 8.0]},
        {"digit": 7, "confidence": 0.9, "box": [17.0, 6.0, 5.0, 8.0]},
    ],
}
SECOND = {"number": "12", "confidence": 0.75, "box": [1.0, 2.0, 3.0, 4.0], "digits": []}
NOTHING = {"number": None, "confidence": 0.0, "box": None, "digits": []}


class FakeReader:
    """Reads 407 and 12 in light pictures and nothing in dark ones."""

    def read(self, picture):
        assert picture.mode == "RGB"
        return FOUND if np.asarray(picture).mean() > 128 else Result(())


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """`run("light.png", "--json")`: the exit status, standard output, and standard error of the command."""
    Image.new("L", (40, 20), 200).save(tmp_path / "light.png")
    Image.new("L", (40, 20), 50).save(tmp_path / "dark.png")
    (tmp_path / "text.jpg").write_text("not a picture")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("seqdigits.core.jax_settings.prepare_jax", lambda: None)

    def created(name):
        print(f"loading {name}")
        return FakeReader()

    monkeypatch.setattr(predict.Reader, "from_pretrained", created)
    monkeypatch.setattr(predict.Reader, "from_workdir", created)

    def command(*arguments, stop=None):
        monkeypatch.setattr(sys, "argv", ["predict", *arguments])
        status = 0
        try:
            predict.main(stop or Stop())
        except SystemExit as e:
            status = e.code
        return status, *capsys.readouterr()

    return command


def test_one_picture_gives_the_number_alone(run):
    assert run("light.png") == (0, "407\n", "loading scene\n")
    assert run("dark.png", "--workdir", "runs/x") == (0, "\n", "loading runs/x\n")


def test_the_path_precedes_the_numbers_of_several_pictures(run):
    assert run("light.png", "dark.png", "--weights=handwriting") == (
        0,
        "light.png\t407\ndark.png\t\n",
        "loading handwriting\n",
    )


@pytest.mark.parametrize("flags", [["--json"], ["--format", "json"], ["--format=json"], ["--json", "--format=json"]])
def test_json_has_one_object_a_line(run, flags):
    status, out, _ = run("light.png", "dark.png", *flags)
    assert status == 0
    assert [json.loads(line) for line in out.splitlines()] == [
        {"path": "light.png", **BEST},
        {"path": "dark.png", **NOTHING},
    ]


def test_all_numbers_are_printed_on_demand(run):
    assert run("light.png", "--all")[1] == "407 12\n"
    assert run("light.png", "dark.png", "--all")[1] == "light.png\t407 12\ndark.png\t\n"
    _, out, _ = run("light.png", "dark.png", "--all", "--json")
    assert [json.loads(line) for line in out.splitlines()] == [
        {"path": "light.png", **BEST, "numbers": [BEST, SECOND]},
        {"path": "dark.png", **NOTHING, "numbers": []},
    ]


def test_csv_has_a_header_and_a_line_for_each_number(run, tmp_path):
    header, nothing = "path,number,confidence,left,top,width,height\n", "dark.png,,0.0,,,,\n"
    best, second = "light.png,407,0.3877,5.0,6.0,-0.3,8.0\n", "light.png,12,0.75,1.0,2.0,3.0,4.0\n"
    assert run("light.png", "dark.png", "--format=csv")[1] == header + best + nothing
    assert run("light.png", "dark.png", "--format=csv", "--all")[1] == header + best + second + nothing
    (tmp_path / "light.png").rename(tmp_path / 'a,"b\nc.png')
    assert list(csv.reader(io.StringIO(run('a,"b\nc.png', "--format=csv")[1]), strict=True))[1][:2] == [
        'a,"b\nc.png',
        "407",
    ]


def test_numbers_below_the_minimum_are_none(run):
    assert run("light.png", "--min-confidence=0.387")[1] == "407\n"
    assert run("light.png", "--min-confidence=0.4")[1] == "12\n"
    assert run("light.png", "--min-confidence=0.4", "--all")[1] == "12\n"
    assert run("light.png", "--min-confidence=0.9")[:2] == (0, "\n")
    assert json.loads(run("light.png", "--min-confidence=1", "--json")[1]) == {"path": "light.png", **NOTHING}


def test_folders_and_patterns_give_paths(run, tmp_path):
    """Even if they have one picture: the form of the lines does not depend on how many there are."""
    (tmp_path / "photos.d").mkdir()
    (tmp_path / "light.png").rename(tmp_path / "photos.d" / "light.png")
    assert run("photos.d")[:2] == (0, "photos.d/light.png\t407\n")
    assert run("photos.d/*.png")[:2] == (0, "photos.d/light.png\t407\n")
    assert run("photos.d/light.png")[:2] == (0, "407\n")
    assert run("photos.d", "dark.png", "dark.png")[1] == "photos.d/light.png\t407\ndark.png\t\ndark.png\t\n"


def test_what_has_no_pictures_is_an_error_and_the_others_are_read(run, tmp_path):
    (tmp_path / "empty.jpg").mkdir()
    status, out, err = run("empty.jpg", "light.png", "*.gif")
    assert (status, out) == (1, "light.png\t407\n")
    errors = [line for line in err.splitlines() if line.startswith("error: ")]
    assert errors[0].startswith("error: empty.jpg is a folder without pictures.")
    assert errors[1] == "error: *.gif matches no file."
    assert "loading" not in run("empty.jpg", "*.gif")[2]  # nothing is left to read


def test_a_path_stays_on_its_line(run, tmp_path):
    name = "a\tb\n\x1b[2Jc.png"
    (tmp_path / "light.png").rename(tmp_path / name)
    assert run(name, name)[1] == "a\\tb\\n\\x1b[2Jc.png\t407\n" * 2
    assert json.loads(run(name, "--json")[1])["path"] == name
    assert run("x\n.png")[2].startswith("loading scene\nerror: x\\n.png cannot be read as a picture: ")


@pytest.fixture
def pipe(monkeypatch):
    """`pipe(b"...")`: what standard input has."""
    return lambda content: monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))


def test_standard_input_is_one_picture(run, pipe, tmp_path):
    pipe((tmp_path / "light.png").read_bytes())
    assert run("-")[:2] == (0, "407\n")
    pipe((tmp_path / "light.png").read_bytes())
    assert run("dark.png", "-", "--save-to=out")[:2] == (0, "dark.png\t\n-\t407\n")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["dark.png.png", "stdin.png"]


def test_standard_input_that_is_no_picture_is_an_error(run, pipe, monkeypatch):
    def error(content):
        pipe(content)
        status, out, err = run("-")
        assert (status, out) == (1, "")
        return err.removeprefix("loading scene\n")

    assert error(b"") == "error: standard input is empty. Pipe one picture into it.\n"
    assert error(b"no picture") == (
        "error: standard input cannot be read as a picture: cannot identify image file 'standard input'. If it is a picture, "
        "convert it to PNG or JPEG.\n"
    )
    monkeypatch.setattr(predict, "MAX_STDIN_BYTES", 1000)
    assert error(bytes(1001)) == "error: standard input has more than the 1,000 bytes allowed. Name a file.\n"
    monkeypatch.setattr("sys.stdin", None)
    assert run("-")[2].endswith("error: standard input is closed. Pipe one picture into it.\n")


def test_a_pipe_is_not_waited_for(run, tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    status, out, err = run("pipe.png", "light.png")
    assert (status, out) == (1, "light.png\t407\n")
    assert "error: pipe.png is a pipe or a device. To read a picture from a pipe, use: seqdigits predict -\n" in err


def test_drawings_have_the_boxes(run, tmp_path):
    before = (tmp_path / "light.png").read_bytes()
    assert run("light.png", "dark.png", "text.jpg", "--save-to=deep/out")[:2] == (1, "light.png\t407\ndark.png\t\n")
    assert sorted(path.name for path in (tmp_path / "deep" / "out").iterdir()) == ["dark.png.png", "light.png.png"]
    assert (tmp_path / "light.png").read_bytes() == before
    assert np.ptp(np.asarray(Image.open(tmp_path / "deep" / "out" / "dark.png.png"))) == 0
    with Image.open(tmp_path / "deep" / "out" / "light.png.png") as drawing:
        assert drawing.size == (40, 20)
        assert BOX in {color for _, color in drawing.getcolors()}


def test_drawings_do_not_collide(run, tmp_path):
    """Pictures of one name, one whose name is what a drawing of them would have, and one that differs in capitals."""
    for name in ("a/light.png", "b/light.png", "b/light.png-2", "c/LIGHT.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(tmp_path / "light.png", tmp_path / name)
    pictures = ["a/light.png", "b/light.png-2", "b/light.png", "a/light.png", "c/LIGHT.png"]
    for _ in range(2):  # the second time, they replace those of the first
        assert run(*pictures, "--save-to=out")[0] == 0
        assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
            "LIGHT.png-5.png",
            "light.png-2.png",
            "light.png-3.png",
            "light.png-4.png",
            "light.png.png",
        ]


@pytest.mark.parametrize("link", [os.link, os.symlink, None])
def test_a_drawing_does_not_overwrite_a_picture(run, tmp_path, link):
    (tmp_path / "out").mkdir()
    picture = tmp_path / "out" / "dark.png.png"
    if link:
        link(tmp_path / "light.png", picture)
    else:
        shutil.copy(tmp_path / "light.png", picture)
    before = picture.read_bytes()
    with pytest.raises(
        UserError, match=r"--save-to out: the drawing of dark.png would overwrite .*png, which is one of"
    ):
        run("dark.png", "light.png" if link else str(picture), "--save-to=out")
    assert picture.read_bytes() == before


def test_a_folder_that_cannot_be_written_is_refused_before_reading(run, tmp_path):
    with pytest.raises(UserError, match=r"--save-to: light.png cannot be used: File exists. Name a folder that can be"):
        run("light.png", "--save-to=light.png")


def test_a_drawing_that_cannot_be_written_is_an_error(run, tmp_path, monkeypatch):
    written = drawings.write_atomically

    def write(error):
        def fails(path, content):
            if path.name == "light.png.png":
                raise OSError(error, os.strerror(error), str(path))
            written(path, content)

        monkeypatch.setattr(drawings, "write_atomically", fails)
        return run("light.png", "dark.png", "--save-to=out")

    status, out, err = write(errno.ENAMETOOLONG)
    assert (status, out) == (1, "light.png\t407\ndark.png\t\n")
    assert err.endswith("error: out/light.png.png cannot be written: File name too long\n")
    with pytest.raises(OSError, match="No space"):  # the same will happen to the others; core.app prints it
        write(errno.ENOSPC)


@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_unreadable_files_do_not_stop_the_others(run, flags):
    status, out, err = run("text.jpg", "light.png", "none.png", "dark.png", *flags)
    assert status == 1
    assert len(out.splitlines()) == 2
    errors = [line for line in err.splitlines() if line.startswith("error: ")]
    assert errors[0] == (
        "error: text.jpg cannot be read as a picture: cannot identify image file 'text.jpg'. If it is a picture, convert it "
        "to PNG or JPEG."
    )
    assert errors[1].startswith("error: none.png cannot be read as a picture: ")
    assert "No such file" in errors[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "IMAGE is missing.\nusage: seqdigits predict IMAGE"),
        (["light.png", "--format=xml"], "argument --format: invalid choice: 'xml'"),
        (["light.png", "--bogus"], "unknown flag --bogus"),
        (["light.png", "--json", "--format=csv"], "--json and --format csv: allowed is one of them"),
        (["light.png", "--min-confidence=1.5"], "--min-confidence = 1.5 is out of range: 0 to 1"),
        (["light.png", "--min-confidence=nan"], "--min-confidence = nan is out of range: 0 to 1"),
        (["light.png", "--weights=scene", "--workdir=x"], "--weights scene and --workdir x: allowed is one of them"),
    ],
)
def test_predict_refuses_wrong_arguments(run, arguments, message):
    with pytest.raises(UserError, match=message):
        run(*arguments)


def test_predict_refuses_unknown_weights(monkeypatch):
    monkeypatch.setattr("seqdigits.core.jax_settings.prepare_jax", lambda: None)
    monkeypatch.setattr(sys, "argv", ["predict", "light.png", "--weights=nope"])
    with pytest.raises(UserError, match="there are no pretrained weights 'nope'. Allowed are handwriting, scene"):
        predict.main(Stop())


def test_help_explains_the_answers(run):
    with pytest.raises(Help, match="path and a tab"):
        run("--help")


def test_predict_stops_between_pictures(run, monkeypatch, capsys):
    stop = Stop()
    monkeypatch.setattr(FakeReader, "read", lambda self, picture: stop.set() or FOUND)
    with pytest.raises(Stopped):
        run("light.png", "dark.png", stop=stop)
    assert capsys.readouterr().out == "light.png\t407\n"


def drawn(number: str) -> Image.Image:
    picture = Image.new("RGB", (640, 480), (120, 100, 90))
    draw = ImageDraw.Draw(picture)
    draw.rectangle((300, 100, 540, 220), fill=(30, 50, 110))
    draw.text((330, 110), number, font=ImageFont.load_default(90), fill="white")
    return picture


def start(folder: Path, *arguments: str, stdout: int | IO[bytes] = subprocess.PIPE) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment["JAX_COMPILATION_CACHE_DIR"] = jax.config.jax_compilation_cache_dir
    command = [sys.executable, "-m", "seqdigits", "predict", *arguments]
    return subprocess.Popen(command, cwd=folder, env=environment, stdout=stdout, stderr=subprocess.PIPE)


@pytest.mark.slow
def test_the_command_reads_pictures_and_survives_a_closed_pipe(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: to be rotated clockwise
    drawn("407").save(tmp_path / "door.png")
    drawn("1285").transpose(Image.Transpose.ROTATE_90).save(tmp_path / "gate.jpg", exif=exif, quality=95)
    reads = start(tmp_path, "door.png", "gate.jpg", str(ROOT / "docs" / "door.jpg"), "--json")
    out, err = reads.communicate()
    assert (reads.returncode, err) == (0, b"")
    answers = [json.loads(line) for line in out.splitlines()]
    assert [answer["number"] for answer in answers] == ["407", "1285", "407"]
    for left, top, width, height in (answer["box"] for answer in answers[:2]):
        assert 300 < left < 360
        assert 100 < top < 140
        assert left + width < 560
        assert 40 < height < 100
    other = b"\xff.png".decode("utf-8", "surrogateescape")  # a path need not be valid UTF-8
    drawn("36").save(tmp_path / other)
    assert start(tmp_path, other, other).communicate() == (b"\xff.png\t36\n" * 2, b"")
    closed = start(tmp_path, *["door.png"] * 20)
    assert closed.stdout is not None
    assert closed.stdout.readline() == b"door.png\t407\n"
    closed.stdout.close()
    assert closed.stderr is not None
    assert closed.stderr.read() == b""
    assert closed.wait() == 141


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_full_disk_is_a_user_error(tmp_path):
    drawn("407").save(tmp_path / "door.png")
    with open("/dev/full", "wb") as full:
        writes = start(tmp_path, "door.png", stdout=full)
        _, err = writes.communicate()
    assert (writes.returncode, err) == (2, b"error: standard output cannot be written: No space left on device\n")
