"""The ONNX file of a dense detector gives the candidates of the engine that runs JAX."""

import json
import subprocess
import sys

import jax
import numpy as np
import pytest
from conftest import ROOT

from seqdigits.checkpoint import pretrained, weights
from seqdigits.config.saved import to_json
from seqdigits.core.errors import UserError
from seqdigits.core.types import Spec
from seqdigits.export.onnx import to_onnx
from seqdigits.export.parity import compare, draw
from seqdigits.inference.jax_engine import JaxEngine
from seqdigits.inference.onnx_engine import OnnxEngine
from seqdigits.models.build import build, init_variables
from seqdigits.models.targets import TARGETS


def assert_same(engine, expected, sizes, count):
    parity = compare(engine, expected, sizes, count)
    assert parity.same == parity.digits > 0
    assert parity.box <= 0.05
    assert parity.probability <= 1e-4
    rng = np.random.default_rng(1)
    for height, width in sizes:  # the order too
        images = np.stack([draw(rng, height, width, expected.channels) for _ in range(count)])
        for found, wanted, tolerance in zip(engine(images), expected(images), (0.05, 1e-4), strict=True):
            np.testing.assert_allclose(found, wanted, atol=tolerance)


@pytest.mark.slow
@pytest.mark.parametrize("name", pretrained.NAMES)
def test_onnx_equals_jax_at_many_sizes(tmp_path, name):
    (tmp_path / "a.onnx").write_bytes(to_onnx(pretrained.path(name)))
    engine, expected = OnnxEngine(tmp_path / "a.onnx"), JaxEngine(pretrained.path(name))
    assert (engine.channels, engine.min_score) == (expected.channels, expected.min_score)
    sizes = [(8, 8), (33, 47), (64, 128), (70, 130), (96, 64), (128, 256)]
    assert_same(engine, expected, sizes, 7)


WITHOUT_JAX = """
import sys
from pathlib import Path

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in sys.stdlib_module_names | {"seqdigits", "numpy", "PIL", "onnxruntime"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
from seqdigits import Reader
from seqdigits.inference.onnx_engine import OnnxEngine

print(Reader(OnnxEngine(Path(sys.argv[1]))).read(sys.argv[2]).number)
"""


@pytest.mark.slow
def test_the_reader_reads_with_onnx_numpy_and_pillow_alone(tmp_path):
    """As docs/install.md says."""
    (tmp_path / "a.onnx").write_bytes(to_onnx(pretrained.path("scene")))
    command = [sys.executable, "-c", WITHOUT_JAX, tmp_path / "a.onnx", ROOT / "docs" / "door.jpg"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "407\n"), done.stderr


@pytest.mark.parametrize("target", TARGETS)
def test_onnx_equals_jax_for_each_target_and_layer(tmp_path, small_config, target):
    """Random weights, including statistics of the norms, in a network with every kind of layer."""
    encoder = (
        "space_to_depth 2, conv 3x3x8, norm shift, relu, keep a, pool 2, dropout 0.1, conv 5x5x8 /2, relu, norm, keep b, "
        "conv 3x3x8, norm, add b, relu, conv 3x3x16 /2, norm, add b, concat a, conv 3x3x16 /2, norm, depth_to_space 2, conv 1x1x8"
    )
    overrides = {"model.encoder": encoder, "model.pixels": "image_mean", "loss.target": target, "decode.min_score": 0.3}
    config = small_config(overrides)
    spec = Spec(image=(32, 96, 1), max_length=3, min_length=1, num_examples=None, arrays={})
    rng = np.random.default_rng(1)
    variables = init_variables(build(config, spec), spec, seed=0)
    variables["batch_stats"] = jax.tree.map(lambda x: rng.random(x.shape, np.float32) + 0.5, variables["batch_stats"])
    heads = variables["params"]
    heads["place"]["kernel"] = heads["place"]["kernel"] * 0.1
    heads["digits"] = {
        "kernel": heads["digits"]["kernel"],
        "bias": np.zeros(11, np.float32),
    }  # most cells predict a digit
    weights.save(tmp_path / "a.npz", variables, {"step": 4, "config": json.loads(to_json(config))})
    (tmp_path / "a.onnx").write_bytes(to_onnx(tmp_path / "a.npz", "float32"))
    engine, expected = OnnxEngine(tmp_path / "a.onnx"), JaxEngine(tmp_path / "a.npz")
    assert_same(engine, expected, [(45, 70)], 5)


def test_damaged_and_missing_files_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"a\.onnx cannot be read: No such file.*seqdigits export --to onnx"):
        OnnxEngine(tmp_path / "a.onnx")
    (tmp_path / "a.onnx").write_bytes(b"x" * 100)
    with pytest.raises(UserError, match=r"a\.onnx is damaged, or not an ONNX file.*Write it again"):
        OnnxEngine(tmp_path / "a.onnx")
