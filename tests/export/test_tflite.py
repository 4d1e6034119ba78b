"""The TensorFlow Lite file of every family predicts what the predict step predicts."""

import re

import jax
import pytest
from conftest import ROOT
from exported import DETECTORS, FAMILIES, assert_same, drawn, saved

from seqdigits.checkpoint import pretrained
from seqdigits.export.program import Program
from seqdigits.export.tflite import tflite_runtime, to_tflite

tensorflow = pytest.importorskip("tensorflow")
ALL = FAMILIES | DETECTORS


@pytest.mark.slow
@pytest.mark.parametrize("family", ALL)
def test_tflite_equals_the_predict_step(tmp_path, small_config, family):
    program = Program(saved(tmp_path, small_config(ALL[family])))
    run = tflite_runtime(to_tflite(program, "float32"))
    images = drawn(program, 3)
    assert_same(run(images), jax.jit(program.predict)(images))


@pytest.mark.slow
def test_the_signature_is_that_of_the_phone_guide():
    guide = (ROOT / "docs" / "phone.md").read_text()
    content = to_tflite(Program(pretrained.path("scene"), size=(128, 256), packaged_data=True), "float16")
    interpreter = tensorflow.lite.Interpreter(model_content=content)
    assert list(interpreter.get_signature_list()) == ["serving_default"]
    run = interpreter.get_signature_runner()

    def tensors(details):
        return {name: (d["dtype"].__name__, d["shape"].tolist()) for name, d in details.items()}

    assert tensors(run.get_input_details()) == {"images": ("uint8", [1, 128, 256, 3])}
    sizes = {"1": 1, "N": 3, "L": 10, "4": 4}
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \[([^]]+)\] \|", guide, re.MULTILINE)
    assert tensors(run.get_output_details()) == {
        name: (dtype, [sizes[size] for size in shape.split(", ")]) for name, dtype, shape in rows
    }
