"""Custom photos: loading, errors that name invalid lines, training, and the command check-photos."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from photo_folders import drawn, make, write
from PIL import Image

from seqdigits.cli import check_photos as cli_check_photos
from seqdigits.config import registry as config_registry
from seqdigits.config.saved import diff_configs as differences
from seqdigits.config.saved import to_json
from seqdigits.config_checks.validate import validate
from seqdigits.core.constants import NO_DIGIT, SPLITS
from seqdigits.core.errors import UserError
from seqdigits.core.interrupt import Stop, Stopped
from seqdigits.data.create import create_source
from seqdigits.data.photos import folder as photos_folder
from seqdigits.data.photos import labels
from seqdigits.data.photos.crop import PHOTO_COMPOSITIONS, crop_photo
from seqdigits.data.photos.folder import load
from seqdigits.evaluation.evaluate import evaluate_checkpoint
from seqdigits.training.loop import train_and_evaluate

ORIENTATION = 0x0112


def without_boxes(folder: Path, parent: Path) -> Path:
    """Creates a folder with the same images, and labels without the last column."""
    (parent / "my photos").mkdir()
    (parent / "my photos" / "images").symlink_to(folder / "images")
    lines = (folder / "labels.csv").read_text().splitlines()
    return write(parent / "my photos", [line.rpartition(",")[0] for line in lines])


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return make(tmp_path_factory.mktemp("folder"))


@pytest.fixture
def one(tmp_path) -> Path:
    """A folder of the images 1.png and 2.png, 60 wide and 40 high, without labels."""
    for name in ("1.png", "2.png"):
        Image.new("RGB", (60, 40), "teal").save(tmp_path / name)
    return tmp_path


CUSTOM = {
    "data.digits": "mnist",
    "data.composition": "photograph",
    "data.photographs": "folder",
    "data.height": 32,
    "data.width": 96,
}
HEADS = {"model.name": "heads", "loss.digits": 1.0, "loss.cells": 0.0, "loss.cell_boxes": 0.0}


def test_rows_parses_all_columns(one):
    lines = ["\ufeffimage, boxes ,number,split", "", '"1.png","1 2 3 4; 10.5 2 3 4",07,test', "./2.png,,  3 ,train"]
    (one / "labels.csv").write_text("\r\n".join(lines), encoding="utf-8")
    first, second = labels.rows(one)
    assert (first.line, first.image, first.split) == (3, one / "1.png", "test")
    assert first.digits.tolist() == [0, 7]
    assert first.boxes is not None
    assert first.boxes.tolist() == [[2.5, 4, 3, 4], [12, 4, 3, 4]]
    assert (first.digits.dtype, first.boxes.dtype) == (np.int32, np.float32)
    assert (second.line, second.image, second.digits.tolist(), second.boxes) == (4, one / "2.png", [3], None)


def test_rows_are_parsed_again_after_a_change(one):
    write(one, ["image,number", "1.png,7"])
    assert labels.rows(one) is labels.rows(str(one))
    write(one, ["image,number", "1.png,7", "2.png,8"])
    assert len(labels.rows(one)) == 2


def test_random_splits_are_tenths_of_every_ten_rows(folder):
    splits = [row.split for row in labels.rows(folder)]
    for tens in range(0, 30, 10):
        assert sorted(splits[tens : tens + 10]) == ["test", *["train"] * 8, "validation"]
    assert splits == [labels._random_split(i) for i in range(30)]
    assert [photos_folder.count(folder, split, 3) for split in SPLITS] == [24, 3, 3]


def test_random_splits_are_not_periodic():
    for split in ("validation", "test"):
        places = np.bincount([i % 10 for i in range(5000) if labels._random_split(i) == split], minlength=10)
        assert (places > 30).all()
        assert (places < 75).all()


def test_load_resizes_images_and_boxes(folder):
    loaded = load(folder, "train", kind="photograph", height=20, width=60, gray=False, max_length=4)
    assert {name: (part.shape, part.dtype) for name, part in loaded.items()} == {
        "images": ((24, 20, 60, 3), np.uint8),
        "digits": ((24, 4), np.int32),
        "boxes": ((24, 4, 4), np.float32),
    }
    rows = photos_folder.chosen_rows(folder, "train")
    for i, row in enumerate(rows):
        n = len(row.digits)
        assert row.boxes is not None
        assert loaded["digits"][i].tolist() == row.digits.tolist() + [NO_DIGIT] * (4 - n)
        with Image.open(row.image) as photo:
            scale = np.tile([60 / photo.width, 20 / photo.height], 2)
            expected = np.asarray(photo.resize((60, 20), Image.Resampling.BILINEAR))
        np.testing.assert_array_equal(loaded["images"][i], expected)
        np.testing.assert_allclose(loaded["boxes"][i, :n], row.boxes * scale, rtol=1e-6)
        assert not loaded["boxes"][i, n:].any()


@pytest.mark.parametrize("kind", PHOTO_COMPOSITIONS)
def test_load_equals_view_photo_for_each_kind(folder, kind):
    length = 1 if kind == "cropped_digit" else 3
    loaded = photos_folder.load(folder, "validation", kind=kind, height=28, width=28, gray=True, max_length=length)
    at = 0
    for row, photo in photos_folder.photographs(folder, "validation"):
        assert row.boxes is not None
        parts = range(len(row.digits)) if kind == "cropped_digit" else [slice(None)]
        for part in parts:
            chosen = row.boxes[part].reshape(-1, 4)
            pixels, boxes = crop_photo(photo.convert("L"), chosen, kind, 28, 28, "")
            np.testing.assert_array_equal(loaded["images"][at, :, :, 0], pixels)
            np.testing.assert_allclose(loaded["boxes"][at, : len(chosen)], boxes, rtol=1e-6)
            at += 1
    assert at == len(loaded["images"]) == photos_folder.count(folder, "validation", length, kind)


def test_rows_without_boxes_have_zeros(one):
    write(one, ["image,number,boxes", "1.png,40,1 2 3 4;9 2 3 4", "2.png,7,"])
    loaded = photos_folder.load(one, "train", kind="photograph", height=40, width=60, gray=False, max_length=2)
    assert loaded["boxes"].tolist() == [[[2.5, 4, 3, 4], [10.5, 4, 3, 4]], [[0] * 4] * 2]


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_exif_orientation_is_applied_before_boxes(one, suffix):
    upright, boxes = drawn("407", seed=3)
    transforms = {1: None, 3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}
    lines = ["image,number,boxes,split"]
    for orientation, how in transforms.items():
        exif = Image.Exif()
        exif[ORIENTATION] = orientation
        name = f"{orientation}.{suffix}"
        (upright.transpose(how) if how else upright).save(
            one / name, exif=exif, **({"quality": 95} if suffix == "jpg" else {})
        )
        lines.append(f"{name},407,{boxes},test")
    write(one, lines)
    for row, photo in photos_folder.photographs(one, "test"):
        assert photo.size == upright.size, row.image
        difference = np.abs(np.asarray(photo).astype(int) - np.asarray(upright)).mean()
        assert difference == 0 if suffix == "png" else difference < 5
    assert "No problems found" in cli_check_photos.check(str(one), Stop())


def test_picture_converts_all_modes_to_rgb(one):
    gray = np.linspace(0, 255, 60, dtype=np.uint8)[None].repeat(40, 0)
    color = Image.fromarray(gray).convert("RGB")
    modes = {
        "L.png": Image.fromarray(gray),
        "LA.png": Image.fromarray(gray).convert("LA"),
        "I.png": Image.fromarray(gray.astype(np.uint16) * 257),  # 16 bits
        "P.png": Image.fromarray(gray).convert("P"),
        "RGBA.png": color.convert("RGBA"),
        "1.png": Image.fromarray(gray > 127),
        "CMYK.jpg": color.convert("CMYK"),
    }
    for name, picture in modes.items():
        picture.save(one / name)
    write(one, ["image,number,split", *(f"{name},1,train" for name in modes)])
    arrays = {row.image.name: np.asarray(photo) for row, photo in photos_folder.photographs(one, "train")}
    for name, pixels in arrays.items():
        assert pixels.shape == (40, 60, 3), name
        if name != "1.png":
            np.testing.assert_allclose(pixels, np.asarray(color), atol=6, err_msg=name)
    assert set(np.unique(arrays["1.png"])) == {0, 255}


GOOD = "1.png,4,1 2 3 4,train"
HEADER = "image,number,boxes,split"
BOXES = 'allowed is "left top width height" in pixels for each digit, joined by ";"'


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "line 1: missing column 'image', 'number'; allowed are image, number, and optionally boxes and split"),
        (["", "number,boxes"], "line 2: missing column 'image'; allowed are image, number"),
        (["image;number"], "line 1: missing column 'image', 'number'; unknown column 'image;number'"),
        (["image,number,box"], "line 1: unknown column 'box'; allowed are image, number"),
        (["image,number,image"], "line 1: duplicate column 'image'; allowed are"),
        ([HEADER], "line 2: there is no row"),
        ([HEADER, GOOD, "2.png,5"], "line 3: it has 2 cells; allowed are 4: image, number, boxes, split"),
        ([HEADER, GOOD, "2.png,5,1 2 3 4,test,"], "line 3: it has 5 cells; allowed are 4"),
        ([HEADER, ",5,,test"], "line 2: image '': there is no such file in"),
        ([HEADER, "3.png,5,,test"], "line 2: image '3.png': there is no such file in"),
        ([HEADER, "a\0.png,5,,test"], "line 2: image 'a\\x00.png': there is no such file in"),
        ([HEADER, "../1.png,5,,test"], "line 2: image '../1.png': the path leaves the folder; allowed are paths within"),
        ([HEADER, "a/../1.png,5,,test"], "line 2: image 'a/../1.png': the path leaves the folder"),
        ([HEADER, "/etc/passwd,5,,test"], "line 2: image '/etc/passwd': the path leaves the folder"),
        ([HEADER, GOOD, "./1.png,5,,test"], "line 3: the image is also in line 2; allowed is one line per image"),
        ([HEADER, "1.png,,,test"], "line 2: number '': allowed are 1 to 100 digits, each 0 to 9, such as 407"),
        ([HEADER, "1.png,4o7,,test"], "line 2: number '4o7': allowed are 1 to 100 digits"),
        ([HEADER, "1.png,-7,,test"], "line 2: number '-7': allowed are"),
        ([HEADER, "1.png,٤,,test"], "line 2: number '٤': allowed are"),
        ([HEADER, f"1.png,{'1' * 101},,test"], "line 2: number '1111"),
        ([HEADER, "1.png,42,1 2 3 4,test"], "line 2: 1 box(es) for 2 digit(s); allowed is one box per digit, or an empty cell"),
        ([HEADER, "1.png,4,1 2 3 4;5 6 7 8,test"], "line 2: 2 box(es) for 1 digit(s); allowed"),
        ([HEADER, "1.png,4,1 2 3 4;,test"], f"line 2: boxes '1 2 3 4;': {BOXES}"),
        ([HEADER, "1.png,4,1 2 3,test"], f"line 2: boxes '1 2 3': {BOXES}"),
        ([HEADER, "1.png,42,1 2 3;1 2 3 4,test"], f"line 2: boxes '1 2 3;1 2 3 4': {BOXES}"),
        ([HEADER, "1.png,4,1 2 3 x,test"], f"line 2: boxes '1 2 3 x': {BOXES}"),
        ([HEADER, "1.png,4,1 2 nan 4,test"], f"line 2: boxes '1 2 nan 4': {BOXES}"),
        ([HEADER, "1.png,4,inf 2 3 4,test"], f"line 2: boxes 'inf 2 3 4': {BOXES}"),
        ([HEADER, "1.png,4,1 2 -3 4,test"], "with width and height at least 1"),
        ([HEADER, "1.png,4,0.1 0.2 0.3 0.4,test"], "with width and height at least 1"),
        ([HEADER, f"{'1' * 300}.png,4,,test"], "there is no such file in"),
        ([HEADER, "1.png,4,1 2 3 0,test"], "with width and height at least 1"),
        ([HEADER, "1.png,4,,dev"], "line 2: split 'dev': allowed are train, validation, test"),
        ([HEADER, "1.png,4,,"], "line 2: split '': allowed are train, validation, test"),
        ([HEADER, "1.png,x,,dev"], "line 2: number 'x': allowed are 1 to 100 digits, each 0 to 9, such as 407; split 'dev'"),
        ([HEADER, '"1.png,4,,test', GOOD], "line 2: unexpected end of data; is a quotation mark not closed?"),
        ([HEADER, '"1\n.png",4,,test', "2.png,x,,test"], "line 4: number 'x'"),
    ],
    ids=lambda value: " ".join(value)[-30:] if isinstance(value, list) else "",
)  # fmt: skip
def test_rows_names_the_invalid_line_and_what_is_allowed(one, lines, message):
    (one / "labels.csv").write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(UserError) as e:
        labels.rows(one)
    assert f"{one}/labels.csv: " in str(e.value)
    assert message in str(e.value)
    assert "labels.csv line" in str(e.value)


def test_rows_lists_up_to_twenty_invalid_lines(one):
    write(one, ["image,number", *(f"none{i}.png,1" for i in range(25)), "1.png,1"])
    with pytest.raises(UserError, match=r"labels\.csv: 25 to fix\n  labels\.csv line 2: ") as e:
        labels.rows(one)
    assert str(e.value).count("no such file") == 20
    assert str(e.value).endswith(
        f"labels.csv line 21: image 'none19.png': there is no such file in {one}\n  and 5 more"
    )


def test_rows_refuses_text_that_is_not_utf_8(one):
    (one / "labels.csv").write_bytes("image,number\n1.png,4\nTür.png,5\n".encode("latin-1"))
    with pytest.raises(UserError, match=r"line 3: b'\\xfc' is not UTF-8; allowed is CSV in UTF-8"):
        labels.rows(one)


def test_rows_refuses_a_folder_without_labels(tmp_path):
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(UserError, match=r"labels\.csv cannot be read: No such file.*columns image and number"):
            labels.rows(folder)
    (tmp_path / "labels.csv").mkdir()
    with pytest.raises(UserError, match=r"labels\.csv cannot be read: Is a directory"):
        labels.rows(tmp_path)


def test_empty_split_is_refused(one):
    write(one, ["image,number", "1.png,1", "2.png,2"])
    with pytest.raises(
        UserError,
        match=r"no row for the split test \(2 for train, 0 for validation, 0 for test\).*column split.*evaluate\.splits",
    ):
        photos_folder.count(one, "test", 5)


def test_too_long_and_too_short_numbers_are_refused(one):
    write(one, ["image,number,split", "1.png,1234,train", "2.png,12345,test"])
    with pytest.raises(UserError, match=r"max_length = 3 digits in labels\.csv line 2\. Set data\.max_length to 5"):
        photos_folder.count(one, "train", 3)  # which is sufficient for test as well
    write(one, ["image,number", "1.png,12345", "2.png,1"])
    with pytest.raises(UserError, match=r"max_length = 0 digits in labels\.csv lines 2, 3\."):
        photos_folder.count(one, "train", 0)
    with pytest.raises(UserError, match=r"min_length = 5 digits in labels\.csv line 3\. Set data\.min_length to 1"):
        photos_folder.chosen_rows(one, "train", lengths=(5, 5))
    assert photos_folder.count(one, "train", 5) == 2


@pytest.mark.parametrize("needs", [{"boxes": True}, {"kind": "crop"}, {"kind": "cropped_digit"}])
def test_missing_boxes_are_refused_if_needed(one, needs):
    write(one, ["image,number,boxes", "1.png,1,1 2 3 4", "2.png,2,"])
    with pytest.raises(UserError, match=r"no boxes in labels\.csv line 3\..*localize = False"):
        photos_folder.chosen_rows(one, "train", **needs)
    assert len(photos_folder.chosen_rows(one, "train")) == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data.folder": ""}, "data.folder = '': data.photographs = folder needs the folder"),
        ({"data.parts": ("extra",)}, "data.parts = .*data.photographs = folder"),
        ({"data.min_length": 4}, "data.min_length = 4 is more than data.max_length = 3"),
        ({"data.max_length": 101}, "data.max_length = 101 is out of range: 1 to 100"),
        ({"data.cutout": 40}, "data.cutout = 40 is more than the image"),
        ({"data.composition": "canvas"}, "data.photographs = .*folder.*data.composition = canvas"),
        ({"data.elastic": 5}, "data.elastic = 5"),
    ],
)
def test_validate_refuses_configs_without_opening_files(small_config, changes, message):
    with pytest.raises(UserError, match=message):
        validate(small_config({**CUSTOM, "data.folder": "/nowhere", **changes}))


def test_validate_accepts_configs_of_custom_photos(small_config):
    for changes in ({}, {"data.max_length": 100}, {"data.min_length": 3}, {"data.composition": "crop"}):
        validate(small_config({**CUSTOM, "data.folder": "/nowhere", **changes}))


@pytest.mark.parametrize("boxes", [True, False], ids=["dense_detector", "heads"])
@pytest.mark.slow
def test_train_and_evaluate_on_another_folder(tmp_path, folder, one, small_config, capsys, boxes):
    config = small_config({**CUSTOM, "data.folder": str(folder), **({} if boxes else HEADS)})
    config.evaluate.splits = ("test",)
    if not boxes:
        config.data.folder = str(without_boxes(folder, tmp_path))
    state = train_and_evaluate(config, tmp_path / "run")
    assert (int(state.step), int(state.first_nonfinite)) == (4, -1)
    assert f"24 images of 32x96 with 1 to 3 digit(s) of {config.data.folder}" in capsys.readouterr().out
    metrics = json.loads((tmp_path / "run/evaluation/test.json").read_text())
    assert metrics["examples"] == 3
    assert (metrics["localization_error"] is not None) == boxes
    if boxes:
        write(one, ["image,number,boxes,split", "1.png,1,1 2 3 4,test", "2.png,2,1 2 3 4,test"])
        config.data.folder = str(one)
        reports = evaluate_checkpoint(config, tmp_path / "run", which="latest", splits=())
        assert reports["test"]["examples"] == 2


def test_run_cannot_resume_with_another_folder(small_config):
    config = small_config({"data.composition": "photograph", "data.photographs": "folder", "data.folder": "/a"})
    saved = json.loads(to_json(config))
    config.data.folder = "/b"
    assert differences(config, saved) == ["data.folder: '/a' -> '/b'"]


def test_train_refuses_unusable_labels_before_starting(tmp_path, one, small_config):
    config = small_config({**CUSTOM, "data.folder": str(one)})
    write(one, ["image,number,boxes,split", "1.png,1,1 2 3 4,train", "2.png,2,1 2 3 4,validation"])
    with pytest.raises(UserError, match="no row for the split test"):
        train_and_evaluate(config, tmp_path / "run")
    write(one, ["image,number,split", "1.png,1,train", "2.png,2,validation"])
    config.evaluate.splits = ("validation",)
    with pytest.raises(UserError, match=r"no boxes in labels\.csv line 3.*model\.name = dense_detector"):
        train_and_evaluate(config, tmp_path / "run")
    assert not (tmp_path / "run" / "checkpoints").exists()


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "seqdigits", "check-photos", *arguments]
    return subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)


def test_check_photos_prints_counts_and_the_train_command(folder):
    result = command(str(folder))
    assert (result.returncode, result.stderr) == (0, "")
    header, *lines = result.stdout.partition("\n\n")[0].splitlines()
    assert header.split() == ["train", "validation", "test"]
    rows = {name: numbers for name, *numbers in (re.split(r"  +", line) for line in lines)}
    assert rows["photographs"] == rows["with boxes"] == ["24", "3", "3"]
    assert np.sum([[int(v) for v in rows[f"of {n} digit(s)"]] for n in (1, 2, 3)], 0).tolist() == [24, 3, 3]
    assert sum(int(v) for digit in range(10) for v in rows[f"digit {digit}"]) == 60
    assert "--config.data.max_length=3" in result.stdout


@pytest.mark.parametrize("boxes", [True, False])
def test_check_photos_prints_a_valid_train_command(folder, tmp_path, boxes):
    if not boxes:
        folder = without_boxes(folder, tmp_path)
    words = shlex.split(cli_check_photos.check(str(folder), Stop()).splitlines()[-1])
    flags = dict(word.split("=") for word in words if "=" in word)
    config_file = next(word for word in words if word.endswith(".py"))
    config = config_registry.load_config(Path(config_file).stem)
    values = {key.removeprefix("--config."): value for key, value in flags.items()}
    config.update_from_flattened_dict(values | {"data.max_length": int(values["data.max_length"])})
    validate(config)
    assert create_source(config, "train").count() == 24


def test_check_photos_lists_every_problem(one):
    (one / "short.png").write_bytes((one / "1.png").read_bytes()[:60])
    (one / "text.jpg").write_text("not a picture")
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    Image.new("RGB", (60, 40)).save(one / "rotated.jpg", exif=exif)
    Image.new("RGB", (60, 40)).save(one / "picture.gif")
    write(
        one,
        [
            "image,number,boxes",
            "1.png,4,-2 -3 10 10",  # extends beyond the edge, which is allowed
            "2.png,4,60 3 10 10",
            "short.png,4,",
            "text.jpg,4,",
            "picture.gif,4,",
            "rotated.jpg,4,45 1 9 9",  # inside only before the EXIF orientation is applied
            "none.png,4,",
            *(f"none{i}.png,4," for i in range(30)),
        ],
    )
    result = command(str(one))
    assert (result.returncode, result.stdout) == (2, "")
    assert "Traceback" not in result.stderr
    lines = result.stderr.splitlines()
    assert lines[0] == f"error: {one}/labels.csv: 36 to fix"
    for line, text in zip(
        lines[1:7],
        (
            f"line 3: {one}/2.png: the box 60 3 10 10 is outside of the upright image, which is 60 pixels wide and 40 high",
            f"line 4: {one}/short.png cannot be read as PNG or JPEG: ",
            f"line 5: {one}/text.jpg cannot be read as PNG or JPEG: ",
            f"line 6: {one}/picture.gif cannot be read as PNG or JPEG: ",
            f"line 7: {one}/rotated.jpg: the box 45 1 9 9 is outside of the upright image, which is 40 pixels wide and 60 high",
            "line 8: image 'none.png': there is no such file in",
        ),
        strict=True,
    ):
        assert line.startswith(f"  labels.csv {text}")
    assert len(lines) == 37


def test_load_names_the_damaged_image(one):
    write(one, ["image,number,boxes", "1.png,4,1 2 3 4", "2.png,4,1 2 130 4"])
    settings = {"height": 8, "width": 8, "gray": True, "max_length": 1}
    with pytest.raises(UserError, match=r"labels\.csv line 3: .*2\.png: the box 1 2 130 4 is more than twice as large"):
        photos_folder.load(one, "train", kind="cropped_digit", **settings)
    (one / "1.png").write_bytes(b"")
    with pytest.raises(UserError, match=r"labels\.csv line 2: .*1\.png cannot be read"):
        photos_folder.load(one, "train", kind="photograph", **settings)
    os.remove(one / "1.png")
    with pytest.raises(UserError, match=r"1\.png cannot be read.*No such file"):
        photos_folder.load(one, "train", kind="photograph", **settings)


def test_check_photos_accepts_folder_without_training_rows(one):
    write(one, ["image,number,split", "1.png,4,test"])
    assert "No problems found. Training needs more: " in cli_check_photos.check(str(one), Stop())


def test_check_photos_refuses_invalid_arguments():
    for arguments in ((), ("a", "b"), ("--folder",)):
        result = command(*arguments)
        assert result.returncode == 2
        assert "usage: seqdigits check-photos FOLDER" in result.stderr
    result = command("--help")
    assert result.returncode == 0
    assert "left top width height" in result.stdout


def test_check_photos_can_be_stopped_and_needs_no_jax(folder):
    stop = Stop()
    stop.set()
    with pytest.raises(Stopped):
        cli_check_photos.check(str(folder), stop)
    code = "import sys, seqdigits.data.photos.folder; print({'jax', 'tensorflow'} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"


def test_only_pictures_that_are_pasted_need_boxes(one, small_config):
    pasted = {"data.folder": str(one), "data.pasted": 50, "data.backgrounds": "b.jpg"}
    config = small_config({**CUSTOM, **HEADS, **pasted})
    write(one, ["image,number,boxes,split", "1.png,1,,train", "2.png,2,,validation"])
    create_source(config, "validation")
    with pytest.raises(UserError, match=r"no boxes in labels\.csv line 2.*data\.pasted > 0"):
        create_source(config, "train")


def test_line_of_invalid_text_is_counted_after_the_byte_order_mark(one):
    (one / "labels.csv").write_bytes(b"\xef\xbb\xbfimage,number\n1.png,4\n\xff2.png,5\n")
    with pytest.raises(UserError, match=r"line 3: b'\\xff' is not UTF-8"):
        labels.rows(one)


def test_image_that_was_missing_is_found_later(one):
    write(one, ["image,number", "1.png,4", "3.png,5"])
    with pytest.raises(UserError, match="there is no such file"):
        labels.rows(one)
    (one / "3.png").write_bytes((one / "1.png").read_bytes())
    assert len(labels.rows(one)) == 2
