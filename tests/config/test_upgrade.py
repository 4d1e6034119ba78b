"""Configs of earlier versions: what is renamed, and old names on the command line. Files are in tests/test_old_files.py."""

import sys

import pytest

from seqdigits.checkpoint import manifest
from seqdigits.config.defaults import DEFAULTS, KEYS
from seqdigits.config.flags import experiment_flags, parse
from seqdigits.config.upgrade import (
    LAYER_KEYS,
    RENAMED_KEYS,
    RENAMED_LAYERS,
    RENAMED_VALUES,
    upgrade,
    upgrade_record,
    upgrade_report,
    upgrade_result,
    upgrade_value,
)
from seqdigits.config_checks.validate import validate
from seqdigits.core.errors import UserError
from seqdigits.experiments.selection import parse_settings
from seqdigits.models import layer_spec


def test_renamed_names_exist_and_old_ones_do_not():
    allowed = {key.name: key.allowed for key in KEYS}
    assert set(RENAMED_KEYS.values()) <= set(DEFAULTS)
    assert not set(RENAMED_KEYS) & set(DEFAULTS)
    for key, values in RENAMED_VALUES.items():
        assert set(values.values()) <= set(allowed[key])
        assert not set(values) & set(allowed[key])
    assert not set(RENAMED_LAYERS) & set(layer_spec._FORMS)
    assert set(RENAMED_LAYERS.values()) <= set(layer_spec._FORMS)
    assert set(LAYER_KEYS) <= set(DEFAULTS)


def test_upgrade_is_idempotent_and_keeps_its_argument(experiment):
    saved = {"seed": 1, "read": {"slope": 2.0}, "data": {"source": "plain", "grey": True, "parts": ["train"]}}
    upgraded = upgrade(saved)
    assert upgraded == {
        "seed": 1,
        "decode": {"platt_scale": 2.0},
        "data": {"source": "device", "gray": True, "parts": ["train"]},
    }
    assert saved["read"] == {"slope": 2.0}
    assert upgrade(upgraded) == upgraded
    config = experiment("reader_scene").to_dict()
    assert upgrade(config) == config
    unread = {"composition": "digit", "height": 64, "width": 64, "test_examples": 7}
    assert upgrade({"data": unread})["data"] == {**unread, "height": 128, "width": 256, "test_examples": 30_000}
    for half_scenes, expected in ((True, 7), (False, 165_000)):
        photographs = {"composition": "crop", "height": 64, "half_scenes": half_scenes, "train_examples": 7}
        assert upgrade({"data": photographs})["data"] == {**photographs, "train_examples": expected}
    assert upgrade({"data": {"composition": "scene"}})["data"]["scene_version"] == 1, (
        "the first scenes had no key for it"
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("fold 2,mark a ,  join a, unfold 2", "space_to_depth 2,keep a ,  concat a, depth_to_space 2"),
        ("mark fold, conv 3x3x8, add fold", "keep fold, conv 3x3x8, add fold"),
        ("conv 5x5x32, relu", "conv 5x5x32, relu"),
        ("", ""),
    ],
)
def test_upgrade_value_renames_layers(text, expected):
    assert upgrade_value("model.encoder", text) == expected


def test_upgrade_record_renames_every_stage():
    config = {"model": {"name": "reader"}}
    record = {"step": 7, "config": config, "begun_with": {"path": "x", "config": config, "begun_with": None}}
    new = {"model": {"name": "dense_detector"}}
    assert upgrade_record(record) == {
        "step": 7,
        "config": new,
        "initialized_from": {"path": "x", "config": new, "initialized_from": None},
    }
    assert upgrade_record(upgrade_record(record)) == upgrade_record(record)


@pytest.mark.parametrize(("old", "new"), RENAMED_KEYS.items())
def test_parse_refuses_an_old_key_with_its_new_name(old, new):
    argv = ["main", "--config=configs/quickstart.py", f"--config.{old}=1"]
    with pytest.raises(UserError, match=rf"^--config\.{old}: this key was renamed to {new}\.$"):
        parse(experiment_flags(), argv, "usage", "about", needed=("config",))


