"""Saved configs: completed, refused where this version cannot read them, and compared."""

import json
from pathlib import Path

import pytest

from seqdigits.config import base_config
from seqdigits.config.saved import complete_config, diff_configs, to_json
from seqdigits.core.errors import UserError


def test_a_saved_config_gets_the_defaults_of_the_keys_that_it_lacks():
    config = complete_config({"seed": 3, "data": {"parts": ["train", "extra"]}}, Path("a.npz"))
    expected = base_config()
    expected.seed, expected.data.parts = 3, ("train", "extra")
    assert config == expected


@pytest.mark.parametrize(
    ("saved", "message"),
    [
        ({"model": {"nonsense": 1}}, "model.nonsense = 1"),
        ({"new": {"key": "a"}}, "new.key = 'a'"),
        ({"model": 5}, "model = 5"),
        ({"seed": {"a": 1}}, "seed.a = 1"),
        ({"seed": None}, "seed = None"),
        ({"model": {"gru_units": "many"}}, "gru_units.*many"),
        ([], "list"),
    ],
)
def test_a_config_of_another_version_is_refused(saved, message):
    with pytest.raises(UserError, match=f"^a.npz has a config that this version cannot read: .*{message}.*Use the ver"):
        complete_config(saved, Path("a.npz"))


def test_diff_configs_ignores_resumable_keys(small_config):
    saved = json.loads(to_json(small_config({})))
    same = small_config({"train.steps": 400, "data.folder": "elsewhere", "evaluate.every": 400})
    assert diff_configs(same, saved) == []
    other = small_config({"seed": 3, "train.batch_size": 4})
    assert diff_configs(other, saved) == ["seed: 0 -> 3", "train.batch_size: 8 -> 4"]


def test_diff_configs_takes_the_default_of_a_missing_key(small_config):
    saved = json.loads(to_json(small_config({})))
    del saved["optim"]["clip_norm"]
    assert diff_configs(small_config({}), saved) == []
    assert diff_configs(small_config({"optim.clip_norm": 2.0}), saved) == ["optim.clip_norm: 0.0 -> 2.0"]
