"""Operations on feature maps f32 [B, h, w, F]."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from seqdigits.core.errors import UserError


def space_to_depth(x: Array, size: int) -> Array:
    """Moves blocks of size x size positions into features: [B, H, W, F] -> [B, H/size, W/size, size*size*F]."""
    batch, height, width, features = x.shape
    x = x.reshape(batch, height // size, size, width // size, size, features)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(batch, height // size, width // size, -1)


def depth_to_space(x: Array, size: int) -> Array:
    """Inverts `space_to_depth`: [B, h, w, size*size*F] -> [B, h*size, w*size, F].

    Raises:
      UserError: the number of features is not a multiple of size*size.
    """
    batch, h, w, features = x.shape
    if features % size**2:
        raise UserError(
            f"model.encoder: 'depth_to_space {size}' needs a multiple of {size**2} features and gets {features}. "
            "Change the features of the layer before it."
        )
    x = x.reshape(batch, h, w, size, size, features // size**2)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(batch, h * size, w * size, -1)


def upsample_nearest(x: Array, shape: tuple[int, ...]) -> Array:
    """Upsamples [B, h, w, F] -> [B, H, W, F] by nearest neighbor, with H and W of `shape` [B, H, W, _].

    The factors are rounded up, and rows and columns beyond H and W are cut off.
    """
    factors = -(-shape[1] // x.shape[1]), -(-shape[2] // x.shape[2])
    batch, h, w, features = x.shape
    x = jnp.broadcast_to(x[:, :, None, :, None], (batch, h, factors[0], w, factors[1], features))
    return x.reshape(batch, h * factors[0], w * factors[1], features)[:, : shape[1], : shape[2]]


def flatten(x: Array) -> Array:
    """Flattens a feature map [B, h, w, F] to [B, h*w*F]; returns flat features [B, F] unchanged."""
    return x.reshape(x.shape[0], -1)


def convolve(
    x: Array, kernel: Array, stride: tuple[int, int], padding: Any, *, precision: Any = None, **kwargs: Any
) -> Array:
    """Convolves f32 [B, H, W, F] with a kernel f32 [k, k, F, G], as `lax.conv_general_dilated` does for nn.Conv.

    The kernel is neither dilated nor grouped. Where the output has fewer positions than the kernel, the convolution is
    computed as a matrix product over patches (im2col). XLA on the CPU would swap the roles of such a small map and the
    kernel, which makes the convolution and its gradient 10 to 100 times slower.
    """
    size = kernel.shape[0]
    height, width = (-(-n // s) for n, s in zip(x.shape[1:3], stride, strict=True))
    if padding != "SAME" or height * width >= size**2:
        return jax.lax.conv_general_dilated(x, kernel, stride, padding, precision=precision, **kwargs)
    padding_pairs = jax.lax.padtype_to_pads(x.shape[1:3], kernel.shape[:2], stride, padding)
    x = jnp.pad(x, ((0, 0), *padding_pairs, (0, 0)))
    rows, columns = ((n - 1) * s + 1 for n, s in zip((height, width), stride, strict=True))
    patches = [x[:, i : i + rows : stride[0], j : j + columns : stride[1]] for i in range(size) for j in range(size)]
    return jnp.matmul(jnp.concatenate(patches, -1), kernel.reshape(-1, kernel.shape[-1]), precision=precision)


def max_pool(x: Array, size: int, stride: int, padding: str) -> Array:
    """Max-pools windows of size x size: f32 [B, H, W, F] -> [B, h, w, F].

    Windows that do not overlap are computed by reshape and max. On the CPU this is faster than a window reduction, and
    every exporter supports it.

    Args:
      x: the feature map.
      size: side of a window.
      stride: of the windows.
      padding: "SAME" or "VALID".
    """
    if stride != size:
        return nn.max_pool(x, (size, size), (stride, stride), padding)
    batch, height, width, features = x.shape
    if padding == "SAME":
        pad_height, pad_width = -height % size, -width % size
        top, left = pad_height // 2, pad_width // 2  # as XLA pads: the odd row and column at the end
        x = jnp.pad(x, ((0, 0), (top, pad_height - top), (left, pad_width - left), (0, 0)), constant_values=-jnp.inf)
    else:
        x = x[:, : height - height % size, : width - width % size]
    h, w = x.shape[1] // size, x.shape[2] // size
    return x.reshape(batch, h, size, w, size, features).max((2, 4))
