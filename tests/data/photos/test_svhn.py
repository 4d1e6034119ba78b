"""House numbers: splits, crops, and errors for damaged archives."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import PIL
import pytest
from PIL import Image

from seqdigits.core.constants import NO_DIGIT
from seqdigits.core.errors import UserError
from seqdigits.core.progress import progress, time
from seqdigits.data.create import create_source
from seqdigits.data.photos import svhn, svhn_annotations, unlabeled
from seqdigits.data.photos.crop import PHOTO_COMPOSITIONS

Box = tuple[float, float, float, float, float]
"""Label, left, top, width and height, as in the file."""

# Six photographs of 40 x 20 (width x height), with 2, 1, 3, 6, 1 and 2 digits.
TRAIN: dict[str, list[Box]] = {
    "1.png": [(1, 10, 4, 4, 8), (10, 16, 4, 6, 10)],
    "2.png": [(7, -2, 3, 8, 12)],
    "3.png": [(2, 5, 2, 4, 9), (3, 3, 2, 4, 9), (4, 9, 2, 4, 9)],
    "4.png": [(d, 5 * d, 5, 4, 8) for d in (1, 2, 3, 4, 5, 6)],
    "5.png": [(5, 30, 8, 12, 10)],
    "6.png": [(9, 10, 4, 5, 10), (8, 20, 4, 5, 10)],
}
TEST: dict[str, list[Box]] = {"1.png": [(6, 10, 4, 4, 8)], "2.png": [(1, 10, 4, 4, 8), (2, 20, 4, 4, 8)]}
TINY = svhn.PhotographSet(
    lengths={"train": (2, 2, 1, 0, 0, 1), "test": (1, 1, 0, 0, 0, 0), "extra": (0, 0, 0, 0, 0, 0)},
    validation={"train": 2},
    validation_digits={"train": 5},
)


def write_mat(path: Path, entries: dict[str, list[Box]]) -> None:
    """Writes a digitStruct.mat in the published layout: MATLAB 7.3 with a header of 512 bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w", userblock_size=512) as file:
        objects = file.create_group("#refs#")

        def put(value: np.ndarray) -> Any:
            return objects.create_dataset(str(len(objects)), data=value).ref

        names, groups = [], []
        for name, boxes in entries.items():
            names.append(put(np.array([[ord(c)] for c in name], np.uint16)))
            group = objects.create_group(str(len(objects)))
            groups.append(group.ref)
            for column, field in enumerate(("label", "left", "top", "width", "height")):
                values = [np.array([[box[column]]], np.float64) for box in boxes]
                if len(values) == 1:
                    group[field] = values[0]
                else:
                    group.create_dataset(field, data=[[put(v)] for v in values], dtype=h5py.ref_dtype)
        for field, references in (("name", names), ("bbox", groups)):
            file.create_dataset(f"digitStruct/{field}", data=[[r] for r in references], dtype=h5py.ref_dtype)
    with path.open("r+b") as raw:
        raw.write(b"MATLAB 7.3 MAT-file".ljust(116))


def png(seed: int, width: int = 40, height: int = 20) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)).save(file, "PNG")
    return file.getvalue()


def write_part(
    data: Path, part: str, entries: dict[str, list[Box]], photographs: dict[str, bytes] | None = None
) -> None:
    """Writes an unpacked part to the data folder `data`. Photographs are random unless given."""
    folder = data / "svhn_numbers" / part
    write_mat(folder / "digitStruct.mat", entries)
    for seed, name in enumerate(entries):
        (folder / name).write_bytes((photographs or {}).get(name) or png(seed))


def pack(data: Path, part: str, first: tuple[tuple[tarfile.TarInfo, bytes], ...] = ()) -> Path:
    """Packs the folder of a part into PART.tar.gz, sorted by name as published, with `first` at the beginning."""
    folder = data / "svhn_numbers" / part
    archive = folder.parent / f"{part}.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        for member, content in first:
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
        for path in sorted(folder.iterdir()):
            tar.add(path, f"{part}/{path.name}")
            path.unlink()
    folder.rmdir()
    return archive


