"""The convolution of all layers: equal to XLA's in every form that it takes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqdigits.models import convolution
from seqdigits.models.convolution import convolve


@pytest.mark.parametrize(
    ("sides", "size", "stride"),
    [
        ((2, 2), 3, 1),
        ((1, 1), 3, 1),
        ((4, 5), 5, 1),
        ((4, 4), 3, 2),
        ((3, 3), 3, 2),
        ((7, 7), 5, 2),
        ((1, 8), 3, 1),
        ((3, 3), 4, 1),
    ],
)
def test_convolve_of_a_small_map_equals_lax(sides, size, stride):
    x, kernel = (
        jax.random.normal(jax.random.key(i), shape) for i, shape in enumerate([(2, *sides, 3), (size, size, 3, 4)])
    )
    rest = {"dimension_numbers": ("NHWC", "HWIO", "NHWC"), "precision": "highest"}

    def loss(convolve, x, kernel):
        return jnp.sum(jnp.sin(convolve(x, kernel, (stride, stride), "SAME", **rest)))

    for found, expected in zip(
        *(jax.grad(loss, (1, 2))(f, x, kernel) for f in (convolve, jax.lax.conv_general_dilated)), strict=True
    ):
        np.testing.assert_allclose(found, expected, atol=1e-4)
    assert "conv_general_dilated" not in str(jax.make_jaxpr(lambda x: loss(convolve, x, kernel))(x))


@pytest.mark.parametrize(
    ("batch", "sides", "inputs", "size", "features", "stride", "padding"),
    [
        pytest.param(4, (6, 9), 5, 3, 7, 1, "SAME", id="blocks of 4 columns, the last of 1"),
        pytest.param(2, (12, 23), 1, 10, 8, 1, "SAME", id="a large even kernel"),
        pytest.param(2, (12, 23), 3, 8, 14, 1, "VALID", id="blocks of 2 columns, without padding"),
        pytest.param(2, (9, 16), 6, 5, 1, 1, "SAME", id="to one feature"),
        pytest.param(2, (7, 9), 16, 2, 8, 1, "SAME", id="a kernel of 2x2"),
        pytest.param(2, (9, 12), 1, 5, 32, 1, "SAME", id="blocks of 1 column"),
        pytest.param(2, (9, 12), 7, 5, 24, 1, "SAME", id="most inputs of patches"),
        pytest.param(12, (9, 12), 8, 5, 24, 1, "SAME", id="fewest inputs of shared offsets"),
        pytest.param(3, (16, 8), 17, 5, 33, 1, "VALID", id="shared offsets, without padding"),
        pytest.param(4, (7, 13), 9, 6, 5, 1, "SAME", id="shared offsets of a large even kernel"),
        pytest.param(6, (9, 11), 5, 3, 7, 2, "SAME", id="stride 2"),
        pytest.param(2, (20, 22), 9, 5, 7, 3, "VALID", id="stride 3, many inputs, columns left"),
        pytest.param(2, (12, 12), 3, 2, 7, 4, "VALID", id="a stride larger than the kernel"),
        pytest.param(8, (8, 16), 5, 1, 7, 1, "SAME", id="a kernel of 1x1"),
    ],
)
@pytest.mark.parametrize("at_once", [1, 90_000, 1 << 30], ids=["an image at a time", "groups", "all images"])
def test_convolve_and_its_gradient_equal_lax(
    monkeypatch, batch, sides, inputs, size, features, stride, padding, at_once
):
    monkeypatch.setattr(convolution, "_VALUES_AT_ONCE", at_once)
    shapes = [(batch, *sides, inputs), (size, size, inputs, features)]
    x, kernel = (jax.random.normal(jax.random.key(i), shape) for i, shape in enumerate(shapes))
    kernel = kernel / (size * inputs**0.5)  # so that the outputs are near 1
    rest = {"dimension_numbers": ("NHWC", "HWIO", "NHWC"), "precision": "highest"}

    def loss(convolve, x, kernel):
        return jnp.sum(jnp.sin(convolve(x, kernel, (stride, stride), padding, **rest)))

    assert "custom_vjp" in str(jax.make_jaxpr(lambda x: loss(convolve, x, kernel))(x))
    found, expected = (
        jax.jit(jax.value_and_grad(loss, (1, 2)), static_argnums=0)(f, x, kernel)
        for f in (convolve, jax.lax.conv_general_dilated)
    )
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("inputs", "size", "features", "expected"),
    [
        (1, 10, 8, 4),
        (8, 5, 16, 2),
        (1, 3, 6, 4),
        (16, 5, 16, 2),
        (17, 5, 16, 1),
        (4, 3, 32, 1),
        (8, 1, 8, 1),
        (3, 10, 1, 8),
    ],
)
def test_blocks_of_columns_are_used_where_they_are_faster(inputs, size, features, expected):
    x, kernel = jnp.zeros((1, 32, 64, inputs)), jnp.zeros((size, size, inputs, features))
    program = jax.jit(lambda x, kernel: convolve(x, kernel, (1, 1), "SAME")).lower(x, kernel).as_text()
    assert f"stride = [1, {expected}]" in program
    assert program.count("stablehlo.convolution") == 1
