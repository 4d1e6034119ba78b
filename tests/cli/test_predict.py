"""The command `predict`: its answers, errors and exit statuses."""

import json
import os
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
from seqdigits.data.photos.picture_files import open_picture
from seqdigits.inference.reader import Number, Result

FOUND = Result((Number("407", np.float64(0.98765), (np.float64(5.04), 6.0, -0.26, 8.0), ()),))


class FakeReader:
    """Reads 407 in light pictures and nothing in dark ones."""

    def read(self, path):
        return FOUND if np.asarray(open_picture(path, formats=None)).mean() > 128 else Result(())


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """`run("light.png", "--json")`: the exit status, standard output, and standard error of the command."""
    Image.new("L", (40, 20), 200).save(tmp_path / "light.png")
    Image.new("L", (40, 20), 50).save(tmp_path / "dark.png")
    (tmp_path / "text.jpg").write_text("not a picture")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("seqdigits.config.flags.prepare_jax", lambda: None)

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


@pytest.mark.parametrize("flags", [["--json"], ["--format", "json"], ["--format=json"]])
def test_json_has_one_object_a_line(run, flags):
    status, out, _ = run("light.png", "dark.png", *flags)
    assert status == 0
    assert [json.loads(line) for line in out.splitlines()] == [
        {"path": "light.png", "number": "407", "confidence": 0.9877, "box": [5.0, 6.0, -0.3, 8.0]},
        {"path": "dark.png", "number": None, "confidence": 0.0, "box": None},
    ]


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
        (["light.png", "--weights=scene", "--workdir=x"], "--weights scene and --workdir x: allowed is one of them"),
    ],
)
def test_predict_refuses_wrong_arguments(run, arguments, message):
    with pytest.raises(UserError, match=message):
        run(*arguments)


def test_predict_refuses_unknown_weights(monkeypatch):
    monkeypatch.setattr("seqdigits.config.flags.prepare_jax", lambda: None)
    monkeypatch.setattr(sys, "argv", ["predict", "light.png", "--weights=nope"])
    with pytest.raises(UserError, match="there are no pretrained weights 'nope'. Allowed are handwriting, scene"):
        predict.main(Stop())


def test_help_explains_the_answers(run):
    with pytest.raises(Help, match="path and a tab"):
        run("--help")


def test_predict_stops_between_pictures(run, monkeypatch, capsys):
    stop = Stop()
    monkeypatch.setattr(FakeReader, "read", lambda self, path: stop.set() or FOUND)
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