@pytest.fixture
def data(tmp_path, monkeypatch) -> Path:
    """A data folder with unpacked parts train and test, which are the set "tiny" of PHOTOGRAPHS."""
    monkeypatch.setitem(svhn.PHOTOGRAPHS, "tiny", TINY)
    write_part(tmp_path, "train", TRAIN)
    write_part(tmp_path, "test", TEST)
    return tmp_path


def load(data: Path, split: str = "train", kind: str = "photograph", **changes: Any) -> dict[str, np.ndarray]:
    settings: dict[str, Any] = {"height": 10, "width": 80, "gray": False, "max_length": 6}
    return svhn.load("tiny", ("train",), split, kind=kind, folder=str(data), **settings | changes)


def names_of(split: dict[str, np.ndarray]) -> list[str]:
    return ["".join(str(d) for d in row if d != NO_DIGIT) for row in split["digits"]]


@pytest.mark.parametrize(
    ("part", "photographs", "digits"),
    [("train", 33_402, 73_257), ("test", 13_068, 26_032), ("extra", 202_353, 531_131)],
)
def test_lengths_equal_published_counts(part, photographs, digits):
    lengths = svhn.PHOTOGRAPHS["svhn"].lengths[part]
    assert sum(lengths) == photographs
    assert sum(n * k for n, k in enumerate(lengths, 1)) == digits


def test_lengths_of_all_parts_add_up_to_the_published_total():
    lengths = svhn.PHOTOGRAPHS["svhn"].lengths
    assert np.sum(list(lengths.values()), 0).tolist() == [17_005, 98_212, 117_561, 15_918, 126, 1]


def test_svhn_2000_counts():
    counts = [svhn.count("svhn_2000", ("train",), s, 1, True) for s in ("train", "validation", "test")]
    assert counts == [4_034, 400, 971]
    assert svhn.count("svhn_2000", ("train", "extra"), "train", 3, False) == 1_912 - 200


