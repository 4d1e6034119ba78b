"""Tests of what scenes show: the hash of their pixels, what views show, pens, separators, natural backgrounds."""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import production_compiler
from ml_collections import ConfigDict
from PIL import Image
from test_scenes import SCENE, digest, edges, make_batch

from seqdigits.cli import draw_scenes
from seqdigits.config.defaults import DEFAULTS
from seqdigits.config_checks.validate import validate
from seqdigits.core.constants import NO_DIGIT
from seqdigits.core.errors import UserError
from seqdigits.core.interrupt import Stop
from seqdigits.core.types import Batch
from seqdigits.data.create import create_source
from seqdigits.data.photos import backgrounds
from seqdigits.data.scenes import natural_backgrounds, pens, pictures, separators, views
from seqdigits.data.scenes.draws import Draws
from seqdigits.data.source import DataSource

VIEWS = SCENE | {"data.min_digit": 8, "data.max_digit": 60}
GOLDEN = "0655d5472bdc863070ddb62adb31fd55a9153c0b6777aa30d4fd9da4a83fd2da"


@pytest.fixture(scope="module", autouse=True)
def published_compiler() -> Iterator[None]:
    with production_compiler():
        yield


@pytest.fixture(scope="module")
def source(small_config: Callable[..., ConfigDict]) -> DataSource:
    return create_source(small_config(VIEWS), "test")


@pytest.fixture(scope="module")
def batch(source: DataSource) -> Batch:
    return make_batch(jax.jit(source.make, static_argnums=3), source, np.arange(400))


def first(batch: Batch, count: int) -> Batch:
    return jax.tree.map(lambda x: x[:count], batch)


def test_views_0_to_99_match_golden_hash(batch):
    assert digest(first(batch, 100)) == GOLDEN


@pytest.mark.slow
def test_views_do_not_depend_on_batch_size(source, batch):
    part = make_batch(jax.jit(source.make, static_argnums=3), source, np.arange(8))
    assert digest(part) == digest(first(batch, 8))


def test_a_quarter_has_no_number(batch):
    is_empty = (batch.digits == NO_DIGIT).all(1)
    assert 0.2 < is_empty.mean() < 0.4
    assert source_of_lengths(batch)[~is_empty].min() >= 1


def source_of_lengths(batch: Batch) -> np.ndarray:
    return (batch.digits != NO_DIGIT).sum(1)


def test_labels_agree_with_each_other(batch):
    is_digit = batch.digits != NO_DIGIT
    np.testing.assert_array_equal(is_digit, np.arange(8) < is_digit.sum(1)[:, None])
    assert not batch.boxes[~is_digit].any()
    assert not batch.number[~is_digit].any()
    steps = np.diff(batch.number, axis=1)[is_digit[:, 1:]]
    assert set(steps.tolist()) == {0, 1}
    assert (batch.number[:, 0] == 0).all(), "a number whose digits are all cut off has no index"


def test_labeled_digits_are_mostly_visible(batch):
    low, high = edges(batch.boxes[batch.digits != NO_DIGIT])
    visible = (np.clip(high, 0, [128, 64]) - np.clip(low, 0, [128, 64])) / (high - low)
    assert visible.prod(1).min() > views.MIN_VISIBLE / 100 - 0.02
    is_cut_off = visible.prod(1) < 0.99
    assert 0.003 < is_cut_off.mean() < 0.1


def test_digits_have_the_heights_of_a_view(batch):
    heights = batch.boxes[batch.digits != NO_DIGIT][:, 3]
    assert np.percentile(heights, 99) < 70, "boxes of tilted digits are higher"
    assert (np.histogram(heights, [4, 12, 20, 30, 50])[0] > 0.05 * len(heights)).all()


def test_house_number_digits_are_more_frequent(source):
    digits = jax.vmap(lambda key: views.draw_digits(Draws(key), 8))(jax.random.split(jax.random.key(0), 4000))
    share = np.bincount(np.asarray(digits).ravel(), minlength=10) / digits.size
    np.testing.assert_allclose(share, (0.1 + np.array(views.FREQUENCIES) / 1000) / 2, atol=0.005)


def written(mnist_like: int = 3) -> np.ndarray:
    """Returns a tile u8 [28, 28] with a thick vertical stroke and a thick horizontal one."""
    tile = np.zeros((28, 28), np.uint8)
    tile[4:24, 12 : 12 + mnist_like] = 255
    tile[12 : 12 + mnist_like, 6:22] = 255
    return tile


@pytest.mark.parametrize(("thinness", "low", "high"), [(0, 4, 6), (45, 3, 5), (95, 1, 4)])
def test_pen_strokes_are_thin_and_unbroken(thinness, low, high):
    no = jnp.zeros(1, bool)
    page = np.asarray(pens.draw_strokes(jnp.asarray(written()[None]), jnp.array([thinness]), no, no))[0]
    assert page.shape == (48, 48)
    row = page[33]  # below the crossing
    assert low <= (row > 127).sum() <= high
    assert (page[10:40].max(1) > 127).mean() > 0.9, "nearly every row of the stem is covered"


