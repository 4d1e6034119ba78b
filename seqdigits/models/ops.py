"""Operations on feature maps f32 [B, h, w, F]."""

from __future__ import annotations

from functools import partial, reduce

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
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
            f"The layer 'depth_to_space {size}' needs a multiple of {size**2} features and gets {features}. "
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


def maxout(x: Array, size: int) -> Array:
    """Returns the largest of `size` features each: [B, .., F] -> [B, .., F/size].

    >>> maxout(jnp.array([[1.0, 5.0, 2.0, 3.0, 4.0, 6.0]]), 3).tolist()  # of 1, 2, 4 and of 5, 3, 6
    [[4.0, 6.0]]

    Raises:
      UserError: the number of features is not a multiple of size.
    """
    if x.shape[-1] % size:
        raise UserError(
            f"The layer 'maxout {size}' needs a multiple of {size} features and gets {x.shape[-1]}. "
            "Change the features of the layer before it."
        )
    return jnp.max(x.reshape(*x.shape[:-1], size, -1), axis=-2)


def subtract_local_mean(x: Array, size: int) -> Array:
    """Subtracts the mean of all features in the size x size window around each position: f32 [B, h, w, F], the same shape.

    Positions beyond the edge do not count. This is the subtractive normalization of Jarrett et al. 2009, "What is the best
    multi-stage architecture for object recognition?", section 2.1, with equal weights.
    """
    mean = jnp.mean(x, axis=-1, keepdims=True)
    return x - nn.avg_pool(mean, (size, size), (1, 1), "SAME", count_include_pad=False)


def local_response_norm(x: Array, size: int) -> Array:
    """Divides each feature by (1 + 0.001 / size x the sum of squares of the `size` features around it) ^ 0.75.

    f32 [B, .., F], the same shape; `size` is odd, and features beyond the first and the last do not count. Krizhevsky et al.
    2012, section 3.3, with the constants of Liang and Hu 2015, section 3.3.
    """
    features = np.arange(x.shape[-1])
    is_near = (
        abs(features - features[:, None]) <= size // 2
    )  # [F, F]; a product is faster on a CPU than sums of windows
    squares = jnp.matmul(jnp.square(x), is_near.astype(x.dtype))
    return x * (1 + 0.001 / size * squares) ** -0.75


def flatten(x: Array) -> Array:
    """Flattens a feature map [B, h, w, F] to [B, h*w*F]; returns flat features [B, F] unchanged."""
    return x.reshape(x.shape[0], -1)


def max_pool(x: Array, size: int, stride: int, padding: str) -> Array:
    """Max-pools windows of size x size: f32 [B, H, W, F] -> [B, h, w, F].

    The gradient goes to the largest value of a window, and in equal parts to several, as that of jnp.max. It is written so
    that XLA computes it fast on a CPU: in 1/4 to 2/3 of the time of jnp.max where windows do not overlap, and in 1/14 of that
    of a window reduction where they do.

    Args:
      x: the feature map.
      size: side of a window.
      stride: of the windows.
      padding: "SAME" or "VALID".
    """
    if padding == "SAME":
        pads = jax.lax.padtype_to_pads(x.shape[1:3], (size, size), (stride, stride), padding)
        x = jnp.pad(x, ((0, 0), *pads, (0, 0)), constant_values=-jnp.inf)
    if stride != size:
        return _max_of_overlapping_windows(x, size, stride)
    batch, height, width, features = x.shape
    h, w = height // size, width // size
    return _max_of_windows(x[:, : h * size, : w * size].reshape(batch, h, size, w, size, features))


@jax.custom_vjp
def _max_of_windows(windows: Array) -> Array:
    """Returns the maxima of [B, h, k, w, k, F] over both axes k: [B, h, w, F]."""
    size = windows.shape[2]
    return reduce(jnp.maximum, [windows[:, :, i, :, j] for i in range(size) for j in range(size)])


def _max_of_windows_forward(windows: Array) -> tuple[Array, tuple[Array, Array]]:
    largest = jnp.max(windows, (2, 4))  # XLA would compute the chain above again for each gradient
    return largest, (windows, largest)


def _max_of_windows_backward(saved: tuple[Array, Array], gradient: Array) -> tuple[Array]:
    windows, largest = saved
    is_largest = windows == largest[:, :, None, :, None]
    part = gradient / jnp.sum(is_largest, (2, 4)).astype(gradient.dtype)  # a sum of whole numbers is faster
    return (is_largest * part[:, :, None, :, None],)


_max_of_windows.defvjp(_max_of_windows_forward, _max_of_windows_backward)


@partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def _max_of_overlapping_windows(x: Array, size: int, stride: int) -> Array:
    """Returns the maxima of the windows that lie within [B, H, W, F]: [B, h, w, F]."""
    return reduce(jnp.maximum, _values_of_windows(x, size, stride))


def _values_of_windows(x: Array, size: int, stride: int) -> list[Array]:
    """Returns the first value of each window, the second, ..: each [B, h, w, F]."""
    rows, columns = ((n - size) // stride * stride + 1 for n in x.shape[1:3])
    return [x[:, i : i + rows : stride, j : j + columns : stride] for i in range(size) for j in range(size)]


def _max_of_overlapping_windows_forward(x: Array, size: int, stride: int) -> tuple[Array, tuple[Array, Array]]:
    largest = _max_of_overlapping_windows(x, size, stride)
    return largest, (x, largest)


def _max_of_overlapping_windows_backward(
    size: int, stride: int, saved: tuple[Array, Array], gradient: Array
) -> tuple[Array]:
    x, largest = saved
    is_largest = [value == largest for value in _values_of_windows(x, size, stride)]
    part = gradient / reduce(jnp.add, [one.astype(jnp.int32) for one in is_largest]).astype(gradient.dtype)
    _, to_x = jax.vjp(lambda x: _values_of_windows(x, size, stride), x)
    return to_x([one * part for one in is_largest])


_max_of_overlapping_windows.defvjp(_max_of_overlapping_windows_forward, _max_of_overlapping_windows_backward)