@pytest.mark.parametrize(("n", "h"), [(0, 0), (0, 3), (7, 0), (7, 3), (7, 7), (3, 5), (33_401, 4_000)])
def test_held_out_is_evenly_spaced(n, h):
    mask = svhn.held_out(n, h)
    assert (len(mask), mask.sum()) == (n, min(n, h))
    if mask.sum() > 1:
        assert set(np.diff(np.flatnonzero(mask)).tolist()) <= {n // h, n // h + 1, 1}


@pytest.mark.parametrize("parts", [(), ("test",), ("train", "test"), ("all",)])
def test_count_refuses_other_parts(parts):
    with pytest.raises(UserError, match="allowed are train, extra"):
        svhn.count("svhn", parts, "train", 6, False)


def test_load_types_order_and_split(data):
    # Of 6, 2 are held out: i = 2 and 5. Label 10 is digit 0. The listed order 2 3 4 is kept although 3 is left of 2.
    train, validation, test = (load(data, split) for split in ("train", "validation", "test"))
    assert names_of(train) == ["10", "7", "123456", "5"]
    assert names_of(validation) == ["234", "98"]
    assert names_of(test) == ["6", "12"]
    for name, shape, dtype in (
        ("images", (4, 10, 80, 3), np.uint8),
        ("digits", (4, 6), np.int32),
        ("boxes", (4, 6, 4), np.float32),
    ):
        assert (train[name].shape, train[name].dtype) == (shape, dtype)
    assert not train["boxes"][train["digits"] == NO_DIGIT].any()
    assert train["boxes"][train["digits"] != NO_DIGIT].any(-1).all()


def test_long_numbers_are_excluded_before_holding_out(data):
    # 1, 2, 3, 5, 6 are left; of 5, 2 are held out: i = 2 and 4.
    assert names_of(load(data, "train", max_length=5)) == ["10", "7", "5"]
    assert names_of(load(data, "validation", max_length=5)) == ["234", "98"]
    assert load(data, "train", max_length=5)["digits"].shape == (3, 5)


def test_load_resizes_photographs_and_boxes(data):
    train = load(data)  # 40 x 20 to 80 x 10
    expected = [[24, 4, 8, 4], [38, 4.5, 12, 5]] + [[0] * 4] * 4
    np.testing.assert_array_equal(train["boxes"][0], expected)
    np.testing.assert_array_equal(train["boxes"][1, 0], [4, 4.5, 16, 6])  # extends beyond the left edge, as published
    photo = Image.open(io.BytesIO(png(0)))
    np.testing.assert_array_equal(train["images"][0], np.asarray(photo.resize((80, 10), Image.Resampling.BILINEAR)))


def test_load_at_original_size_changes_nothing(data):
    train = load(data, height=20, width=40)
    np.testing.assert_array_equal(train["images"][3], np.asarray(Image.open(io.BytesIO(png(4)))))
    np.testing.assert_array_equal(train["boxes"][3, 0], [36, 13, 12, 10])


def test_load_converts_to_gray(data):
    train = load(data, height=20, width=40, gray=True)
    assert train["images"].shape == (4, 20, 40, 1)
    photo = Image.open(io.BytesIO(png(4))).convert("L")
    np.testing.assert_array_equal(train["images"][3, :, :, 0], np.asarray(photo))


def test_crop_extends_the_enclosing_box_by_15_percent(data):
    # 1.png: x 10..22, y 4..14, so 8.2..23.8 and 2.5..15.5. Cropped to 156 x 130, the scale is 10.
    train = load(data, kind="crop", height=130, width=156)
    np.testing.assert_allclose(train["boxes"][0, 0], [(12 - 8.2) * 10, (8 - 2.5) * 10, 40, 80], rtol=1e-6)
    np.testing.assert_allclose(train["boxes"][0, 1], [(19 - 8.2) * 10, (9 - 2.5) * 10, 60, 100], rtol=1e-6)
    photo = Image.open(io.BytesIO(png(0)))
    expected = photo.resize((156, 130), Image.Resampling.BILINEAR, box=(8.2, 2.5, 23.8, 15.5))
    np.testing.assert_allclose(train["images"][0].astype(int), np.asarray(expected).astype(int), atol=1)


def test_crop_is_clipped_at_the_edges(data):
    train = load(data, kind="crop", height=156, width=72)
    # 2.png: x -2..6, y 3..15, so -3.2 (clipped to 0)..7.2 and 1.2..16.8; the scale is 10.
    np.testing.assert_allclose(train["boxes"][1, 0], [20, (9 - 1.2) * 10, 80, 120], rtol=1e-6)
    # 5.png: x 30..42, y 8..18, so 28.2..43.8 (clipped to 40) and 6.5..19.5.
    x, y = 72 / (40 - 28.2), 156 / (19.5 - 6.5)
    np.testing.assert_allclose(train["boxes"][3, 0], [(36 - 28.2) * x, 6.5 * y, 12 * x, 10 * y], rtol=1e-6)


def test_crop_refuses_boxes_outside_the_photograph(tmp_path, monkeypatch):
    monkeypatch.setitem(svhn.PHOTOGRAPHS, "tiny", TINY)
    write_part(tmp_path, "test", TEST | {"1.png": [(1, 60, 4, 4, 8)]})
    with pytest.raises(UserError, match=r"test/1\.png in .* have no area within the photograph"):
        load(tmp_path, "test", kind="crop")


def test_cropped_digits_are_centered_squares(data):
    # 15 digits, 5 held out: every third.
    train, validation, test = (
        load(data, split, kind="cropped_digit", height=16, width=16) for split in ("train", "validation", "test")
    )
    assert names_of(train) == list("1023124559")
    assert names_of(validation) == list("74368")
    assert names_of(test) == list("612")
    assert train["images"].shape == (10, 16, 16, 3)
    assert train["boxes"].shape == (10, 1, 4)
    # The first is 4 x 8 in a square of 8, enlarged by 2. All are centered.
    np.testing.assert_array_equal(train["boxes"][0, 0], [8, 8, 8, 16])
    np.testing.assert_array_equal(train["boxes"][:, 0, :2], np.full((10, 2), 8))
    np.testing.assert_array_equal(train["boxes"][:, 0, 2:].max(1), np.full(10, 16))


def test_cropped_digit_repeats_edge_pixels(data):
    # 2.png: x -2..6, y 3..15, so the square is -4..8 by 3..15. At this size, pixels are unchanged.
    digit = load(data, "validation", kind="cropped_digit", height=12, width=12)["images"][0]
    photo = np.asarray(Image.open(io.BytesIO(png(1))))
    np.testing.assert_array_equal(digit[:, 4:], photo[3:15, :8])
    np.testing.assert_array_equal(digit[:, :4], np.repeat(photo[3:15, :1], 4, axis=1))
    # 5.png: x 30..42, y 8..18, so 30..42 by 7..19; its digit is the 13th, in train the 9th.
    digit = load(data, kind="cropped_digit", height=12, width=12)["images"][8]
    photo = np.asarray(Image.open(io.BytesIO(png(4))))
    np.testing.assert_array_equal(digit[:, :10], photo[7:19, 30:])
    np.testing.assert_array_equal(digit[:, 10:], np.repeat(photo[7:19, -1:], 2, axis=1))


@pytest.mark.parametrize("kind", PHOTO_COMPOSITIONS)
def test_archive_and_folder_load_equal_arrays(data, tmp_path_factory, kind):
    unpacked = load(data, kind=kind)
    other = tmp_path_factory.mktemp("packed")
    write_part(other, "train", TRAIN)
    pack(other, "train")
    packed = load(other, kind=kind)
    for name in unpacked:
        np.testing.assert_array_equal(packed[name], unpacked[name])


def test_load_concatenates_parts_in_the_given_order(tmp_path, monkeypatch):
    both = svhn.PhotographSet(TINY.lengths | {"extra": (1, 1, 0, 0, 0, 0)}, {"train": 2, "extra": 1}, {})
    monkeypatch.setitem(svhn.PHOTOGRAPHS, "tiny", both)
    write_part(tmp_path, "train", TRAIN)
    write_part(tmp_path, "extra", TEST)
    settings: dict[str, Any] = {
        "kind": "photograph", "height": 8, "width": 8, "gray": True, "max_length": 6, "folder": str(tmp_path)
    }  # fmt: skip
    assert names_of(svhn.load("tiny", ("extra", "train"), "train", **settings)) == ["6", "10", "7", "123456", "5"]
    assert names_of(svhn.load("tiny", ("train", "extra"), "validation", **settings)) == ["234", "98", "12"]
    first = [names_of(svhn.load("tiny", ("extra", "train"), "train", most=n, **settings)) for n in (1, 3, 9)]
    assert first == [["6"], ["6", "10", "7"], ["6", "10", "7", "123456", "5"]]


def test_photographs_beyond_the_set_are_not_used(tmp_path, monkeypatch):
    monkeypatch.setitem(svhn.PHOTOGRAPHS, "tiny", TINY)
    # 10.png is before 2.png in an archive, and 3.png has no photograph.
    write_part(tmp_path, "test", {"10.png": [(3, 1, 1, 4, 8)], "3.png": [(4, 1, 1, 4, 8)]} | TEST)
    (tmp_path / "svhn_numbers" / "test" / "3.png").unlink()
    pack(tmp_path, "test")
    assert names_of(load(tmp_path, "test")) == ["6", "12"]


def test_progress_has_no_rate_before_the_first_item(capsys, monkeypatch):
    seconds = iter((0, 11, 22))
    monkeypatch.setattr(time, "monotonic", lambda: next(seconds))
    assert list(progress(iter(range(2)), 2, "photographs", "here")) == [0, 1]
    assert capsys.readouterr().out == "here: 1 of 2 photographs, 0.0/s, 22 s left\n"


def test_progress_is_printed_every_ten_seconds(capsys, monkeypatch):
    seconds = iter(range(0, 60, 4))
    monkeypatch.setattr(time, "monotonic", lambda: next(seconds))
    assert list(progress(iter(range(6)), 6, "photographs", "here")) == list(range(6))
    assert capsys.readouterr().out.splitlines() == [
        "here: 2 of 6 photographs, 0.2/s, 24 s left",
        "here: 5 of 6 photographs, 0.2/s, 5 s left",
    ]


def test_archive_ignores_links_and_other_names(tmp_path, monkeypatch):
    monkeypatch.setitem(svhn.PHOTOGRAPHS, "tiny", TINY)
    data = tmp_path / "inner" / "data"
    write_part(data, "test", TEST)
    evil = []
    for name, kind, link in (
        ("../evil.png", tarfile.REGTYPE, ""),
        (f"{tmp_path}/absolute.png", tarfile.REGTYPE, ""),
        ("test/../../1.png", tarfile.REGTYPE, ""),
        ("test/01.png", tarfile.REGTYPE, ""),
        ("other/1.png", tarfile.REGTYPE, ""),
        ("test/1.png.exe", tarfile.REGTYPE, ""),
        ("test/1.png", tarfile.SYMTYPE, "/etc/passwd"),
        ("test/2.png", tarfile.LNKTYPE, "/etc/passwd"),
        ("test/digitStruct.mat", tarfile.SYMTYPE, "/etc/passwd"),
        ("test/1.png", tarfile.DIRTYPE, ""),
        ("test/1.png", tarfile.FIFOTYPE, ""),
        ("test/2.png", tarfile.CHRTYPE, ""),
    ):
        member = tarfile.TarInfo(name)
        member.type, member.linkname = kind, link
        evil.append((member, b"not a photograph" if kind == tarfile.REGTYPE else b""))
    pack(data, "test", tuple(evil))
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "scratch"))
    before = sorted(tmp_path.rglob("*"))
    assert names_of(load(data, "test")) == ["6", "12"]
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    "name", ["../1.png", "/1.png", "1.png\n", "1.jpg", "01.png", "x/1.png", "1.png/../../2.png", "١.png"]
)
def test_annotations_refuse_names_other_than_n_png(tmp_path, monkeypatch, name):
    monkeypatch.setitem(svhn.PHOTOGRAPHS, "tiny", TINY)
    write_mat(tmp_path / "svhn_numbers" / "test" / "digitStruct.mat", {name: [(1, 1, 1, 4, 8)]})
    with pytest.raises(UserError, match=r"digitStruct\.mat is damaged: entry 1: its name .*expected N\.png"):
        load(tmp_path, "test")


