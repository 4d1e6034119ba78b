"""Dropout: the masks of Flax, and what it does with them."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import production_compiler

from seqdigits.models.dropout import Dropout, bernoulli


@pytest.mark.parametrize("shape", [(), (7,), (3, 1, 5), (50, 14, 70, 16), (0, 4)])
@pytest.mark.parametrize("p", [0.1, 0.5, 0.8, 1.0])
@production_compiler()
def test_mask_is_that_of_jax(shape: tuple[int, ...], p: float):
    key = jax.random.key(5)
    for given in (key, jax.random.key_data(key)):
        found = jax.jit(lambda k: bernoulli(k, p, shape))(given)
        np.testing.assert_array_equal(found, jax.random.bernoulli(key, p, shape))


def test_masks_of_several_keys_are_those_of_jax():
    keys = jax.random.split(jax.random.key(5), 3)
    wanted = jax.vmap(lambda key: jax.random.bernoulli(key, 0.5, (40, 3)))(keys)
    np.testing.assert_array_equal(jax.vmap(lambda key: bernoulli(key, 0.5, (40, 3)))(keys), wanted)


def test_mask_of_other_generators_is_that_of_jax():
    key = jax.random.key(5, impl="rbg")
    np.testing.assert_array_equal(bernoulli(key, 0.5, (40, 3)), jax.random.bernoulli(key, 0.5, (40, 3)))


@pytest.mark.parametrize("setting", [{"jax_threefry_partitionable": False}, {"jax_enable_x64": True}])
def test_mask_under_other_settings_is_that_of_jax(setting: dict[str, bool]):
    before = {name: getattr(jax.config, name) for name in setting}
    try:
        for name, value in setting.items():
            jax.config.update(name, value)
        key = jax.random.key(5)
        np.testing.assert_array_equal(bernoulli(key, 0.3, (40, 3)), jax.random.bernoulli(key, 0.3, (40, 3)))
    finally:
        for name, value in before.items():
            jax.config.update(name, value)


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
