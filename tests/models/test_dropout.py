"""Dropout: the masks of Flax, and what it does with them."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqdigits.models.dropout import Dropout, bernoulli


@pytest.mark.parametrize("shape", [(), (7,), (3, 1, 5), (50, 14, 70, 16), (0, 4)])
@pytest.mark.parametrize("p", [0.1, 0.5, 0.8, 1.0])
def test_mask_is_that_of_jax(shape: tuple[int, ...], p: float):
    key = jax.random.key(5)
    found = jax.jit(lambda k: bernoulli(k, p, shape))(key)
    np.testing.assert_array_equal(found, jax.random.bernoulli(key, p, shape))


def test_mask_of_other_generators_is_that_of_jax():
    key = jax.random.key(5, impl="rbg")
    np.testing.assert_array_equal(bernoulli(key, 0.5, (40, 3)), jax.random.bernoulli(key, 0.5, (40, 3)))


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_layers_are_those_of_flax(dtype: jnp.dtype):
    class Ours(nn.Module):
        @nn.compact
        def __call__(self, x):
            return Dropout(0.25)(Dropout(0.2)(x, True), True)

    class Theirs(nn.Module):
        @nn.compact
        def __call__(self, x):
            return nn.Dropout(0.25, deterministic=False)(nn.Dropout(0.2, deterministic=False)(x))

    x = jax.random.normal(jax.random.key(0), (6, 9, 4), dtype)
    rngs = {"dropout": jax.random.key(1)}
    found, wanted = (
        jax.value_and_grad(lambda x, module=module: jnp.sum(module.apply({}, x, rngs=rngs).astype(jnp.float32) ** 2))(x)
        for module in (Ours(), Theirs())
    )
    jax.tree.map(np.testing.assert_array_equal, found, wanted)


def test_without_training_nothing_is_dropped():
    x = jnp.ones((2, 3))
    np.testing.assert_array_equal(Dropout(0.5).apply({}, x, False), x)
