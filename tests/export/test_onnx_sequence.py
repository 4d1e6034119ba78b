"""The ONNX file of every family of networks for images of one size predicts what the predict step predicts."""

import jax
import pytest
from exported import FAMILIES, GLIMPSES, assert_same, drawn, saved

from seqdigits.core.errors import UserError
from seqdigits.export.onnx_sequence import onnx_runtime, sequence_to_onnx
from seqdigits.export.program import Program


@pytest.mark.parametrize("family", FAMILIES)
def test_onnx_equals_the_predict_step(tmp_path, small_config, family):
    program = Program(saved(tmp_path, small_config(FAMILIES[family])))
    run = onnx_runtime(sequence_to_onnx(program, "float32"), tmp_path / "a.onnx")
    images = drawn(program, 5)
    expected = jax.jit(program.predict)(images)
    assert_same(run(images), expected)
    assert_same(run(images[:1]), {name: value[:1] for name, value in expected.items()})  # any batch


def test_concat_needs_whole_multiples(tmp_path, small_config):
    encoder = "conv 3x3x4, keep a, conv 3x3x4 /2, concat a"
    changes = {"model.name": "heads", "model.encoder": encoder, "data.height": 33}
    program = Program(saved(tmp_path, small_config(changes)))
    with pytest.raises(
        UserError, match="'concat' cannot be exported to ONNX for images of 33x96: allowed are multiples of 2"
    ):
        sequence_to_onnx(program, "float32")


def test_glimpses_are_refused(tmp_path, small_config):
    program = Program(saved(tmp_path, small_config(GLIMPSES["glimpses"])))
    with pytest.raises(UserError, match="model.name = glimpses cannot be exported to ONNX"):
        sequence_to_onnx(program, "float32")
