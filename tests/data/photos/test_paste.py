"""Numbers pasted into backgrounds: boxes, sizes, determinism, and the command paste-photos."""

from __future__ import annotations

import csv
import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw
from scipy import ndimage
from test_svhn import TINY, TRAIN, write_part

from seqdigits.cli import paste_photos as cli_paste_photos
from seqdigits.core.errors import UserError
from seqdigits.core.interrupt import Stop, Stopped
from seqdigits.data.photos import backgrounds, labels, paste, svhn, svhn_originals
from seqdigits.data.photos.backgrounds import Background, Entry
from seqdigits.data.photos.paste import MIN_DIGIT_HEIGHT, SHARE, make
from seqdigits.data.photos.svhn_originals import Photo


def photo(digit_height: int, number: str = "40", angle: float = 0.0) -> Photo:
    """Draws a photograph whose digits are dark ellipses that fill their boxes, in a light plate."""
    width, height = (len(number) + 2) * digit_height, 3 * digit_height
    image = Image.new("RGB", (width, height), (210, 210, 210))
    boxes = []
    for i in range(len(number)):
        left, top, right = (i + 1) * digit_height, digit_height, (i + 1.6) * digit_height
        ImageDraw.Draw(image).ellipse((left, top, right - 1, top + digit_height - 1), fill=(0, 0, 0))
        boxes.append(((left + right) / 2, top + digit_height / 2, right - left, digit_height))
    digits = np.array([int(digit) for digit in number], np.int32)
    return Photo(1, np.asarray(image), digits, np.array(boxes, np.float32))


def light_background(width: int = 640, height: int = 400) -> np.ndarray:
    return np.random.default_rng(0).integers(150, 250, (height, width, 3), np.uint8)


def extents(pixels: np.ndarray) -> np.ndarray:
    """Returns left, top, right and bottom edge of each dark object of more than 20 pixels, from left to right."""
    objects, _ = ndimage.label(pixels.mean(-1) < 95)
    found = [
        (x.start, y.start, x.stop, y.stop)
        for i, (y, x) in enumerate(ndimage.find_objects(objects), 1)
        if (objects[y, x] == i).sum() > 20
    ]
    return np.array(sorted(found), np.float64)


@pytest.mark.parametrize("seed", range(12))
def test_boxes_enclose_the_digits(seed):
    pixels, boxes = paste.paste(photo(40), light_background(), np.random.default_rng(seed))
    corners = np.concatenate([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2], 1)
    drawn = extents(pixels)
    assert drawn.shape == corners.shape
    assert np.abs(drawn - corners).max() < 2.5
    assert (corners >= 0).all()
    assert (corners[:, 2:] <= pixels.shape[1::-1]).all()


def test_sizes_are_in_their_ranges():
    shares, sides, aspects = [], [], []
    for seed in range(40):
        pixels, boxes = paste.paste(photo(40), light_background(), np.random.default_rng(seed))
        shares.append(boxes[:, 3].mean() / pixels.shape[0])
        sides.append(max(pixels.shape))
        aspects.append(pixels.shape[1] / pixels.shape[0])
        assert boxes[:, 3].mean() > MIN_DIGIT_HEIGHT - 1
    # Rotated digits are lower.
    assert SHARE[0] * 0.95 <= min(shares) < 0.045
    assert 0.09 < max(shares) <= SHARE[1] * 1.02
    assert 640 <= min(sides) < 660
    assert 1000 < max(sides) <= 1280
    assert min(aspects) < 0.7
    assert max(aspects) > 1.5


def test_small_photographs_are_not_enlarged_further():
    for seed in range(10):
        _, boxes = paste.paste(photo(9), light_background(), np.random.default_rng(seed))
        assert boxes[:, 3].mean() <= 9 * paste.MAX_ENLARGED + 0.5


def test_a_large_photograph_fits_into_the_picture():
    for seed in range(10):
        pixels, boxes = paste.paste(photo(300, "12345"), light_background(), np.random.default_rng(seed))
        assert (boxes[:, 0] + boxes[:, 2] / 2 <= pixels.shape[1]).all()


def test_cut_has_pixels_of_the_background_only():
    background = np.full((300, 640, 3), (10, 120, 200), np.uint8)
    for seed in range(20):
        pixels = paste.cut(background, np.random.default_rng(seed))
        assert (pixels == background[0, 0]).all()
        assert 256 <= max(pixels.shape) <= 640