def test_bar_and_flag_are_added_to_the_stem():
    tile, yes, no = jnp.asarray(written()[None]), jnp.ones(1, bool), jnp.zeros(1, bool)
    plain, barred, flagged = (
        np.asarray(pens.draw_strokes(tile, jnp.zeros(1, jnp.int32), *flags))[0].astype(int)
        for flags in ((no, no), (yes, no), (no, yes))
    )
    assert (barred >= plain).all()
    assert (flagged >= plain).all()
    columns = np.flatnonzero((flagged - plain > 100).any(0))
    assert columns.max() <= 22, "the flag is left of the stem"
    assert len(columns) >= 6


def test_enlarging_keeps_a_constant_exactly():
    assert (pens._WEIGHTS.sum(1) == 64).all()
    assert (np.round(pens._WEIGHTS) == pens._WEIGHTS).all()


def test_separators_are_small_and_inside_their_cells():
    assert separators.CELLS.shape == (8, 48, 48)
    widths = separators.BOXES[:, 2] - separators.BOXES[:, 0]
    assert widths.min() >= 2
    assert widths.max() <= 18
    assert not separators.CELLS[:, [0, -1]].any()
    assert not separators.CELLS[:, :, [0, -1]].any()


def test_photographs_fill_all_slots_at_all_scales():
    red, blue = np.full((45, 60, 3), [200, 0, 0], np.uint8), np.full((90, 60, 3), [0, 0, 250], np.uint8)
    packed = natural_backgrounds.pack([red, blue], 64, 128)
    assert packed.shape == (natural_backgrounds.num_pixels(64, 128),)
    assert set(np.unique(packed).tolist()) == {200 << 16, 250}
    h, w = natural_backgrounds.sizes(64, 128)[0]
    slots = packed[: natural_backgrounds.SLOTS * h * w].reshape(natural_backgrounds.SLOTS, h, w)
    # The upright one is cut into two parts.
    assert [hex(slot[0, 0]) for slot in slots[:4]] == ["0xc80000", "0xfa", "0xfa", "0xc80000"]


def test_cut_is_a_part_of_one_photograph():
    ramp = np.arange(240 * 320, dtype=np.int64).reshape(240, 320)
    picture = np.stack([ramp * 255 // ramp.max(), np.broadcast_to(np.arange(320) * 255 // 319, ramp.shape)], -1)
    picture = np.concatenate([picture, picture[..., :1]], -1).astype(np.uint8)
    packed = jnp.asarray(natural_backgrounds.pack([picture], 64, 128))
    cuts = jax.vmap(lambda key: natural_backgrounds.cut(Draws(key), packed, 64, 128))(
        jax.random.split(jax.random.key(0), 64)
    )
    cuts = np.asarray(cuts)
    assert cuts.shape == (64, 3, 64, 128)
    assert cuts.min() >= 0
    assert cuts.max() <= 255
    across, down = cuts[:, 1, 32, -1] - cuts[:, 1, 32, 0], cuts[:, 0, -1, 64] - cuts[:, 0, 0, 64]
    assert (down >= 0).all(), "never upside down"
    assert 0.3 < (across < 0).mean() < 0.7, "half of them are mirrored"
    assert len(set(np.round(np.abs(across), -1).tolist())) > 4, "scales differ"


def test_shades_are_those_of_the_region():
    image = np.full((3, 20, 20), 50)
    image[:, :, 10:] = 200
    low, high = natural_backgrounds.shades(
        jnp.asarray(image), jnp.array([[0, 0, 10, 20], [10, 5, 15, 9], [0, 0, 20, 20]])
    )
    assert low.tolist() == [50, 200, 13]
    assert high.tolist() == [50, 200, 237]


def test_natural_backgrounds_are_read_from_their_file(small_config, tmp_path):
    rng = np.random.default_rng(0)
    names = [name for name in map(str, range(40)) if backgrounds.split_of(f"p/{name}") == "test"]
    entries = [
        backgrounds.Entry(name, "p", "1", "CC0-1.0", Image.fromarray(rng.integers(0, 256, (48, 64, 3), np.uint8)))
        for name in names
    ]
    (tmp_path / "b.jpg").write_bytes(backgrounds.encode(entries))
    config = small_config(VIEWS | {"data.backgrounds": str(tmp_path / "b.jpg"), "model.name": "dense_detector"})
    source = create_source(config, "test")
    assert source.arrays["backgrounds"].shape == source.spec.arrays["backgrounds"].shape
    with pytest.raises(UserError, match="has no backgrounds for the split train"):
        _ = create_source(config, "train").arrays


def test_empty_views_are_allowed_by_the_spec(source):
    assert source.spec.min_length == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data.scene_version": 1}, "data.scene_version = 1 is out of range: 2 to 2"),
        (
            {
                "data.composition": "canvas",
                "data.max_numbers": 1,
                "data.min_digit": 10,
                "data.max_digit": 120,
                "data.backgrounds": "b.jpg",
            },
            "data.backgrounds = 'b.jpg' has no effect",
        ),
    ],
)
def test_validate_refuses(experiment, changes, message):
    config = experiment("reader_scene")
    config.data.backgrounds = ""
    config.update_from_flattened_dict(changes)
    with pytest.raises(UserError, match=message):
        validate(config)


