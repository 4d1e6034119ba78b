"""Digits drawn stroke by stroke, in forms that are rare in MNIST: the crossed 7, the 1 with a long upstroke, the 9 like a g.

MNIST was written in one country. Amounts on cheques of others have these forms in most numbers.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from seqdigits.data.scenes.draws import Draws

SIDE = 28
"""Side of a drawn digit, texels, as in MNIST; it is about 20 high."""
_UNIT = 16
"""Subdivisions of a texel."""
_POINTS = 20
"""The number of points of a form; strokes are straight between them."""
_KNOTS = 5
"""The number of points of a form that are displaced at random; the others follow."""
_LIMIT = 13 * _UNIT

Stroke = tuple[tuple[int, int], ...]
"""Points x, y of a stroke, percent of the height of the digit, y downwards. A curve passes through them; a point that is there
twice is a corner."""

FORMS: dict[int, tuple[tuple[Stroke, ...], ...]] = {
    0: (
        (((30, 0), (4, 22), (0, 60), (22, 98), (48, 88), (58, 45), (46, 8), (28, 2)),),
        (((44, 6), (14, 14), (0, 56), (18, 96), (46, 90), (60, 50), (48, 10), (30, 6), (56, 0)),),
        (((34, 4), (6, 30), (8, 84), (36, 98), (56, 66), (52, 20), (34, 4), (30, 14)),),
        (((26, 8), (2, 40), (8, 88), (32, 98), (54, 70), (52, 24), (36, 2)),),
    ),
    1: (
        (((20, 0), (20, 100)),),
        (((8, 22), (26, 0), (26, 0), (24, 50), (22, 100)),),
        (((0, 46), (18, 26), (34, 0), (34, 0), (32, 50), (28, 100)),),
        (((0, 62), (40, 2), (40, 2), (30, 100)),),
        (((10, 20), (26, 0), (26, 0), (26, 100)), ((6, 100), (46, 99))),
        (((4, 30), (10, 18), (28, 0), (28, 0), (20, 98)),),
    ),
    2: (
        (((4, 22), (22, 0), (46, 12), (44, 40), (0, 98), (0, 98), (56, 96)),),
        (((2, 20), (26, 0), (48, 18), (34, 56), (8, 90), (6, 76), (22, 80), (58, 98)),),
        (((2, 10), (30, 2), (46, 18), (36, 48), (2, 96), (2, 96), (30, 90), (60, 98)),),
        (((4, 6), (48, 4), (48, 4), (4, 96), (4, 96), (56, 94)),),
        (((6, 30), (10, 8), (34, 0), (50, 20), (30, 64), (4, 84), (14, 98), (30, 84), (60, 92)),),
    ),
    3: (
        (((4, 8), (28, 0), (46, 18), (22, 46), (22, 46), (50, 66), (34, 98), (0, 90)),),
        (((2, 2), (50, 0), (50, 0), (22, 42), (22, 42), (52, 64), (32, 98), (0, 88)),),
        (((2, 14), (26, 0), (44, 20), (24, 46), (16, 44), (24, 42), (50, 70), (26, 100), (0, 84)),),
        (((8, 4), (40, 2), (44, 24), (20, 50), (44, 60), (46, 86), (20, 100), (2, 92)),),
    ),
    4: (
        (((16, 0), (0, 60), (0, 60), (60, 58)), ((44, 26), (40, 100))),
        (((44, 0), (0, 66), (0, 66), (64, 66)), ((46, 20), (46, 100))),
        (((10, 4), (8, 44), (22, 52), (46, 42)), ((52, 0), (46, 50), (40, 100))),
        (((30, 2), (2, 56), (2, 56), (54, 54)), ((58, 6), (34, 100))),
        (((38, 100), (46, 0), (46, 0), (0, 66), (0, 66), (62, 62)),),
        (((24, 0), (0, 50), (0, 50), (34, 46)), ((40, 22), (20, 100))),
    ),
    5: (
        (((12, 2), (6, 42), (6, 42), (34, 40), (50, 66), (30, 98), (0, 92)), ((12, 2), (54, 0))),
        (((50, 0), (14, 2), (14, 2), (6, 42), (6, 42), (36, 42), (48, 70), (24, 100), (0, 90)),),
        (((16, 10), (10, 44), (10, 44), (40, 48), (40, 86), (8, 98)), ((20, 4), (70, 0))),
        (((54, 2), (18, 6), (10, 30), (36, 52), (44, 80), (18, 100), (0, 92)),),
        (((8, 22), (14, 96), (14, 96), (24, 60), (28, 0), (28, 0), (66, 0)),),
        (((18, 0), (18, 30), (40, 40), (46, 72), (22, 100), (0, 84)), ((18, 2), (60, -4))),
        (((44, 0), (18, 40), (18, 40), (34, 60), (30, 96), (2, 98)), ((44, 0), (72, 2))),
    ),
    6: (
        (((40, 0), (10, 36), (0, 76), (22, 100), (46, 80), (32, 56), (4, 72)),),
        (((26, 0), (4, 60), (16, 98), (42, 90), (42, 60), (16, 60), (4, 78)),),
        (((50, 2), (18, 26), (2, 72), (24, 100), (52, 80), (36, 54), (8, 74)),),
        (((18, 0), (2, 50), (8, 96), (36, 96), (40, 66), (18, 62), (6, 84)),),
    ),
    7: (
        (((2, 4), (54, 2), (54, 2), (18, 100)),),
        (((2, 4), (52, 2), (52, 2), (22, 100)), ((12, 50), (56, 46))),
        (((4, 16), (4, 4), (4, 4), (56, 4), (56, 4), (30, 50), (24, 100)), ((12, 52), (54, 50))),
        (((0, 10), (20, 0), (36, 8), (56, 0), (56, 0), (26, 60), (22, 100)), ((14, 54), (52, 44))),
        (((0, 18), (8, 2), (30, 6), (56, 2), (56, 2), (16, 98)),),
        (((6, 12), (50, 0), (50, 0), (32, 44), (10, 100)), ((8, 44), (60, 48))),
    ),
    8: (
        (((46, 12), (24, 0), (6, 20), (42, 62), (36, 96), (8, 94), (6, 66), (44, 24), (48, 10)),),
        (((26, 44), (8, 24), (26, 0), (44, 20), (26, 44), (2, 72), (24, 100), (50, 76), (26, 44)),),
        (((52, 4), (20, 2), (12, 28), (40, 60), (34, 96), (6, 92), (10, 62), (56, 10)),),
        (((40, 18), (20, 4), (8, 24), (34, 54), (40, 86), (18, 100), (4, 78), (26, 48), (48, 22)),),
    ),
    9: (
        (((46, 10), (20, 0), (2, 24), (20, 48), (46, 20), (46, 20), (44, 60), (40, 100)),),
        (((44, 14), (18, 2), (2, 26), (22, 46), (46, 14), (46, 14), (46, 70), (30, 98), (2, 92)),),
        (((30, 50), (4, 40), (10, 6), (38, 2), (48, 26), (28, 52), (28, 52), (34, 76), (20, 100)),),
        (((48, 8), (22, 0), (4, 20), (20, 40), (48, 10), (48, 10), (30, 100)),),
        (((10, 36), (0, 18), (26, 0), (44, 22), (16, 44), (16, 44), (30, 60), (36, 100)),),
        (((6, 34), (8, 8), (34, 0), (46, 18), (32, 42), (8, 38), (8, 38), (28, 50), (20, 100)),),
    ),
}
"""The forms of each digit. Slant, width and the exact course of the strokes are random."""


def _curve(stroke: Stroke, steps: int = 24) -> np.ndarray:
    """Returns points of a Catmull-Rom curve through those of a stroke, f64 [n, 2]."""
    points = np.array(stroke, float)
    parts = []
    for i in range(len(points) - 1):
        a, b = points[i], points[i + 1]
        if (a == b).all():
            continue
        before = points[i - 1] if i > 0 and (points[i - 1] != a).any() else 2 * a - b
        after = points[i + 2] if i + 2 < len(points) and (points[i + 2] != b).any() else 2 * b - a
        t = np.arange(steps)[:, None] / steps
        square, cube = t**2, t**3
        parts.append(
            0.5 * (2 * a + (b - before) * t + (2 * before - 5 * a + 4 * b - after) * square)
            + 0.5 * (3 * a - before - 3 * b + after) * cube
        )
    return np.concatenate([*parts, points[-1:]])


def _sample(strokes: tuple[Stroke, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Returns points of a form, i32 [_POINTS, 2], 1/16 texel from its middle, and whether the pen is down to the next, bool."""
    curves = [_curve(stroke) for stroke in strokes]
    lengths = [np.hypot(*np.diff(curve, axis=0).T).sum() for curve in curves]
    counts = [max(2, round(_POINTS * length / sum(lengths))) for length in lengths]
    counts[0] += _POINTS - sum(counts)
    points, is_down = [], []
    for curve, count in zip(curves, counts, strict=True):
        along = np.append(0, np.cumsum(np.hypot(*np.diff(curve, axis=0).T)))
        at = np.linspace(0, along[-1], count)
        points.append(np.stack([np.interp(at, along, curve[:, axis]) for axis in (0, 1)], -1))
        is_down += [True] * (count - 1) + [False]
    form = np.concatenate(points)
    middle = (form.min(0) + form.max(0)) / 2
    return np.round((form - middle) * 20 * _UNIT / 100).astype(np.int32), np.array(is_down)


