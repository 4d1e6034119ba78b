"""`seqdigits export`: the file predicts what the network predicts, or none is written."""

import sys
from pathlib import Path

import numpy as np
import pytest
from exported import DETECTORS, saved

from seqdigits.checkpoint import pretrained, weights
from seqdigits.cli import export
from seqdigits.core.errors import UserError
from seqdigits.core.interrupt import Stop
from seqdigits.export import agreement, parity
from seqdigits.export.agreement import Agreement
from seqdigits.export.parity import Parity
from seqdigits.export.program import Program
from seqdigits.inference.onnx_engine import OnnxEngine

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
    return saved(tmp_path, small_config(DETECTORS["detector"]))


def test_it_compares_and_writes_the_file(call, capsys, monkeypatch, trained, tmp_path):
    (images,) = parity.drawn_batches(1, SIZES)
    monkeypatch.setattr(parity, "drawn_batches", lambda channels: iter([images]))
    call("--to", "onnx", "--workdir", trained, "--dtype", "float32", "--out", tmp_path / "a.onnx")
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith("46 validation and drawn images, ONNX Runtime beside JAX: same digits ")
    assert printed[1] == f"{tmp_path}/a.onnx: {(tmp_path / 'a.onnx').stat().st_size:,} bytes"
    assert printed[2].startswith("It returns candidates for digits, no numbers")
    assert len(printed) == 3
    assert OnnxEngine(tmp_path / "a.onnx").channels == 1
    assert {path.name for path in tmp_path.iterdir()} == {"a.npz", "a.onnx"}


@pytest.mark.parametrize("to", ["onnx", "tflite"])
def test_weights_of_another_version_are_refused(call, to, trained):
    variables, about = weights.load(trained)
    about["config"]["data"]["nonsense"] = 1
    weights.save(trained, variables, about)
    with pytest.raises(UserError, match=r"a.npz has a config that this version cannot read: data.nonsense = 1\. Use"):
        call("--to", to, "--workdir", trained)
    with pytest.raises(UserError, match=r"data.nonsense = 1"):
        Program(trained)


def test_a_second_look_that_is_left_out_is_told(call, capsys, monkeypatch, small_config, tmp_path):
    """And by default the file is beside a file of weights."""
    saved(tmp_path, small_config(DETECTORS["second look"]))
    monkeypatch.setattr(parity, "compare_batches", lambda *_: Parity(6, 90, 90, 0.0, 0.0))
    call("--to", "onnx", "--workdir", tmp_path / "a.npz")
    assert "model.second_look is left out, as in the Reader" in capsys.readouterr().out
    assert (tmp_path / "a.onnx").exists()


@pytest.mark.parametrize(
    ("found", "dtype", "message"),
    [
        (Parity(6, 90, 89, 0.0, 0.0), "float16", "gives other candidates than the network.*--dtype float32"),
        (Parity(6, 1000, 999, 0.0, 0.0), "float32", "gives other candidates than the network.*no other digits"),
        (Parity(6, 90, 90, 0.06, 0.0), "float32", "gives other candidates than the network.*at most 0.05 px"),
        (Parity(6, 90, 90, float("nan"), 0.0), "float16", "gives other candidates than the network"),
        (Parity(6, 0, 0, 0.0, 0.0), "float16", "finds no digit in the images.*Train it longer"),
    ],
)
def test_a_file_that_differs_is_not_written(call, monkeypatch, trained, tmp_path, found, dtype, message):
    monkeypatch.setattr(parity, "compare_batches", lambda *_: found)
    with pytest.raises(UserError, match=rf"a\.onnx was not written: .*{message}"):
        call("--to", "onnx", "--workdir", trained, "--dtype", dtype, "--out", tmp_path / "a.onnx")
    assert not (tmp_path / "a.onnx").exists()


GRU = {"model.name": "gru", "model.gru_units": 12, "data.validation_examples": 60}


@pytest.mark.parametrize("to", ["onnx", "stablehlo"])
def test_a_network_for_images_of_one_size_is_compared_on_validation_examples(call, capsys, small_config, tmp_path, to):
    file = saved(tmp_path, small_config(GRU))
    call("--to", to, "--workdir", file, "--dtype", "float32", "--out", tmp_path / "a")
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith(
        "60 validation images, the file beside JAX: same digits in 60, largest difference of boxes 0.0"
    )
    assert printed[1] == f"{tmp_path}/a: {(tmp_path / 'a').stat().st_size:,} bytes"


