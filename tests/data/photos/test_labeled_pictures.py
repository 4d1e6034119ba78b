"""Labeled pictures: both forms of labels.csv, and the errors that name invalid lines."""

import numpy as np
import pytest
from photo_folders import write
from PIL import Image

from seqdigits.core.errors import UserError
from seqdigits.data.photos.labeled_pictures import labeled_pictures
from seqdigits.data.photos.picture_files import as_rgb, open_picture


@pytest.fixture
def folder(tmp_path):
    """A folder of three pictures without labels."""
    (tmp_path / "doors").mkdir()
    for name in ("1.png", "doors/2.png", "doors/3.jpg"):
        Image.new("RGB", (60, 40), "teal").save(tmp_path / name)
    return tmp_path


def test_labeled_pictures_of_custom_photos(folder):
    write(folder, ["image,number,boxes,split", "1.png,07,1 2 3 4;5 2 3 4,test", "doors/2.png,,,train"])
    first, second = labeled_pictures(folder)
    assert (first.line, first.path, first.name, first.group, first.number) == (2, folder / "1.png", "1.png", ".", "07")
    assert first.boxes is not None
    assert first.boxes.tolist() == [[2.5, 4, 3, 4], [6.5, 4, 3, 4]]
    assert (second.name, second.group, second.number, second.boxes) == ("doors/2.png", "doors", "", None)
    assert not first.uncertain
    assert not second.uncertain


def test_labeled_pictures_of_a_collection(folder):
    write(
        folder,
        [
            "note,filename,label,source_repo",
            '"a door, UNCERTAIN",doors/2.png,12,x',
            '"1234.567 m3",doors/3.jpg,1234,',
            ",1.png,,",
        ],
    )
    rows = labeled_pictures(str(folder))
    assert [(row.name, row.number, row.uncertain, row.boxes) for row in rows] == [
        ("doors/2.png", "12", True, None),
        ("doors/3.jpg", "1234", False, None),
        ("1.png", "", False, None),
    ]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["filename,number", "1.png,4"], "line 1: missing column 'label'; allowed are image and number"),
        (["filename,label,label", "1.png,4,4"], "line 1: duplicate column 'label'; allowed are"),
        (
            ["image,numbers", "1.png,4"],
            "unknown column 'numbers'; allowed are image, number, .*; or filename and label",
        ),
        (["filename,label", "1.png,4o"], "line 2: label '4o': allowed are 1 to 100 digits, .*, or an empty cell"),
        (["filename,label", "2.png,4"], "line 2: filename '2.png': there is no such file in"),
        (["filename,label", "1.png,4", "./1.png,4"], "line 3: the image is also in line 2"),
        (["filename,label,note", "1.png,4"], "line 2: it has 2 cells; allowed are 3: filename, label, note"),
        (["image,number,boxes", "1.png,,1 2 3 4"], r"line 2: 1 box\(es\) for 0 digit"),
        (["filename,label"], "line 2: there is no row"),
        ([""], "missing column 'image', 'number'.*; or filename and label"),
    ],
    ids=lambda value: value[-1] if isinstance(value, list) else "",
)
def test_labeled_pictures_name_the_invalid_line(folder, lines, message):
    write(folder, lines)
    with pytest.raises(UserError, match=message):
        labeled_pictures(folder)


def test_labeled_pictures_need_a_file(tmp_path):
    with pytest.raises(UserError, match="labels.csv cannot be read: No such file .* or filename and label"):
        labeled_pictures(tmp_path)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "RGB"])
def test_open_picture_puts_transparent_pixels_on_white(tmp_path, mode):
    alpha = Image.fromarray(np.repeat(np.array([[0, 128, 255]], np.uint8), 2, 0))
    if mode in ("RGBA", "LA"):
        picture = Image.new(mode, alpha.size, (0,) * len(mode))
        picture.putalpha(alpha)
        expected = [255, 127, 0]
        picture.save(tmp_path / "1.png")
    elif mode == "P":
        picture = Image.fromarray(np.array([[0, 1, 1]] * 2, np.uint8))
        picture.putpalette([0, 0, 0, 10, 10, 10])
        picture.save(tmp_path / "1.png", transparency=0)
        expected = [255, 10, 10]
    else:
        Image.fromarray(np.full((2, 3, 3), 7, np.uint8)).save(tmp_path / "1.png", transparency=(8, 8, 8))
        expected = [7, 7, 7]
    opened = open_picture(tmp_path / "1.png")
    assert opened.mode == "RGB"
    assert np.asarray(opened).tolist() == [[[value] * 3 for value in expected]] * 2


def test_open_picture_keeps_opaque_pixels(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 4), np.uint8)
    pixels[..., 3] = 255
    Image.fromarray(pixels).save(tmp_path / "1.png")
    np.testing.assert_array_equal(np.asarray(open_picture(tmp_path / "1.png")), pixels[..., :3])
    np.testing.assert_array_equal(np.asarray(as_rgb(Image.fromarray(pixels))), pixels[..., :3])


def test_open_picture_refuses_files_that_it_cannot_read(tmp_path, monkeypatch):
    (tmp_path / "text.jpg").write_text("not a picture")
    Image.new("RGB", (60, 40)).save(tmp_path / "large.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(UserError, match=r"text\.jpg cannot be read as PNG or JPEG: cannot identify"):
        open_picture(tmp_path / "text.jpg")
    with pytest.raises(UserError, match=r"large\.png cannot be read as PNG or JPEG: .*exceeds limit"):
        open_picture(tmp_path / "large.png")
    with pytest.raises(UserError, match=r"none\.png cannot be read as PNG or JPEG"):
        open_picture(str(tmp_path / "none.png"))
