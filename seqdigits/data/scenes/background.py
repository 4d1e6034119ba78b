"""Background of a scene: colors, gradients, noise of several sizes, stripes, bricks, and shapes."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array

from seqdigits.data.scenes.draws import Draws, hash_noise
from seqdigits.data.scenes.layout import Lines, Scene
from seqdigits.data.synthetic.deterministic_ops import ONE

SHAPES = 4
OCTAVES = 6
_COARSEST = 1 << (OCTAVES - 1)  # grid spacing of the coarsest noise, pixels


def random_colors(draws: Draws, brightness: Array, colorfulness: Array | int, *shape: int) -> Array:
    """Draws colors of a given brightness.

    Most are on the axis from beige or brick to blue, as the colors of outdoor photographs are.

    Args:
      draws: the random numbers of the scene.
      brightness: i32 [*shape], 0..255.
      colorfulness: the maximum deviation of the channels from the brightness, 0..255.
      *shape: of the result, without the channels.

    Returns:
      i32 [*shape, 3], 0..255.
    """
    headroom = jnp.minimum(brightness, 255 - brightness) + 12  # a larger deviation would be clipped: another brightness
    colorfulness = jnp.minimum(jnp.broadcast_to(jnp.asarray(colorfulness), shape), headroom)[..., None]
    free = draws.triangular(colorfulness, *shape, 3)
    warm = draws.triangular(colorfulness, *shape, 1) * jnp.array([5, 1, -5]) // 4
    deviation = jnp.where(draws.chance(75, *shape, 1), warm + free // 4, free)
    mean = (deviation * jnp.array([77, 150, 29])).sum(-1, keepdims=True) // 256
    return jnp.clip(brightness[..., None] + deviation - mean, 0, 255)


def noise(scene: Scene, draws: Draws, weights: Array) -> Array:
    """Returns fractal value noise, i32 [H, W], within -128..127.

    Args:
      scene: its size.
      draws: the random numbers of the scene.
      weights: i32 [OCTAVES], with a sum of at most 256: of a grid spacing of 32 pixels first, then 16, ... 1.
    """
    field = jnp.zeros((0, 0), jnp.int32)
    spacing = _COARSEST
    for octave in range(OCTAVES):
        h, w = -(-scene.height // spacing) + 2, -(-scene.width // spacing) + 2
        values = (hash_noise(draws.bits(), h, w) >> 24).astype(jnp.int32) - 128
        layer = values * weights[octave]
        field = layer if octave == 0 else _upsample(field)[:h, :w] + layer
        spacing //= 2
    return field[: scene.height, : scene.width] >> 8


def _upsample(field: Array) -> Array:
    """Upsamples [h, w] -> [2h-2, 2w-2] with linear interpolation, without the outer half points."""
    for axis in (0, 1):
        a = jnp.moveaxis(field, axis, 0)
        first, second = a[:-1], a[1:]
        both = jnp.stack([(3 * first + second) >> 2, (first + 3 * second) >> 2], 1)
        field = jnp.moveaxis(both.reshape(-1, *a.shape[1:]), 0, axis)
    return field


def pattern(scene: Scene, draws: Draws, field: Array) -> Array:
    """Returns stripes, boards, bricks or tiles, slightly warped by the noise `field`; on some scenes zeros.

    i32 [H, W], 0..255.
    """
    y, x = jnp.arange(scene.height)[:, None], jnp.arange(scene.width)[None, :]
    kind = draws.below(8)  # 0 stripes, 1 boards, 2 bricks, 3 tiles, else none
    period = draws.between(5, 40)
    frequency = 65536 // period
    skew = draws.triangular(frequency // 3)
    upright = draws.chance(35) & (kind < 2)
    a, b = jnp.where(upright, frequency, skew), jnp.where(upright, skew, frequency)
    warp = field * draws.below(40)
    phase = a * x + b * y + warp + draws.below(65536)  # one period is 65,536
    fraction = phase & 65535
    stripes = jnp.clip((jnp.abs(fraction - 32768) - 16384) >> 4, -128, 127) + 128
    joint = jnp.clip((fraction - draws.between(55_000, 62_000)) >> 4, 0, 255)
    boards = jnp.maximum(fraction >> 9, joint)
    course = phase >> 16
    brick_frequency = frequency * 100 // draws.between(150, 300)
    shift = jnp.where(kind == 2, (course & 1) * 32768, 0)
    brick_fraction = (brick_frequency * x - skew * y + shift) & 65535
    bricks = jnp.maximum(joint, jnp.clip((brick_fraction - 62_000) >> 3, 0, 255))
    selected = jnp.where(kind == 0, stripes, jnp.where(kind == 1, boards, jnp.where(kind <= 3, bricks, 0)))
    tone = ((course * 0x9E37) >> 7) & 63  # courses differ in brightness
    return jnp.where(kind <= 3, selected * 3 // 4 + tone * (kind > 0), 0)


def paint_background(scene: Scene, draws: Draws, lines: Lines) -> tuple[Array, Array, Array, Array]:
    """Paints the background.

    Returns:
      image i32 [3, H, W], 0..255; its darkest and its brightest shade behind numbers, i32 []; the noise in it,
      i32 [H, W].
    """
    y, x = jnp.arange(scene.height)[:, None], jnp.arange(scene.width)[None, :]
    spread = jnp.where(draws.chance(60), draws.between(6, 45), draws.between(30, 95))
    low = draws.below(256 - spread)
    high = low + spread
    colorfulness = jnp.where(draws.chance(72), draws.between(2, 24), draws.between(15, 100))
    tint = random_colors(draws, jnp.full(1, 128), colorfulness, 1)[0] - 128
    end_colors = jnp.clip(jnp.stack([low, high])[:, None] + tint + draws.triangular(8, 2, 3), 0, 255)
    weights = draws.below(100, OCTAVES) * draws.chance(60, OCTAVES) + 1
    weights = weights * 256 // weights.sum()
    field = noise(scene, draws, weights)
    slope_x, slope_y = draws.between(-128, 128), draws.between(-128, 128)
    ramp = (slope_x * (2 * x - scene.width)) // scene.width + (slope_y * (2 * y - scene.height)) // scene.height
    amounts = draws.below(256, 3)
    texture = pattern(scene, draws, field)
    mix = 128 + ((amounts[0] * field * 2 + amounts[1] * ramp) >> 8)
    mix = jnp.clip(mix + ((texture - 100) * jnp.where(texture.max() > 0, 128 + amounts[2] // 2, 0) >> 8), 0, 255)
    first, second = end_colors[:, :, None, None]
    image = first + (((second - first) * mix) >> 8)
    image = _add_shapes(scene, draws, lines, image, low, high, colorfulness)
    return image, low, high, field


def _add_shapes(
    scene: Scene, draws: Draws, lines: Lines, image: Array, low: Array, high: Array, colorfulness: Array
) -> Array:
    """Paints rectangles, ellipses, bars and frames on the background.

    A shape that may overlap a line has a brightness in low..high, so that the text keeps its contrast.
    """
    y, x = jnp.arange(scene.height)[:, None], jnp.arange(scene.width)[None, :]
    longer_side = max(scene.height, scene.width)
    present = draws.chance(50, SHAPES)
    size = jnp.array([scene.width, scene.height])
    center = draws.between(-size // 6, size * 7 // 6, SHAPES, 2)
    radius = draws.between(2, longer_side // 3, SHAPES, 2)
    # Bars, and slabs such as door frames, span the whole image.
    is_bar, is_slab = draws.chance(30, SHAPES), draws.chance(45, SHAPES)
    thickness = jnp.where(is_slab, draws.between(4, longer_side // 6, SHAPES), draws.between(1, 3, SHAPES))
    is_bar = is_bar | is_slab
    bar_length = draws.between(longer_side // 2, longer_side, SHAPES)
    radius = jnp.where(is_bar[:, None], jnp.stack([bar_length, thickness], -1), radius)
    minor = draws.triangular(jnp.where(draws.chance(60), ONE // 12, ONE // 2), SHAPES)
    major = ONE - jnp.abs(minor) // 4
    is_upright = draws.chance(65, SHAPES)
    direction = jnp.where(is_upright[:, None], jnp.stack([minor, major], -1), jnp.stack([major, minor], -1))
    rotation = jnp.abs(jnp.stack([direction, direction[:, ::-1]], 1))  # [SHAPES, 2, 2]
    reach = (rotation * radius[:, None]).sum(-1) // ONE + 2
    low_edge, high_edge = (center - reach)[:, None], (center + reach)[:, None]
    overlaps = ((high_edge > lines.region[None, :, :2]) & (low_edge < lines.region[None, :, 2:])).all(-1)
    near_text = (overlaps & lines.present).any(1)
    brightness = jnp.where(near_text, low + draws.below(256, SHAPES) * (high - low) // 256, draws.below(256, SHAPES))
    colors = random_colors(draws, brightness, jnp.where(near_text | draws.chance(50, SHAPES), colorfulness, 60), SHAPES)
    is_ellipse, is_frame = draws.chance(40, SHAPES) & ~is_bar, draws.chance(40, SHAPES) & ~is_bar
    rim = draws.between(1, 4, SHAPES)
    for i in range(SHAPES):
        dx, dy = x - center[i, 0], y - center[i, 1]
        p = (direction[i, 0] * dx + direction[i, 1] * dy) >> 4  # 1/256 pixel
        q = (direction[i, 0] * dy - direction[i, 1] * dx) >> 4
        p, q = jnp.abs(p), jnp.abs(q)
        rectangle_depth = jnp.minimum((radius[i, 0] << 8) - p, (radius[i, 1] << 8) - q)
        # The depth inside an ellipse is approximated by (1 - d) x the smaller radius.
        scaled_p, scaled_q = p * (256 // radius[i, 0]) >> 8, q * (256 // radius[i, 1]) >> 8
        ellipse_depth = (65536 - scaled_p * scaled_p - scaled_q * scaled_q) * radius[i].min() >> 9
        depth = jnp.where(is_ellipse[i], ellipse_depth, rectangle_depth)
        cover = jnp.clip(depth, 0, 255)
        cover = jnp.where(is_frame[i], cover - jnp.clip(depth - (rim[i] << 8), 0, 255), cover) * present[i]
        image = image + (((colors[i][:, None, None] - image) * cover) >> 8)
    return image
