"""Natural backgrounds of scenes: parts of photographs, at several scales."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from PIL import Image

from seqdigits.data.scenes.draws import Draws

SLOTS = 256
"""Number of photographs at hand. Fewer are repeated; of more, the first ones are taken."""
SCALES = (1.0, 1.5, 2.25, 3.4)
"""Widths of the photographs, in widths of the scene."""
MAX_WIDTH = 960
"""Maximum width of a photograph, pixels, except at the first scale: the photographs in the file are 640 pixels wide."""
ASPECT = 0.75
"""Height of a photograph, in its width; one that is wider or higher is cut into two parts, which may overlap."""


def sizes(height: int, width: int) -> list[tuple[int, int]]:
    """Returns height and width of the photographs of each scale, for scenes of a size.

    >>> sizes(64, 128)[0], sizes(200, 100)[0], sizes(480, 640)
    ((96, 128), (200, 267), [(480, 640), (720, 960)])
    """
    first = max(width, height / ASPECT)
    widths = [first * scale for scale in SCALES if scale == SCALES[0] or first * scale <= MAX_WIDTH]
    return [(round(w * ASPECT), round(w)) for w in widths]


def num_pixels(height: int, width: int) -> int:
    """Returns the number of pixels of all photographs at all scales."""
    return SLOTS * sum(h * w for h, w in sizes(height, width))


def pack(pictures: Sequence[np.ndarray], height: int, width: int) -> np.ndarray:
    """Returns the photographs at all scales for scenes of a size, one scale after the other.

    Args:
      pictures: u8 [h, w, 3], at least one.
      height: of the scenes, pixels.
      width: of the scenes, pixels.

    Returns:
      i32 [num_pixels], red in bits 16 to 23, green in 8 to 15, blue in 0 to 7.
    """
    of_pictures = [_parts(picture) for picture in pictures]
    parts = [parts[0] for parts in of_pictures] + [parts[1] for parts in of_pictures if len(parts) > 1]
    chosen = [Image.fromarray(parts[i % len(parts)]) for i in range(SLOTS)]
    packed = []
    for h, w in sizes(height, width):
        resized = (picture.resize((w, h), Image.Resampling.BOX) for picture in chosen)
        packed += [pack_pixels(np.asarray(picture)).ravel() for picture in resized]
    return np.concatenate(packed)


def pack_pixels(pixels: np.ndarray) -> np.ndarray:
    """Returns pixels u8 [..., 3] as i32 [...], see `pack`."""
    r, g, b = np.moveaxis(pixels.astype(np.int32), -1, 0)
    return (r << 16) | (g << 8) | b


def _parts(picture: np.ndarray) -> list[np.ndarray]:
    height, width = picture.shape[:2]
    h, w = min(height, round(width * ASPECT)), min(width, round(height / ASPECT))
    corners = dict.fromkeys([(0, 0), (height - h, width - w)])
    return [picture[y : y + h, x : x + w] for y, x in corners]


def cut(draws: Draws, packed: Array, height: int, width: int) -> Array:
    """Cuts a random part from a random photograph, sometimes mirrored: i32 [3, H, W], 0..255.

    Args:
      draws: the random numbers of the scene.
      packed: from `pack`.
      height: of the scene, pixels.
      width: of the scene, pixels.
    """
    shape = np.array(sizes(height, width))
    begin = np.concatenate([[0], np.cumsum(shape.prod(1) * SLOTS)])[:-1]
    scale, slot = draws.below(len(shape)), draws.below(SLOTS)
    h, w = jnp.asarray(shape, jnp.int32)[scale]
    y, x = draw_part(draws, (h, w), height, width)
    at = jnp.asarray(begin, jnp.int32)[scale] + slot * h * w + y * w + x
    return recolored(draws, unpacked(packed[at]))


def draw_part(draws: Draws, shape: tuple[Array | int, Array | int], height: int, width: int) -> tuple[Array, Array]:
    """Draws which part of an image of a shape is cut: its rows i32 [H, 1] and its columns i32 [W], half of the time mirrored."""
    top, left = draws.below(shape[0] - height + 1), draws.below(shape[1] - width + 1)
    x = jnp.arange(width)
    x = jnp.where(draws.chance(50), width - 1 - x, x)
    return top + jnp.arange(height)[:, None], left + x


def unpacked(pixels: Array) -> Array:
    """Returns the channels i32 [3, H, W] of packed pixels i32 [H, W], see `pack`."""
    return jnp.stack([pixels >> 16, (pixels >> 8) & 255, pixels & 255])


def recolored(draws: Draws, image: Array) -> Array:
    """Draws another contrast, brightness and color cast of an image, i32 [3, H, W], 0..255."""
    gain = jnp.where(draws.chance(50), draws.between(150, 320), 256)
    offset = draws.triangular(50)
    cast = 256 + draws.triangular(40, 3) * draws.chance(40)
    return jnp.clip((((image - 128) * gain * cast[:, None, None]) >> 16) + 128 + offset, 0, 255)


def shades(image: Array, regions: Array) -> tuple[Array, Array]:
    """Returns a dark and a bright shade of the image within regions: the mean and 1.5 mean deviations less or more.

    Args:
      image: i32 [3, H, W], 0..255.
      regions: i32 [T, 4], left, top, right, bottom (exclusive).

    Returns:
      i32 [T], i32 [T], 0..255.
    """
    gray = (image * jnp.array([77, 150, 29])[:, None, None]).sum(0) >> 8
    y, x = jnp.arange(gray.shape[0])[:, None], jnp.arange(gray.shape[1])

    def of_region(region: Array) -> tuple[Array, Array]:
        inside = (x >= region[0]) & (x < region[2]) & (y >= region[1]) & (y < region[3])
        count = jnp.maximum(inside.sum(), 1)
        mean = jnp.where(inside, gray, 0).sum() // count
        spread = jnp.where(inside, jnp.abs(gray - mean), 0).sum() * 3 // (2 * count)
        return jnp.clip(mean - spread, 0, 255), jnp.clip(mean + spread, 0, 255)

    return jax.vmap(of_region)(regions)
