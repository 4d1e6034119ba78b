"""Counted operations, against numbers by hand."""

import jax
import jax.numpy as jnp
import pytest
from jax import lax

from seqdigits.experiments.operations import count_flops
from seqdigits.models.convolution import convolve as of_layers


def shape(*sizes):
    return jax.ShapeDtypeStruct(sizes, jnp.float32)


def convolve(x, w, stride=1, padding="SAME", **options):
    return lax.conv_general_dilated(
        x, w, (stride, stride), padding, dimension_numbers=("NHWC", "HWIO", "NHWC"), **options
    )


@pytest.mark.parametrize(
    ("options", "image", "kernel", "expected"),
    [
        ({"padding": "VALID"}, (2, 6, 5, 3), (3, 3, 3, 7), 2 * 2 * (4 * 3) * 7 * 3 * 9),
        ({"padding": "VALID", "stride": 2}, (2, 7, 5, 3), (3, 3, 3, 7), 2 * 2 * (3 * 2) * 7 * 3 * 9),
        ({}, (1, 4, 1, 1), (3, 1, 1, 1), 2 * 10),  # 2 + 3 + 3 + 2 values of the image, the others are padding
        ({"feature_group_count": 2}, (1, 1, 1, 4), (1, 1, 2, 6), 2 * 6 * 2),  # each output sees two of the inputs
        # Windows of a 0 b 0 c: each has one value of the image.
        ({"padding": ((0, 0), (0, 0)), "lhs_dilation": (2, 1)}, (1, 3, 1, 1), (2, 1, 1, 1), 2 * 4),
    ],
    ids=["valid", "stride", "padding", "groups", "dilated"],
)
def test_flops_of_a_convolution(options, image, kernel, expected):
    assert count_flops(lambda x, w: convolve(x, w, **options), shape(*image), shape(*kernel)) == expected


def test_flops_of_gradients():
    """The gradient of a product is two products, that of a strided convolution two with as many multiply-adds."""
    dense = 2 * 5 * 3 * 4
    gradients = jax.grad(lambda x, w: jnp.sum((x @ w) ** 2), argnums=(0, 1))
    assert count_flops(gradients, shape(5, 3), shape(3, 4)) == 3 * dense
    convolution = 2 * 2 * (3 * 2) * 7 * 3 * 9
    gradients = jax.grad(lambda x, w: jnp.sum(convolve(x, w, 2, "VALID") ** 2), argnums=(0, 1))
    assert count_flops(gradients, shape(2, 7, 5, 3), shape(3, 3, 3, 7)) == 3 * convolution


def test_flops_of_loops_conditions_and_inner_functions():
    product = 2 * 4**3
    square = jax.jit(lambda x: x @ x)
    matrix = shape(4, 4)
    assert count_flops(lambda x: lax.scan(lambda x, _: (square(x), None), x, length=6)[0], matrix) == 6 * product
    assert count_flops(lambda x: lax.cond(x[0, 0] > 0, lambda x: x @ x @ x, square, x), matrix) == 2 * product
    assert count_flops(lambda x: lax.while_loop(lambda x: x[0, 0] > 0, square, x), matrix) == product
    assert count_flops(jax.checkpoint(lambda x: jnp.tanh(square(x))), matrix) == product
    assert count_flops(lambda x: jax.vmap(square)(jnp.stack([x, x, x])), matrix) == 3 * product
    assert count_flops(lambda x: jnp.tanh(x) + 1, matrix) == 0


def test_flops_of_a_layer_are_those_of_its_mathematics_not_of_the_way_of_a_platform():
    """A processor computes blocks of columns with a kernel of 5x8 and patches for its gradient, which are more products."""
    valid = 2 * 2 * (4 * 12) * 8 * 1 * 25
    gradients = jax.grad(lambda x, w: jnp.sum(of_layers(x, w, (1, 1), "VALID") ** 2), argnums=(0, 1))
    assert count_flops(gradients, shape(2, 8, 16, 1), shape(5, 5, 1, 8)) == 3 * valid