@pytest.mark.parametrize(("key", "values"), RENAMED_VALUES.items())
def test_validate_refuses_an_old_value_with_its_new_name(small_config, key, values):
    for old, new in values.items():
        with pytest.raises(UserError, match=f"{key} = {old!r}: this value was renamed to {new!r}"):
            validate(small_config({key: old}))


@pytest.mark.parametrize(("old", "new"), RENAMED_LAYERS.items())
def test_validate_refuses_an_old_layer_with_its_new_name(small_config, old, new):
    with pytest.raises(UserError, match=f"model.encoder = '{old} a': this value was renamed to '{new} a'"):
        validate(small_config({"model.encoder": f"{old} a"}))


def test_read_meta_upgrades_every_stage(tmp_path):
    config = {"model": {"name": "reader"}, "read": {"group": True}}
    first = {"path": "runs/first", "step": 3, "config": config, "begun_with": None}
    second = {"path": "runs/second", "step": 5, "config": config, "begun_with": first}
    manifest.seal(tmp_path, {"step": 7, "best": None, "config": config, "begun_with": second})
    manifest.verify(tmp_path)  # the digest is that of what was written
    stage, paths = manifest.read_meta(tmp_path), []
    while stage:
        assert stage["config"] == {"model": {"name": "dense_detector"}, "decode": {"group_digits": True}}
        assert "begun_with" not in stage
        stage = stage["initialized_from"]
        paths += [stage["path"]] if stage else []
    assert paths == ["runs/second", "runs/first"]


@pytest.mark.parametrize("flag", ["--config.read.group=true", "--config.read.group", "--noconfig.read.group"])
def test_parse_refuses_every_form_of_an_old_boolean(flag):
    with pytest.raises(UserError, match=r"renamed to decode\.group_digits"):
        parse(
            experiment_flags(), ["main", "--config=configs/quickstart.py", flag], "usage", "about", needed=("config",)
        )


@pytest.mark.parametrize(
    ("key", "value", "new"),
    [
        ("data.source", "stream", "'tfrecord'"),
        ("model.name", "reader", "'dense_detector'"),
        ("model.encoder", "mark a", "'keep a'"),
    ],
)
def test_command_lines_refuse_an_old_value(monkeypatch, key, value, new):
    for flag in ([f"--config.{key}={value}"], [f"--config.{key}", value]):
        argv = ["main", "--config=configs/quickstart.py", *flag]
        monkeypatch.setattr(sys, "argv", argv)  # ml_collections finds the keys there
        with pytest.raises(UserError, match=f"{key} = {value!r}: this value was renamed to {new}"):
            parse(experiment_flags(), argv, "usage", "about", needed=("config",))
    with pytest.raises(UserError, match=f"^--set {key} = {value!r}: this value was renamed to {new}"):
        parse_settings([f"{key}={value}"])


@pytest.mark.parametrize(
    ("line", "new"),
    [("config.read.group = True", "decode.group_digits"), ("config.optim.plan = ''", "optim.boundaries")],
)
def test_parse_names_the_new_key_of_an_old_config_file(tmp_path, line, new):
    path = tmp_path / "old.py"
    path.write_text(
        f"from seqdigits.config import base_config\n\ndef get_config():\n    config = base_config()\n    {line}\n    return config\n"
    )
    with pytest.raises(UserError, match=f"was renamed to {new}"):
        parse(experiment_flags(), ["main", f"--config={path}"], "usage", "about", needed=("config",))


def test_errors_of_boxes_that_count_empty_images_are_dropped():
    errors = {"localization_error": 470.7, "center_error": 17.6, "iou": 0.6}
    old = errors | {"sequence_accuracy": 0.6, "examples_by_length": {"0": 1246, "1": 3754}}
    point = {"step": 9, "sequence_accuracy": 0.5, "localization_error": 471.0}
    kept = old | {"examples_by_length": {"1": 5000}}
    new = old | {"localization_error_standard_error": 2.0}
    assert upgrade_report(old) == old | dict.fromkeys(errors)
    assert upgrade_report(kept) == kept
    assert upgrade_report(new) == new
    result = {"config": {}, "settings": {}, "curve": [point]}
    assert upgrade_result(result | {"reports": {"test": old}})["curve"] == [point | {"localization_error": None}]
    assert upgrade_result(result | {"reports": {"test": new}})["curve"] == [point]
