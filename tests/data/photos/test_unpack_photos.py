"""Tests of the command unpack-photos."""

import numpy as np
import pytest
from PIL import Image

from seqdigits.cli import unpack_photos
from seqdigits.core.errors import UserError
from seqdigits.core.interrupt import Stop, Stopped
from seqdigits.data.photos import labels, svhn_originals
from seqdigits.data.photos.crop import crop_to_number
from seqdigits.data.photos.labeled_pictures import labeled_pictures
from seqdigits.data.photos.svhn_originals import Photo

PIXELS = (np.arange(20 * 40 * 3) % 251).astype(np.uint8).reshape(20, 40, 3)


@pytest.fixture
def photos(monkeypatch):
    box = np.array([[12.5, 9, 5, 10], [22.5, 9, 5, 10]], np.float32)
    made = [Photo(7, PIXELS, np.array([0, 4], np.int32), box)]
    monkeypatch.setattr(svhn_originals, "original_photos", lambda *which: made)


def run(monkeypatch, *arguments):
    monkeypatch.setattr("sys.argv", ["unpack-photos", *map(str, arguments)])
    stop = Stop()
    unpack_photos.main(stop)


def test_photographs_are_written_with_labels(photos, monkeypatch, tmp_path, capsys):
    run(monkeypatch, tmp_path / "set", "--split=test")
    (row,) = labeled_pictures(tmp_path / "set")
    assert (row.number, row.group) == ("04", "test")
    assert row.boxes.tolist() == [[12.5, 9, 5, 10], [22.5, 9, 5, 10]]
    assert np.asarray(Image.open(row.path)).shape == (20, 40, 3)
    assert "non-commercial" in capsys.readouterr().out


def test_crops_contain_the_boxes_and_a_margin(photos, monkeypatch, tmp_path, capsys):
    run(monkeypatch, tmp_path / "set", "--crops")
    (row,) = labeled_pictures(tmp_path / "set")
    # The digits are at x 10 to 25 and y 4 to 14; 15% more are 7.75 to 27.25 and 2.5 to 15.5.
    assert np.array_equal(np.asarray(Image.open(row.path)), PIXELS[2:16, 7:28])
    assert row.boxes.tolist() == [[5.5, 7, 5, 10], [15.5, 7, 5, 10]]
    assert "1 crops of photographs" in capsys.readouterr().out


def test_crop_ends_at_the_edge_of_the_photograph():
    pixels, boxes = crop_to_number(PIXELS, np.array([[2, 16, 4, 8]], np.float32), "7.png")
    assert np.array_equal(pixels, PIXELS[10:, :5])
    assert boxes.tolist() == [[2, 6, 4, 8]]


@pytest.mark.parametrize("center", [(-20, 9), (60, 9), (17, -20), (17, 60)])
def test_crop_outside_the_photograph_is_an_error_that_names_it(center):
    with pytest.raises(UserError, match=r"^7\.png: the boxes of its digits have no area within the photograph$"):
        crop_to_number(PIXELS, np.array([[*center, 5, 10]], np.float32), "7.png")


def test_photograph_without_a_crop_is_named_and_leaves_no_folder(monkeypatch, tmp_path):
    outside = [Photo(7, PIXELS, np.array([4], np.int32), np.array([[60, 9, 5, 10]], np.float32))]
    monkeypatch.setattr(svhn_originals, "original_photos", lambda *which: outside)
    with pytest.raises(UserError, match=r"^svhn_2000, test/7\.png: the boxes of its digits have no area"):
        run(monkeypatch, tmp_path / "set", "--crops")
    assert not (tmp_path / "set").exists()


def test_several_splits_are_a_folder_of_custom_photos(photos, monkeypatch, tmp_path, capsys):
    run(monkeypatch, "--split", "train,test", tmp_path / "set")
    assert [(row.split, row.image.parent.name) for row in labels.rows(tmp_path / "set")] == [
        ("train", "train"),
        ("test", "test"),
    ]
    assert "2 photographs of the splits train, test" in capsys.readouterr().out


def test_a_stopped_run_leaves_nothing(photos, monkeypatch, tmp_path):
    monkeypatch.setattr("sys.argv", ["unpack-photos", str(tmp_path / "set")])
    stop = Stop()
    stop.set()
    with pytest.raises(Stopped):
        unpack_photos.main(stop)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "FOLDER is missing"),
        (["set", "--split=extra"], "--split: .extra.: allowed are train, validation, test"),
        ([__file__], "not an empty folder"),
    ],
)
def test_invalid_arguments_are_refused(photos, monkeypatch, tmp_path, arguments, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=message):
        run(monkeypatch, *arguments)
