"""Configs by name and by path, and the errors for those that do not exist."""

import sys

import pytest
from conftest import ROOT

from seqdigits.config import registry
from seqdigits.config.flags import config_file, experiment_flags, parse, with_config
from seqdigits.config.registry import config_names, find_config
from seqdigits.core.errors import UserError


def test_configs_are_those_of_the_checkout():
    assert ROOT / "configs" == registry.CONFIGS
    assert config_names() == sorted(path.stem for path in (ROOT / "configs").glob("*.py"))


def test_find_config_takes_a_name_or_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    packaged = registry.CONFIGS / "quickstart.py"
    assert find_config("quickstart") == find_config("configs/quickstart.py") == find_config("quickstart.py") == packaged
    own = tmp_path / "configs" / "quickstart.py"
    own.parent.mkdir()
    own.touch()
    assert find_config("configs/quickstart.py").absolute() == own
    assert find_config("quickstart") == packaged
    (tmp_path / "quickstart").touch()
    assert find_config("quickstart") == packaged
    assert find_config(str(own)) == own


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("quikstart", r"^there is no config quikstart\. Did you mean quickstart\? A file, FILE\.py, is allowed too\.$"),
        ("configs/reader_svnh.py", r"Did you mean reader_svhn or reader_scene\?"),
        ("runs/quickstart.py", r"^there is no config runs/quickstart\.py\. Did you mean quickstart\?"),
        ("configs", r"Known configs are canvas_classify, .*quickstart, .*svhn_transfer_l2\. A file"),
        ("", r"^there is no config \. Known configs are"),
    ],
)
def test_find_config_suggests_names(text, message):
    with pytest.raises(UserError, match=message):
        find_config(text)


@pytest.mark.parametrize(
    "words",
    [
        ["quickstart", "--config.train.steps=7"],
        ["configs/quickstart.py", "--config.train.steps=7"],
        ["--config=quickstart", "--config.train.steps", "7"],
        ["--config", "quickstart", "--config.train.steps=7"],
        ["--config", "configs/quickstart.py", "--config.train.steps=7"],
    ],
)
def test_command_line_takes_a_config_by_name(words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["x", *words])  # ml_collections finds the keys there
    argv = with_config(sys.argv)
    expected = registry.load_config("quickstart")
    expected.train.steps = 7
    values = parse(experiment_flags(), argv, "usage", "about", needed=("config",))
    assert values["config"].value.to_json() == expected.to_json()
    assert config_file(argv).removeprefix("configs/").removesuffix(".py") == "quickstart"


@pytest.mark.parametrize("words", [["quikstart"], ["--config", "quikstart"], ["--config=quikstart:argument"]])
def test_command_line_suggests_names(words):
    with pytest.raises(UserError, match="no config quikstart. Did you mean quickstart"):
        parse(experiment_flags(), with_config(["x", *words]), "usage", "about", needed=("config",))


def test_command_line_without_the_value_of_config():
    with pytest.raises(UserError, match="Missing value for flag --config"):
        parse(experiment_flags(), ["x", "--config"], "usage", "about", needed=("config",))