def test_a_file_is_never_written_into_a_checkpoint(monkeypatch, tmp_path):
    step = tmp_path / "run" / "checkpoints" / "20"
    step.mkdir(parents=True)
    for folder, name in ((step.parent, "20"), (step, "."), (tmp_path, "run/checkpoints/20")):
        monkeypatch.chdir(folder)
        assert export._beside(Path(name), "onnx").resolve() == tmp_path / "run" / "model-20.onnx"


@pytest.mark.parametrize("name", pretrained.NAMES)
def test_examples_of_pretrained_weights_need_no_other_file(name, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    examples = Program(pretrained.path(name), packaged_data=True).examples(2)
    assert examples.index.tolist() == [0, 1]


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
def test_tflite_of_pretrained_weights_loses_no_accuracy(call, capsys, tmp_path, dtype):
    pytest.importorskip("tensorflow")
    call("--to", "tflite", "--weights", "scene", "--dtype", dtype, "--out", tmp_path / "a")
    size = {"float32": 3_900_000, "float16": 2_100_000, "int8": 1_200_000}[dtype]
    assert "500 validation images" in capsys.readouterr().out
    assert (tmp_path / "a").stat().st_size < size


@pytest.mark.parametrize(
    ("found", "dtype", "message"),
    [
        (
            Agreement(500, 499, 900, 0.0, 0.9, 0.9),
            "float32",
            "does not predict what the network predicts.*no other digits",
        ),
        (
            Agreement(500, 500, 900, 0.06, 0.9, 0.9),
            "float32",
            "does not predict what the network predicts.*at most 0.05 px",
        ),
        (
            Agreement(500, 480, 900, 0.0, 0.89, 0.9),
            "int8",
            "loses 1.00% of the images. Allowed is 0.5%. Use --dtype float32",
        ),
        (Agreement(500, 500, 0, 0.0, 0.0, 0.0), "int8", "finds no digit in the validation examples"),
        (Agreement(500, 490, 900, 2.0, 0.896, 0.9), "int8", ""),
        (Agreement(500, 500, 900, 0.04, 0.9, 0.9), "float32", ""),
    ],
)
def test_predictions_that_differ_are_refused(found, dtype, message):
    if not message:
        agreement.check(found, Path("a.tflite"), dtype)
        return
    with pytest.raises(UserError, match=rf"a\.tflite was not written: .*{message}"):
        agreement.check(found, Path("a.tflite"), dtype)


def test_agreement_counts_images_digits_and_accuracy(small_config, tmp_path):
    program = Program(saved(tmp_path, small_config({"model.name": "heads", "model.localize": True})))
    examples = agreement.Examples(program)
    assert len(examples.batch.image) == 40
    true = {"digits": examples.batch.digits[:, None], "length": (examples.batch.digits < 10).sum(-1)[:, None]}
    examples.expected = {**examples.expected, **true}
    at = iter(range(40))

    def run(images):
        rows = [next(at) for _ in images]
        found = {name: value[rows].copy() for name, value in examples.expected.items()}
        found["digits"][3, 0, 0] = (found["digits"][3, 0, 0] + 1) % 10
        found["box"][3] += 5  # of an image with another digit, it does not count
        found["box"][7, 0, 1] += 0.25
        return found

    found = examples.compare(run)
    assert found._replace(box=round(found.box, 3)) == Agreement(40, 39, int(true["length"].sum()), 0.25, 0.975, 1.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--to stablehlo --dtype float16", "--dtype float16: with --to stablehlo allowed is float32"),
        ("--to onnx --dtype int8", "--dtype int8: with --to onnx allowed is float16 or float32"),
        ("--to onnx --size 64x128", "--size: allowed with --to tflite and a dense detector"),
        ("--to tflite --size 64", "'64' is not HEIGHTxWIDTH, such as 64x128"),
    ],
)
def test_flags_that_do_not_suit_the_format_are_refused(call, tmp_path, arguments, message):
    with pytest.raises(UserError, match=message):
        call("--weights", "scene", "--out", tmp_path / "a", *arguments.split())


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