def _tables() -> tuple[np.ndarray, ...]:
    sampled = [[_sample(form) for form in FORMS[digit]] for digit in range(10)]
    points = np.stack([form[0] for forms in sampled for form in forms])
    is_down = np.stack([form[1] for forms in sampled for form in forms])
    counts = np.array([len(forms) for forms in sampled])
    return points, is_down, np.cumsum(counts) - counts, counts


_FORM_POINTS, _IS_DOWN, _FIRST, _COUNTS = _tables()


def draw_digits(draws: Draws, digit: Array, line: Array, lines: int) -> Array:
    """Draws digits; the same digits of one line have one form, as those of one writer.

    Args:
      draws: the random numbers of the scene.
      digit: i32 [L], 0..9.
      line: i32 [L], index of the line, below `lines`.
      lines: the number of lines.

    Returns:
      u8 [L, 28, 28], coverage.
    """
    count = len(digit)
    habit = draws.below(1 << 20, lines, 10)[line, digit]
    form = jnp.asarray(_FIRST)[digit] + habit % jnp.asarray(_COUNTS)[digit]
    points = jnp.asarray(_FORM_POINTS)[form]  # [L, P, 2]
    width, slant = draws.between(60, 125, count), draws.triangular(28, count)
    x = (points[..., 0] * width[:, None] - points[..., 1] * slant[:, None]) // 100
    points = jnp.stack([x, points[..., 1]], -1) + _wobble(draws, count)
    points = jnp.clip(points, -_LIMIT, _LIMIT)
    radius = draws.between(17, 24, lines)[line]
    return _stroke(points, jnp.asarray(_IS_DOWN)[form], radius)


