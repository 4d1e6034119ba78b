"""Views without a number that show what a reader misread: their parts, their share, and the search for them."""

from __future__ import annotations

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from test_scenes import SCENE, make_batch

from seqdigits.cli import find_misread
from seqdigits.config_checks.validate import validate
from seqdigits.core.constants import NO_DIGIT
from seqdigits.core.errors import UserError
from seqdigits.core.interrupt import Stop, Stopped
from seqdigits.data.create import create_source
from seqdigits.data.evaluated_config import as_evaluated
from seqdigits.data.photos import backgrounds
from seqdigits.data.photos.backgrounds import Background
from seqdigits.data.scenes import misread as parts
from seqdigits.data.scenes import natural_backgrounds
from seqdigits.data.scenes.draws import Draws
from seqdigits.inference import misread
from seqdigits.inference.reader import Digit, Number

TRAIN = [name for name in map(str, range(40)) if backgrounds.split_of(f"p/{name}") == "train"]


def entries(*pictures):
    return [
        backgrounds.Entry(name, "p", "1", "CC0-1.0", picture) for name, picture in zip(TRAIN, pictures, strict=False)
    ]


@pytest.fixture
def config(small_config, tmp_path):
    """Scenes whose misread parts are of one green, which no other scene is."""
    green = Image.new("RGB", (parts.WIDTH, parts.HEIGHT), (0, 255, 0))
    (tmp_path / "m.jpg").write_bytes(backgrounds.encode(entries(green), backgrounds.MISREAD))
    keys = {"data.min_digit": 8, "data.max_digit": 60, "data.misread": str(tmp_path / "m.jpg")}
    return small_config(SCENE | keys)


def test_parts_are_repeated_to_fill_the_slots():
    packed = parts.pack([np.broadcast_to(np.uint8(c), (parts.HEIGHT, parts.WIDTH, 3)) for c in ((1, 2, 3), (4, 5, 6))])
    assert packed.shape == (parts.SLOTS, parts.HEIGHT, parts.WIDTH)
    assert [hex(packed[i, 0, 0]) for i in range(3)] == ["0x10203", "0x40506", "0x10203"]


def test_view_is_cut_from_one_part_at_random(monkeypatch):
    monkeypatch.setattr(natural_backgrounds, "recolored", lambda draws, image: image)
    y, x = np.mgrid[: parts.HEIGHT, : parts.WIDTH].astype(np.uint8)
    packed = jnp.asarray(parts.pack([np.stack([y, x, x], -1), np.stack([y, x, 0 * x], -1)]))
    cuts = np.asarray(jax.vmap(lambda k: parts.cut(Draws(k), packed, 64, 128))(jax.random.split(jax.random.key(0), 64)))
    assert cuts.shape == (64, 3, 64, 128)
    tops, lefts = cuts[:, 0, 0, 0], cuts[:, 1].min((1, 2))
    assert 0 <= tops.min() <= tops.max() <= parts.HEIGHT - 64
    assert 0 <= lefts.min() <= lefts.max() <= parts.WIDTH - 128
    assert len(set(tops.tolist())) > 16
    assert len(set(lefts.tolist())) > 20
    assert 0.3 < (cuts[:, 1, 0, -1] < cuts[:, 1, 0, 0]).mean() < 0.7, "half of them are mirrored"
    assert 0.3 < (cuts[:, 2].max((1, 2)) == 0).mean() < 0.7, "both parts are shown"


def test_half_of_the_training_views_without_a_number_show_them(config):
    source = create_source(config, "train")
    assert source.arrays["misread"].shape == source.spec.arrays["misread"].shape
    batch = make_batch(jax.jit(source.make, static_argnums=3), source, np.arange(400))
    red, green, blue = np.moveaxis(np.asarray(batch.image).mean((1, 2)), -1, 0)
    is_green = (green > red + 100) & (green > blue + 100)
    is_empty = (np.asarray(batch.digits) == NO_DIGIT).all(1)
    assert not (is_green & ~is_empty).any()
    assert 0.35 < is_green[is_empty].mean() < 0.65


