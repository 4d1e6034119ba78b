"""Picture files: which ones are named, and how one is opened."""

import os

import numpy as np
import pytest
from PIL import Image

from seqdigits.core.errors import UserError
from seqdigits.data.photos import picture_files
from seqdigits.data.photos.picture_files import as_rgb, find_pictures, open_picture, open_reduced

GRADIENT = np.linspace(0, 255, 64 * 96, dtype=np.uint8).reshape(64, 96)


@pytest.mark.parametrize("name", ["a.webp", "a.bmp", "a.tiff", "a.pgm", "a.gif"])
def test_open_picture_reads_other_formats_only_on_demand(tmp_path, name):
    levels = np.linspace(0, 255, 24, dtype=np.uint8).reshape(4, 6)
    options = {"lossless": True} if name == "a.webp" else {}
    Image.fromarray(levels).save(tmp_path / name, **options)
    with pytest.raises(UserError, match="cannot be read as PNG or JPEG"):
        open_picture(tmp_path / name)
    np.testing.assert_array_equal(np.asarray(open_picture(tmp_path / name, formats=None))[..., 0], levels)


@pytest.mark.parametrize("name", ["a.png", "a.pgm", "a.tiff"])
def test_open_picture_keeps_the_upper_8_of_16_bits(tmp_path, name):
    levels = np.linspace(0, 65535, 24).astype(np.uint16).reshape(4, 6)
    Image.fromarray(levels).save(tmp_path / name)
    np.testing.assert_array_equal(np.asarray(open_picture(tmp_path / name, formats=None))[..., 0], levels >> 8)


def test_open_picture_takes_the_first_frame(tmp_path):
    frames = [Image.new("RGB", (8, 8), color) for color in ("white", "black")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert np.asarray(open_picture(tmp_path / "a.gif", formats=None)).min() == 255


def test_open_picture_stretches_floats_up_to_1(tmp_path):
    levels = np.array([[0.0, 0.5, 1.0], [-1.0, np.inf, np.nan]], np.float32)
    Image.fromarray(levels[:1]).save(tmp_path / "a.tiff")
    assert np.asarray(open_picture(tmp_path / "a.tiff", formats=None))[..., 0].tolist() == [[0, 127, 255]]
    levels[1, 1] = 0.0
    Image.fromarray(levels).save(tmp_path / "b.tiff")
    assert np.asarray(open_picture(tmp_path / "b.tiff", formats=None))[..., 0].tolist() == [[0, 127, 255], [0, 0, 0]]
    Image.fromarray(np.float32([[0, 65535]])).save(tmp_path / "c.tiff")
    assert np.asarray(open_picture(tmp_path / "c.tiff", formats=None))[..., 0].tolist() == [[0, 255]]


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I", "F"])
def test_as_rgb_gives_the_same_in_bands(mode, monkeypatch):
    image = Image.fromarray(np.stack([GRADIENT, GRADIENT[::-1], GRADIENT[:, ::-1], GRADIENT], axis=-1)).convert(mode)
    at_once = np.asarray(as_rgb(image))
    monkeypatch.setattr(picture_files, "_BAND_PIXELS", 500)
    np.testing.assert_array_equal(np.asarray(as_rgb(image)), at_once)


def test_as_rgb_does_not_change_its_image():
    image = Image.fromarray(GRADIENT).convert("RGB")
    image.getexif()[0x0112] = 6
    assert as_rgb(image).size == (64, 96)
    assert image.size == (96, 64)
    assert image.getexif()[0x0112] == 6


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "tiff", "webp", "avif"])
def test_open_picture_turns_every_orientation_upright(tmp_path, orientation, suffix):
    """A black corner at the top left of the upright picture."""
    upright = Image.new("RGB", (64, 96), "white")
    upright.paste("black", (0, 0, 32, 32))
    turned_by = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # Image.Transpose that undoes the orientation
    stored = upright.transpose(Image.Transpose(turned_by[orientation])) if orientation > 1 else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / f"a.{suffix}", exif=exif)
    opened = open_picture(tmp_path / f"a.{suffix}", formats=None)
    assert opened.size == upright.size
    assert np.abs(np.asarray(opened, int) - np.asarray(upright)).mean() < 5
    np.testing.assert_array_equal(np.asarray(as_rgb(opened)), np.asarray(opened))  # it is not turned again


