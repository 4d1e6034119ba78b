"""The two engines of pretrained weights, ONNX Runtime and JAX: chosen, missing, and of one answer."""

import functools
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest
from conftest import ROOT
from golden_examples import make
from PIL import Image

from seqdigits.checkpoint import pretrained
from seqdigits.config.registry import load_config
from seqdigits.core.errors import UserError
from seqdigits.data.create import create_source
from seqdigits.export.parity import MAX_BOX_DIFFERENCE, Parity, compare_batches
from seqdigits.inference.jax_engine import JaxEngine
from seqdigits.inference.onnx_engine import OnnxEngine
from seqdigits.inference.reader import Reader
from seqdigits.release.facts import write_sum

DOOR = ROOT / "docs" / "door.jpg"
DOCUMENTS = ("door.jpg", "overview.png", "quickstart.png", "scenes.png")
"""Pictures in docs/."""


class Recorder:
    """An engine that keeps the images that it is given, and what it returns."""

    def __init__(self, engine):
        self.engine, self.channels, self.min_score = engine, engine.channels, engine.min_score
        self.images, self.returned = [], []

    def __call__(self, images):
        self.images.append(images)
        self.returned.append(self.engine(images))
        return self.returned[-1]


@functools.cache
def mosaic() -> Image.Image:
    """32 synthetic scenes with numbers, 1024x1024 pixels."""
    config = load_config("reader_scene")
    config.data.digits, config.data.backgrounds = "uci", ""
    config.data.height, config.data.width = 128, 256
    config.data.min_digit, config.data.max_digit = 10, 120
    source = create_source(config, "test")
    scenes = make(source, source.arrays, np.arange(32)).image.reshape(8, 4, 128, 256, 3)
    return Image.fromarray(scenes.swapaxes(1, 2).reshape(1024, 1024, 3))


def pictures(count, seed) -> Iterator[Image.Image]:
    """Parts of synthetic scenes and of the pictures in docs/, with sides from 8 to 1,024 pixels."""
    rng = np.random.default_rng(seed)
    sources = [mosaic()] * 6 + [Image.open(ROOT / "docs" / name).convert("RGB") for name in DOCUMENTS]
    for i in range(count):
        source = sources[i % len(sources)]
        size = np.exp(rng.uniform(np.log(8), np.log(1024), 2)).round().astype(int)
        part = np.minimum(size * rng.uniform(0.5, 2), source.size).round().astype(int)
        left, top = (rng.random(2) * (np.array(source.size) - part)).astype(int)
        yield source.resize(tuple(size), box=(left, top, left + part[0], top + part[1]))


def canvases(count) -> Iterator[Image.Image]:
    """Canvases with handwritten digits, enlarged and reduced.

    In pictures of another kind these weights see digits where the edge of a picture is repeated. There the scores of cells are
    equal, and which of them become candidates differs.
    """
    config = load_config("reader_canvas")
    config.data.digits = "uci"
    source = create_source(config, "test")
    rng = np.random.default_rng(9)
    for image in make(source, source.arrays, np.arange(count)).image[..., 0]:
        height, width = (np.array(image.shape) * rng.uniform(0.5, 2)).round().astype(int)
        yield Image.fromarray(image).resize((width, height))


def compare_readers(name, pictures) -> tuple[list[Parity], list[tuple[int, int]]]:
    """Returns how far the candidates of both engines differ in all views of each picture, and the sizes of pictures with which
    the Reader finds other numbers, or a box that is further away than 0.5 px.

    In the same view no digit differs. But boxes that differ by 0.001 px may round pixels of the next cut to another gray value, so
    that the engines see other cuts: a number that is hardly readable may then be another one.
    """
    engine, expected = OnnxEngine(pretrained.onnx_path(name)), Recorder(JaxEngine(pretrained.path(name)))
    assert (engine.channels, engine.min_score) == (expected.channels, expected.min_score)
    parities, others = [], []
    for picture in pictures:
        found, wanted = Reader(engine).read(picture).numbers, Reader(expected).read(picture).numbers
        same = [number.number for number in found] == [number.number for number in wanted]
        if not same or not np.allclose([n.box for n in found], [n.box for n in wanted], rtol=0, atol=0.5):
            others.append(picture.size)
        returned = iter(expected.returned)
        parities.append(compare_batches(engine, lambda images, returned=returned: next(returned), expected.images))
        expected.images, expected.returned = [], []
    return parities, others


