"""The atlas of glyphs: what ships with the package is whole and as it says, and the command that draws it."""

from __future__ import annotations

import hashlib
import itertools
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from PIL import ImageFont

from seqdigits.core.constants import SPLITS
from seqdigits.core.errors import UserError
from seqdigits.core.interrupt import Stop, Stopped
from seqdigits.data.scenes import build_glyphs, glyphs
from seqdigits.data.scenes.fonts import FAMILIES, Family

FONT = "Tiny-Regular"


def pillows_font() -> bytes:
    """The one font that is always there: Pillow's own."""
    font = ImageFont.load_default(12)
    if not isinstance(font, ImageFont.FreeTypeFont):
        pytest.skip("this Pillow has no FreeType")
    return font.font_bytes or font.path.getvalue()


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Family]:
    """An installed package font-tiny with one font."""
    root, about = tmp_path / "site", tmp_path / "site" / "font_tiny-1.5.dist-info"
    about.mkdir(parents=True)
    (root / f"{FONT}.ttf").write_bytes(pillows_font())
    (about / "METADATA").write_text(
        "Metadata-Version: 2.4\nName: font-tiny\nVersion: 1.5\nLicense-Expression: OFL-1.1\n"
    )
    (about / "RECORD").write_text(f"{FONT}.ttf,,\n")
    monkeypatch.syspath_prepend(str(root))
    build_glyphs._package.cache_clear()
    yield Family("Tiny", "font-tiny", (FONT,))
    build_glyphs._package.cache_clear()


def test_the_file_is_the_one_that_is_known():
    data = glyphs.FILE.read_bytes()
    assert hashlib.sha256(data).hexdigest() == glyphs.SHA256
    assert len(data) < 3_000_000
    assert glyphs.count(data) == (glyphs.FACES, glyphs.OTHERS)
    assert tuple(glyphs.FACES) == SPLITS


@pytest.mark.parametrize("split", SPLITS)
def test_shapes(split: str):
    part, faces, others = glyphs.load(split), glyphs.FACES[split], glyphs.OTHERS[split]
    assert {name: (array.dtype.name, array.shape) for name, array in part._asdict().items()} == {
        "digits": ("uint8", (faces, 10, 48, 48)),
        "digit_boxes": ("int32", (faces, 10, 4)),
        "digit_advances": ("int32", (faces, 10)),
        "others": ("uint8", (others, 48, 48)),
        "other_boxes": ("int32", (others, 4)),
    }


@pytest.mark.parametrize("split", SPLITS)
def test_boxes_are_around_the_ink(split: str):
    part = glyphs.load(split)
    pictures = np.concatenate([part.digits.reshape(-1, 48, 48), part.others])
    boxes = np.concatenate([part.digit_boxes.reshape(-1, 4), part.other_boxes])
    for picture, (left, top, right, bottom) in zip(pictures, boxes, strict=True):
        inside = picture[top:bottom, left:right] >= glyphs.INK
        assert inside[[0, -1]].any(axis=1).all()
        assert inside[:, [0, -1]].any(axis=0).all()
        assert inside.sum() == (picture >= glyphs.INK).sum()


@pytest.mark.parametrize("split", SPLITS)
def test_digits_stand_as_they_should(split: str):
    part = glyphs.load(split)
    boxes = part.digit_boxes
    heights = boxes[..., 3] - boxes[..., 1]
    assert (abs(heights.max(axis=1) - 32) <= 1).all()
    assert (heights >= 16).all()  # the zero of old-style figures is the smallest
    assert (abs(boxes[..., 0] + boxes[..., 2] - 48) <= 2).all()
    middles = boxes[..., 1].min(axis=1) + boxes[..., 3].max(axis=1)
    assert (abs(middles - 48) <= 2).all()
    assert (part.digit_advances > 0).all()
    assert (abs(part.digit_advances - (boxes[..., 2] - boxes[..., 0])) < 24).all()
    assert (part.digits.max(axis=(2, 3)) > 200).all()


def test_the_ten_digits_of_a_face_differ_and_no_face_is_there_twice():
    digits = np.concatenate([glyphs.load(split).digits for split in SPLITS]).astype(np.int32)
    for face in digits:
        for one, other in itertools.combinations(face, 2):
            assert abs(one - other).sum() > 0.03 * (one.sum() + other.sum())
    assert len({face.tobytes() for face in digits}) == len(digits)


def test_no_family_is_in_two_splits():
    families = [{face.family for face in glyphs.faces() if face.split == split} for split in SPLITS]
    assert not any(one & other for one, other in itertools.combinations(families, 2))
    kin = {
        (family.kin or family.name, face.split)
        for family in FAMILIES
        for face in glyphs.faces()
        if face.family == family.name
    }
    assert len(kin) == len(dict(kin))
    assert "DejaVu Sans" in families[0]
    assert all(len(there) >= 5 for there in families)


