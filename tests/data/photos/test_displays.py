"""Drawn seven-segment displays: boxes, faces, determinism, and the command draw-displays."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest

from seqdigits.cli import draw_displays as cli_draw_displays
from seqdigits.cli.check_photos import check
from seqdigits.core.constants import SPLITS
from seqdigits.core.errors import UserError
from seqdigits.core.interrupt import Stop, Stopped
from seqdigits.data.photos import displays, labels
from seqdigits.data.scenes import glyphs


@pytest.mark.parametrize(("split", "seed"), [(split, seed) for split in SPLITS for seed in range(4)])
def test_whole_number_is_in_the_picture_from_left_to_right(split, seed):
    display = displays.draw(split, np.random.default_rng(seed))
    height, width, _ = display.pixels.shape
    low, high = display.boxes[:, :2] - display.boxes[:, 2:] / 2, display.boxes[:, :2] + display.boxes[:, 2:] / 2
    assert display.pixels.dtype == np.uint8
    assert 1 <= len(display.digits) == len(display.boxes) <= 6
    assert (low >= 0).all()
    assert (high <= [width, height]).all()
    assert (np.diff(display.boxes[:, 0]) > 0).all()
    assert 0.02 < display.boxes[:, 3].mean() / height < 0.6


def test_boxes_enclose_lit_segments(monkeypatch):
    """Without noise, lit segments are the only light pixels of a black device on a black surface."""

    def black(size, _rng):
        return displays.Image.new("RGB", size)

    def device(text, _split, _rng):
        image = np.zeros((*text.lit.shape, 4), np.uint8)
        image[..., :3] = np.round(text.lit * 255)[..., None]
        image[..., 3] = 255
        return displays.Image.fromarray(image), (0, 0)

    monkeypatch.setattr(displays, "_background", black)
    monkeypatch.setattr(displays, "_draw_device", device)
    monkeypatch.setattr(displays, "_photograph", lambda picture, *_: np.asarray(picture))
    for seed in range(8):
        display = displays.draw("test", np.random.default_rng(seed))
        rows, columns = np.nonzero(display.pixels[..., 0] > 100)
        low, high = display.boxes[:, :2] - display.boxes[:, 2:] / 2, display.boxes[:, :2] + display.boxes[:, 2:] / 2
        drawn = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        assert np.abs(np.array(drawn) - [*low.min(0), *high.max(0)]).max() < 3


def test_test_has_another_face_than_train_and_validation():
    digits = {split: displays._glyphs(split).digits for split in SPLITS}
    assert all(len(one) == 2 for one in digits.values())
    np.testing.assert_array_equal(digits["train"], digits["validation"])
    seen = {image.tobytes() for image in digits["train"].reshape(-1, glyphs.SIZE**2)}
    assert not seen & {image.tobytes() for image in digits["test"].reshape(-1, glyphs.SIZE**2)}
    families = {face.family for face in glyphs.faces()}
    assert set(displays.FAMILIES.values()) < families


def run(monkeypatch, folder: Path, *flags: str, stop: Stop | None = None) -> dict[str, str]:
    """Returns the digests of the files that the command makes."""
    monkeypatch.setattr("sys.argv", ["draw-displays", str(folder), "--train=3", "--validation=1", "--test=2", *flags])
    cli_draw_displays.main(stop or Stop())
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_command_draws_the_same_folder_again(monkeypatch, tmp_path):
    first = run(monkeypatch, tmp_path / "a")
    assert len(first) == 7
    assert len(set(first.values())) == 7, "all pictures differ"
    assert run(monkeypatch, tmp_path / "b") == first
    other = run(monkeypatch, tmp_path / "c", "--seed=1")
    assert not set(other.values()) & set(first.values())
    assert [row.split for row in labels.rows(tmp_path / "a")] == ["train"] * 3 + ["validation"] + ["test"] * 2
    assert "photographs" in check(str(tmp_path / "a"), Stop())


def test_stopped_command_leaves_nothing(monkeypatch, tmp_path):
    stop = Stop()
    stop.set()
    with pytest.raises(Stopped):
        run(monkeypatch, tmp_path / "a", stop=stop)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("flags", "message"), [(["--train=0"], "--train"), (["--seed=-1"], "--seed"), (["--faces"], "unknown flag --faces")]
)
def test_invalid_arguments_are_refused(monkeypatch, tmp_path, flags, message):
    with pytest.raises(UserError, match=message):
        run(monkeypatch, tmp_path / "a", *flags)


def test_an_empty_folder_stays_the_same_one(monkeypatch, tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to("disk")
    before = (tmp_path / "disk").stat().st_ino
    monkeypatch.chdir(tmp_path / "disk")
    run(monkeypatch, tmp_path / "link")
    assert (tmp_path / "disk").stat().st_ino == before
    assert "labels.csv" in os.listdir()
    assert not [name for name in os.listdir() if name.endswith(".partial")]


def test_full_folder_is_refused(monkeypatch, tmp_path):
    (tmp_path / "mine.jpg").write_bytes(b"")
    with pytest.raises(UserError, match="not an empty folder"):
        run(monkeypatch, tmp_path)