def test_missing_archive(tmp_path, monkeypatch):
    monkeypatch.setenv("SEQDIGITS_DATA", str(tmp_path))
    with pytest.raises(UserError) as e:
        svhn.load(
            "svhn", ("train",), "test", kind="crop", height=8, width=8, gray=True, max_length=5, folder=""
        )  # fmt: skip
    for text in (
        f"{tmp_path}/svhn_numbers/test.tar.gz is missing",
        "http://ufldl.stanford.edu/housenumbers/test.tar.gz (276,555,967 bytes",
        "non-commercial use only",
        "SEQDIGITS_DATA",
        "--config.data.folder",
    ):
        assert text in str(e.value)


def test_too_few_photographs(data):
    with pytest.raises(UserError, match=r"has 6 of 33,402 photographs.*set --config\.data\.photographs=svhn_2000"):
        svhn.load(
            "svhn", ("train",), "train", kind="crop", height=8, width=8, gray=True, max_length=5, folder=str(data)
        )  # fmt: skip


@pytest.mark.parametrize(("count", "expected"), [(1, 1), (3, 3), (4, 4), (9, 4), (0, 4)])
@pytest.mark.parametrize("mask_unlabeled", [False, True])
def test_train_photographs_are_the_first_of_the_training_split(
    data, small_config, monkeypatch, count, expected, mask_unlabeled
):
    monkeypatch.setattr(unlabeled, "load", lambda: {2: np.array([[20.0, 10, 4, 8]])})
    keys = {
        "data.composition": "photograph", "data.photographs": "tiny", "data.folder": str(data), "data.height": 10,
        "data.width": 80, "data.max_length": 6, "data.mask_unlabeled": mask_unlabeled, "data.train_photographs": count,
    }  # fmt: skip
    config = small_config(keys)
    train = create_source(config, "train")
    full = load(data, mask_unlabeled=mask_unlabeled)
    assert train.spec.num_examples == expected
    assert train.arrays.keys() == full.keys()
    for name, array in train.arrays.items():
        assert train.spec.arrays[name].shape == array.shape
        np.testing.assert_array_equal(array, full[name][:expected])
    for split in ("validation", "test"):
        source = create_source(config, split)
        assert source.spec.num_examples == 2
        for name, array in load(data, split).items():
            np.testing.assert_array_equal(source.arrays[name], array)


