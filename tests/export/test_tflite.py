"""The TensorFlow Lite file of every family predicts what the predict step predicts."""

import jax
import pytest
from exported import DETECTORS, FAMILIES, assert_same, drawn, saved

from seqdigits.export.program import Program
from seqdigits.export.tflite import tflite_runtime, to_tflite

pytest.importorskip("tensorflow")
ALL = FAMILIES | DETECTORS


@pytest.mark.slow
@pytest.mark.parametrize("family", ALL)
def test_tflite_equals_the_predict_step(tmp_path, small_config, family):
    program = Program(saved(tmp_path, small_config(ALL[family])))
    run = tflite_runtime(to_tflite(program, "float32"))
    images = drawn(program, 3)
    assert_same(run(images), jax.jit(program.predict)(images))
