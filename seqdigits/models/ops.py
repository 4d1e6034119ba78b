"""Operations on feature maps f32 [B, h, w, F]."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from seqdigits.core.errors import UserError


def space_to_depth(x: Array, size: int) -> Array:
    """[B, H, W, F] -> [B, H/size, W/size, size*size*F]."""
    batch, height, width, features = x.shape
    x = x.reshape(batch, height // size, size, width // size, size, features)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(batch, height // size, width // size, -1)


def depth_to_space(x: Array, size: int) -> Array:
    """[B, h, w, size*size*F] -> [B, h*size, w*size, F], the reverse of `space_to_depth`.

    Raises:
      UserError: the features cannot be shared out.
    """
    batch, h, w, features = x.shape
    if features % size**2:
        raise UserError(
            f"depth_to_space {size} needs a multiple of {size**2} features and gets {features}. Change the layer before it."
        )
    x = x.reshape(batch, h, w, size, size, features // size**2)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(batch, h * size, w * size, -1)


def upsample_nearest(x: Array, shape: tuple[int, ...]) -> Array:
    """[B, h, w, F] -> [B, H, W, F] with H, W of `shape` [B, H, W, _]: each place repeated, what goes beyond cut off."""
    times = -(-shape[1] // x.shape[1]), -(-shape[2] // x.shape[2])
    batch, h, w, features = x.shape
    x = jnp.broadcast_to(x[:, :, None, :, None], (batch, h, times[0], w, times[1], features))
    return x.reshape(batch, h * times[0], w * times[1], features)[:, : shape[1], : shape[2]]


def flatten(x: Array) -> Array:
    """A feature map [B, h, w, F] as [B, h*w*F]; [B, F] as it is."""
    return x.reshape(x.shape[0], -1)


def convolve(
    x: Array, kernel: Array, stride: tuple[int, int], padding: Any, *, precision: Any = None, **kwargs: Any
) -> Array:
    """`lax.conv_general_dilated`, as nn.Conv calls it, of f32 [B, H, W, F] and f32 [k, k, F, G]; not dilated, not grouped.

    Where the result has fewer places than the kernel, it is a product of matrices, each place with all that the kernel covers
    there: XLA on the CPU takes such a map for the kernel, which makes it and its gradient ten to a hundred times slower.
    """
    size = kernel.shape[0]
    height, width = (-(-n // s) for n, s in zip(x.shape[1:3], stride, strict=True))
    if padding != "SAME" or height * width >= size**2:
        return jax.lax.conv_general_dilated(x, kernel, stride, padding, precision=precision, **kwargs)
    around = jax.lax.padtype_to_pads(x.shape[1:3], kernel.shape[:2], stride, padding)
    x = jnp.pad(x, ((0, 0), *around, (0, 0)))
    rows, columns = ((n - 1) * s + 1 for n, s in zip((height, width), stride, strict=True))
    covered = [x[:, i : i + rows : stride[0], j : j + columns : stride[1]] for i in range(size) for j in range(size)]
    return jnp.matmul(jnp.concatenate(covered, -1), kernel.reshape(-1, kernel.shape[-1]), precision=precision)


def max_pool(x: Array, size: int, stride: int, padding: str) -> Array:
    """size x size max pool: f32 [B, H, W, F] -> [B, h, w, F].

    Where windows do not overlap, as reshape and max, which is faster on the CPU than a window reduction, and which every
    exporter knows.
    """
    if stride != size:
        return nn.max_pool(x, (size, size), (stride, stride), padding)
    batch, height, width, features = x.shape
    if padding == "SAME":
        down, right = -height % size, -width % size
        above, left = down // 2, right // 2  # as XLA pads: the odd one at the end
        x = jnp.pad(x, ((0, 0), (above, down - above), (left, right - left), (0, 0)), constant_values=-jnp.inf)
    else:
        x = x[:, : height - height % size, : width - width % size]
    h, w = x.shape[1] // size, x.shape[2] // size
    return x.reshape(batch, h, size, w, size, features).max((2, 4))
