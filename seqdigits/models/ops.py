"""Operations on feature maps f32 [B, h, w, F]."""

from __future__ import annotations

from functools import partial
from typing import Any

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


def convolve(
    x: Array, kernel: Array, stride: tuple[int, int], padding: Any, *, precision: Any = None, **_kwargs: Any
) -> Array:
    """Convolves f32 [B, H, W, F] with a kernel f32 [k, k, F, G], as `lax.conv_general_dilated` does for nn.Conv.

    The kernel is neither dilated nor grouped. XLA on the CPU is slow in two cases, which are computed as matrix products over
    patches (im2col) instead:
      Where the output has fewer positions than the kernel, XLA would swap the roles of such a small map and the kernel, which
        makes the convolution and its gradient 10 to 100 times slower.
      The gradient of the kernel is a convolution with a kernel as large as the feature map. See `_kernel_gradient`.
    """
    if isinstance(padding, str):
        padding = jax.lax.padtype_to_pads(x.shape[1:3], kernel.shape[:2], stride, padding)
    pads = tuple(map(tuple, padding))
    height, width = _output_size(x, kernel.shape[0], stride, pads)
    if height * width >= kernel.shape[0] ** 2:
        return _convolve(x, kernel, tuple(stride), pads, precision)
    return jnp.matmul(
        patches(x, kernel.shape[0], stride, pads), kernel.reshape(-1, kernel.shape[-1]), precision=precision
    )


Pads = tuple[tuple[int, int], ...]
"""Zeros before and after the rows, and the columns, of a feature map."""


@partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def _convolve(x: Array, kernel: Array, stride: tuple[int, int], pads: Pads, precision: Any) -> Array:
    return _by_xla(x, kernel, stride, pads, precision)


def _by_xla(x: Array, kernel: Array, stride: tuple[int, int], pads: Pads, precision: Any) -> Array:
    layout = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(x, kernel, stride, pads, dimension_numbers=layout, precision=precision)


def _convolve_forward(
    x: Array, kernel: Array, stride: tuple[int, int], pads: Pads, precision: Any
) -> tuple[Array, tuple[Array, Array]]:
    return _convolve(x, kernel, stride, pads, precision), (x, kernel)


def _convolve_backward(
    stride: tuple[int, int], pads: Pads, precision: Any, saved: tuple[Array, Array], gradient: Array
) -> tuple[Array, Array]:
    x, kernel = saved
    of_x = jax.linear_transpose(lambda x: _by_xla(x, kernel, stride, pads, precision), x)(gradient)[0]

    def by_xla(x: Array, gradient: Array) -> Array:
        return jax.linear_transpose(lambda kernel: _by_xla(x, kernel, stride, pads, precision), kernel)(gradient)[0]

    def by_patches(x: Array, gradient: Array) -> Array:
        return _kernel_gradient(x, gradient, kernel.shape[0], stride, pads, precision).astype(kernel.dtype)

    return of_x, jax.lax.platform_dependent(x, gradient, cpu=by_patches, default=by_xla)


_convolve.defvjp(_convolve_forward, _convolve_backward)

_PATCHES_AT_ONCE = 1 << 18
"""Number of values of the patches that `_kernel_gradient` holds at once, so that they fit into the cache of a processor."""


def _kernel_gradient(
    x: Array, gradient: Array, size: int, stride: tuple[int, int], pads: Pads, precision: Any
) -> Array:
    """Returns the gradient of the kernel: f32 [B, H, W, F] and that of the output [B, h, w, G] -> f32 [k, k, F, G].

    It is a sum of matrix products over groups of images. On two cores it took 2/3 to 1/7 of the time of XLA's.
    """
    batch, values = len(x), gradient[0, ..., 0].size * size**2 * x.shape[-1]
    groups = next(
        n for n in range(1, batch + 1) if batch % n == 0 and (batch // n * values <= _PATCHES_AT_ONCE or n == batch)
    )

    def product(x: Array, gradient: Array) -> Array:
        return jnp.einsum(
            "bhwp,bhwg->pg",
            patches(x, size, stride, pads),
            gradient,
            precision=precision,
            preferred_element_type=jnp.float32,
        )

    if groups == 1:
        total = product(x, gradient)
    else:
        # A group has an image of each part of the batch: with several devices, each has its part.
        parts = [array.reshape(-1, groups, *array.shape[1:]) for array in (x, gradient)]

        def add(i: Array, total: Array) -> Array:
            return total + product(*(jax.lax.dynamic_index_in_dim(part, i, 1, keepdims=False) for part in parts))

        zeros = jnp.zeros((size**2 * x.shape[-1], gradient.shape[-1]))
        total = jax.lax.fori_loop(0, groups, add, zeros)
    return total.reshape(size, size, x.shape[-1], -1)


def _output_size(x: Array, size: int, stride: tuple[int, int], pads: Pads) -> tuple[int, int]:
    """Returns height and width of the output of a convolution."""
    height, width = ((n + sum(pad) - size) // step + 1 for n, pad, step in zip(x.shape[1:3], pads, stride, strict=True))
    return height, width


def patches(x: Array, size: int, stride: tuple[int, int], pads: Pads) -> Array:
    """Returns the patches of x [B, H, W, F] under the kernel at each position of the output: [B, h, w, k * k * F]."""
    height, width = _output_size(x, size, stride, pads)
    x = jnp.pad(x, ((0, 0), *pads, (0, 0)))
    rows, columns = ((n - 1) * step + 1 for n, step in zip((height, width), stride, strict=True))
    parts = [x[:, i : i + rows : stride[0], j : j + columns : stride[1]] for i in range(size) for j in range(size)]
    return jnp.concatenate(parts, -1)


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