def test_evaluation_does_not_show_them(config):
    with_parts = create_source(config, "validation")
    assert "misread" not in with_parts.spec.arrays
    batch = make_batch(jax.jit(with_parts.make, static_argnums=3), with_parts, np.arange(8))
    config.data.misread = ""
    without = create_source(config, "validation")
    expected = make_batch(jax.jit(without.make, static_argnums=3), without, np.arange(8))
    np.testing.assert_array_equal(batch.image, expected.image)


def test_train_split_is_evaluated_without_them(config):
    assert "misread" in create_source(config, "train").spec.arrays
    assert "misread" not in create_source(as_evaluated(config), "train").spec.arrays


def test_scenes_beside_photographs_show_them(experiment):
    config = experiment("reader_svhn")
    config.data.backgrounds, config.data.pasted, config.data.misread = "", 0, "m.jpg"
    assert "scenes/misread" in create_source(config, "train").spec.arrays


def test_missing_file_names_the_command(config, tmp_path):
    config.data.misread = str(tmp_path / "none.jpg")
    with pytest.raises(UserError, match=r"none.jpg is missing. To make it: seqdigits find-misread --out"):
        _ = create_source(config, "train").arrays


def test_file_of_backgrounds_is_refused(config, tmp_path):
    (tmp_path / "m.jpg").write_bytes(backgrounds.encode(entries(Image.new("RGB", (192, 96)))))
    with pytest.raises(UserError, match="not a file of seqdigits find-misread"):
        _ = create_source(config, "train").arrays


@pytest.mark.parametrize(
    "changes", [{}, {"model.name": "heads", "loss.digits": 1.0, "loss.cells": 0.0, "loss.cell_boxes": 0.0}]
)
def test_validate_accepts(small_config, changes):
    validate(small_config(SCENE | {"data.misread": "m.jpg"} | changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data.height": 128, "data.width": 256}, "its parts have 96x192 pixels, and training images 128x256"),
        (
            {"data.composition": "canvas", "data.max_numbers": 1, "data.min_digit": 10, "data.max_digit": 120},
            "data.misread = 'm.jpg' has no effect",
        ),
    ],
)
def test_validate_refuses(experiment, changes, message):
    config = experiment("reader_scene")
    config.data.backgrounds = ""
    config.data.misread = "m.jpg"
    config.update_from_flattened_dict(changes)
    with pytest.raises(UserError, match=message):
        validate(config)


class SeesRed:
    """A Reader that takes the middle for a number of 30 pixels where it is red, with the confidence of its green."""

    def read_upright(self, picture):
        x, y = picture.width // 2, picture.height // 2
        red, green, _ = picture.getpixel((x, y))
        confidence = green / 255
        box = (x - 30.0, y - 15.0, 60.0, 30.0)
        number = Number("12", confidence, box, (Digit(1, confidence, box), Digit(2, confidence, box)))
        return [number] if red > 200 else []


def test_search_keeps_sure_numbers_best_first_and_few_of_each_background():
    colors = {"a": (255, 10, 0), "b": (255, 100, 0), "c": (255, 250, 0), "d": (0, 250, 0)}
    found = [Background(f"p/{name}", np.full((640, 640, 3), c, np.uint8), "1", "CC0-1.0") for name, c in colors.items()]
    kept = misread.find(SeesRed(), found, pictures=80, seed=0, stop=Stop())
    assert [one.background.name for one in kept] == ["p/c"] * misread.PER_BACKGROUND + ["p/b"] * misread.PER_BACKGROUND
    assert all(one.part.shape == (parts.HEIGHT, parts.WIDTH, 3) for one in kept)


def test_search_stops():
    stop = Stop()
    stop.set()
    with pytest.raises(Stopped):
        misread.find(SeesRed(), [], pictures=1, seed=0, stop=stop)


def part_of(left, top, side, share):
    picture = np.zeros((400, 600, 3), np.uint8)
    picture[top : top + side, left : left + side] = 255
    box = (float(left), float(top), float(side), float(side))
    return misread.part_around(picture, Number("1", 0.9, box, (Digit(1, 0.9, box),)), share)


