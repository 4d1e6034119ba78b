"""Tests of the glyphs of synthetic scenes: the file that is part of the package, and the code that draws it."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from PIL import ImageFont

from seqdigits.core.constants import SPLITS
from seqdigits.core.errors import UserError
from seqdigits.core.interrupt import Stop, Stopped
from seqdigits.data.scenes import build_glyphs, font_files, glyphs
from seqdigits.data.scenes.fonts import FONT_FAMILIES, FontFamily

FONT = "Tiny-Regular"


def pillow_font() -> bytes:
    """Returns the only font that is always available: Pillow's default font."""
    font = ImageFont.load_default(12)
    if not isinstance(font, ImageFont.FreeTypeFont):
        pytest.skip("this Pillow has no FreeType")
    return font.font_bytes or font.path.getvalue()


def web_font(font: bytes) -> bytes:
    """Returns an OpenType font in the WOFF format, its tables compressed where that is smaller."""
    (count,) = struct.unpack_from(">H", font, 4)
    directory, tables = b"", b""
    for i in range(count):
        tag, checksum, start, length = struct.unpack_from(">4sIII", font, 12 + 16 * i)
        table = font[start : start + length]
        stored = min(zlib.compress(table), table, key=len)
        directory += struct.pack(">4sIIII", tag, 44 + 20 * count + len(tables), len(stored), length, checksum)
        tables += stored + bytes(-len(stored) % 4)
    sizes = 44 + len(directory) + len(tables), count, 0, len(font)
    return struct.pack(">4s4sIHHIHHIIIII", b"wOFF", font[:4], *sizes, *[0] * 7) + directory + tables


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FontFamily]:
    """Installs a package font-tiny with one font."""
    root, dist_info = tmp_path / "site", tmp_path / "site" / "font_tiny-1.5.dist-info"
    dist_info.mkdir(parents=True)
    (root / f"{FONT}.ttf").write_bytes(pillow_font())
    (dist_info / "METADATA").write_text(
        "Metadata-Version: 2.4\nName: font-tiny\nVersion: 1.5\nLicense-Expression: OFL-1.1\n"
    )
    (dist_info / "RECORD").write_text(f"{FONT}.ttf,,\n")
    monkeypatch.syspath_prepend(str(root))
    font_files.installed_package.cache_clear()
    yield FontFamily("Tiny", "font-tiny", (FONT,))
    font_files.installed_package.cache_clear()


def test_glyph_file_matches_known_digest_and_counts():
    data = glyphs.FILE.read_bytes()
    assert hashlib.sha256(data).hexdigest() == glyphs.SHA256
    assert len(data) < 4_500_000
    assert glyphs.count_glyphs(data) == (glyphs.FACES, glyphs.OTHERS)
    assert tuple(glyphs.FACES) == SPLITS
    assert sum(glyphs.FACES.values()) >= 300


@pytest.mark.parametrize("split", SPLITS)
def test_load_returns_arrays_of_known_shapes(split: str):
    glyph_set, faces, others = glyphs.load(split), glyphs.FACES[split], glyphs.OTHERS[split]
    assert {name: (array.dtype.name, array.shape) for name, array in glyph_set._asdict().items()} == {
        "digits": ("uint8", (faces, 10, 48, 48)),
        "digit_boxes": ("int32", (faces, 10, 4)),
        "digit_advances": ("int32", (faces, 10)),
        "others": ("uint8", (others, 48, 48)),
        "other_boxes": ("int32", (others, 4)),
    }


@pytest.mark.parametrize("split", SPLITS)
def test_boxes_enclose_the_covered_pixels(split: str):
    glyph_set = glyphs.load(split)
    images = np.concatenate([glyph_set.digits.reshape(-1, 48, 48), glyph_set.others])
    boxes = np.concatenate([glyph_set.digit_boxes.reshape(-1, 4), glyph_set.other_boxes])
    for image, (left, top, right, bottom) in zip(images, boxes, strict=True):
        inside = image[top:bottom, left:right] >= glyphs.MIN_COVERAGE
        assert inside[[0, -1]].any(axis=1).all()
        assert inside[:, [0, -1]].any(axis=0).all()
        assert inside.sum() == (image >= glyphs.MIN_COVERAGE).sum()


