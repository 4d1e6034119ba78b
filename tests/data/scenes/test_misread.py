"""Views without a number that show what a reader misread: their parts, their share, and the search for them."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from test_scenes import SCENE, make_batch

from seqdigits.config_checks.validate import validate
from seqdigits.core.constants import NO_DIGIT
from seqdigits.core.errors import UserError
from seqdigits.core.interrupt import Stop, Stopped
from seqdigits.data.create import create_source
from seqdigits.data.photos import backgrounds
from seqdigits.data.photos.backgrounds import Background
from seqdigits.data.scenes import misread as parts
from seqdigits.data.scenes.draws import Draws
from seqdigits.inference import misread
from seqdigits.inference.reader import Digit, Number, Result

TRAIN = [name for name in map(str, range(40)) if backgrounds.split_of(f"p/{name}") == "train"]


def part_of(color):
    return np.broadcast_to(np.uint8(color), (parts.HEIGHT, parts.WIDTH, 3))


def file_of(path, pictures):
    entries = [
        backgrounds.Entry(name, "p", "1", "CC0-1.0", Image.fromarray(np.ascontiguousarray(picture)))
        for name, picture in zip(TRAIN, pictures, strict=False)
    ]
    path.write_bytes(backgrounds.encode(entries))
    return str(path)


@pytest.fixture
def config(small_config, tmp_path):
    """Scenes whose misread parts are of one green, which no other scene is."""
    file = file_of(tmp_path / "m.jpg", [part_of((0, 255, 0))])
    return small_config(SCENE | {"data.min_digit": 8, "data.max_digit": 60, "data.misread": file})


def test_parts_are_repeated_to_fill_the_slots():
    packed = parts.pack([part_of((1, 2, 3)), part_of((4, 5, 6))])
    assert packed.shape == (parts.SLOTS, parts.HEIGHT, parts.WIDTH)
    assert [hex(packed[i, 0, 0]) for i in range(3)] == ["0x10203", "0x40506", "0x10203"]


def test_parts_of_another_size_are_refused():
    with pytest.raises(
        UserError, match="has a picture of 64x48 pixels; allowed are those of 192x96 that seqdigits find"
    ):
        parts.pack([np.zeros((48, 64, 3), np.uint8)])


def test_view_is_cut_from_one_part_at_random():
    ramp = np.broadcast_to(np.arange(parts.WIDTH, dtype=np.uint8)[:, None], (parts.HEIGHT, parts.WIDTH, 3))
    packed = jnp.asarray(parts.pack([ramp]))
    cuts = np.asarray(jax.vmap(lambda k: parts.cut(Draws(k), packed, 64, 128))(jax.random.split(jax.random.key(0), 64)))
    assert cuts.shape == (64, 3, 64, 128)
    assert 0.3 < (cuts[:, 1, 0, -1] < cuts[:, 1, 0, 0]).mean() < 0.7, "half of them are mirrored"
    assert len(set(cuts[:, 1, 0, 0].tolist())) > 8, "places and colors differ"


def test_half_of_the_training_views_without_a_number_show_them(config):
    source = create_source(config, "train")
    assert source.arrays["misread"].shape == source.spec.arrays["misread"].shape
    batch = make_batch(jax.jit(source.make, static_argnums=3), source, np.arange(400))
    image = np.asarray(batch.image).astype(int)
    red, green, blue = np.moveaxis(image.mean((1, 2)), -1, 0)
    is_green = (green > red + 100) & (green > blue + 100)
    is_empty = (np.asarray(batch.digits) == NO_DIGIT).all(1)
    assert not (is_green & ~is_empty).any()
    assert 0.35 < is_green[is_empty].mean() < 0.65


def test_evaluation_does_not_show_them(config):
    with_parts = create_source(config, "validation")
    assert "misread" not in with_parts.arrays
    batch = make_batch(jax.jit(with_parts.make, static_argnums=3), with_parts, np.arange(8))
    config.data.misread = ""
    without = create_source(config, "validation")
    expected = make_batch(jax.jit(without.make, static_argnums=3), without, np.arange(8))
    np.testing.assert_array_equal(batch.image, expected.image)


def test_missing_file_names_the_command(config, tmp_path):
    config.data.misread = str(tmp_path / "none.jpg")
    with pytest.raises(UserError, match="none.jpg is missing. To make it: seqdigits find-misread --out"):
        _ = create_source(config, "train").arrays


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
    """A Reader that takes the first red pixel for a number, with the confidence of its green."""

    def read(self, picture):
        y, x = np.argwhere(picture[..., 0] > 200)[0]
        box = (float(x), float(y), 20.0, 10.0)
        confidence = picture[y, x, 1] / 255
        return Result((Number("12", confidence, box, (Digit(1, confidence, box), Digit(2, confidence, box))),))


def test_search_returns_sure_numbers_best_first():
    greens = (10, 100, 250)
    photographs = [Background(f"p/{g}", np.full((900, 1200, 3), (255, g, 0), np.uint8), "1", "CC0-1.0") for g in greens]
    found = misread.find(SeesRed(), photographs, pictures=6, seed=0, stop=Stop())
    assert [one.background.name for one in found] == ["p/250", "p/250", "p/100", "p/100"]
    assert all(one.part.shape == (parts.HEIGHT, parts.WIDTH, 3) for one in found)


def test_search_stops():
    stop = Stop()
    stop.set()
    with pytest.raises(Stopped):
        misread.find(SeesRed(), [], pictures=1, seed=0, stop=stop)


@pytest.mark.parametrize("left", [0.0, 70.0, 180.0])
def test_part_has_the_number_in_its_middle(left):
    picture = np.zeros((100, 200, 3), np.uint8)
    picture[40:60, int(left) : int(left) + 20] = 255
    box = (left, 40.0, 20.0, 20.0)
    number = Number("1", 0.9, box, (Digit(1, 0.9, box),))
    part = misread.part_around(picture, number, 40.0)
    assert part.shape == (parts.HEIGHT, parts.WIDTH, 3)
    rows = np.flatnonzero(part[:, parts.WIDTH // 2, 0] > 127)
    assert (rows[0], rows[-1]) == (28, 67)  # 40 pixels high, in the middle of 96
    columns = np.flatnonzero(part[parts.HEIGHT // 2, :, 0] > 127)
    assert abs(columns.mean() - (parts.WIDTH - 1) / 2) < 1 or left in (0.0, 180.0)  # there the edge repeats it
