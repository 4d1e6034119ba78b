"""Corruptions of a scene by camera and file format: light, blur, low resolution, noise, block artifacts.

All images here are i32 [3, H, W], 0..255.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array

from seqdigits.data.scenes.draws import Draws, hash_noise
from seqdigits.data.scenes.layout import Scene

BLOCK = 8
"""Side of a block of the compression, pixels."""


def add_shadow(scene: Scene, draws: Draws, image: Array, contrast: Array) -> Array:
    """Adds a shadow with a soft straight edge to some scenes, the lighter the lower the contrast.

    Args:
      scene: its size.
      draws: the random numbers of the scene.
      image: i32 [3, H, W], 0..255.
      contrast: the maximum depth of the shadow, 0..255, i32 [].

    Returns:
      i32 [3, H, W], 0..255.
    """
    y, x = jnp.arange(scene.height)[:, None], jnp.arange(scene.width)[None, :]
    a, b = draws.triangular(256), draws.triangular(256)
    offset = a * draws.below(scene.width) + b * draws.below(scene.height)
    edge = jnp.clip(((a * x + b * y - offset) >> draws.between(0, 4)) + 128, 0, 255)
    depth = jnp.minimum(draws.between(30, 130), contrast) * draws.chance(25)
    return image - ((image * ((edge * depth) >> 8)) >> 8)


def apply_camera(scene: Scene, draws: Draws, image: Array, digit_height: Array, contrast: Array) -> Array:
    """Applies all corruptions but the shadow, limited so that every digit stays legible.

    Args:
      scene: its size.
      draws: the random numbers of the scene.
      image: i32 [3, H, W], 0..255.
      digit_height: of the smallest digits, pixels, i32 [].
      contrast: the least difference in brightness between text and background, 0..255, i32 [].

    Returns:
      i32 [3, H, W], 0..255.
    """
    image = _blur(draws, image, digit_height)
    image = _reduce_resolution(draws, image, digit_height)
    image = _change_light(draws, image, contrast)
    image = _add_noise(scene, draws, image, contrast)
    return jnp.clip(_compress(draws, image, contrast), 0, 255)


def _shift(image: Array, axis: int) -> tuple[Array, Array]:
    """Returns the neighbors before and after along an axis; at the edge the pixel itself."""
    size = image.shape[axis]
    first, last = (jnp.take(image, jnp.array([i]), axis) for i in (0, size - 1))
    before = jnp.concatenate([first, jax.lax.slice_in_dim(image, 0, size - 1, axis=axis)], axis)
    after = jnp.concatenate([jax.lax.slice_in_dim(image, 1, size, axis=axis), last], axis)
    return before, after


def _blur(draws: Draws, image: Array, digit_height: Array) -> Array:
    """Applies a 3-tap kernel three times, with a separate width for each axis."""
    max_weight = jnp.clip(digit_height * 6, 20, 85)  # of each neighbor, in units of 1/256
    isotropic = draws.below(max_weight) * draws.chance(80)
    is_motion = draws.chance(20)
    x_weight = jnp.where(is_motion & draws.chance(50), max_weight, isotropic)
    y_weight = jnp.where(is_motion & draws.chance(50), max_weight, isotropic)

    def blur_once(_: int, image: Array) -> Array:
        for axis, weight in ((1, y_weight), (2, x_weight)):
            before, after = _shift(image, axis)
            image = image + ((weight * (before + after - 2 * image) + 128) >> 8)
        return image

    # The input of a device-side loop is computed once. If the loop is unrolled, XLA's fusion recomputes the whole scene
    # for each neighbor, which takes forty times as long on a CPU.
    return jax.lax.fori_loop(0, 3, blur_once, image)


def _reduce_resolution(draws: Draws, image: Array, digit_height: Array) -> Array:
    """Mixes the image with versions at a half and a quarter of its resolution, upsampled again."""
    half = _downsample(image)
    quarter = _upsample(_downsample(half), half.shape)
    quarter_share = jnp.where(digit_height >= 26, draws.below(257) * draws.chance(50), 0)
    half = half + (((quarter - half) * quarter_share) >> 8)
    half_share = jnp.where(draws.chance(75) & (digit_height >= 16), draws.between(128, 256), 0)
    return image + (((_upsample(half, image.shape) - image) * half_share) >> 8)


def _downsample(image: Array) -> Array:
    """Downsamples [C, h, w] -> [C, ceil(h/2), ceil(w/2)] to means of 2x2."""
    image = jnp.pad(image, ((0, 0), (0, image.shape[1] % 2), (0, image.shape[2] % 2)), mode="edge")
    return (image[:, ::2, ::2] + image[:, 1::2, ::2] + image[:, ::2, 1::2] + image[:, 1::2, 1::2] + 2) >> 2


def _upsample(image: Array, shape: tuple[int, ...]) -> Array:
    """Upsamples to twice the height and width with linear interpolation, cropped to `shape`."""
    for axis in (1, 2):
        before, after = _shift(image, axis)
        both = jnp.stack([(3 * image + before + 2) >> 2, (3 * image + after + 2) >> 2], axis + 1)
        image = both.reshape(*image.shape[:axis], -1, *image.shape[axis + 1 :])
    return image[:, : shape[1], : shape[2]]


def _change_light(draws: Draws, image: Array, contrast: Array) -> Array:
    """Applies haze or darkness, contrast, a gamma-like curve and a color cast, all within the contrast."""
    headroom = jnp.clip(contrast, 0, 100)  # percent
    haze = draws.below(80) * headroom // 100
    image = image + (((draws.below(2) * 255 - image) * haze) >> 8)
    gain = jnp.where(draws.chance(50), draws.between(256 - headroom * 60 // 100, 280), 256)
    image = jnp.clip((((image - 128) * gain) >> 8) + 128, 0, 255)
    curve = draws.triangular(110) * headroom // 100
    image = image + ((curve * image * (255 - image)) >> 16)
    cast = 256 + draws.triangular(36, 3) * draws.chance(50)
    return jnp.clip((image * cast[:, None, None]) >> 8, 0, 255)


def _add_noise(scene: Scene, draws: Draws, image: Array, contrast: Array) -> Array:
    """Adds noise to each pixel: luminance noise, the same in all channels, and weaker color noise."""
    words = hash_noise(draws.bits(), scene.height, scene.width)
    parts = [((words >> (8 * i)) & 255).astype(jnp.int32) for i in range(4)]
    max_strength = jnp.clip(contrast // 5, 4, 24)
    strength = (draws.below(max_strength) * draws.below(max_strength) // max_strength) * draws.chance(70)
    luminance_noise = (parts[0] + parts[1] - 255) * strength >> 8
    color_strength = strength * draws.below(256) >> 8
    color_noise = jnp.stack([(parts[i + 1] - 128) * color_strength >> 8 for i in range(3)])
    return image + luminance_noise + color_noise


def _compress(draws: Draws, image: Array, contrast: Array) -> Array:
    """Adds block artifacts that resemble those of JPEG.

    The Walsh-Hadamard coefficients of blocks of 8x8 pixels are quantized, high frequencies more coarsely than low ones.
    """
    height, width = image.shape[1:]
    rows, columns = -(-height // BLOCK), -(-width // BLOCK)
    padded = jnp.pad(image, ((0, 0), (0, rows * BLOCK - height), (0, columns * BLOCK - width)), mode="edge")
    blocks = _hadamard(_hadamard(padded, 1), 2)
    # Each quantization step is a power of two because a shift is cheaper than a division. It grows with the sequency.
    sequency = jnp.array([0, 7, 3, 4, 1, 6, 2, 5])  # sign changes of the rows in natural order
    strength = jnp.where(contrast >= 60, draws.between(0, 3), draws.between(0, 2)) * draws.chance(55)
    weight = (sequency[:, None] + sequency[None, :] + 2) // 4
    log_step = jnp.where(strength > 0, strength + 2 + weight, 0)  # [8, 8]; coefficients are not normalized: x 64
    log_step = jnp.tile(log_step, (rows, columns))
    quantized = ((blocks + ((1 << log_step) >> 1)) >> log_step) << log_step
    restored = _hadamard(_hadamard(quantized, 1), 2)
    return ((restored + 32) >> 6)[:, :height, :width]


def _hadamard(image: Array, axis: int) -> Array:
    """Returns the Walsh-Hadamard transform of each 8 values along an axis, in natural order, not normalized."""
    shape = image.shape
    for span in (1, 2, 4):
        paired = image.reshape(*shape[:axis], -1, 2, span, *shape[axis + 1 :])
        first, second = jnp.take(paired, 0, axis + 1), jnp.take(paired, 1, axis + 1)
        image = jnp.stack([first + second, first - second], axis + 1).reshape(shape)
    return image
