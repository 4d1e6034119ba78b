"""Natural backgrounds: the file, its splits, errors for damaged files, and the command build-backgrounds."""

from __future__ import annotations

import json
import re
import stat
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from seqdigits.cli import build_backgrounds as cli_build_backgrounds
from seqdigits.core.constants import SPLITS
from seqdigits.core.errors import UserError
from seqdigits.core.interrupt import Stop, Stopped
from seqdigits.data.photos import backgrounds
from seqdigits.data.photos import build_backgrounds as build_module
from seqdigits.data.photos.background_packages import PICTURES, VERSIONS, Group
from seqdigits.data.photos.backgrounds import BLOCK, LONGER_SIDE, SHEET_WIDTH, Entry, encode, load, split_of
from seqdigits.data.photos.build_backgrounds import build, pictures

DEB = """#!/bin/sh
# Stands for dpkg-deb: a .deb file of these tests is text, the path of the folder to be unpacked.
case $1 in
  -f) echo 1.2-3 ;;
  -x) cp -r "$(cat "$2")/." "$3" ;;
esac
"""


def picture(seed: int, width: int = 90, height: int = 60) -> Image.Image:
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def entries(count: int) -> list[Entry]:
    return [Entry(f"p{i}", "pkg", "1.0", "CC0-1.0", picture(i, 50 + 7 * i, 90 - i)) for i in range(count)]


@pytest.fixture
def file(tmp_path) -> Path:
    path = tmp_path / "backgrounds.jpg"
    path.write_bytes(encode(entries(20)))
    return path


def test_load_returns_what_was_encoded(file):
    loaded = {name: (pixels, split) for split in SPLITS for name, pixels, *_ in load(file, split)}
    assert len(loaded) == 20
    for entry in entries(20):
        pixels, split = loaded[f"pkg/{entry.name}"]
        assert split == split_of(f"pkg/{entry.name}")
        assert pixels.dtype == np.uint8
        assert pixels.shape == (entry.picture.height, entry.picture.width, 3)
        assert np.abs(pixels.astype(int) - np.asarray(entry.picture)).mean() < 2


def test_index_has_package_version_and_license(file):
    with Image.open(file) as sheet:
        index = json.loads(sheet.info["comment"])
    first = index["pictures"][0]
    assert (first["package"], first["version"], first["license"]) == ("pkg", "1.0", "CC0-1.0")
    assert all(entry["left"] % BLOCK == entry["top"] % BLOCK == 0 for entry in index["pictures"])


def test_neighbors_on_the_sheet_do_not_bleed(tmp_path):
    colors = [(255, 0, 0), (0, 0, 255)] * 8
    size = (LONGER_SIDE, 40)
    sheet = [Entry(f"p{i}", "pkg", "1", "CC0-1.0", Image.new("RGB", size, c)) for i, c in enumerate(colors)]
    (tmp_path / "b.jpg").write_bytes(encode(sheet))
    for split in ("train", "validation"):
        for name, pixels, *_ in load(tmp_path / "b.jpg", split):
            assert np.abs(pixels.astype(int) - colors[int(name.removeprefix("pkg/p"))]).max() <= 3


def test_longer_side_is_limited_and_nothing_is_enlarged():
    assert backgrounds.shrunk(picture(0, 1000, 250)).size == (640, 160)
    assert backgrounds.shrunk(picture(0, 250, 1000)).size == (160, 640)
    assert backgrounds.shrunk(picture(0, 100, 50)).size == (100, 50)


def test_places_on_the_sheet_are_disjoint(file):
    with Image.open(file) as sheet:
        used = np.zeros(sheet.size, int)
        index = json.loads(sheet.info["comment"])["pictures"]
    for left, top, width, height in ([entry[key] for key in ("left", "top", "width", "height")] for entry in index):
        used[left : left + width, top : top + height] += 1
    assert used.max() == 1


def test_encode_refuses_a_sheet_that_pillow_would_warn_of(monkeypatch):
    monkeypatch.setattr(backgrounds, "_MAX_PIXELS", SHEET_WIDTH * 96)
    encode(entries(19))
    with pytest.raises(UserError, match=r"the sheet would be \d+ pixels high; allowed are 96. List fewer"):
        encode(entries(40))