def test_photographs_are_those_held_out_of_train(tmp_path, monkeypatch):
    monkeypatch.setitem(svhn.PHOTOGRAPHS, "svhn_2000", TINY)
    write_part(tmp_path, "train", TRAIN)
    monkeypatch.setenv("SEQDIGITS_DATA", str(tmp_path))
    found = svhn_originals.original_photos("svhn_2000", "validation")
    assert ["".join(map(str, photo.digits)) for photo in found] == ["234", "98"]
    assert found[1].boxes.tolist() == [[12.5, 9, 5, 10], [22.5, 9, 5, 10]]
    assert found[0].pixels.shape == (20, 40, 3)


def two() -> list[Background]:
    return [
        Background("a", light_background(), "1", "CC0-1.0"),
        Background("b", light_background(300, 500), "1", "CC0-1.0"),
    ]


def made(folder: Path, count: int, seed: int = 0) -> dict[str, str]:
    make(folder, [photo(40), photo(25, "7")], two(), count=count, empty=2, seed=seed, stop=Stop())
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_make_is_deterministic_and_pictures_do_not_depend_on_the_count(tmp_path):
    first, again, more = made(tmp_path / "1", 3), made(tmp_path / "2", 3), made(tmp_path / "3", 5)
    assert first == again
    pictures = {name for name in first if name.endswith(".jpg")}
    assert sorted(pictures) == [
        *("no_number/0001.jpg", "no_number/0002.jpg"),
        *("pasted/0001.jpg", "pasted/0002.jpg", "pasted/0003.jpg"),
    ]
    assert all(more[name] == first[name] for name in pictures)
    assert not set(made(tmp_path / "4", 3, seed=1).values()) & {first[name] for name in pictures}


def test_labels_are_as_of_own_photographs(tmp_path):
    made(tmp_path / "set", 3)
    rows, problems = labels.read(tmp_path / "set")
    assert ["".join(map(str, row.digits)) for row in rows] == ["40", "7", "40"]
    assert all(row.boxes is not None and row.boxes.shape == (len(row.digits), 4) for row in rows)
    assert len(problems) == 2  # training refuses pictures without a number
    with (tmp_path / "set" / labels.NAME).open() as file:
        assert [row["number"] for row in csv.DictReader(file)] == ["40", "7", "40", "", ""]


def test_make_refuses_a_folder_that_is_not_empty(tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    for path in (tmp_path / "full", tmp_path / "full" / "file"):
        with pytest.raises(UserError, match="is not an empty folder"):
            made(path, 1)
    (tmp_path / "empty").mkdir()
    assert made(tmp_path / "empty", 1)


def test_make_leaves_nothing_when_stopped(tmp_path):
    stop = Stop()
    stop.set()
    with pytest.raises(Stopped):
        make(tmp_path / "set", [photo(40)], two(), count=1, empty=0, seed=0, stop=stop)
    assert not list(tmp_path.iterdir())


def test_command_reads_the_validation_split(tmp_path, monkeypatch, capsys):
    used = []
    file = tmp_path / "b.jpg"
    picture = Image.fromarray(light_background())
    file.write_bytes(backgrounds.encode([Entry("Wood", "mate-backgrounds", "1", "CC0-1.0", picture)]))
    monkeypatch.setattr(svhn_originals, "original_photos", lambda *which: used.append(which) or [photo(40)])
    arguments = [f"--backgrounds={file}", "--count=1", "--empty=1"]
    monkeypatch.setattr("sys.argv", ["paste-photos", str(tmp_path / "set"), *arguments])
    cli_paste_photos.main(Stop())
    assert used == [("svhn_2000", "validation")]
    printed = capsys.readouterr().out
    assert "1 pictures with a number (of 1 photographs) and 1 without, in 1 backgrounds" in printed
    assert "non-commercial use only" in printed
    assert "non-commercial use only" in (tmp_path / "set" / "README.txt").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "FOLDER is missing"),
        (["a", "b"], "'b' is not understood"),
        (["a", "--count=0"], "count"),
        (["a", "--backgrounds=/none.jpg"], "/none.jpg is missing. To make it"),
    ],
)
def test_command_refuses_wrong_arguments(arguments, message, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["paste-photos", *arguments])
    with pytest.raises(UserError, match=message):
        cli_paste_photos.main(Stop())
