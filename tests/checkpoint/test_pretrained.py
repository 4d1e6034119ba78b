"""Pretrained weights: verified, found by name, published or refused, and measured."""

import json
import os
import sys
from functools import partial
from pathlib import Path

import jax
import numpy as np
import pytest
from conftest import production_compiler
from golden_examples import GOLDEN, GOLDEN_CONFIGS, digest, make, split_arrays
from ml_collections import ConfigDict

from seqdigits.checkpoint import pretrained, weights
from seqdigits.checkpoint.load import load_variables
from seqdigits.cli import pretrained as cli_pretrained
from seqdigits.config.registry import config_names
from seqdigits.config.saved import digest as config_digest
from seqdigits.config.saved import to_json
from seqdigits.config_checks.validate import validate
from seqdigits.core import params
from seqdigits.core.errors import Help, UserError
from seqdigits.core.interrupt import Stop, Stopped
from seqdigits.data.create import create_source
from seqdigits.evaluation.evaluate import evaluate_checkpoint
from seqdigits.export.onnx import to_onnx
from seqdigits.export.parity import Parity
from seqdigits.inference.onnx_engine import OnnxEngine
from seqdigits.models.build import build, init_variables
from seqdigits.release import measure as release_measure
from seqdigits.release import model_card, onnx_file, publish
from seqdigits.release.facts import write_facts