def test_encode_is_deterministic():
    assert encode(entries(10)) == encode(entries(10))


def test_splits_are_of_the_published_shares_and_stay():
    number = [sum(split_of(f"pkg/{i}") == split for i in range(4000)) for split in SPLITS]
    assert np.allclose(np.array(number) / 4000, [0.70, 0.15, 0.15], atol=0.02)
    assert split_of("lxqt-themes/fog") == "train"


def test_load_names_a_missing_file_and_the_command(tmp_path):
    with pytest.raises(UserError, match=r"none\.jpg is missing. To make it: seqdigits build-backgrounds"):
        load(tmp_path / "none.jpg", "train")


def test_load_refuses_other_and_damaged_files(tmp_path, file):
    other, text, half = tmp_path / "other.jpg", tmp_path / "text.jpg", tmp_path / "half.jpg"
    picture(0).save(other)
    text.write_text("no picture")
    half.write_bytes(file.read_bytes()[:-2000])
    for path in (other, text, half, tmp_path):
        with pytest.raises(UserError, match="damaged or not a file of seqdigits build-backgrounds"):
            load(path, "train")


@pytest.mark.parametrize(("key", "value"), [("left", 9999), ("width", 0), ("top", "0"), ("split", "all"), ("name", 3)])
def test_load_refuses_an_index_of_another_sheet(tmp_path, file, key, value):
    with Image.open(file) as sheet:
        index = json.loads(sheet.info["comment"])
        index["pictures"][3][key] = value
        sheet.save(tmp_path / "wrong.jpg", comment=json.dumps(index).encode())
    with pytest.raises(UserError, match="damaged or not a file of seqdigits build-backgrounds"):
        load(tmp_path / "wrong.jpg", "train")


def test_load_refuses_a_split_without_backgrounds(tmp_path):
    (tmp_path / "b.jpg").write_bytes(encode([Entry("Dune", "mate-backgrounds", "1", "CC0-1.0", picture(0))]))
    with pytest.raises(UserError, match=r"no backgrounds for the split test \(1 for train, 0 for validation"):
        load(tmp_path / "b.jpg", "test")


def test_every_listed_picture_is_of_a_package_and_once():
    names = [f"{group.package}/{name}" for group in PICTURES for name in group.names.split()]
    assert len(names) == len(set(names))
    assert {group.package for group in PICTURES} == set(VERSIONS)


GROUPS = (Group("pkg", "CC0-1.0", "usr/{}.jpg", "a b c"), Group("pkg", "MIT", "usr/{}", "d.png"))


@pytest.fixture
def tree(tmp_path) -> Path:
    """An unpacked package with a listed JPEG, rotated by its EXIF orientation, a listed PNG, and another picture."""
    folder = tmp_path / "tree"
    (folder / "usr").mkdir(parents=True)
    exif = Image.Exif()
    exif[0x0112] = 6
    picture(1, 80, 40).save(folder / "usr" / "a.jpg", exif=exif)
    picture(2).convert("RGBA").save(folder / "usr" / "d.png")
    picture(3).save(folder / "usr" / "unseen.jpg")
    return folder


def test_pictures_takes_only_listed_ones(tree):
    taken, missing = pictures(tree, "pkg", "1.0", GROUPS)
    assert [(entry.name, entry.license, entry.picture.size) for entry in taken] == [
        ("a", "CC0-1.0", (40, 80)),
        ("d", "MIT", (90, 60)),
    ]
    assert missing == ["pkg/b", "pkg/c"]


ARCHIVED = (Group("pkg", "CC0-1.0", "usr/textures.pk3!/wall/{}.png", "brick door"),)


@pytest.fixture
def archive(tmp_path, tree) -> Path:
    """An archive in the unpacked package, with one listed picture."""
    picture(4).save(tmp_path / "brick.png")
    with zipfile.ZipFile(tree / "usr" / "textures.pk3", "w", zipfile.ZIP_DEFLATED) as file:
        file.write(tmp_path / "brick.png", "wall/brick.png")
    return tree / "usr" / "textures.pk3"


