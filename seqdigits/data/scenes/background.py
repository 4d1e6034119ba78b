"""What numbers stand on: colors, gradients, noise of several sizes, stripes, bricks, and things that are no text."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array

from seqdigits.data.scenes.draws import Draws, scatter
from seqdigits.data.scenes.layout import ONE, Lines, Scene

SHAPES = 4
OCTAVES = 6
_COARSE = 1 << (OCTAVES - 1)  # pixels between the points of the coarsest noise


def shades(draws: Draws, brightness: Array, colorful: Array | int, *shape: int) -> Array:
    """Colors of a given brightness, i32 [*shape, 3]; `colorful` is how far the channels may be from it.

    Most are between beige or brick and blue, as things out of doors are.
    """
    room = jnp.minimum(brightness, 255 - brightness) + 12  # more would be cut off, and brightness with it
    colorful = jnp.minimum(jnp.broadcast_to(jnp.asarray(colorful), shape), room)[..., None]
    free = draws.about(colorful, *shape, 3)
    warm = draws.about(colorful, *shape, 1) * jnp.array([5, 1, -5]) // 4
    apart = jnp.where(draws.chance(75, *shape, 1), warm + free // 4, free)
    mean = (apart * jnp.array([77, 150, 29])).sum(-1, keepdims=True) // 256
    return jnp.clip(brightness[..., None] + apart - mean, 0, 255)


def noise(scene: Scene, draws: Draws, shares: Array) -> Array:
    """i32 [H, W], -128..127 at most, where `shares` i32 [OCTAVES] add up to 256: of each size, 32 pixels first, then 16, .. 1."""
    field = jnp.zeros((0, 0), jnp.int32)
    size = _COARSE
    for octave in range(OCTAVES):
        h, w = -(-scene.height // size) + 2, -(-scene.width // size) + 2
        values = (scatter(draws.bits(), h, w) >> 24).astype(jnp.int32) - 128
        layer = values * shares[octave]
        field = layer if octave == 0 else _double(field)[:h, :w] + layer
        size //= 2
    return field[: scene.height, : scene.width] >> 8


def _double(field: Array) -> Array:
    """[h, w] -> [2h-2, 2w-2], linear between the points, without the outer half points."""
    for axis in (0, 1):
        a = jnp.moveaxis(field, axis, 0)
        first, second = a[:-1], a[1:]
        both = jnp.stack([(3 * first + second) >> 2, (first + 3 * second) >> 2], 1)
        field = jnp.moveaxis(both.reshape(-1, *a.shape[1:]), 0, axis)
    return field


def pattern(scene: Scene, draws: Draws, rough: Array) -> Array:
    """i32 [H, W], 0..255: stripes, boards, bricks or tiles, bent a little by `rough` noise; on some scenes nothing."""
    y, x = jnp.arange(scene.height)[:, None], jnp.arange(scene.width)[None, :]
    kind = draws.below(8)  # 0 stripes, 1 boards, 2 bricks, 3 tiles, else nothing
    period = draws.between(5, 40)
    pace = 65536 // period
    lean = draws.about(pace // 3)
    upright = draws.chance(35) & (kind < 2)
    a, b = jnp.where(upright, pace, lean), jnp.where(upright, lean, pace)
    bent = rough * draws.below(40)
    phase = a * x + b * y + bent + draws.below(65536)  # a period is 65,536
    part = phase & 65535
    stripe = jnp.clip((jnp.abs(part - 32768) - 16384) >> 4, -128, 127) + 128
    joint = jnp.clip((part - draws.between(55_000, 62_000)) >> 4, 0, 255)
    boards = jnp.maximum(part >> 9, joint)
    course = phase >> 16
    length = pace * 100 // draws.between(150, 300)
    shift = jnp.where(kind == 2, (course & 1) * 32768, 0)
    other = (length * x - lean * y + shift) & 65535
    bricks = jnp.maximum(joint, jnp.clip((other - 62_000) >> 3, 0, 255))
    chosen = jnp.where(kind == 0, stripe, jnp.where(kind == 1, boards, jnp.where(kind <= 3, bricks, 0)))
    tone = ((course * 0x9E37) >> 7) & 63  # no two courses quite alike
    return jnp.where(kind <= 3, chosen * 3 // 4 + tone * (kind > 0), 0)


def paint(scene: Scene, draws: Draws, lines: Lines) -> tuple[Array, Array, Array, Array]:
    """The ground, i32 [3, H, W]; its darkest and brightest shade under numbers, i32 []; and the noise in it, i32 [H, W]."""
    y, x = jnp.arange(scene.height)[:, None], jnp.arange(scene.width)[None, :]
    spread = jnp.where(draws.chance(60), draws.between(6, 45), draws.between(30, 95))
    low = draws.below(256 - spread)
    high = low + spread
    colorful = jnp.where(draws.chance(72), draws.between(2, 24), draws.between(15, 100))
    middle = shades(draws, jnp.full(1, 128), colorful, 1)[0] - 128
    both = jnp.clip(jnp.stack([low, high])[:, None] + middle + draws.about(8, 2, 3), 0, 255)
    shares = draws.below(100, OCTAVES) * draws.chance(60, OCTAVES) + 1
    shares = shares * 256 // shares.sum()
    field = noise(scene, draws, shares)
    slope_x, slope_y = draws.between(-128, 128), draws.between(-128, 128)
    ramp = (slope_x * (2 * x - scene.width)) // scene.width + (slope_y * (2 * y - scene.height)) // scene.height
    amounts = draws.below(256, 3)
    figure = pattern(scene, draws, field)
    mix = 128 + ((amounts[0] * field * 2 + amounts[1] * ramp) >> 8)
    mix = jnp.clip(mix + ((figure - 100) * jnp.where(figure.max() > 0, 128 + amounts[2] // 2, 0) >> 8), 0, 255)
    first, second = both[:, :, None, None]
    ground = first + (((second - first) * mix) >> 8)
    ground = _things(scene, draws, lines, ground, low, high, colorful)
    return ground, low, high, field


def _things(scene: Scene, draws: Draws, lines: Lines, ground: Array, low: Array, high: Array, colorful: Array) -> Array:
    """Lays rectangles, ellipses, bars and frames over the ground; near a line only in shades of the ground."""
    y, x = jnp.arange(scene.height)[:, None], jnp.arange(scene.width)[None, :]
    longer = max(scene.height, scene.width)
    there = draws.chance(50, SHAPES)
    size = jnp.array([scene.width, scene.height])
    center = draws.between(-size // 6, size * 7 // 6, SHAPES, 2)
    radius = draws.between(2, longer // 3, SHAPES, 2)
    # Bars, and slabs such as the frame of a door: across the whole image.
    bar, slab = draws.chance(30, SHAPES), draws.chance(45, SHAPES)
    thick = jnp.where(slab, draws.between(4, longer // 6, SHAPES), draws.between(1, 3, SHAPES))
    bar = bar | slab
    radius = jnp.where(bar[:, None], jnp.stack([draws.between(longer // 2, longer, SHAPES), thick], -1), radius)
    lean = draws.about(jnp.where(draws.chance(60), ONE // 12, ONE // 2), SHAPES)
    other = ONE - jnp.abs(lean) // 4
    direction = jnp.where(draws.chance(65, SHAPES)[:, None], jnp.stack([lean, other], -1), jnp.stack([other, lean], -1))
    turned = jnp.abs(jnp.stack([direction, direction[:, ::-1]], 1))  # [SHAPES, 2, 2]
    reach = (turned * radius[:, None]).sum(-1) // ONE + 2
    low_edge, high_edge = (center - reach)[:, None], (center + reach)[:, None]
    near = (
        ((high_edge > lines.region[None, :, :2]) & (low_edge < lines.region[None, :, 2:])).all(-1) & lines.there
    ).any(1)
    brightness = jnp.where(near, low + draws.below(256, SHAPES) * (high - low) // 256, draws.below(256, SHAPES))
    colours = shades(draws, brightness, jnp.where(near | draws.chance(50, SHAPES), colorful, 60), SHAPES)
    round_, hollow = draws.chance(40, SHAPES) & ~bar, draws.chance(40, SHAPES) & ~bar
    rim = draws.between(1, 4, SHAPES)
    for i in range(SHAPES):
        dx, dy = x - center[i, 0], y - center[i, 1]
        p = (direction[i, 0] * dx + direction[i, 1] * dy) >> 4  # 1/256 pixel
        q = (direction[i, 0] * dy - direction[i, 1] * dx) >> 4
        p, q = jnp.abs(p), jnp.abs(q)
        square = jnp.minimum((radius[i, 0] << 8) - p, (radius[i, 1] << 8) - q)
        # Of an ellipse the depth is about (1 - d) x the smaller radius.
        scaled_p, scaled_q = p * (256 // radius[i, 0]) >> 8, q * (256 // radius[i, 1]) >> 8
        least = radius[i].min()
        depth = jnp.where(round_[i], (65536 - scaled_p * scaled_p - scaled_q * scaled_q) * least >> 9, square)
        cover = jnp.clip(depth, 0, 255)
        cover = jnp.where(hollow[i], cover - jnp.clip(depth - (rim[i] << 8), 0, 255), cover) * there[i]
        ground = ground + (((colours[i][:, None, None] - ground) * cover) >> 8)
    return ground
