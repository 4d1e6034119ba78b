"""Tests of the digits that are drawn stroke by stroke."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqdigits.data.scenes import skeletons
from seqdigits.data.scenes.draws import Draws


@pytest.fixture(scope="module")
def tiles() -> np.ndarray:
    """u8 [300, 10, 28, 28]: the digits 0..9, each row by another writer."""

    def draw(key: jax.Array) -> jax.Array:
        return skeletons.draw_digits(Draws(key), jnp.arange(10), jnp.zeros(10, jnp.int32), 1)

    return np.asarray(jax.jit(jax.vmap(draw))(jax.random.split(jax.random.key(0), 300)))


def test_each_form_is_20_texels_high_and_starts_with_the_pen_down():
    points, is_down = skeletons._FORM_POINTS, skeletons._IS_DOWN
    height = points[..., 1].max(1) - points[..., 1].min(1)
    assert height.min() >= 18 * 16
    assert height.max() <= 22 * 16
    assert is_down[:, 0].all()
    assert not is_down[:, -1].any()
    strokes = (~is_down).sum(1)
    assert strokes.max() == 2
    assert [len(forms) for forms in skeletons.FORMS.values()] == skeletons._COUNTS.tolist()


def test_drawn_digits_are_inside_and_as_high_as_those_of_mnist(tiles):
    rows = (tiles > 127).any(3)
    height = rows.sum(2)
    assert height.min() >= 14
    assert 19 < height.mean() < 24
    on_the_edge = (tiles[:, :, [0, -1]] > 127).any((2, 3)) | (tiles[..., [0, -1]] > 127).any((2, 3))
    assert on_the_edge.mean() < 0.01


def test_strokes_are_as_thick_as_those_of_mnist(tiles):
    ones = tiles[:, 1, 13] > 127  # the middle row of the stem
    assert 2 <= np.median(ones.sum(1)) <= 4
    assert tiles.max((2, 3)).min() > 200


def test_digits_vary(tiles):
    assert len(np.unique(tiles.reshape(3000, -1), axis=0)) == 3000


def test_one_line_has_one_form_of_each_digit(monkeypatch):
    monkeypatch.setattr(skeletons, "_wobble", lambda draws, count: jnp.zeros((count, skeletons._POINTS, 2), jnp.int32))
    seen = []
    monkeypatch.setattr(skeletons, "_stroke", lambda points, is_down, radius: seen.append(is_down) or points)
    digit, line = jnp.array([7] * 20 + [7] * 20), jnp.array([0] * 20 + [1] * 20)
    for seed in range(8):
        skeletons.draw_digits(Draws(jax.random.key(seed)), digit, line, 2)
    down = np.stack(seen)
    assert (down[:, :20] == down[:, :1]).all()
    assert (down[:, 20:] == down[:, 20:21]).all()
    assert (down[:, 0] != down[:, 20]).any(), "another line may have another form"


def test_a_stroke_has_round_ends_and_a_gap_where_the_pen_is_up():
    points = jnp.array([[[-80, 0], [-20, 0], [20, 0], [80, 0]]])
    points = jnp.concatenate([points, jnp.repeat(points[:, -1:], skeletons._POINTS - 4, 1)], 1)
    is_down = jnp.ones((1, skeletons._POINTS), bool).at[0, 1].set(False)
    page = np.asarray(skeletons._stroke(points, is_down, jnp.array([16])))[0]
    assert page[13, 9] == page[14, 9] > 200
    assert page[13, 14] < page[13, 11], "the gap"
    assert not page[:11].any()
    np.testing.assert_array_equal(page, page[::-1])