PUBLISHED = pretrained.FOLDER
SAME = Parity(images=6, digits=90, same=90, box=0.0, probability=0.0)
TINY = {"model.encoder": "conv 5x5x4 /4, norm, relu", "decode.min_score": 0.3, "decode.temperature": 1.5}
SMALL_CANVAS = {"data.digits": "uci", "data.height": 32, "data.width": 96, "data.max_length": 3}
TARGETS = {
    "handwriting": (
        release_measure.Target(
            "canvas",
            "small canvases",
            "reader_canvas",
            SMALL_CANVAS | {"decode.max_numbers": 1, "decode.group_digits": False},
        ),
        release_measure.Target(
            "crop", "photographs", "reader_svhn_crop", {"decode.max_numbers": 1, "decode.group_digits": False}
        ),
    ),
    "scene": (
        release_measure.Target(
            "canvas", "small canvases", "reader_canvas", SMALL_CANVAS | {"data.rgb": True, "decode.max_numbers": 1}
        ),
    ),
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The folder of the pretrained weights in this test, not yet created. The working directory is empty, the targets need no
    MNIST, and the comparison of an ONNX file, for which JAX compiles, always succeeds.
    """
    monkeypatch.setattr(pretrained, "FOLDER", tmp_path / "shipped")
    monkeypatch.setattr(onnx_file, "compare", lambda engine, expected: SAME)
    monkeypatch.setattr(release_measure, "TARGETS", TARGETS)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "shipped"


@pytest.fixture
def result(small_config, tmp_path):
    """`result({"data.rgb": True}, partial=True)` writes RESULT.json of a run, as seqdigits reproduce does, and its weights, which
    were never trained.
    """

    def write(overrides=None, name="small", **changes):
        config = small_config(TINY | (overrides or {}))
        variables = init_variables(
            build(config, create_source(config, "test").spec), create_source(config, "test").spec, 0
        )
        saved = json.loads(to_json(config))
        initialized_from = changes.pop("initialized_from", None)
        about = {"step": 4, "config": saved, "initialized_from": initialized_from, "commit": "0123456789abcdef"}
        weights.save(tmp_path / f"{name}.npz", variables, about, half=True)
        run = {
            "name": name,
            "settings": {},
            "config": saved,
            "initialized_from": initialized_from,
            "config_sha256": "0" * 64,
            "seed": 0,
            "commit": "0123456789abcdef",
            "trained": [{"step": 0, "commit": "fedcba9876543210", "devices": ["cpu cpu"]}],
            "devices": ["cpu cpu"],
            "cores": 2,
            "python": "3.11.7",
            "versions": {"jax": "0.10.2"},
            "steps": 4,
            "steps_planned": 4,
            "partial": False,
            "minutes": 3.4,
            "parameters": params.count(variables["params"]),
            "reports": {},
        }
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps(run | changes))
        return path

    return write


def leaves(tree):
    return dict(zip(params.names(tree), jax.tree.leaves(tree), strict=True))


def same(variables, path):
    expected, actual = leaves(weights.load(path)[0]), leaves(variables)
    return expected.keys() == actual.keys() and all(
        np.array_equal(actual[name], value) for name, value in expected.items()
    )


def test_publish_writes_weights_digest_and_card(folder, result):
    path = result()
    facts = publish.publish("handwriting", path)
    assert sorted(p.name for p in folder.iterdir()) == [
        "handwriting.json",
        "handwriting.md",
        "handwriting.npz",
        "handwriting.onnx",
        "sha256.json",
    ]
    assert pretrained.path("handwriting").read_bytes() == path.with_suffix(".npz").read_bytes()
    assert pretrained.sums().keys() == {"handwriting", "handwriting.json", "handwriting.onnx"}
    assert pretrained.sums()["handwriting"] == facts["sha256"]
    engine = OnnxEngine(pretrained.onnx_path("handwriting"))
    assert (engine.weights_sha256, engine.channels, engine.min_score) == (facts["sha256"], 1, 0.3)
    assert pretrained.facts("handwriting") == facts
    assert (facts["images"], facts["commit"], facts["metrics"]) == (32, "fedcba9876543210", {})
    card = (folder / "handwriting.md").read_text()
    for part in (
        facts["sha256"],
        "`configs/small.py`",
        "1,257 training digits",
        "CC BY 4.0",
        "Not measured yet",
        "1 channel, gray",
    ):
        assert part in card
    assert "Partial" not in card
    publish.publish("scene", result({"data.rgb": True, "data.digits": "mnist"}, "other"))
    assert {name.partition(".")[0] for name in pretrained.sums()} == {"handwriting", "scene"}
    card = (folder / "scene.md").read_text()
    for part in (
        "55,000 training digits of MNIST",
        "CC BY-SA 3.0",
        "3 channels",
        "the same values in all three channels",
    ):
        assert part in card


def test_publish_writes_nothing_if_onnx_runtime_differs(folder, result, monkeypatch):
    monkeypatch.setattr(onnx_file, "compare", lambda engine, expected: SAME._replace(same=89))
    with pytest.raises(UserError, match=r"handwriting\.onnx was not written: the file gives other candidates"):
        publish.publish("handwriting", result())
    assert not folder.exists()


def test_export_writes_the_onnx_file_again(folder, result):
    publish.publish("handwriting", result())
    file = folder / "handwriting.onnx"
    content = file.read_bytes()
    file.write_bytes(b"")
    with pytest.raises(UserError, match=r"handwriting\.onnx has the SHA-256 .*seqdigits pretrained export NAME"):
        pretrained.onnx_path("handwriting")
    assert onnx_file.export("handwriting") == pretrained.onnx_path("handwriting") == file
    assert file.read_bytes() == content
    file.unlink()
    with pytest.raises(UserError, match=r"handwriting\.onnx is missing\. Reinstall seqdigits; or.*export NAME"):
        pretrained.onnx_path("handwriting")


def test_path_refuses_damaged_or_missing_weights(folder, result):
    with pytest.raises(
        UserError, match=r"handwriting\.npz is missing\. Reinstall seqdigits; or.*publish NAME RESULT\.json"
    ):
        pretrained.path("handwriting")
    publish.publish("handwriting", result())
    file = folder / "handwriting.npz"
    content = file.read_bytes()
    for at in (0, len(content) // 2, len(content) - 1):
        file.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        with pytest.raises(UserError, match="the weights 'handwriting' are damaged.*Reinstall seqdigits"):
            pretrained.path("handwriting")
    file.write_bytes(content)
    (folder / "sha256.json").write_text("{}")
    with pytest.raises(UserError, match=r"sha256\.json has no SHA-256 of handwriting\.npz"):
        pretrained.path("handwriting")
    (folder / "sha256.json").write_text("[")
    with pytest.raises(UserError, match=r"sha256\.json is damaged"):
        pretrained.path("handwriting")
    with pytest.raises(UserError, match="there are no pretrained weights 'hand'. Allowed are handwriting, scene"):
        pretrained.path("hand")


PHOTOGRAPHS = {"data.composition": "photograph", "data.digits": "mnist"}


@pytest.mark.parametrize(
    ("overrides", "changes", "message"),
    [
        ({}, {"partial": True, "steps_planned": 8}, "is partial: 4 of 8 steps.*--partial"),
        ({}, {"steps": 3}, r"small\.npz and .*small\.json are of different runs: step 4 and 3"),
        ({}, {"trained": []}, "is not a result of seqdigits reproduce"),
        (PHOTOGRAPHS, {}, "small was trained on photographs .*non-commercial use only"),
        ({"init.path": "scene"}, {}, "small was initialized from scene, whose training data are unknown"),
        ({"model.pixels": "per_pixel"}, {}, "model.pixels = per_pixel.*images of any size"),
    ],
)  # fmt: skip
def test_publish_refuses_unsuitable_weights(folder, result, overrides, changes, message):
    with pytest.raises(UserError, match=f"(?s){message}"):
        publish.publish("handwriting", result(overrides, **changes))
    assert not folder.exists()


def test_publish_refuses_a_run_initialized_from_photographs(folder, result, small_config):
    """The record of the initialization decides, not the present content or the name of init.path."""

    def record(path, overrides, initialized_from=None):
        config = json.loads(to_json(small_config(overrides)))
        return {"path": path, "step": 4, "config": config, "initialized_from": initialized_from}

    digits, photographs = record("runs/digits", {}), record("runs/reader_canvas", PHOTOGRAPHS)
    between = record("between", {"init.path": "runs/reader_canvas"}, photographs)
    unknown = record("between", {"init.path": "somewhere"})
    publish_result = partial(publish.publish, "handwriting")
    with pytest.raises(UserError, match="runs/reader_canvas was trained on photographs"):
        publish_result(result({"init.path": "runs/reader_canvas"}, initialized_from=photographs))
    with pytest.raises(UserError, match="runs/reader_canvas was trained on photographs"):
        publish_result(result({"init.path": "between"}, initialized_from=between))
    with pytest.raises(UserError, match="between was initialized from somewhere, whose training data are unknown"):
        publish_result(result({"init.path": "between"}, initialized_from=unknown))
    assert not folder.exists()
    assert publish_result(result({"init.path": "runs/digits"}, initialized_from=digits))["initialized_from"] == digits
    assert weights.load(folder / "handwriting.npz")[1]["initialized_from"] == digits


def test_publish_takes_decode_from_the_config_file(folder, result, experiment):
    path = result({"decode.octaves": 1}, "reader_canvas+decode.octaves=1", settings={"decode.octaves": 1})
    facts = publish.publish("handwriting", path)
    assert facts["config"]["decode"] == {**experiment("reader_canvas").decode.to_dict(), "octaves": 1}
    assert facts["config_sha256"] == config_digest(facts["config"]) != "0" * 64
    assert weights.load(folder / "handwriting.npz")[1]["config"] == facts["config"]


def test_measure_keeps_parallel_rows_and_refuses_new_weights(folder, result, monkeypatch):
    publish.publish("handwriting", result())

    def measured_by_another(*args):
        facts = pretrained.facts("handwriting")
        facts["metrics"]["crop"] = {**measured, "what": "of the other"}
        write_facts("handwriting", facts)
        return measured

    measured = release_measure.measure("handwriting", only=("canvas",), limit=4)["canvas"]
    monkeypatch.setattr(release_measure, "_measured", measured_by_another)
    metrics = release_measure.measure("handwriting", only=("canvas",), limit=4)
    assert {label: row["what"] for label, row in metrics.items()} == {
        "canvas": "small canvases",
        "crop": "of the other",
    }

    def published_by_another(*args):
        publish.publish("handwriting", result({"seed": 5}, "other"))
        return measured

    monkeypatch.setattr(release_measure, "_measured", published_by_another)
    with pytest.raises(UserError, match="the weights of handwriting were replaced during the measurement"):
        release_measure.measure("handwriting", only=("canvas",), limit=4)
    assert pretrained.facts("handwriting")["metrics"] == {}


def test_publish_refuses_a_large_file(folder, result, monkeypatch):
    monkeypatch.setattr(publish, "MOST_BYTES", 1000)
    with pytest.raises(UserError, match=r"have [\d,]+ bytes, at most 1,000 are allowed"):
        publish.publish("handwriting", result())
    assert not folder.exists()


def test_publish_with_partial_says_so_on_the_card(folder, result):
    publish.publish("handwriting", result(partial=True, steps_planned=8), partial=True)
    assert "**Partial**: trained for 4 of 8 planned steps." in (folder / "handwriting.md").read_text()


def test_name_is_accepted_in_place_of_a_path(folder, result, small_config, tmp_path, capsys):
    publish.publish("handwriting", result())
    variables, about = load_variables(Path("handwriting"))
    assert about["step"] == 4
    assert same(variables, folder / "handwriting.npz")
    metrics = evaluate_checkpoint(small_config(TINY), tmp_path / "w", which="handwriting", splits=("test",))
    assert metrics["test"]["examples"] == 40
    assert f"evaluating {folder}/handwriting.npz, step 4" in capsys.readouterr().out


def test_working_directory_takes_precedence_over_a_name(folder, result, small_config, tmp_path, capsys):
    publish.publish("handwriting", result())
    os.mkdir("handwriting")
    with pytest.raises(UserError, match="checkpoint handwriting has no manifest"):
        load_variables(Path("handwriting"))
    with pytest.raises(UserError, match="--checkpoint handwriting: allowed are.*name of pretrained weights"):
        evaluate_checkpoint(small_config(TINY), tmp_path / "w", which="handwriting", splits=("test",))
    output = capsys.readouterr().out
    assert (
        output.count("handwriting: using the file or folder in the working directory, not the pretrained weights") == 2
    )
    assert str(folder / "handwriting.npz") in output


def test_load_variables_refuses_unknown_and_missing_names(folder, small_config, tmp_path):
    with pytest.raises(UserError, match=r"scene\.npz is missing"):
        load_variables(Path("scene"))
    with pytest.raises(
        UserError,
        match=r"scenes does not exist.*pretrained weights \(handwriting, scene\)",
    ):
        load_variables(Path("scenes"))
    with pytest.raises(UserError, match="--checkpoint scenes: allowed are"):
        evaluate_checkpoint(small_config(TINY), tmp_path / "w", which="scenes", splits=("test",))


def test_measure_writes_metrics_and_the_card(folder, result, monkeypatch, tmp_path):
    monkeypatch.setenv("SEQDIGITS_DATA", str(tmp_path / "nothing"))
    publish.publish("handwriting", result())
    metrics = release_measure.measure("handwriting", limit=20)
    assert pretrained.facts("handwriting")["metrics"] == metrics
    assert metrics["crop"] is None
    row = metrics["canvas"]
    assert (row["examples"], row["limit"], row["config"]) == (20, 20, "reader_canvas")
    assert 0 < row["half_interval"] < 0.25
    card = (folder / "handwriting.md").read_text()
    for part in (
        "| canvas | the first 20 |",
        "| crop | not measured |",
        "measure handwriting --only canvas --limit 20",
        "± ",
    ):
        assert part in card
    assert str(tmp_path) not in card + (folder / "handwriting.json").read_text()
    release_measure.measure("handwriting", only=("canvas",), limit=7)
    assert pretrained.facts("handwriting")["metrics"]["canvas"]["examples"] == 7
    assert cli_pretrained.listing("handwriting").splitlines()[-2].startswith("canvas ")
    with pytest.raises(UserError, match="--only cavas: handwriting is measured on canvas, crop"):
        release_measure.measure("handwriting", only=("cavas",))
    stop = Stop()
    stop.set()
    with pytest.raises(Stopped):
        release_measure.measure("handwriting", stop=stop)


def test_measure_uses_model_and_decode_of_the_weights(folder, result):
    trained = publish.publish("scene", result({"data.rgb": True, "model.pixels": "image_mean"}))["config"]
    config = release_measure.configured(TARGETS["scene"][0], trained, folder)
    assert (config.decode.min_score, config.decode.temperature, config.data.rgb) == (0.3, 1.5, True)
    assert json.loads(to_json(ConfigDict({"model": config.model})))["model"] == trained["model"]
    assert release_measure.measure("scene", limit=5)["canvas"]["examples"] == 5  # three channels, from gray digits


def test_measure_refuses_weights_of_another_version():
    with pytest.raises(UserError, match=r"scene.json has a config that this version cannot read: decode.octave = 1\."):
        release_measure.configured(TARGETS["scene"][0], {"decode": {"octave": 1}}, Path("scene.json"))


@pytest.mark.parametrize(
    ("name", "target"), [(n, t) for n, those in release_measure.TARGETS.items() for t in those], ids=str
)
def test_target_has_the_channels_of_its_weights(name, target, experiment):
    trained = experiment({"handwriting": "reader_canvas_second_look", "scene": "reader_scene"}[name])
    config = release_measure.configured(target, json.loads(to_json(trained)), Path(name))
    channels = [create_source(c, "test").spec.image[-1] for c in (config, trained)]
    assert channels[0] == channels[1] == model_card.channels_of(trained.data)
    assert config.init.path == ""
    assert target.config in config_names()


def test_card_states_the_second_look(folder, result):
    layers = "conv 3x3x4 /4, norm, relu, dense 10"
    publish.publish("handwriting", result({"model.second_look": layers, "loss.second_look": 1.0}))
    assert f"`{layers}`. Evaluation and the other formats" in (folder / "handwriting.md").read_text()
    publish.publish("handwriting", result())
    assert "Second look" not in (folder / "handwriting.md").read_text()


def test_card_states_the_initialization(folder, result, small_config):
    origin = {
        "path": "runs/digits",
        "step": 8000,
        "config": json.loads(to_json(small_config())),
        "initialized_from": None,
    }
    for settings, text in (
        ({"init.path": "runs/digits"}, "`runs/digits`"),
        ({"init.path": "handwriting", "init.params": "encoder/.*"}, "`encoder/.*` of the earlier `handwriting`"),
    ):
        publish.publish("handwriting", result(settings, initialized_from=origin))
        line = f"- Initialized from {text}, which was trained for 8,000 steps (64,000 images)."
        assert line in (folder / "handwriting.md").read_text()


def command(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["pretrained", *arguments])
    monkeypatch.setattr("seqdigits.core.jax_settings.prepare_jax", lambda: None)
    cli_pretrained.main(Stop())


def test_command_publishes_measures_and_lists(folder, result, monkeypatch, capsys):
    command(monkeypatch)
    assert capsys.readouterr().out == "handwriting: not published\n\nscene (the default): not published\n"
    command(monkeypatch, "publish", "handwriting", str(result()))
    command(monkeypatch, "measure", "handwriting", "--only", "canvas", "--limit", "5")
    command(monkeypatch, "export", "handwriting")
    capsys.readouterr()
    command(monkeypatch)
    output = capsys.readouterr().out
    assert "bytes, SHA-256" in output
    assert "the first 5\n" in output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("shp", "scene"), "'shp scene' is not understood"),
        (("publish", "scene"), "is not understood"),
        (("publish", "scene", "x.json", "--limit", "3"), "is not understood"),
        (("--partial",), "is not understood"),
        (("publish", "scen", "x.json"), "there are no pretrained weights 'scen'"),
        (("publish", "scene", "x.json"), "there is no file of weights x.npz"),
        (("measure", "scene"), r"scene\.npz is missing"),
        (("export", "scene"), r"scene\.npz is missing"),
        (("export", "scene", "--partial"), "is not understood"),
        (("measure", "scene", "--limit", "0"), "^argument --limit: '0' is not an integer of at least 1\n"),
    ],
)
def test_command_names_an_invalid_argument(folder, monkeypatch, arguments, message):
    with pytest.raises(UserError, match=message):
        command(monkeypatch, *arguments)


def test_help_lists_the_names(monkeypatch):
    with pytest.raises(Help, match="(?s)measure NAME.*handwriting, scene"):
        command(monkeypatch, "--help")


@production_compiler()
@pytest.mark.parametrize("name", ["digit", "small canvas of 1 to 3"])
def test_rgb_channels_are_equal_and_match_golden_hashes(small_config, name):
    split, overrides = GOLDEN_CONFIGS[name]
    source = create_source(small_config(overrides | {"data.digits": "uci", "data.rgb": True}), split)
    batch = make(source, split_arrays("uci", split, ""), np.arange(100))
    assert batch.image.shape[1:] == source.spec.image
    assert batch.image.shape[-1] == 3
    assert (batch.image == batch.image[..., :1]).all()
    assert digest(batch.replace(image=np.ascontiguousarray(batch.image[..., :1]))) == GOLDEN["uci", name]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (PHOTOGRAPHS, "data.rgb = True has no effect with data.composition = photograph"),
        ({"data.composition": "scene"}, "data.rgb = True has no effect with data.composition = scene"),
        ({"data.source": "tfrecord"}, "data.rgb = True has no effect with data.source = tfrecord"),
    ],
)
def test_rgb_is_refused_except_for_computed_digits(small_config, overrides, message):
    with pytest.raises(UserError, match=message):
        validate(small_config(overrides | {"data.rgb": True}))


@pytest.fixture(params=pretrained.NAMES)
def name(request):
    if not (PUBLISHED / f"{request.param}.npz").exists():
        pytest.skip(f"{request.param} is not published yet")
    return request.param


def test_published_weights_match_their_metadata_and_card(name):
    file, facts = pretrained.path(name), pretrained.facts(name)
    assert file.stat().st_size == facts["bytes"] <= publish.MOST_BYTES
    assert pretrained.sums()[name] == facts["sha256"]
    assert not facts["partial"]
    variables, about = weights.load(file)
    assert about["config"] == facts["config"]
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(variables))
    assert params.count(variables["params"]) == facts["parameters"]
    assert (PUBLISHED / f"{name}.md").read_text() == model_card.text(name, facts)


def test_onnx_file_is_of_the_published_weights(name):
    """Else `seqdigits pretrained export NAME` writes it again: after other weights, or a change of the exported graph."""
    file = pretrained.onnx_path(name)
    assert OnnxEngine(file).weights_sha256 == pretrained.facts(name)["sha256"] == pretrained.sums()[name]
    assert file.read_bytes() == to_onnx(pretrained.path(name), onnx_file.DTYPE)


def test_published_weights_are_accurate_on_canvases(name, mnist_folder, tmp_path):
    """On 50 canvases of 64x128 with one to three digits."""
    (target,) = [target for target in release_measure.TARGETS[name] if target.label == "canvas"]
    config = release_measure.configured(target, pretrained.facts(name)["config"], Path(name))
    config.data.folder = str(mnist_folder)
    config.data.height, config.data.width, config.data.max_length, config.data.test_examples = 64, 128, 3, 50
    config.data.train_height = config.data.train_width = 0
    metrics = evaluate_checkpoint(config, tmp_path, which=str(pretrained.path(name)), splits=("test",))
    assert metrics["test"]["sequence_accuracy"] >= {"handwriting": 0.9, "scene": 0.7}[name]
