"""Files of a version with other names of keys, values and layers load and give the same numbers.

They lie in golden/old_files; its README.md says what each holds.
"""

import hashlib
import json
import sys
import zipfile
from pathlib import Path

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from seqdigits.checkpoint import pretrained
from seqdigits.checkpoint.layout import evaluated_variables, find_checkpoint, load_raw
from seqdigits.checkpoint.manifest import read_meta
from seqdigits.cli import report as cli_report
from seqdigits.config import registry
from seqdigits.config.defaults import base_config, get
from seqdigits.config.saved import to_json
from seqdigits.config.upgrade import upgrade
from seqdigits.core.interrupt import Stop
from seqdigits.data.create import create_source
from seqdigits.evaluation.evaluate import evaluate_checkpoint
from seqdigits.evaluation.restore import restore
from seqdigits.experiments import ablation, reproduce
from seqdigits.experiments.results import Result
from seqdigits.release import publish
from seqdigits.training.loop import train_and_evaluate

OLD_FILES = Path(__file__).parent / "golden" / "old_files"
EXPECTED = json.loads((OLD_FILES / "expected.json").read_text())
PLAIN_RESULT = OLD_FILES / "results" / "square64_cnn.json"
CHANGED_RESULT = OLD_FILES / "results" / "tiny+loss.background=0.4.json"
CONFIG_FILE = """
import json
from seqdigits.config import base_config

def get_config():
    config = base_config()
    config.update(json.loads({text!r}))
    return config
"""


def new(saved: dict) -> ConfigDict:
    """The config that an old saved one is today."""
    config = base_config()
    config.update(upgrade(saved))
    return config


def unzip(name: str, folder: Path) -> Path:
    with zipfile.ZipFile(OLD_FILES / name) as file:
        file.extractall(folder)
    return folder


def assert_metrics(report: dict, expected: dict) -> None:
    """Processors and versions of JAX round differently, so that two of 40 examples may differ."""
    assert {name: report[name] for name in expected} == pytest.approx(expected, rel=0.02, abs=0.05)


def assert_final_state(workdir: Path, name: str, run: str) -> None:
    """Compares the norm of what was trained in the latest checkpoint with that of the old version."""
    variables = evaluated_variables(load_raw(find_checkpoint(workdir, "latest"))[0])
    trained = [variables[name] for name in ("params", "batch_stats")]
    norm = np.linalg.norm(np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(trained)]))
    assert norm == pytest.approx(EXPECTED[name][f"{run}_norm"], rel=1e-3)


@pytest.fixture
def old_run(tmp_path, monkeypatch):
    """`old_run("dense")`: workdir ./dense and config of a run of 300 steps of the old version."""
    monkeypatch.chdir(tmp_path)

    def make(name):
        workdir = unzip(f"{name}_workdir.zip", tmp_path / name)
        return workdir, new(json.loads((workdir / "config.json").read_text()))

    return make


BOTH = pytest.mark.parametrize("name", [pytest.param("dense", marks=pytest.mark.slow), "heads"])


@BOTH
def test_old_workdir_evaluates_to_the_same_report(old_run, name):
    workdir, config = old_run(name)
    report = evaluate_checkpoint(config, workdir, which="best", splits=("test",))["test"]
    assert_metrics(report, EXPECTED[name]["report"])
    assert restore(config, workdir, "latest", "test").different == []


@pytest.mark.parametrize("name", ["dense", "heads"])
def test_old_workdir_resumes_as_before(old_run, name):
    workdir, config = old_run(name)
    if name == "heads":  # then the config saved in the checkpoint is compared
        (workdir / "config.json").unlink()
    config.train.steps = 304
    config.evaluate.splits = ("test",)
    train_and_evaluate(config, workdir)
    assert_final_state(workdir, name, "resumed")
    assert_metrics(json.loads((workdir / "evaluation" / "test.json").read_text()), EXPECTED[name]["resumed_report"])
    today = json.loads(to_json(config))
    assert read_meta(find_checkpoint(workdir, "latest"))["config"] == today
    assert json.loads((workdir / "config.json").read_text()) == today


@BOTH
def test_old_workdir_initializes_a_run_as_before(old_run, name):
    _, config = old_run(name)
    config.init.path = name
    config.train.steps = 2
    config.evaluate.splits = ()
    train_and_evaluate(config, "initialized")
    assert_final_state(Path("initialized"), name, "initialized")


def test_old_weights_predict_the_same(tmp_path):
    config = new(json.loads(CHANGED_RESULT.read_text())["config"])
    path = CHANGED_RESULT.with_suffix(".npz")
    report = evaluate_checkpoint(config, tmp_path, which=str(path), splits=("test",))["test"]
    assert_metrics(report, EXPECTED["weights_report"])
    assert restore(config, tmp_path, str(path), "test").different == []


def test_old_result_and_weights_are_published(tmp_path, monkeypatch):
    """The run was initialized from another; the config of each is looked at, and the model card is written."""
    monkeypatch.setattr(pretrained, "FOLDER", tmp_path)
    publish.publish("handwriting", CHANGED_RESULT)
    facts = pretrained.facts("handwriting")
    assert new(facts["config"]) == new(json.loads(CHANGED_RESULT.read_text())["config"])
    assert new(facts["initialized_from"]["config"]).model.name == "dense_detector"
    assert facts["config"]["model"]["encoder"] in (tmp_path / "handwriting.md").read_text()