def test_faces_are_those_of_the_table_and_of_the_pinned_packages():
    expected = [
        (family.name, build_glyphs._face(face)[2], family.package, split)
        for family, split in zip(FAMILIES, build_glyphs.splits(FAMILIES), strict=True)
        for face in family.faces
    ]
    assert [(face.family, face.style, face.package, face.split) for face in glyphs.faces()] == expected
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert {f"{face.package}=={face.version}" for face in glyphs.faces()} == set(extras["fonts"])


def test_fonts_are_listed_with_licence_and_notice():
    page = (ROOT / "seqdigits" / "data" / "scenes" / "FONTS.md").read_text()
    rows = {cells[1]: cells for line in page.splitlines() if len(cells := re.split(r"\s*(?<!\\)\|\s*", line)) == 8}
    assert set(rows) - {"family", "---"} == {face.family for face in glyphs.faces()}
    for face in glyphs.faces():
        cells = rows[face.family]
        assert cells[2] == face.split
        assert face.style in cells[3].split(", ")
        assert cells[4] == f"{face.package} {face.version}"
        assert cells[5] == face.license
        assert cells[6].startswith("Copyright") or "©" in cells[6]
    assert {face.license for face in glyphs.faces()} == {"OFL-1.1", "Apache-2.0", "Bitstream-Vera"}
    for text in ("SIL OPEN FONT LICENSE", "Bitstream Vera Fonts Copyright"):
        assert text in page


@pytest.mark.parametrize("damage", [b"", b"not a zip", None])
def test_damaged_file_is_refused(damage: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "glyphs.npz"
    whole = glyphs.FILE.read_bytes()
    path.write_bytes(whole[:1000] + bytes([whole[1000] ^ 1]) + whole[1001:] if damage is None else damage)
    monkeypatch.setattr(glyphs, "FILE", path)
    glyphs._read.cache_clear()
    with pytest.raises(UserError, match="damaged: .* expected .*make glyphs"):
        glyphs.load("train")
    path.unlink()
    with pytest.raises(UserError, match="No such file .*python -m seqdigits build-glyphs"):
        glyphs.faces()
    glyphs._read.cache_clear()


def test_build(tiny: Family, tmp_path: Path):
    data, faces = build_glyphs.build([tiny], tmp_path, Stop())
    assert (tmp_path / "glyphs.npz").read_bytes() == data
    assert data == build_glyphs.build([tiny], tmp_path, Stop())[0]
    (count,) = (count for count in glyphs.count(data)[1].values())
    assert count > 40
    arrays, known = glyphs.parse(data)
    assert [face._asdict() for face in known] == faces
    assert known == [glyphs.Face("Tiny", "Regular", "font-tiny", "1.5", "OFL-1.1", "train")]
    characters = "".join(map(chr, arrays["characters"]))
    assert characters.startswith("0123456789")
    assert {"A", "x", "#", "/"} < set(characters)
    assert not set("OoIliZzSsB|") & set(characters)
    page = (tmp_path / "FONTS.md").read_text()
    assert "| Tiny | train | Regular | font-tiny 1.5 | OFL-1.1 | " in page


def test_build_refuses_what_it_cannot_draw(tiny: Family, tmp_path: Path):
    for families, message in (
        ([Family("None", "font-that-is-not-there", ("None",))], "not installed.*make glyphs.*fonts"),
        ([Family("Tiny", "font-tiny", ("Tiny-Bold",))], "no file Tiny-Bold.ttf"),
        ([Family("Tiny", "font-tiny", (f"{FONT} wght=700",))], "no axis wght"),
        ([tiny, tiny._replace(name="Twin")], "Twin Regular has the digits of Tiny Regular"),
    ):
        with pytest.raises(UserError, match=message):
            build_glyphs.build(families, tmp_path, Stop())
    stop = Stop()
    stop.set()
    with pytest.raises(Stopped):
        build_glyphs.build([tiny], tmp_path, stop)
    assert not (tmp_path / "glyphs.npz").exists()


def test_a_font_that_is_installed_is_drawn_as_it_is_in_the_file(tmp_path: Path):
    family = FAMILIES[0]
    pytest.importorskip("matplotlib", reason="the extra `fonts` is not installed")
    data, _ = build_glyphs.build([family], tmp_path, Stop())
    found = glyphs._select(*glyphs.parse(data), "train").digits.astype(int)
    assert abs(found - glyphs.load("train").digits[: len(family.faces)]).max() <= 8  # of another FreeType
