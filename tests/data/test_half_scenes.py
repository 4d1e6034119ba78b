"""Tests of training data of which every second image is a synthetic scene."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import photo_folders
import pytest
from ml_collections import ConfigDict
from PIL import Image

from seqdigits.config_checks.validate import validate
from seqdigits.core.constants import NO_DIGIT
from seqdigits.core.errors import UserError
from seqdigits.data import digits
from seqdigits.data.create import create_source
from seqdigits.data.evaluated_config import as_evaluated
from seqdigits.data.half_scenes import HalfScenes
from seqdigits.data.photos import backgrounds
from seqdigits.data.source import DataSource
from seqdigits.training import loop


@pytest.fixture(scope="module")
def config(small_config: Callable[..., ConfigDict], tmp_path_factory: pytest.TempPathFactory) -> ConfigDict:
    folder: Path = tmp_path_factory.mktemp("photos")
    photo_folders.make(folder, 30)
    names = [name for name in map(str, range(40)) if backgrounds.split_of(f"p/{name}") == "train"]
    gray = Image.new("RGB", (64, 48), (90, 90, 90))
    entries = [backgrounds.Entry(name, "p", "1", "CC0-1.0", gray) for name in names[:3]]
    (folder / "b.jpg").write_bytes(backgrounds.encode(entries))
    return small_config(
        {
            "data.composition": "photograph",
            "data.photographs": "folder",
            "data.folder": str(folder),
            "data.width": 64,
            "data.max_length": 5,
            "data.half_scenes": True,
            "data.max_numbers": 2,
            "data.min_digit": 8,
            "data.backgrounds": str(folder / "b.jpg"),
            "data.pasted": 50,
        }
    )


@pytest.fixture(scope="module")
def source(config: ConfigDict) -> DataSource:
    source = create_source(config, "train")
    assert isinstance(source, HalfScenes)
    return source


@pytest.mark.parametrize("composition", ["photograph", "crop"])
def test_mnist_is_not_sought_in_the_folder_of_photos(config, monkeypatch, tmp_path, composition):
    monkeypatch.setenv("SEQDIGITS_DATA", str(tmp_path))
    monkeypatch.setattr(digits, "mnist_files", lambda folder, url: pytest.fail(str(folder)))
    changed = config.copy_and_resolve_references()
    changed.data.digits, changed.data.composition = "mnist", composition
    with pytest.raises(pytest.fail.Exception, match=str(tmp_path / "mnist")):
        _ = create_source(changed, "train").arrays


def test_even_rows_are_photographs_and_odd_rows_scenes(config, source):
    make = jax.jit(source.make, static_argnums=3)
    host_batch = next(source.batches(3, 8))
    np.testing.assert_array_equal(host_batch["position"], np.repeat(np.arange(12, 16), 2))
    batch = jax.device_get(make(source.arrays, host_batch, jax.random.key(0), True))
    photographs, scenes = source._sources
    for start, alone in ((0, photographs), (1, scenes)):
        half = next(alone.batches(3, 4))
        expected = jax.device_get(jax.jit(alone.make, static_argnums=3)(alone.arrays, half, jax.random.key(0), True))
        for name in ("image", "digits", "boxes", "index"):
            np.testing.assert_array_equal(getattr(batch, name)[start::2], getattr(expected, name), err_msg=name)
    assert not batch.number[::2].any()
    assert source.spec.min_length == 0


def test_evaluation_has_photographs_alone(config, source):
    photographs = source._sources[0]
    for one, other in zip(source.all(8, 20), photographs.all(8, 20), strict=True):
        np.testing.assert_array_equal(one["index"], other["index"])
    host_batch = next(source.all(8))
    batch = jax.jit(source.make, static_argnums=3)(source.arrays, host_batch, jax.random.key(0), False)
    assert (np.asarray(batch.digits) != NO_DIGIT).any(1).all()
    assert not isinstance(create_source(config, "validation"), HalfScenes)
    evaluated = create_source(as_evaluated(config), "train")
    assert not isinstance(evaluated, HalfScenes)
    assert set(evaluated.spec.arrays) == {"images", "digits", "boxes"}, "no backgrounds, which only training shows"


def test_batches_can_start_at_any_step(source):
    steps = list(itertools.islice(source.batches(0, 8), 9))
    later = next(source.batches(8, 8))
    for name, rows in later.items():
        np.testing.assert_array_equal(rows, steps[8][name])


def test_odd_rows_of_a_device_are_refused(config, tmp_path, monkeypatch):
    config = config.copy_and_resolve_references()
    config.train.batch_size = 12
    monkeypatch.setattr(loop, "Devices", lambda _: SimpleNamespace(count=4))
    with pytest.raises(UserError, match="train.batch_size = 12: .* Set it to a multiple of 8"):
        loop.train_and_evaluate(config, tmp_path / "run")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data.backgrounds": ""}, "data.pasted = 50: data.backgrounds = '', but numbers are pasted"),
        ({"train.batch_size": 7}, "train.batch_size = 7: data.half_scenes needs an even number"),
        ({"data.min_digit": 30}, "data.min_digit = 30: rotated digits would not fit into data.height = 32. At most 24"),
        ({"data.min_digit": 20, "data.max_digit": 10}, "data.min_digit = 20 is more than data.max_digit = 10"),
        (
            {"data.train_height": 28, "data.train_width": 64},
            "data.train_height, data.train_width = 28, 64: data.half_scenes",
        ),
        ({"data.test_examples": 100}, "data.test_examples = 100 has no effect with data.composition = photograph"),
        ({"data.half_scenes": False, "data.digits": "mnist"}, "data.max_numbers = 2 has no effect"),
    ],
)
def test_validate_refuses(config, changes, message):
    config = config.copy_and_resolve_references()
    config.update_from_flattened_dict(changes)
    with pytest.raises(UserError, match=message):
        validate(config)


def test_validate_accepts(config):
    validate(config)