@pytest.mark.parametrize("path", sorted((OLD_FILES / "results").glob("*.json")), ids=lambda path: path.stem[:12])
def test_old_result_is_read_with_the_names_of_today(path):
    saved = json.loads(path.read_text())
    result = Result.from_json(path.read_text())
    config = base_config()
    config.update(result.config)  # refuses unknown keys
    assert config == new(saved["config"])
    assert {key: get(config, key) for key in result.settings} == result.settings
    assert len(result.settings) == len(saved["settings"])
    assert Result.from_json(result.to_json()) == result


def test_old_configs_have_the_values_of_today():
    def saved(name):
        return new(json.loads((OLD_FILES / "results" / name).read_text())["config"])

    config = saved(CHANGED_RESULT.name)
    assert (config.data.source, config.data.composition) == ("device", "rotated")
    assert config.model.name == "dense_detector"
    assert config.model.encoder == (
        "space_to_depth 2, conv 3x3x6, norm, relu, keep a, conv 3x3x6, norm, add a, relu, conv 3x3x8 /2, norm, relu, "
        "keep b, conv 3x3x16 /2, norm, relu, depth_to_space 2, concat b"
    )
    assert config.decode.to_dict() == {
        "min_score": 0.3,
        "max_overlap": 0.5,
        "max_numbers": 2,
        "group_digits": True,
        "octaves": 1,
        "platt_scale": 1.5,
        "platt_bias": -0.25,
        "temperature": 1.25,
    }
    assert (config.loss.target, config.loss.background_weight) == ("center_sampling", 0.4)
    assert (config.optim.schedule, config.optim.boundaries) == ("piecewise", "150: 5e-3, 302: 1e-3")
    config = saved(PLAIN_RESULT.name)
    assert (config.data.composition, config.loss.no_digit_weight) == ("centered", 0.25)
    assert saved("reader_svhn_crop.json").data.color == 40
    assert saved("svhn_crop32+data.photographs=svhn_2000.json").data.gray


def test_old_result_counts_as_done(tmp_path, monkeypatch):
    def refuse_to_train(*_):
        raise AssertionError("nothing should be trained")

    saved = json.loads(PLAIN_RESULT.read_text())
    configs = tmp_path / "configs"
    configs.mkdir()
    (configs / "square64_cnn.py").write_text(CONFIG_FILE.format(text=to_json(new(saved["config"]))))
    monkeypatch.setattr(registry, "CONFIGS", configs)
    monkeypatch.setattr(reproduce, "train_and_evaluate", refuse_to_train)
    (run,) = reproduce.reproduce(
        ["square64_cnn"], out=tmp_path / "out", workdirs=tmp_path / "runs", skip=PLAIN_RESULT.parent
    )
    assert (run.state, run.problem) == ("done before", "")


def test_old_results_become_rows_of_the_page(tmp_path, monkeypatch):
    page = tmp_path / "page.md"
    monkeypatch.setattr(sys, "argv", ["report", str(PLAIN_RESULT.parent), str(page)])
    cli_report.main(Stop())
    ((key, value),) = Result.from_json(CHANGED_RESULT.read_text()).settings.items()
    rows = page.read_text().splitlines()
    assert any(row.startswith(f"| `tiny`<br>{key}={value} |") for row in rows)
    (row,) = (row for row in rows if row.startswith("| `square64_cnn`") and "*earlier config*" in row)
    assert "| 0.9652 / 0.9652 (validation, test) |" in row
    assert not row.split(" | ")[4].startswith("- / - / -"), "it has our values"


def test_old_result_of_the_ablation_is_read(monkeypatch):
    saved = json.loads((OLD_FILES / "ablation" / "several-0.json").read_text())
    monkeypatch.setattr(ablation, "config_of", lambda *_: new(saved["config"]))
    (found,) = ablation.load_results(OLD_FILES / "ablation")
    assert (found["variant"], found["sequence_accuracy"]) == ("several", saved["sequence_accuracy"])


def test_old_records_are_read_with_the_same_bytes(tmp_path, monkeypatch):
    pytest.importorskip("tensorflow", reason="records on disk need TensorFlow: make stream")
    monkeypatch.chdir(tmp_path)
    unzip("records.zip", tmp_path / "records")
    config = new(json.loads((OLD_FILES / "records.json").read_text()))
    for split, expected in EXPECTED["records"]["sha256"].items():
        source = create_source(config, split)
        sha = hashlib.sha256()
        for host in source.all(8):
            batch = jax.device_get(source.make(source.arrays, host, jax.random.key(0), train=False))
            for image, digits, boxes in zip(
                *(x[batch.mask] for x in (batch.image, batch.digits, batch.boxes)), strict=True
            ):
                sha.update(image.tobytes() + digits.astype("<i4").tobytes() + boxes.astype("<f4").tobytes())
        assert sha.hexdigest() == expected, split
    batches = create_source(config, "train").batches(0, 8)
    assert [next(batches)["index"].tolist() for _ in range(3)] == EXPECTED["records"]["order"]