def assert_one_answer(parities, others):
    """Checks what `compare_readers` returns.

    In one of a hundred pictures a box may differ by more: where the score of a cell is MIN_CELL_SCORE up to rounding, one engine
    merges it into a digit, and the other leaves it out.
    """
    assert all(parity.same == parity.digits for parity in parities)
    moved = [parity for parity in parities if not parity.box <= MAX_BOX_DIFFERENCE]
    assert len(moved) <= len(parities) // 100, moved
    assert all(parity.box <= 1 for parity in moved), moved
    assert sum(parity.digits for parity in parities) > len(parities)
    assert len(others) <= len(parities) // 100, others


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, *(pytest.param(seed, marks=pytest.mark.soak) for seed in (2, 3, 4))])
def test_both_engines_give_one_answer_on_100_pictures(seed):
    assert_one_answer(*compare_readers("scene", pictures(100, seed)))


@pytest.mark.slow
def test_both_engines_of_gray_weights_give_one_answer():
    assert_one_answer(*compare_readers("handwriting", canvases(20)))


def test_both_engines_give_one_answer_on_a_few_pictures():
    """The 500 of all sizes are slow, because JAX compiles for each size."""
    door = Image.open(DOOR).convert("RGB")
    few = [
        door.crop((330, 130, 530, 250)),
        door.crop((380, 140, 580, 260)),
        door.crop((330, 130, 530, 250)).resize((300, 180)),
    ]
    assert_one_answer(*compare_readers("scene", few))


def run_without(library, *command):
    """Runs Python code where a library cannot be imported, in a process of its own."""
    code = f"import sys; sys.modules[{library!r}] = None; " + command[0]
    return subprocess.run(
        [sys.executable, "-c", code, *command[1:]],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


PREDICT = "sys.argv[:1] = ['seqdigits', 'predict']; from seqdigits.__main__ import main; main()"


@pytest.mark.parametrize(
    ("arguments", "engine"), [({}, OnnxEngine), ({"engine": "onnx"}, OnnxEngine), ({"engine": "jax"}, JaxEngine)]
)
def test_pretrained_weights_are_evaluated_by_the_named_engine(arguments, engine):
    for name, channels in (("scene", 3), ("handwriting", 1)):
        reader = Reader.from_pretrained(name, 128, **arguments)
        assert type(reader._engine) is engine
        assert reader._engine.channels == channels
        assert reader._overview == 128


def test_predict_needs_no_jax(tmp_path):
    assert run_without("jax", PREDICT, DOOR).stdout == "407\n"
    shutil.copy(pretrained.onnx_path("scene"), tmp_path / "mine.onnx")
    assert run_without("jax", PREDICT, DOOR, "--weights", tmp_path / "mine.onnx").stdout == "407\n"


def test_a_missing_onnx_runtime_is_named():
    done = run_without("onnxruntime", PREDICT, DOOR)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: ONNX Runtime cannot be imported")
    assert "Install it: pip install onnxruntime. Or let JAX evaluate" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "nope"}, "there are no pretrained weights 'nope'. Allowed are handwriting, scene"),
        ({"name": "nope", "engine": "jax"}, "there are no pretrained weights 'nope'. Allowed are handwriting, scene"),
        ({"engine": "tflite"}, "engine = 'tflite' is not allowed: allowed are 'onnx' and 'jax'"),
        ({"name": "mine.onnx", "engine": "jax"}, "engine = 'jax' cannot evaluate mine.onnx"),
        ({"name": "mine.onnx"}, "mine.onnx cannot be read: No such file"),
    ],
)
def test_unsuitable_names_and_engines_are_refused(arguments, message):
    with pytest.raises(UserError, match=message):
        Reader.from_pretrained(**arguments)


def test_an_onnx_file_of_other_weights_is_refused(tmp_path, monkeypatch):
    """As after a replacement of NAME.npz without `seqdigits pretrained publish`."""
    shutil.copytree(pretrained.FOLDER, tmp_path / "shipped")
    monkeypatch.setattr(pretrained, "FOLDER", tmp_path / "shipped")
    write_sum("scene", "0" * 64)
    with pytest.raises(
        UserError, match=r"scene\.onnx was exported from other weights than those of 'scene'.*export NAME"
    ):
        Reader.from_pretrained("scene")