@pytest.mark.slow
def test_drawn_pictures_have_one_number_or_none(tmp_path, mnist_folder, monkeypatch):
    monkeypatch.setenv("SEQDIGITS_DATA", str(mnist_folder))
    drawn = pictures.create_pictures("validation", 0, None)
    pictures.make(tmp_path / "drawn", drawn, count=3, empty=2, stop=Stop())
    rows = list(csv.DictReader((tmp_path / "drawn" / "labels.csv").open()))
    assert sorted(row["image"] for row in rows) == [
        "no_number/0001.jpg",
        "no_number/0002.jpg",
        *(f"scene/000{i}.jpg" for i in (1, 2, 3)),
    ]
    for row in rows:
        assert Image.open(tmp_path / "drawn" / row["image"]).size == (640, 480)
        boxes = [tuple(map(float, box.split())) for box in row["boxes"].split(";") if box]
        assert len(boxes) == len(row["number"])
        assert bool(boxes) == row["image"].startswith("scene")
        assert all(left >= 0 and left + width <= 640 for left, _, width, _ in boxes)


def test_draw_scenes_command_refuses_nothing_to_draw(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["draw-scenes", str(tmp_path / "new"), "--count=0", "--empty=0"])
    with pytest.raises(UserError, match="there is nothing to draw"):
        draw_scenes.main(Stop())


class StubPictures:
    """An endless source: example i shows the digit i, and nothing if i is odd."""

    arrays = {}  # noqa: RUF012 (nothing changes it)

    def batches(self, step, size):
        while True:
            yield {"index": np.arange(step * size, (step + 1) * size)}
            step += 1

    def make(self, arrays, host_batch, key, train):
        index = host_batch["index"]
        shown = jnp.where(index % 2, NO_DIGIT, index)[:, None]
        box = jnp.where(shown[..., None] == NO_DIGIT, 0.0, jnp.array([6.0, 4, 4, 6]))
        return Batch(
            image=jnp.broadcast_to(20 * index[:, None, None, None], (len(index), 8, 12, 3)).astype(jnp.uint8),
            digits=jnp.pad(shown, ((0, 0), (0, 1)), constant_values=NO_DIGIT),
            boxes=jnp.pad(box, ((0, 0), (0, 1), (0, 0))),
            index=index,
        )


@pytest.mark.parametrize("has_backgrounds", [False, True])
def test_draw_scenes_command_writes_pictures_and_labels(tmp_path, monkeypatch, capsys, has_backgrounds):
    asked, folder = [], tmp_path / "new"

    def create(split, seed, load_backgrounds):
        asked.append((split, seed, load_backgrounds and load_backgrounds()))
        return StubPictures()

    monkeypatch.setattr(pictures, "create_pictures", create)
    monkeypatch.setattr(backgrounds, "pixels_of", lambda file, split: [f"{split} of {file}"])
    monkeypatch.setattr(draw_scenes, "prepare_jax", lambda: None)
    flags = ["--split=test", "--seed=7", "--count=3", "--empty=2", f"--backgrounds={'b.jpg' * has_backgrounds}"]
    monkeypatch.setattr(sys, "argv", ["draw-scenes", str(folder), *flags])
    draw_scenes.main(Stop())
    assert asked == [("test", 7, ["test of b.jpg"] if has_backgrounds else None)]
    rows = list(csv.DictReader((folder / "labels.csv").open()))
    found = [(row["image"], row["number"], row["boxes"]) for row in rows]
    box = "4.0 1.0 4.0 6.0"
    assert found == [
        ("scene/0001.jpg", "0", box),
        ("no_number/0001.jpg", "", ""),
        ("scene/0002.jpg", "2", box),
        ("no_number/0002.jpg", "", ""),
        ("scene/0003.jpg", "4", box),
    ]
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert files == {"labels.csv", *(name for name, _, _ in found)}
    for i, (name, _, _) in enumerate(found):
        assert np.abs(np.asarray(Image.open(folder / name)).astype(int) - 20 * i).max() <= 1, "JPEG"
    assert capsys.readouterr().out.splitlines()[-1] == f"wrote {folder}: 3 pictures with a number and 2 without."


def test_draw_scenes_command_downloads_mnist_from_the_default_address(tmp_path, monkeypatch):
    asked = []

    def retrieve(url, **_):
        asked.append(url)
        raise OSError("no network")

    monkeypatch.setattr("pooch.retrieve", retrieve)
    monkeypatch.setattr(draw_scenes, "prepare_jax", lambda: None)
    monkeypatch.setenv("SEQDIGITS_DATA", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["draw-scenes", str(tmp_path / "new"), "--backgrounds="])
    with pytest.raises(
        UserError, match=r"no network\n.*SEQDIGITS_DATA=DIR\. A command that takes a config also has --config"
    ):
        draw_scenes.main(Stop())
    assert asked == [f"{DEFAULTS['data.url']}/train-images-idx3-ubyte.gz"]
