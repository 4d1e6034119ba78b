"""The files of the shipped weights, and a file of weights, are damaged in every way: refused, with the file and the fix."""

from __future__ import annotations

import io
import json
import shutil
import tracemalloc
import zipfile
from pathlib import Path

import jax
import numpy as np
import pytest
from damages import DAMAGES, Matrix, files_of, fingerprint

from seqdigits.checkpoint import pretrained, weights
from seqdigits.core.errors import UserError


def test_every_damage_of_the_shipped_weights_is_found(tmp_path, monkeypatch, capsys):
    """Weights are read by `path` and `onnx_path`, their metadata by `facts`. The model card is text for readers, which nothing reads."""
    matrix = Matrix("shipped weights")
    shipped = pretrained.FOLDER
    files = [name for name in files_of(shipped) if not name.endswith(".md")]
    assert len(files) == 7
    for damage, break_ in DAMAGES.items():
        for at, file in enumerate(files):
            folder = tmp_path / "shipped"
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(shipped, folder)
            monkeypatch.setattr(pretrained, "FOLDER", folder)
            break_(folder / file, folder / files[at - 1])
            messages = []
            for name in pretrained.NAMES:
                for read in (pretrained.path, pretrained.onnx_path, pretrained.facts):
                    try:
                        read(name)
                    except UserError as e:
                        messages.append(str(e))
            matrix.add(damage, file, any(file in text and "Reinstall seqdigits" in text for text in messages))
    matrix.report(capsys)


@pytest.fixture
def file(tmp_path) -> Path:
    """A small file of weights."""
    variables = {
        "params": {"conv": {"kernel": np.arange(600, dtype=np.float32), "bias": np.ones(3, np.float32)}},
        "batch_stats": {"norm": {"mean": np.zeros(4, np.float32)}},
        "input_stats": {},
    }
    path = tmp_path / "small.npz"
    weights.save(path, variables, {"step": 4, "config": {"model": {"name": "x"}, "data": {}}})
    return path


def parts(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def write(path: Path, content: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in content.items():
            archive.writestr(name, data)


def npy(array: np.ndarray, **kwargs) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, **kwargs)
    return buffer.getvalue()


def header(shape: tuple[int, ...], dtype: str = "<f4") -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": dtype, "fortran_order": False, "shape": shape})
    return buffer.getvalue()


HOSTILE = {
    "pickled object": {"params/a.npy": npy(np.array([print], object), allow_pickle=True)},
    "array of a petabyte": {"params/a.npy": header((1 << 48,))},
    "array smaller than its part": {"params/a.npy": header((2,)) + bytes(800)},
    "bomb of 200 megabytes": {"params/a.npy": header((50_000_000,)) + bytes(200_000_000)},
    "ten thousand levels": {"params/" + "a/" * 10_000 + "a.npy": npy(np.zeros(2))},
    "name that is a module and an array": {"params/a.npy": npy(np.zeros(2)), "params/a/b.npy": npy(np.zeros(2))},
    "text": {"params/a.npy": npy(np.array(["x"]))},
    "no array": {"params/a.npy": b"import os"},
    "step that is text": {"about.json.npy": npy(np.frombuffer(b'{"step": "4", "config": {}}', np.uint8))},
    "deep metadata": {"about.json.npy": npy(np.frombuffer(b"[" * 100_000, np.uint8))},
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_weights_are_refused_in_bounded_memory(file, kind):
    write(file, parts(file) | HOSTILE[kind])
    tracemalloc.start()
    try:
        with pytest.raises(UserError, match=r"small\.npz is damaged, or not a file of weights"):
            weights.load(file)
        assert tracemalloc.get_traced_memory()[1] < 20e6
    finally:
        tracemalloc.stop()


def test_shipped_and_saved_weights_pass_the_check_of_sizes(file):
    assert weights.load(file)[1]["step"] == 4
    for name in pretrained.NAMES:
        assert jax.tree.leaves(weights.load(pretrained.path(name))[0])


def test_every_damage_of_a_file_of_weights_is_found(file, tmp_path, capsys):
    """Every byte of a small file is changed, one at a time: refused, or the same content."""
    intact = file.read_bytes()
    expected, about = weights.load(file)
    refused = 0
    for at in range(len(intact)):
        file.write_bytes(intact[:at] + bytes([intact[at] ^ (1 << at % 8)]) + intact[at + 1 :])
        try:
            variables, found = weights.load(file)
        except UserError:
            refused += 1
            continue
        assert (fingerprint(variables), json.dumps(found)) == (fingerprint(expected), json.dumps(about)), at
    with capsys.disabled():
        harmless = len(intact) - refused
        print(f"\nfile of weights: {len(intact):,} bits flipped, {refused:,} refused, {harmless:,} the same content")
    assert refused > 0.7 * len(intact)  # the others are dates and attributes of the parts