@pytest.mark.parametrize(
    ("left", "share", "columns", "rows"),
    [
        (290, 1.0, (73, 118), (25, 70)),  # 46 pixels high, in the middle
        (290, 0.0, (91, 100), (43, 52)),  # 10 pixels high
        (40, 0.8, (68, 101), (31, 64)),  # near the left edge of the picture, where the part begins
    ],
)
def test_part_has_the_number_in_its_middle(left, share, columns, rows):
    part = part_of(left, 190, 20, share)
    assert part.shape == (parts.HEIGHT, parts.WIDTH, 3)
    y, x = np.nonzero(part[..., 0] > 127)
    np.testing.assert_allclose([x.min(), x.max()], columns, atol=1)
    np.testing.assert_allclose([y.min(), y.max()], rows, atol=1)


@pytest.mark.parametrize(("left", "top", "side"), [(0, 190, 20), (290, 0, 20), (200, 100, 200)])
def test_number_that_no_part_shows_is_left_out(left, top, side):
    """At the left edge, at the upper edge, and so large that a part would be larger than the picture."""
    assert part_of(left, top, side, 1.0) is None


@pytest.fixture
def command(monkeypatch, tmp_path):
    """Runs the command with a Reader on 40 pictures of one color."""
    (tmp_path / "b.jpg").write_bytes(backgrounds.encode(entries(*[Image.new("RGB", (640, 640), (255, 200, 0))] * 8)))

    def run(reader, *others):
        monkeypatch.setattr(find_misread.Reader, "from_pretrained", lambda name: reader)
        flags = (f"--backgrounds={tmp_path / 'b.jpg'}", f"--out={tmp_path / 'out' / 'm.jpg'}", "--pictures=40")
        monkeypatch.setattr(sys, "argv", ["seqdigits find-misread", *flags, *others])
        find_misread.main(Stop())

    return run


def test_command_writes_the_file_that_scenes_read(command, small_config, tmp_path, capsys):
    command(SeesRed())
    assert "false numbers, seen in 8 of 8 backgrounds" in capsys.readouterr().out
    source = create_source(small_config(SCENE | {"data.misread": str(tmp_path / "out" / "m.jpg")}), "train")
    assert source.arrays["misread"].shape == (parts.SLOTS, parts.HEIGHT, parts.WIDTH)
    with pytest.raises(UserError, match=r"m.jpg exists already"):
        command(SeesRed())


def test_command_keeps_the_false_numbers_of_an_earlier_file(command, tmp_path, capsys):
    blue = Image.new("RGB", (parts.WIDTH, parts.HEIGHT), (0, 0, 255))
    (tmp_path / "earlier.jpg").write_bytes(backgrounds.encode(entries(*[blue] * 3), backgrounds.MISREAD))
    command(SeesRed(), f"--add={tmp_path / 'earlier.jpg'}")
    assert f"; and 3 of the 3 of {tmp_path / 'earlier.jpg'}" in capsys.readouterr().out
    written = backgrounds.load(tmp_path / "out" / "m.jpg", "train", backgrounds.MISREAD)
    is_blue = [one.pixels[..., 2].mean() > 200 for one in written]
    assert is_blue == [False] * (len(written) - 3) + [True] * 3
    assert [one.name for one in written[-3:]] == [f"p/{name}" for name in TRAIN[:3]]


def test_missing_earlier_file_is_refused(command):
    with pytest.raises(UserError, match=r"--add none.jpg is missing"):
        command(SeesRed(), "--add=none.jpg")


def test_weights_of_two_kinds_are_refused(command, tmp_path):
    with pytest.raises(UserError, match=r"^--weights and --workdir cannot be combined\. Leave one out\.$"):
        command(SeesRed(), "--weights=scene", "--workdir=W")
    assert not (tmp_path / "out").exists()


def test_command_writes_nothing_where_nothing_is_seen(command, tmp_path):
    class SeesNothing:
        def read_upright(self, picture):
            return []

    with pytest.raises(UserError, match="no false number was seen"):
        command(SeesNothing())
    assert not (tmp_path / "out" / "m.jpg").exists()


def test_parts_of_another_size_are_refused():
    with pytest.raises(
        UserError, match="data.misread: its file has parts of 64x128 pixels, and scenes show parts of 96x192"
    ):
        parts.pack([np.zeros((64, 128, 3), np.uint8)])