def test_pictures_takes_members_of_archives(tree, archive):
    taken, missing = pictures(tree, "pkg", "1.0", ARCHIVED)
    assert [(entry.name, np.array_equal(entry.picture, picture(4))) for entry in taken] == [("brick", True)]
    assert missing == ["pkg/door"]
    archive.unlink()
    with pytest.raises(UserError, match="has none of its listed pictures, such as pkg/brick"):
        pictures(tree, "pkg", "1.0", ARCHIVED)


def test_pictures_refuses_damaged_and_large_members(tree, archive, monkeypatch):
    whole = archive.read_bytes()
    for content in (whole[:-30], whole[:200] + b"\0" * 50 + whole[250:]):
        archive.write_bytes(content)
        with pytest.raises(UserError, match=re.escape("wall/brick.png cannot be read as JPEG or PNG")):
            pictures(tree, "pkg", "1.0", ARCHIVED)
    archive.write_bytes(whole)
    monkeypatch.setattr(build_module, "_MAX_PICTURE", 1000)
    with pytest.raises(UserError, match=r"it has [\d,]+ bytes; allowed are 1,000"):
        pictures(tree, "pkg", "1.0", ARCHIVED)


def test_pictures_refuses_a_package_without_any(tmp_path):
    with pytest.raises(UserError, match="pkg 1.0 has none of its listed pictures, such as pkg/a"):
        pictures(tmp_path, "pkg", "1.0", GROUPS)


@pytest.fixture
def package(tmp_path, tree, monkeypatch) -> Path:
    """A folder with the .deb file of a package, and a dpkg-deb that reads it."""
    monkeypatch.setattr(build_module, "VERSIONS", {"pkg": "1.0"})
    monkeypatch.setattr(build_module, "PICTURES", GROUPS)
    programs, folder = tmp_path / "bin", tmp_path / "packages"
    programs.mkdir()
    folder.mkdir()
    (programs / "dpkg-deb").write_text(DEB)
    (programs / "dpkg-deb").chmod(stat.S_IRWXU)
    (folder / "pkg_1.2-3_all.deb").write_text(str(tree))
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    return folder


def test_build_writes_the_pictures_of_packages(tmp_path, package, monkeypatch, capsys):
    out = tmp_path / "new" / "b.jpg"
    monkeypatch.setattr("sys.argv", ["build-backgrounds", f"--out={out}", f"--packages={package}"])
    cli_build_backgrounds.main(Stop())
    printed = capsys.readouterr().out
    assert "(4 pictures: " in printed
    assert "pkg is 1.2-3, not 1.0 as looked at" in printed
    assert "2 pictures are not in these versions: pkg/b, pkg/c" in printed
    names = []
    for split in SPLITS:
        if f"0 {split}" not in printed:
            names += [background.name for background in load(out, split)]
    assert sorted(names) == ["pkg/a", "pkg/d", "scikit-learn/china", "scikit-learn/flower"]
    first = out.read_bytes()
    build(out, package, Stop())
    assert out.read_bytes() == first
    assert [path.name for path in out.parent.iterdir()] == ["b.jpg"]


def test_build_refuses_what_the_user_can_fix(tmp_path, package, monkeypatch):
    with pytest.raises(UserError, match="--out: .* is a folder"):
        build(tmp_path, package, Stop())
    with pytest.raises(UserError, match="has no .deb file of pkg. To download them there: cd"):
        build(tmp_path / "b.jpg", tmp_path, Stop())
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    with pytest.raises(UserError, match="apt-get is not installed.*--packages"):
        build(tmp_path / "b.jpg", None, Stop())
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="dpkg-deb is not installed"):
        build(tmp_path / "b.jpg", package, Stop())


def test_build_reports_a_failed_download(tmp_path, package, monkeypatch):
    apt = tmp_path / "bin" / "apt-get"
    apt.write_text("#!/bin/sh\necho 'E: Unable to locate package pkg' >&2\nexit 100\n")
    apt.chmod(stat.S_IRWXU)
    with pytest.raises(UserError, match="status 100: E: Unable to locate package pkg Run apt-get update"):
        build(tmp_path / "b.jpg", None, Stop())
    assert not (tmp_path / "b.jpg").exists()


def test_build_stops(tmp_path, package):
    stop = Stop()
    stop.set()
    with pytest.raises(Stopped):
        build(tmp_path / "b.jpg", package, stop)
    assert not (tmp_path / "b.jpg").exists()