@pytest.mark.parametrize("split", SPLITS)
def test_digits_are_centered_and_32_pixels_high(split: str):
    glyph_set = glyphs.load(split)
    boxes = glyph_set.digit_boxes
    heights = boxes[..., 3] - boxes[..., 1]
    assert (abs(heights.max(axis=1) - 32) <= 1).all()
    assert (heights >= 16).all()  # the smallest is the zero of a face with old-style digits
    assert (abs(boxes[..., 0] + boxes[..., 2] - 48) <= 2).all()
    middles = boxes[..., 1].min(axis=1) + boxes[..., 3].max(axis=1)
    assert (abs(middles - 48) <= 2).all()
    assert (glyph_set.digit_advances > 0).all()
    assert (abs(glyph_set.digit_advances - (boxes[..., 2] - boxes[..., 0])) < 24).all()
    assert (glyph_set.digits.max(axis=(2, 3)) > 120).all()  # an outline may be half a pixel wide


def test_digits_of_a_face_differ_and_faces_are_unique():
    digits = np.concatenate([glyphs.load(split).digits for split in SPLITS]).astype(np.int32)
    for face in digits:
        for one, other in itertools.combinations(face, 2):
            assert abs(one - other).sum() > 0.03 * (one.sum() + other.sum())
    assert len({face.tobytes() for face in digits}) == len(digits)


def test_faces_of_a_family_are_in_one_split():
    families = [{face.family for face in glyphs.faces() if face.split == split} for split in SPLITS]
    assert not any(one & other for one, other in itertools.combinations(families, 2))
    group_splits = {
        (family.split_group or family.name, face.split)
        for family in FONT_FAMILIES
        for face in glyphs.faces()
        if face.family == family.name
    }
    assert len(group_splits) == len(dict(group_splits))
    assert "DejaVu Sans" in families[0]
    assert all(len(names) >= 5 for names in families)


def test_faces_match_font_families_and_pinned_packages():
    expected = [
        (family.name, font_files.parse_face(face)[2], family.package, split)
        for family, split in zip(FONT_FAMILIES, build_glyphs.assign_splits(FONT_FAMILIES), strict=True)
        for face in family.faces
    ]
    faces = glyphs.faces()
    assert [(face.family, face.style, face.package, face.split) for face in faces] == expected
    lines = (ROOT / "fonts" / "requirements.txt").read_text().splitlines()
    npm = json.loads((ROOT / "fonts" / "package.json").read_text())["dependencies"]
    pinned = {
        *(line for line in lines if not line.startswith("#")),
        *(f"{package}=={version}" for package, version in npm.items()),
    }
    assert {f"{face.package}=={face.version}" for face in faces} == pinned


def test_fonts_page_lists_licenses_and_notices():
    page = (ROOT / "seqdigits" / "data" / "scenes" / "FONTS.md").read_text()
    rows = {cells[1]: cells for line in page.splitlines() if len(cells := re.split(r"\s*(?<!\\)\|\s*", line)) == 8}
    faces = glyphs.faces()
    assert set(rows) - {"family", "---"} == {face.family for face in faces}
    for face in faces:
        cells = rows[face.family]
        assert cells[2] == face.split
        assert face.style in cells[3].split(", ")
        assert cells[4] == f"{face.package} {face.version}"
        assert cells[5] == face.license
        assert re.search(r"copyright|©|\(c\)", cells[6], re.IGNORECASE)
    assert {face.license for face in faces} == {"OFL-1.1", "Apache-2.0", "Bitstream-Vera"}
    for text in ("SIL OPEN FONT LICENSE", "Bitstream Vera Fonts Copyright"):
        assert text in page