@pytest.mark.parametrize("packed", [False, True])
def test_missing_photograph(data, packed):
    (data / "svhn_numbers" / "train" / "4.png").unlink()
    if packed:
        pack(data, "train")
    with pytest.raises(UserError, match=r"has 3 of 4 photographs; the first missing one is train/4\.png"):
        load(data)
    assert names_of(load(data, "validation")) == ["234", "98"]


@pytest.mark.parametrize("content", [b"", b"GIF89a", png(0)[:100], png(0)[:60] + b"?" + png(0)[61:]])
@pytest.mark.parametrize("packed", [False, True])
def test_damaged_photograph(data, content, packed):
    (data / "svhn_numbers" / "train" / "4.png").write_bytes(content)
    if packed:
        pack(data, "train")
    with pytest.raises(UserError, match=r"train/4\.png in .*train.* is damaged"):
        load(data)


def test_truncated_archive(data):
    archive = pack(data, "train")
    content = archive.read_bytes()
    for size in (0, 20, len(content) // 2, len(content) - 100):
        archive.write_bytes(content[:size])
        svhn.read_annotations.cache_clear()
        with pytest.raises(UserError, match=r"train\.tar\.gz (cannot be read|has)"):
            load(data)


def test_archive_without_annotations(data):
    (data / "svhn_numbers" / "train" / "digitStruct.mat").unlink()
    pack(data, "train")
    with pytest.raises(UserError, match=r"train\.tar\.gz has no train/digitStruct\.mat"):
        load(data)


def test_other_counts_of_digits_are_refused(data, monkeypatch):
    other = svhn.PhotographSet(TINY.lengths | {"train": (3, 1, 1, 0, 0, 1)}, {}, {})
    monkeypatch.setitem(svhn.PHOTOGRAPHS, "tiny", other)
    with pytest.raises(UserError, match=r"is not SVHN's.*\[2, 2, 1, 0, 0, 1\].*expected \[3, 1, 1, 0, 0, 1\]"):
        load(data)


def test_read_annotations(tmp_path):
    write_mat(tmp_path / "digitStruct.mat", TRAIN)
    with (tmp_path / "digitStruct.mat").open("rb") as file:
        for annotations in (svhn_annotations.read(tmp_path / "digitStruct.mat"), svhn_annotations.read(file)):
            assert [a.name for a in annotations] == list(TRAIN)
            assert annotations[0].digits.tolist() == [1, 0]
            assert annotations[0].boxes.tolist() == [[12, 8, 4, 8], [19, 9, 6, 10]]
            assert annotations[1].boxes.tolist() == [[2, 9, 8, 12]]
            assert (annotations[0].digits.dtype, annotations[0].boxes.dtype) == (np.int32, np.float32)
    assert [a.number for a in svhn_annotations.read(tmp_path / "digitStruct.mat", 2)] == [1, 2]


@pytest.mark.parametrize(
    "box",
    [
        (0, 1, 1, 4, 8),
        (11, 1, 1, 4, 8),
        (1.5, 1, 1, 4, 8),
        (np.nan, 1, 1, 4, 8),
        (1, np.nan, 1, 4, 8),
        (1, 1, 1, 1e9, 8),
    ],
)
def test_annotations_refuse_impossible_values(tmp_path, box):
    write_mat(tmp_path / "a.mat", {"1.png": [(1, 1, 1, 4, 8)], "7.png": [(1, 1, 1, 4, 8), box]})
    with pytest.raises(UserError, match=r"a\.mat is damaged: entry 2 \(7\.png\): (labels|boxes)"):
        svhn_annotations.read(tmp_path / "a.mat")


def test_damaged_annotations(tmp_path):
    path = tmp_path / "a.mat"
    write_mat(path, TRAIN)
    intact = path.read_bytes()
    for content in (b"", b"x" * 3000, intact[:600], intact[: len(intact) // 2]):
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"a\.mat is damaged or not SVHN's"):
            svhn_annotations.read(path)
    with pytest.raises(UserError, match=r"none\.mat is damaged or not"):
        svhn_annotations.read(tmp_path / "none.mat")


@pytest.mark.parametrize(
    "field", ["digitStruct", "digitStruct/name", "digitStruct/bbox", "#refs#/1/top", "#refs#/1/label"]
)
def test_annotations_refuse_a_missing_field(tmp_path, field):
    write_mat(tmp_path / "a.mat", {"1.png": [(1, 1, 1, 4, 8)]})
    with h5py.File(tmp_path / "a.mat", "r+") as file:
        del file[field]
    with pytest.raises(UserError, match=r"a\.mat is damaged"):
        svhn_annotations.read(tmp_path / "a.mat")


@pytest.mark.parametrize("value", [np.zeros((5, 1)), np.zeros((0, 1)), [[b"text"]]])
def test_annotations_refuse_another_shape_or_type(tmp_path, value):
    write_mat(tmp_path / "a.mat", {"1.png": [(1, 1, 1, 4, 8)]})
    with h5py.File(tmp_path / "a.mat", "r+") as file:
        del file["#refs#/1/top"]
        file["#refs#/1/top"] = value
    with pytest.raises(UserError, match=r"a\.mat is damaged: entry 1 \(1\.png\)"):
        svhn_annotations.read(tmp_path / "a.mat")


@pytest.mark.parametrize(("part", "entries"), [("train", 39), ("test", 40), ("extra", 40)])
def test_annotations_of_files_written_by_matlab(svhn_folder, part, entries):
    path = svhn_folder / "svhn_numbers" / "mat_samples" / part / "digitStruct.mat"
    if not path.exists():
        pytest.skip(f"no {path}")
    annotations = svhn_annotations.read(path)
    assert len(annotations) == len({a.name for a in annotations}) == entries
    assert all(len(a.digits) == len(a.boxes) > 0 for a in annotations)


def published(svhn_folder: Path, part: str) -> list[dict[str, Any]]:
    """Returns size and boxes of all photographs of a part, from an independent copy of the annotations."""
    path = svhn_folder / "svhn_numbers" / "annotations_full" / f"{part}_digitStruct.json.gz"
    if not path.exists():
        pytest.skip(f"no {path}")
    return json.loads(gzip.decompress(path.read_bytes()))


@pytest.mark.parametrize("part", ["train", "test"])
def test_lengths_are_those_of_the_annotations(svhn_folder, part):
    counted = np.bincount([len(photo["boxes"]) for photo in published(svhn_folder, part)], minlength=7)
    assert counted.tolist() == [0, *svhn.PHOTOGRAPHS["svhn"].lengths[part]]


@pytest.mark.parametrize(("split", "step"), [("test", 1), ("validation", 10)])
def test_real_photographs_agree_with_the_annotations(svhn_folder, split, step):
    loaded = svhn.load(
        "svhn_2000", ("train",), split, kind="photograph", height=24, width=48, gray=True, max_length=6,
        folder=str(svhn_folder),
    )  # fmt: skip
    expected = published(svhn_folder, "test" if split == "test" else "train")[step - 1 :: step]
    for digits, boxes, photo in zip(loaded["digits"], loaded["boxes"], expected, strict=False):
        scale = np.tile([48, 24], 2) / np.tile(photo["size"], 2)
        for i, box in enumerate(photo["boxes"]):
            assert digits[i] == box["label"] % 10
            middle = box["left"] + box["width"] / 2, box["top"] + box["height"] / 2
            np.testing.assert_allclose(boxes[i], [*middle, box["width"], box["height"]] * scale, rtol=1e-6)
        assert (digits[len(photo["boxes"]) :] == NO_DIGIT).all()


# SHA-256 of digits, then boxes to a tenth of a pixel, for images of 128 x 256.
GOLDEN_LABELS = {
    ("crop", "train"): "04a063be63cbbb1e023fb751a341a99a66783395469bc6d668f44a7f89d8d3b9",
    ("crop", "validation"): "f37bd68070d431ce8672c1148f6b9f2cee5ad2a4bd17284781789f1b69a0a4f0",
    ("crop", "test"): "bce9dc9b6632a92492cdbece18f7cc2a813207ab06de31a7a2b7352a07d25dfb",
    ("cropped_digit", "train"): "9db767dd26387857fd5844a9fe955efe02c1b207e2f6f738cf6a031727262137",
    ("cropped_digit", "validation"): "0dcadfa5f07584b7776f68fd7445874fe3b41de113d7d3356840521d381ae27c",
    ("cropped_digit", "test"): "9c9aa466bb1b1ce9725fea59b50f8e0122486b6870969d8859c8e930644f7574",
    ("photograph", "train"): "30d0408ebd6e6a399b4224ac4b8068b6adcd58cb483cb8afa1fcb5befee256ab",
    ("photograph", "validation"): "6a25577654b585796278bb1bcd8259527121649715a8ee953f20cf88baa8b98f",
    ("photograph", "test"): "4e2c54f6d425ea1ef58146efacffdc9f9fffa82aeb3a5d946c7f5b85f461c5fe",
}
# SHA-256 of the images, resized by Pillow 13.0.0. An older Pillow resizes some photographs to other pixels, and a newer one may.
GOLDEN_IMAGES = {
    ("crop", "train"): "e9de2d66af3e9d73782d795a1ce231936f9d6c982b16e18768ebc68fc94e3d19",
    ("crop", "validation"): "386efa765a48610b67f1802e6333ec8148ac8f1a3d53e31a65c1752e4cbd6b20",
    ("crop", "test"): "a772bac93e01531e9d28a7d4ece238130abf9ead734710e89aa1e13eae3c3b3e",
    ("cropped_digit", "train"): "7064ed370ee8881290159085254e9327628a12c0c0e674e7d7436704abbed8f7",
    ("cropped_digit", "validation"): "dfba1c519b396fe7baa9f6899703c0201e2c510242444866c630f43595e4795d",
    ("cropped_digit", "test"): "0cd4a74f7f20fdf217f9b88c0d8df30c2fe225fac6d0c26a725213dfbbefe4f2",
    ("photograph", "train"): "a2a33a5da8d1113059fcbaedca6e311370850aefd0c2ed8870f4f6fd0eb30dca",
    ("photograph", "validation"): "8a771bfcdd3ba9d621435ff9164c4557e136a4f482eebdcf2c78a45a147c7495",
    ("photograph", "test"): "8fd17e9472e9bb87d2379b8e3069b1d3839ed8da693f4c8aa645e0f16caa27c6",
}


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "split"), GOLDEN_IMAGES)
def test_svhn_2000_golden_hash(svhn_folder, kind, split):
    max_length = {"crop": 5, "cropped_digit": 1, "photograph": 6}[kind]
    loaded = svhn.load(
        "svhn_2000", ("train",), split, kind=kind, height=128, width=256, gray=False, max_length=max_length,
        folder=str(svhn_folder),
    )  # fmt: skip
    assert len(loaded["images"]) == svhn.count("svhn_2000", ("train",), split, max_length, kind == "cropped_digit")
    assert (loaded["images"].std((1, 2, 3)) > 0).all(), "no image is empty"
    tenths = np.round(loaded["boxes"].astype(np.float64) * 10).astype("<i4")
    labels = hashlib.sha256(loaded["digits"].astype("<i4").tobytes() + tenths.tobytes()).hexdigest()
    assert labels == GOLDEN_LABELS[kind, split]
    images = hashlib.sha256(loaded["images"].tobytes()).hexdigest()
    assert images == GOLDEN_IMAGES[kind, split], f"of Pillow 13.0.0; this is {PIL.__version__}"


def test_unlabeled_digits_are_in_the_pixels_of_the_image(data, monkeypatch):
    listed = {2: np.array([[20.0, 10, 4, 8]]), 6: np.array([[30.0, 10, 4, 8], [5, 10, 2, 4]])}
    monkeypatch.setattr(unlabeled, "load", lambda: listed)
    whole = load(data, kind="photograph", height=40, width=80, mask_unlabeled=True)
    number = {tuple(digits[digits != NO_DIGIT]): row for row, digits in enumerate(whole["digits"])}
    ignored = whole["ignored"]
    assert ignored.shape == (len(whole["images"]), unlabeled.MAX_FOUND, 4)
    # The photographs have 40x20 pixels, the images twice as many.
    assert ignored[number[7,]].tolist() == [[40, 20, 8, 16], [0] * 4, [0] * 4]
    assert "ignored" not in load(data, kind="photograph", height=40, width=80)
