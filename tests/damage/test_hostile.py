"""Files made to do harm: no code runs, nothing is written elsewhere, and memory is bounded."""

from __future__ import annotations

import ast
import gzip
import struct
import sys
import tarfile
import tracemalloc
import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest
from conftest import ROOT
from PIL import Image

sys.path.append(str(ROOT / "tests" / "data" / "photos"))

import test_svhn

from seqdigits.core.errors import UserError
from seqdigits.data.photos import svhn, svhn_annotations, svhn_archive
from seqdigits.data.photos.labels import rows
from seqdigits.data.photos.picture_files import open_picture


@pytest.fixture
def bounded():
    """Fails if Python and numpy took more than 300 MB at any moment."""
    tracemalloc.start()
    yield
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 300e6


@pytest.fixture
def data(tmp_path, monkeypatch) -> Path:
    """A data folder with an archive of photographs; see test_svhn.TINY."""
    monkeypatch.setitem(svhn.PHOTOGRAPHS, "tiny", test_svhn.TINY)
    test_svhn.write_part(tmp_path, "train", test_svhn.TRAIN)
    svhn.read_annotations.cache_clear()
    return tmp_path


def tar_of(*blocks: bytes) -> bytes:
    return gzip.compress(b"".join(blocks) + bytes(1024), 1)


def test_archive_with_a_name_of_gigabytes_is_refused(data, bounded):
    """The header of GNU's long names announces 3 GB; a real file would have them, as 3 MB of zeros in the .gz."""
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 3_000_000_000
    archive = data / "svhn_numbers" / "train.tar.gz"
    archive.write_bytes(tar_of(info.tobuf(tarfile.GNU_FORMAT), bytes(5_000_000)))
    (data / "svhn_numbers" / "train").rename(data / "unused")
    with pytest.raises(UserError, match=r"train\.tar\.gz cannot be read.*3,000,000,\d+ bytes"):
        test_svhn.load(data)


def test_large_member_of_an_archive_is_not_read(data, bounded, monkeypatch):
    monkeypatch.setattr(svhn_archive, "MAX_PHOTOGRAPH_BYTES", 10_000)
    (data / "svhn_numbers" / "train" / "4.png").write_bytes(bytes(20_000))
    test_svhn.pack(data, "train")
    with pytest.raises(UserError, match=r"has 3 of 4 photographs; the first missing one is train/4\.png"):
        test_svhn.load(data)


def test_flipped_bit_of_the_annotations_in_an_archive_is_found(data):
    """It is a valid digit, which only the checksum of the .gz tells from the true one."""
    archive = test_svhn.pack(data, "train")
    content = bytearray(gzip.decompress(archive.read_bytes()))
    seven = struct.pack("<d", 7.0)
    at = content.index(seven)
    content[at : at + 8] = struct.pack("<d", 5.0)
    stored = zlib.compressobj(1, zlib.DEFLATED, -15)
    trailer = archive.read_bytes()[-8:]
    archive.write_bytes(archive.read_bytes()[:10] + stored.compress(bytes(content)) + stored.flush() + trailer)
    header = archive.read_bytes()[:4]
    assert header[:3] == b"\x1f\x8b\x08"
    with pytest.raises(UserError, match=r"train\.tar\.gz cannot be read"):
        test_svhn.load(data)


def test_flipped_pixel_of_a_png_is_found(tmp_path):
    """Pillow alone decodes it without an error."""
    image = Image.fromarray(np.arange(1200, dtype=np.uint8).reshape(20, 20, 3))
    path = tmp_path / "a.png"
    image.save(path, compress_level=0)
    content = bytearray(path.read_bytes())
    content[content.index(b"IDAT") + 100] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"a\.png cannot be read as PNG or JPEG: broken PNG file \(bad header checksum"):
        open_picture(path)
    with pytest.raises(UserError, match="1.png is damaged"):
        svhn_archive.decode_image(bytes(content), False, "1.png")


@pytest.mark.parametrize("field", ["digitStruct/name", "#refs#/0", "#refs#/1/top"])
def test_annotations_of_a_huge_shape_are_refused(tmp_path, field, bounded):
    """HDF5 stores no elements of such a set, and would fill the memory with its default."""
    path = tmp_path / "a.mat"
    test_svhn.write_mat(path, {"1.png": [(1, 1, 1, 4, 8), (2, 1, 1, 4, 8)]})
    with h5py.File(path, "r+") as file:
        kind = file[field].dtype
        del file[field]
        file.create_dataset(field, (1 << 33, 1), kind, chunks=(1024, 1))
        if field == "#refs#/0":
            file["digitStruct/name"][0, 0] = file[field].ref
    with pytest.raises(UserError, match=r"a\.mat is damaged"):
        svhn_annotations.read(path)


def png_of(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("size", [(1 << 30, 1 << 30), (30_000, 30_000), (1 << 20, 1 << 10), (0, 10)])
def test_picture_of_huge_dimensions_is_refused(tmp_path, size, bounded):
    (tmp_path / "a.png").write_bytes(png_of(*size))
    with pytest.raises(UserError, match=r"a\.png cannot be read"):
        open_picture(tmp_path / "a.png", formats=None)


@pytest.mark.parametrize("formats", [None, ("PNG", "JPEG")])
def test_postscript_is_not_run(tmp_path, monkeypatch, formats):
    """Pillow would start Ghostscript."""
    (tmp_path / "a.eps").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n")
    monkeypatch.setattr("subprocess.check_call", lambda *_, **__: pytest.fail("a program was started"))
    monkeypatch.setattr("subprocess.Popen", lambda *_, **__: pytest.fail("a program was started"))
    with pytest.raises(UserError, match=r"a\.eps cannot be read"):
        open_picture(tmp_path / "a.eps", formats=formats)


@pytest.mark.parametrize("name", ["../a.png", "/etc/passwd", "x/../../a.png", "a\0.png"])
def test_labels_do_not_leave_their_folder(tmp_path, name):
    (tmp_path / "in").mkdir()
    (tmp_path / "a.png").write_bytes(png_of(4, 4))
    (tmp_path / "in" / "labels.csv").write_text(f"image,number\n{name},4\n")
    with pytest.raises(UserError, match=r"leaves the folder|no such file|NUL"):
        rows(tmp_path / "in")


def test_only_the_pipe_of_a_worker_uses_pickle():
    """And no module evaluates text, except that a config is a Python file."""
    found = set()
    for path in sorted((ROOT / "seqdigits").rglob("*.py")):
        module = path.relative_to(ROOT).as_posix()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import) and any(
                a.name in ("pickle", "marshal", "shelve", "dill") for a in node.names
            ):
                found.add(module)
            if isinstance(node, ast.Call):
                name = ast.unparse(node.func)
                keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
                assert name not in ("eval", "exec"), module
                assert not name.endswith((".extractall", ".extract", ".unpack_archive")), module
                assert name != "np.load" or keywords.get("allow_pickle") == "False", module
                assert keywords.get("shell", "False") == "False", module
    assert found == {"seqdigits/data/builders/worker.py", "seqdigits/data/builders/writer.py"}
