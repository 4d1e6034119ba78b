"""`seqdigits export`: the file gives the candidates of the network, or none is written."""

import json
import sys

import numpy as np
import pytest

from seqdigits.checkpoint import weights
from seqdigits.cli import export
from seqdigits.config.defaults import to_json
from seqdigits.core.errors import UserError
from seqdigits.core.interrupt import Stop
from seqdigits.core.types import Spec
from seqdigits.export import parity
from seqdigits.export.parity import Parity
from seqdigits.inference.onnx_engine import OnnxEngine
from seqdigits.models.build import build, init_variables

SIZES = ((33, 47),)


@pytest.fixture
def call(monkeypatch):
    """`call("--to", "onnx")`: runs the command in this process."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["seqdigits export", *map(str, arguments)])
        export.main(Stop())

    return run


@pytest.fixture
def trained(small_config, tmp_path):
    """Weights with which most cells predict a digit, with other probabilities than their neighbors."""
    config = small_config({"model.pixels": "image_mean", "decode.min_score": 0.3})
    spec = Spec(image=(32, 96, 1), max_length=3, min_length=1, num_examples=None, arrays={})
    variables = init_variables(build(config, spec), spec, seed=0)
    digits = variables["params"]["digits"]
    variables["params"]["digits"] = {"kernel": digits["kernel"] * 20, "bias": np.zeros(11, np.float32)}
    weights.save(tmp_path / "a.npz", variables, {"step": 4, "config": json.loads(to_json(config))})
    return tmp_path / "a.npz"


def test_it_compares_and_writes_the_file(call, capsys, monkeypatch, trained, tmp_path):
    monkeypatch.setattr(export, "compare", lambda engine, expected: parity.compare(engine, expected, SIZES))
    call("--to", "onnx", "--workdir", trained, "--dtype", "float32", "--out", tmp_path / "a.onnx")
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith("6 drawn images, ONNX Runtime beside JAX: same digits ")
    assert printed[1] == f"{tmp_path}/a.onnx: {(tmp_path / 'a.onnx').stat().st_size:,} bytes"
    assert OnnxEngine(tmp_path / "a.onnx").channels == 1
    assert {path.name for path in tmp_path.iterdir()} == {"a.npz", "a.onnx"}


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (Parity(6, 90, 89, 0.0, 0.0), "gives other candidates than the network.*--dtype float32"),
        (Parity(6, 90, 90, 0.06, 0.0), "gives other candidates than the network.*at most 0.05 px"),
        (Parity(6, 90, 90, float("nan"), 0.0), "gives other candidates than the network"),
        (Parity(6, 0, 0, 0.0, 0.0), "finds no digit in the drawn images.*Train it longer"),
    ],
)
def test_a_file_that_differs_is_not_written(call, monkeypatch, trained, tmp_path, found, message):
    monkeypatch.setattr(export, "compare", lambda *_: found)
    with pytest.raises(UserError, match=rf"a\.onnx was not written: .*{message}"):
        call("--to", "onnx", "--workdir", trained, "--out", tmp_path / "a.onnx")
    assert not (tmp_path / "a.onnx").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("", "what to export is missing.*--weights handwriting or scene, or a run, --workdir W"),
        ("--weights scene --workdir runs/a", "--weights scene and --workdir runs/a: allowed is one of them"),
        ("--weights nothing", "no pretrained weights 'nothing'. Allowed are handwriting, scene"),
        ("--weights scene --out missing/a.onnx", "--out missing/a.onnx: there is no folder missing. Create it"),
        ("--weights scene --out .", r"--out \. is a folder. Name a file"),
    ],
)
def test_what_cannot_be_exported_is_refused(call, arguments, message):
    with pytest.raises(UserError, match=message):
        call("--to", "onnx", *arguments.split())


@pytest.mark.parametrize(("library", "fix"), [("onnx", r"'seqdigits\[export\]'"), ("onnxruntime", "onnxruntime")])
def test_a_missing_library_is_named(call, monkeypatch, trained, tmp_path, library, fix):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(UserError, match=f"cannot be imported: .*Install it: pip install {fix}"):
        call("--to", "onnx", "--workdir", trained, "--out", tmp_path / "a.onnx")
    assert not (tmp_path / "a.onnx").exists()


def test_parity_counts_candidates_and_finds_the_largest_difference():
    """The engine misses a candidate, gives one another digit, and shifts a box; the order does not matter."""
    box, probability = np.zeros((1, 4, 4), np.float32), np.zeros((1, 4, 10), np.float32)
    box[0, :3, 0] = 10, 20, 30
    probability[0, [0, 1, 2], [4, 5, 6]] = 0.5
    other_box, other_probability = box.copy(), np.zeros_like(probability)
    other_box[0, :3, 0] = 20, 10.25, 0
    other_probability[0, [0, 1], [7, 4]] = 0.5

    class Fixed:
        channels, min_score = 3, 0.5

        def __init__(self, *found):
            self.found = found

        def __call__(self, images):
            assert images.shape == (1, 33, 47, 3)
            return self.found

    network, empty = Fixed(box, probability), Fixed(0 * box, 0 * probability)
    found = parity.compare(Fixed(other_box, other_probability), network, SIZES, 1)
    assert found == Parity(images=1, digits=3, same=1, box=10, probability=0.5)
    assert parity.compare(network, network, SIZES, 1) == Parity(1, 3, 3, 0, 0)
    assert parity.compare(empty, network, SIZES, 1) == Parity(1, 3, 0, 0, 0)