def _wobble(draws: Draws, count: int) -> Array:
    """Draws smooth displacements of the points, i32 [count, _POINTS, 2]."""
    knots = draws.triangular(40, count, _KNOTS, 2)
    at = np.arange(_POINTS) * (_KNOTS - 1) * 64 // (_POINTS - 1)
    first = np.minimum(at // 64, _KNOTS - 2)
    share = jnp.asarray(at - 64 * first)[:, None]
    return (knots[:, first] * (64 - share) + knots[:, first + 1] * share) // 64


def _stroke(points: Array, is_down: Array, radius: Array) -> Array:
    """Returns the coverage u8 [L, 28, 28] of lines of a radius i32 [L] along points i32 [L, P, 2], where the pen is down."""
    center = (2 * jnp.arange(SIDE) + 1 - SIDE) * _UNIT // 2
    y, x = center[:, None], center[None, :]
    nearest = jnp.full((len(points), SIDE, SIDE), 1 << 20, jnp.int32)  # squared distance
    for i in range(_POINTS - 1):
        a = points[:, i, :, None, None]
        step = points[:, i + 1, :, None, None] - a
        dx, dy = x - a[:, 0], y - a[:, 1]
        length = jnp.maximum((step**2).sum(1), 1)
        along = jnp.clip(dx * step[:, 0] + dy * step[:, 1], 0, length) * 64
        share = jax.lax.div(along, jnp.broadcast_to(length, along.shape))
        squared = (dx - ((step[:, 0] * share) >> 6)) ** 2 + (dy - ((step[:, 1] * share) >> 6)) ** 2
        nearest = jnp.where(is_down[:, i, None, None], jnp.minimum(nearest, squared), nearest)
    radius = radius[:, None, None]
    outer = (radius + _UNIT // 2) ** 2
    return (jnp.clip((outer - nearest) * 255 // (2 * _UNIT * radius), 0, 255)).astype(jnp.uint8)
