"""Counts the floating-point operations of a function: those of its matrix products and convolutions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import prod
from typing import Any

import jax
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr


def count_flops(function: Callable, *args: Any) -> int:
    """Returns the floating-point operations of the matrix products and convolutions of a function, two per multiply-add.

    All else, such as activations and the composition of examples, is left out, as is usual for the share of a peak. The program is
    counted as it is written, before any compiler, because XLA's own count takes the body of a loop once, whatever its length. Here
    that is so for `while_loop` alone, whose length is unknown. Of the branches of a condition, the one with the most
    operations counts; where they are for different platforms, the one with the fewest, so that the count is the same on every
    platform.

    Args:
      function: it is traced, not run.
      args: its arguments; jax.ShapeDtypeStruct are enough.

    >>> x, w = jax.ShapeDtypeStruct((5, 3), "float32"), jax.ShapeDtypeStruct((3, 4), "float32")
    >>> count_flops(lambda x, w: x @ w, x, w)  # 2 x 5 x 3 x 4
    120
    """
    return _of_jaxpr(jax.make_jaxpr(function)(*args).jaxpr)


def _of_jaxpr(jaxpr: Jaxpr) -> int:
    return sum(_of_equation(equation) for equation in jaxpr.eqns)


def _of_equation(equation: Any) -> int:
    name, params = equation.primitive.name, equation.params
    if name == "dot_general":
        (contracted, _), _ = params["dimension_numbers"]
        left, out = equation.invars[0].aval.shape, equation.outvars[0].aval.shape
        return 2 * prod(out) * prod(left[axis] for axis in contracted)
    if name == "conv_general_dilated":
        return _of_convolution(equation)
    inner = [_of_jaxpr(jaxpr) for value in params.values() for jaxpr in _jaxprs(value)]
    if name == "cond":
        return min(inner) if params.get("branches_platforms") else max(inner)
    return sum(inner) * (params["length"] if name == "scan" else 1)


def _jaxprs(value: Any) -> Iterator[Jaxpr]:
    """Yields the programs in a parameter of an equation."""
    if isinstance(value, ClosedJaxpr):
        yield value.jaxpr
    elif isinstance(value, Jaxpr):
        yield value
    elif isinstance(value, tuple | list):
        for one in value:
            yield from _jaxprs(one)


def _of_convolution(equation: Any) -> int:
    """Counts the products with values of the image: none with padding, nor with the zeros between dilated values."""
    params = equation.params
    (image, kernel), out = (variable.aval.shape for variable in equation.invars), equation.outvars[0].aval.shape
    numbers = params["dimension_numbers"]
    pairs = 1
    for i, (of_image, of_kernel, of_out) in enumerate(
        zip(numbers.lhs_spec[2:], numbers.rhs_spec[2:], numbers.out_spec[2:], strict=True)
    ):
        dilation = params["lhs_dilation"][i]
        position = (
            np.arange(out[of_out])[:, None] * params["window_strides"][i]
            + np.arange(kernel[of_kernel]) * params["rhs_dilation"][i]
            - params["padding"][i][0]
        )  # [out, kernel], in the dilated image
        inside = (position >= 0) & (position <= (image[of_image] - 1) * dilation)
        pairs *= int(np.sum(inside & (position % dilation == 0)))
    batch, features, inputs = out[numbers.out_spec[0]], out[numbers.out_spec[1]], kernel[numbers.rhs_spec[1]]
    return 2 * batch * features * inputs * pairs