@pytest.mark.parametrize("suffix", ["png", "jpg", "tiff"])
@pytest.mark.parametrize(("max_pixels", "factor"), [(64 * 96, 1), (64 * 96 - 1, 2), (64 * 96 // 4 - 1, 3), (400, 4)])
def test_open_reduced_bounds_the_pixels(tmp_path, monkeypatch, suffix, max_pixels, factor):
    Image.fromarray(GRADIENT).save(tmp_path / f"a.{suffix}")
    monkeypatch.setattr(picture_files, "MAX_PIXELS", max_pixels)
    picture, found = open_reduced(tmp_path / f"a.{suffix}")
    assert found == (4 if (suffix, factor) == ("jpg", 3) else factor)  # a JPEG is decoded at 1/2, then reduced by 2
    assert picture.size == (-(-96 // found), -(-64 // found))
    assert picture.width * picture.height <= max_pixels
    blocks = GRADIENT[: 64 // found * found, : 96 // found * found].astype(float)
    means = blocks.reshape(64 // found, found, 96 // found, found).mean((1, 3))
    np.testing.assert_allclose(np.asarray(picture)[: len(means), : means.shape[1], 0], means, atol=4)


def test_open_reduced_composites_before_it_reduces(tmp_path, monkeypatch):
    """Two black pixels, one of which is transparent, are a gray one; of 16 bits the upper 8 are averaged."""
    monkeypatch.setattr(picture_files, "MAX_PIXELS", 1)
    Image.fromarray(np.array([[[0, 0, 0, 0], [0, 0, 0, 255]]] * 2, np.uint8)).save(tmp_path / "a.png")
    picture, factor = open_reduced(tmp_path / "a.png")
    assert (picture.size, factor) == ((1, 1), 2)
    assert picture.getpixel((0, 0))[0] in (127, 128)
    Image.fromarray(np.array([[0, 0xFFFF]] * 2, np.uint16)).save(tmp_path / "b.png")
    assert open_reduced(tmp_path / "b.png")[0].getpixel((0, 0))[0] in (127, 128)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("b.JPG", "a.png", "labels.csv", ".hidden.png", "sub/c.webp", "sub/deep/d.jpg", "x[1].png"):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "photos" / "folder.png").mkdir()
    os.mkfifo(tmp_path / "photos" / "pipe.png")
    (tmp_path / "photos" / "broken.png").symlink_to("nowhere")
    return tmp_path


def test_find_pictures_lists_a_folder_and_patterns(folder):
    in_folder = ["photos/a.png", "photos/b.JPG", "photos/x[1].png"]
    assert find_pictures(["photos"]) == (in_folder, [])
    assert find_pictures(["photos/"]) == (in_folder, [])
    assert find_pictures(["photos/*.png"]) == (["photos/a.png", "photos/x[1].png"], [])
    assert find_pictures(["photos/**/*.jpg", "photos/*/c.webp"]) == (["photos/sub/deep/d.jpg", "photos/sub/c.webp"], [])


def test_find_pictures_keeps_named_files(folder):
    """They need not exist, may have any name, and are kept twice; a file whose name is a pattern is itself."""
    named = [
        "photos/labels.csv",
        "none.png",
        "photos/broken.png",
        "photos/x[1].png",
        "photos/a.png",
        "photos/a.png",
        "-",
    ]
    assert find_pictures(named) == (named, [])


def test_find_pictures_reports_what_is_empty(folder, monkeypatch):
    files, problems = find_pictures(["photos/folder.png", "photos/*.gif", "photos/a.png"])
    assert files == ["photos/a.png"]
    assert problems[0].startswith("photos/folder.png is a folder without pictures. Their names end in .avif, ")
    assert problems[0].endswith("in its subfolders, write 'photos/folder.png/**/*.jpg'.")
    assert problems[1] == "photos/*.gif matches no file."

    def forbidden(path):
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr("os.listdir", forbidden)
    assert find_pictures(["photos"]) == ([], ["photos cannot be read as a folder: Permission denied."])
