"""The convolution of all layers, in the form that is fast on the platform."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

Pads = tuple[tuple[int, int], ...]
"""Zeros before and after the rows, and the columns, of a feature map."""


def convolve(
    x: Array, kernel: Array, stride: tuple[int, int], padding: Any, *, precision: Any = None, **_kwargs: Any
) -> Array:
    """Convolves f32 [B, H, W, F] with a kernel f32 [k, k, F, G], as `lax.conv_general_dilated` does for nn.Conv.

    The kernel is neither dilated nor grouped. XLA on a CPU is slow in three cases:
      Where the output has fewer positions than the kernel, XLA would swap the roles of such a small map and the kernel, which
        makes the convolution and its gradient 10 to 100 times slower. Patches are multiplied by the kernel instead (im2col), on
        all platforms.
      Where there are few features, a CPU computes several adjacent columns of the output at once. See `_by_blocks`.
      The gradient of the kernel is a convolution with a kernel as large as the feature map. See `_kernel_gradient`.
    """
    if isinstance(padding, str):
        padding = jax.lax.padtype_to_pads(x.shape[1:3], kernel.shape[:2], stride, padding)
    pads = tuple(map(tuple, padding))
    size = (kernel.shape[0], kernel.shape[1])
    height, width = _output_size(x, size, stride, pads)
    if height * width >= size[0] * size[1]:
        return _convolve(x, kernel, tuple(stride), pads, precision)
    return jnp.matmul(patches(x, size, stride, pads), kernel.reshape(-1, kernel.shape[-1]), precision=precision)


@partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def _convolve(x: Array, kernel: Array, stride: tuple[int, int], pads: Pads, precision: Any) -> Array:
    by_xla = partial(_by_xla, stride=stride, pads=pads, precision=precision)
    columns = _columns_of_a_block(x, kernel.shape, stride)
    if columns == 1:
        return by_xla(x, kernel)
    by_blocks = partial(_by_blocks, columns=columns, pads=pads, precision=precision)
    return jax.lax.platform_dependent(x, kernel, cpu=by_blocks, default=by_xla)


def _convolve_forward(
    x: Array, kernel: Array, stride: tuple[int, int], pads: Pads, precision: Any
) -> tuple[Array, tuple[Array, Array]]:
    return _convolve(x, kernel, stride, pads, precision), (x, kernel)


def _convolve_backward(
    stride: tuple[int, int], pads: Pads, precision: Any, saved: tuple[Array, Array], gradient: Array
) -> tuple[Array, Array]:
    x, kernel = saved
    size, _, inputs, features = kernel.shape

    def of_x_by_xla(gradient: Array) -> Array:
        return jax.linear_transpose(lambda x: _by_xla(x, kernel, stride, pads, precision), x)(gradient)[0]

    columns = _columns_of_a_block(gradient, (size, size, features, inputs), stride)

    def of_x_by_blocks(gradient: Array) -> Array:
        """Convolves the gradient with the turned kernel."""
        turned = jnp.flip(kernel, (0, 1)).swapaxes(2, 3)
        turned_pads = tuple((size - 1 - before, size - 1 - after) for before, after in pads)
        return _by_blocks(gradient, turned, columns, turned_pads, precision)

    if columns == 1:
        of_x = of_x_by_xla(gradient)
    else:
        of_x = jax.lax.platform_dependent(gradient, cpu=of_x_by_blocks, default=of_x_by_xla)

    def of_kernel_by_xla(x: Array, gradient: Array) -> Array:
        return jax.linear_transpose(lambda kernel: _by_xla(x, kernel, stride, pads, precision), kernel)(gradient)[0]

    def of_kernel_by_products(x: Array, gradient: Array) -> Array:
        return _kernel_gradient(x, gradient, size, stride, pads, precision).astype(kernel.dtype)

    return of_x, jax.lax.platform_dependent(x, gradient, cpu=of_kernel_by_products, default=of_kernel_by_xla)


_convolve.defvjp(_convolve_forward, _convolve_backward)


def _by_xla(x: Array, kernel: Array, stride: tuple[int, int], pads: Pads, precision: Any) -> Array:
    layout = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(x, kernel, stride, pads, dimension_numbers=layout, precision=precision)


def _columns_of_a_block(x: Array, kernel: tuple[int, ...], stride: tuple[int, int]) -> int:
    """Returns how many columns of the output `_by_blocks` computes at once; 1 where that would not be faster.

    The limits were measured on the convolutions of configs/.
    """
    size, _, inputs, features = kernel
    # The width is symbolic in a program that is exported for images of any size.
    if stride != (1, 1) or size == 1 or inputs > 16 or not isinstance(x.shape[2], int):
        return 1
    columns = 1
    while 2 * columns * features <= 32 and 2 * columns <= size + 1:
        columns *= 2
    return columns


def _by_blocks(x: Array, kernel: Array, columns: int, pads: Pads, precision: Any) -> Array:
    """Convolves with stride 1, and computes `columns` adjacent columns of the output at once.

    Such a block of columns is the features of one position in a convolution of that stride, whose kernel is wider by
    columns - 1: k / (k + columns - 1) of its products are needed. On one core it took 2/3 to 1/14 of the time of a
    convolution to 6 to 16 features from 1 to 16.
    """
    width = _output_size(x, (kernel.shape[0], kernel.shape[1]), (1, 1), pads)[1]
    pads = (pads[0], (pads[1][0], pads[1][1] + -width % columns))
    blocks = _by_xla(x, _widen(kernel, columns), (1, columns), pads, precision)
    return blocks.reshape(*blocks.shape[:2], -1, kernel.shape[-1])[:, :, :width]


def _widen(kernel: Array, columns: int) -> Array:
    """Returns the kernel of all columns of a block: [k, k, F, G] -> [k, k + columns - 1, F, columns * G]."""
    shifted = [jnp.pad(kernel, ((0, 0), (i, columns - 1 - i), (0, 0), (0, 0))) for i in range(columns)]
    return jnp.stack(shifted, 3).reshape(kernel.shape[0], -1, kernel.shape[2], columns * kernel.shape[3])


_VALUES_AT_ONCE = 1 << 18
"""Number of values that `_kernel_gradient` puts together at once, to fit into the cache of a processor, unless one image has more."""
_SHARED_INPUTS = 8
"""Fewest features of the input for `_by_shared_offsets`. With fewer its matrix has few rows, which took up to twice as long."""


def _kernel_gradient(
    x: Array, gradient: Array, size: int, stride: tuple[int, int], pads: Pads, precision: Any
) -> Array:
    """Returns the gradient of the kernel: f32 [B, H, W, F] and that of the output [B, h, w, G] -> f32 [k, k, F, G].

    It is a sum of matrix products over groups of images. Alone, on one core, it took 1/6 to 11/10 of the time of XLA's for the
    convolutions of configs/ that are trained on a CPU, and up to 3/2 for 5x5 from 48 features and more.
    """
    if stride == (1, 1) and x.shape[-1] >= _SHARED_INPUTS:
        return _by_shared_offsets(x, gradient, size, pads, precision)
    return _by_patches(x, gradient, size, stride, pads, precision)


def _by_shared_offsets(x: Array, gradient: Array, size: int, pads: Pads, precision: Any) -> Array:
    """Multiplies rows of x, in all offsets of the kernel's rows, by the gradient in all offsets of its columns: stride 1.

    It puts together k * (F + G) values for each position, where patches have k * k * F, and multiplies k - 1 columns more than needed.
    """
    height, width, features = gradient.shape[1:]
    inputs, padded_width = x.shape[-1], width + size - 1

    def product(x: Array, gradient: Array) -> Array:
        x = jnp.pad(x, ((0, 0), *pads, (0, 0))).transpose(3, 0, 1, 2)
        gradient = jnp.pad(gradient, ((0, 0), (0, 0), (size - 1, size - 1), (0, 0)))
        rows = [x[:, :, i : i + height] for i in range(size)]
        columns = [gradient[:, :, j : j + padded_width] for j in reversed(range(size))]
        return _matrix_product(jnp.concatenate(rows), jnp.concatenate(columns, -1), precision)

    values = height * padded_width * size * (inputs + features)
    total = _sum_over_groups(product, x, gradient, values)
    return total.reshape(size, inputs, size, features).swapaxes(1, 2)


def _by_patches(x: Array, gradient: Array, size: int, stride: tuple[int, int], pads: Pads, precision: Any) -> Array:
    """Multiplies patches of x by the gradient.

    With blocks of columns it computes the gradient of the widened kernel of `_by_blocks`: fewer patches and more products.
    """
    width, features = gradient.shape[2:]
    columns = _columns_of_a_gradient(size, width, features) if stride == (1, 1) else 1
    if columns > 1:
        extra = -width % columns
        gradient = jnp.pad(gradient, ((0, 0), (0, 0), (0, extra), (0, 0)))
        gradient = gradient.reshape(*gradient.shape[:2], -1, columns * features)
        stride, pads = (1, columns), (pads[0], (pads[1][0], pads[1][1] + extra))
    sides = (size, size + columns - 1)

    def product(x: Array, gradient: Array) -> Array:
        return _matrix_product(_patches_first(x, sides, stride, pads), gradient, precision)

    total = _sum_over_groups(product, x, gradient, gradient[0, ..., 0].size * sides[0] * sides[1] * x.shape[-1])
    total = total.reshape(*sides, x.shape[-1], -1)
    if columns == 1:
        return total
    kernel = jax.ShapeDtypeStruct((size, size, x.shape[-1], features), jnp.float32)
    return jax.linear_transpose(partial(_widen, columns=columns), kernel)(total)[0]


def _matrix_product(left: Array, right: Array, precision: Any) -> Array:
    """Returns f32 [p, G], the product of [p, B, h, w] and [B, h, w, G]."""
    return jnp.einsum("pbhw,bhwg->pg", left, right, precision=precision, preferred_element_type=jnp.float32)


def _sum_over_groups(product: Callable[[Array, Array], Array], x: Array, gradient: Array, values: int) -> Array:
    """Returns the sum of the products of groups of images; `values` are those that `product` puts together for one image."""
    batch = len(x)
    groups = next(
        n for n in range(1, batch + 1) if batch % n == 0 and (batch // n * values <= _VALUES_AT_ONCE or n == batch)
    )
    if groups == 1:
        return product(x, gradient)
    # A group has an image of each part of the batch. If it has one for each device, each device computes its own.
    parts = [array.reshape(-1, groups, *array.shape[1:]) for array in (x, gradient)]

    def of_group(i: Array | int) -> Array:
        return product(*(jax.lax.dynamic_index_in_dim(part, i, 1, keepdims=False) for part in parts))

    zeros = jnp.zeros_like(jax.eval_shape(of_group, 0))
    return jax.lax.fori_loop(0, groups, lambda i, total: total + of_group(i), zeros)


def _columns_of_a_gradient(size: int, width: int, features: int) -> int:
    """Returns the columns of a block that make the gradient of a kernel fastest.

    To make a patch takes about as long as 8 products with each of its values, as was measured on the convolutions of configs/.
    """

    def cost(columns: int) -> int:
        return -(-width // columns) * (size + columns - 1) * (8 + columns * features)

    return min((1, 2, 4, 8), key=cost)


def _patches_first(x: Array, size: tuple[int, int], stride: tuple[int, int], pads: Pads) -> Array:
    """Returns patches as [k * l * F, B, h, w], so that XLA need not transpose them for a product; see `patches`."""
    height, width = _output_size(x, size, stride, pads)
    step = stride[1]
    # Columns that are a stride apart become neighbors, so that they are copied together.
    extra = -(x.shape[2] + sum(pads[1])) % step
    x = jnp.pad(x, ((0, 0), pads[0], (pads[1][0], pads[1][1] + extra), (0, 0)))
    x = x.reshape(*x.shape[:2], -1, step, x.shape[-1]).transpose(3, 4, 0, 1, 2)
    rows = (height - 1) * stride[0] + 1
    parts = [
        x[j % step, :, :, i : i + rows : stride[0], j // step : j // step + width]
        for i in range(size[0])
        for j in range(size[1])
    ]
    return jnp.concatenate(parts)


def patches(x: Array, size: tuple[int, int], stride: tuple[int, int], pads: Pads) -> Array:
    """Returns the patches of x [B, H, W, F] of a size (k, l) around each position of the output: [B, h, w, k * l * F]."""
    height, width = _output_size(x, size, stride, pads)
    x = jnp.pad(x, ((0, 0), *pads, (0, 0)))
    rows, columns = ((n - 1) * step + 1 for n, step in zip((height, width), stride, strict=True))
    parts = [
        x[:, i : i + rows : stride[0], j : j + columns : stride[1]] for i in range(size[0]) for j in range(size[1])
    ]
    return jnp.concatenate(parts, -1)


def _output_size(x: Array, size: tuple[int, int], stride: tuple[int, int], pads: Pads) -> tuple[int, int]:
    """Returns height and width of the output of a convolution."""
    height, width = (
        (n + sum(pad) - k) // step + 1 for n, pad, k, step in zip(x.shape[1:3], pads, size, stride, strict=True)
    )
    return height, width
