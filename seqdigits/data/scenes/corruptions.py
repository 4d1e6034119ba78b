"""What a camera and a file do to a scene: light, blur, few pixels, noise, blocks."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array

from seqdigits.data.scenes.draws import Draws, scatter
from seqdigits.data.scenes.layout import Scene

BLOCK = 8


def shade(scene: Scene, draws: Draws, image: Array, contrast: Array) -> Array:
    """A soft shadow with a straight edge across the scene, now and then, the less deep the less `contrast` there is.

    i32 [3, H, W] 0..255, as all images here.
    """
    y, x = jnp.arange(scene.height)[:, None], jnp.arange(scene.width)[None, :]
    a, b = draws.about(256), draws.about(256)
    offset = a * draws.below(scene.width) + b * draws.below(scene.height)
    edge = jnp.clip(((a * x + b * y - offset) >> draws.between(0, 4)) + 128, 0, 255)
    depth = jnp.minimum(draws.between(30, 130), contrast) * draws.chance(25)
    return image - ((image * ((edge * depth) >> 8)) >> 8)


def camera(scene: Scene, draws: Draws, image: Array, tall: Array, contrast: Array) -> Array:
    """All of it, as far as digits of `tall` pixels and a difference of `contrast` between ink and ground stay legible."""
    image = _blur(draws, image, tall)
    image = _coarsen(draws, image, tall)
    image = _light(draws, image, contrast)
    image = _noise(scene, draws, image, contrast)
    return jnp.clip(_compress(draws, image, contrast), 0, 255)


def _shift(image: Array, axis: int) -> tuple[Array, Array]:
    """The neighbors before and after along an axis; at the edge the pixel itself."""
    size = image.shape[axis]
    first, last = (jnp.take(image, jnp.array([i]), axis) for i in (0, size - 1))
    before = jnp.concatenate([first, _cut(image, axis, 0, size - 1)], axis)
    after = jnp.concatenate([_cut(image, axis, 1, size), last], axis)
    return before, after


def _cut(image: Array, axis: int, start: int, stop: int) -> Array:
    at = [slice(None)] * image.ndim
    at[axis] = slice(start, stop)
    return image[tuple(at)]


def _blur(draws: Draws, image: Array, tall: Array) -> Array:
    """Three times a kernel of three, of a width of its own on each axis."""
    most = jnp.clip(tall * 6, 20, 85)  # of 256: the share of each neighbor
    both = draws.below(most) * draws.chance(80)
    moved = draws.chance(20)
    x = jnp.where(moved & draws.chance(50), most, both)
    y = jnp.where(moved & draws.chance(50), most, both)

    def once(_: int, image: Array) -> Array:
        for axis, share in ((1, y), (2, x)):
            before, after = _shift(image, axis)
            image = image + ((share * (before + after - 2 * image) + 128) >> 8)
        return image

    # A loop of the device's: what comes before is then computed once. Unrolled, XLA computes the whole scene anew for each
    # neighbor, which takes forty times as long on a CPU.
    return jax.lax.fori_loop(0, 3, once, image)


def _coarsen(draws: Draws, image: Array, tall: Array) -> Array:
    """As if photographed with a half or a quarter of the pixels, and enlarged; in between, a mixture."""
    half = _halve(image)
    quarter = _enlarge(_halve(half), half.shape)
    fewer = jnp.where(tall >= 26, draws.below(257) * draws.chance(50), 0)
    half = half + (((quarter - half) * fewer) >> 8)
    share = jnp.where(draws.chance(75) & (tall >= 16), draws.between(128, 256), 0)
    return image + (((_enlarge(half, image.shape) - image) * share) >> 8)


def _halve(image: Array) -> Array:
    """[C, h, w] -> [C, ceil(h/2), ceil(w/2)], means of 2x2."""
    image = jnp.pad(image, ((0, 0), (0, image.shape[1] % 2), (0, image.shape[2] % 2)), mode="edge")
    return (image[:, ::2, ::2] + image[:, 1::2, ::2] + image[:, ::2, 1::2] + image[:, 1::2, 1::2] + 2) >> 2


def _enlarge(image: Array, shape: tuple[int, ...]) -> Array:
    """Twice as high and wide, linear, cut to `shape`."""
    for axis in (1, 2):
        before, after = _shift(image, axis)
        both = jnp.stack([(3 * image + before + 2) >> 2, (3 * image + after + 2) >> 2], axis + 1)
        image = both.reshape(*image.shape[:axis], -1, *image.shape[axis + 1 :])
    return image[:, : shape[1], : shape[2]]


def _light(draws: Draws, image: Array, contrast: Array) -> Array:
    """Haze or dusk, contrast, a curve like gamma's, and a cast of color. All of it leaves some difference everywhere."""
    room = jnp.clip(contrast, 0, 100)  # of 100
    haze = draws.below(80) * room // 100
    image = image + (((draws.below(2) * 255 - image) * haze) >> 8)
    gain = jnp.where(draws.chance(50), draws.between(256 - room * 60 // 100, 280), 256)
    image = jnp.clip((((image - 128) * gain) >> 8) + 128, 0, 255)
    curve = draws.about(110) * room // 100
    image = image + ((curve * image * (255 - image)) >> 16)
    cast = 256 + draws.about(36, 3) * draws.chance(50)
    return jnp.clip((image * cast[:, None, None]) >> 8, 0, 255)


def _noise(scene: Scene, draws: Draws, image: Array, contrast: Array) -> Array:
    """Grain of each pixel: in all channels together, and a little in each."""
    words = scatter(draws.bits(), scene.height, scene.width)
    part = [((words >> (8 * i)) & 255).astype(jnp.int32) for i in range(4)]
    most = jnp.clip(contrast // 5, 4, 24)
    strength = (draws.below(most) * draws.below(most) // most) * draws.chance(70)
    grain = (part[0] + part[1] - 255) * strength >> 8
    own = strength * draws.below(256) >> 8
    color = jnp.stack([(part[i + 1] - 128) * own >> 8 for i in range(3)])
    return image + grain + color


def _compress(draws: Draws, image: Array, contrast: Array) -> Array:
    """Blocks of 8x8 pixels in a Walsh-Hadamard transform, its coefficients rounded, fine ones more than coarse ones."""
    height, width = image.shape[1:]
    rows, columns = -(-height // BLOCK), -(-width // BLOCK)
    padded = jnp.pad(image, ((0, 0), (0, rows * BLOCK - height), (0, columns * BLOCK - width)), mode="edge")
    blocks = _hadamard(_hadamard(padded, 1), 2)
    # Step of each coefficient: a power of two, for a shift is cheaper than a division. Its order is that of sequency.
    order = jnp.array([0, 7, 3, 4, 1, 6, 2, 5])  # sign changes of the natural order's rows
    rough = jnp.where(contrast >= 60, draws.between(0, 3), draws.between(0, 2)) * draws.chance(55)
    weight = (order[:, None] + order[None, :] + 2) // 4
    step = jnp.where(rough > 0, rough + 2 + weight, 0)  # [8, 8]; coefficients are 64 times as large
    step = jnp.tile(step, (rows, columns))
    rounded = ((blocks + ((1 << step) >> 1)) >> step) << step
    back = _hadamard(_hadamard(rounded, 1), 2)
    return ((back + 32) >> 6)[:, :height, :width]


def _hadamard(image: Array, axis: int) -> Array:
    """The transform of every eight along an axis, in natural order, not divided."""
    shape = image.shape
    for span in (1, 2, 4):
        paired = image.reshape(*shape[:axis], -1, 2, span, *shape[axis + 1 :])
        first, second = jnp.take(paired, 0, axis + 1), jnp.take(paired, 1, axis + 1)
        image = jnp.stack([first + second, first - second], axis + 1).reshape(shape)
    return image