@pytest.mark.parametrize("content", [b"", b"not a zip", None], ids=["empty", "not_a_zip", "one_bit_flipped"])
def test_load_rejects_damaged_or_missing_file(content: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "glyphs.npz"
    intact = glyphs.FILE.read_bytes()
    path.write_bytes(intact[:1000] + bytes([intact[1000] ^ 1]) + intact[1001:] if content is None else content)
    monkeypatch.setattr(glyphs, "FILE", path)
    glyphs._read.cache_clear()
    with pytest.raises(UserError, match="damaged: .* expected .*make glyphs"):
        glyphs.load("train")
    path.unlink()
    with pytest.raises(UserError, match="No such file .*seqdigits build-glyphs"):
        glyphs.faces()
    glyphs._read.cache_clear()


def test_build_glyphs_writes_file_and_fonts_page(tiny: FontFamily, tmp_path: Path):
    data, faces = build_glyphs.build_glyphs([tiny], tmp_path, Stop())
    assert (tmp_path / "glyphs.npz").read_bytes() == data
    assert data == build_glyphs.build_glyphs([tiny], tmp_path, Stop())[0]
    (num_others,) = glyphs.count_glyphs(data)[1].values()
    assert num_others > 40
    arrays, parsed_faces = glyphs.parse(data)
    assert [face._asdict() for face in parsed_faces] == faces
    assert parsed_faces == [glyphs.Face("Tiny", "Regular", "font-tiny", "1.5", "OFL-1.1", "train")]
    characters = "".join(map(chr, arrays["characters"]))
    assert characters.startswith("0123456789")
    assert {"A", "x", "#", "/"} < set(characters)
    assert not set("OoIliZzSsB|") & set(characters)
    page = (tmp_path / "FONTS.md").read_text()
    assert "| Tiny | train | Regular | font-tiny 1.5 | OFL-1.1 | " in page


def test_build_glyphs_rejects_unusable_fonts(tiny: FontFamily, tmp_path: Path):
    for families, message in (
        ([FontFamily("None", "font-missing", ("None",))], "not installed.*make glyphs.*fonts"),
        ([FontFamily("None", "@fontsource/none", ("none-400-normal",))], "npm package @fontsource/none.*make glyphs"),
        ([FontFamily("Tiny", "font-tiny", ("Tiny-Bold",))], "no file Tiny-Bold.ttf"),
        ([FontFamily("Tiny", "font-tiny", (f"{FONT} wght=700",))], "no axis wght"),
        ([tiny, tiny._replace(name="Twin")], "Twin Regular has the same digits as Tiny Regular"),
    ):
        with pytest.raises(UserError, match=message):
            build_glyphs.build_glyphs(families, tmp_path, Stop())
    stop = Stop()
    stop.set()
    with pytest.raises(Stopped):
        build_glyphs.build_glyphs([tiny], tmp_path, stop)
    assert not (tmp_path / "glyphs.npz").exists()


def test_build_glyphs_draws_web_fonts_of_npm_packages(
    tiny: FontFamily, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder = tmp_path / "node_modules" / "@fontsource" / "tiny"
    (folder / "files").mkdir(parents=True)
    (folder / "package.json").write_text('{"version": "5.3.0", "license": "OFL-1.1"}')
    (folder / "files" / "tiny-latin-700-italic.woff").write_bytes(web_font(pillow_font()))
    monkeypatch.setattr(font_files, "NPM_FOLDER", tmp_path / "node_modules")
    web = FontFamily("Web", "@fontsource/tiny", ("tiny-latin-700-italic",), letters=False)
    data, _ = build_glyphs.build_glyphs([web], tmp_path, Stop())
    arrays, faces = glyphs.parse(data)
    assert faces == [glyphs.Face("Web", "Italic wght=700", "@fontsource/tiny", "5.3.0", "OFL-1.1", "train")]
    plain, _ = glyphs.parse(build_glyphs.build_glyphs([tiny], tmp_path, Stop())[0])
    assert (arrays["images"] == plain["images"][:10]).all()  # digits only
    assert font_files.copyright_notice(web_font(pillow_font())) == font_files.copyright_notice(pillow_font())


def test_build_glyphs_reproduces_the_digits_of_the_file(tmp_path: Path):
    family = FONT_FAMILIES[0]
    pytest.importorskip("matplotlib", reason="fonts/requirements.txt is not installed")
    data, _ = build_glyphs.build_glyphs([family], tmp_path, Stop())
    digits = glyphs._select(*glyphs.parse(data), "train").digits.astype(int)
    # FreeType versions differ slightly.
    assert abs(digits - glyphs.load("train").digits[: len(family.faces)]).max() <= 8
