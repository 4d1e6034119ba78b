"""Optimizers, schedules and the moving average, against values computed by hand."""

import jax.numpy as jnp
import numpy as np
import pytest

from seqdigits import optim
from seqdigits.config.defaults import base_config
from seqdigits.core.errors import UserError


def section(**changes):
    config = base_config().optim
    config.update(changes)
    return config


PARAMS = {"conv": {"kernel": jnp.array([[2.0, -4.0]]), "bias": jnp.array([3.0])}, "norm": {"scale": jnp.array([1.0])}}


def test_weight_decay_changes_kernels_only():
    optimizer = optim.optimizer(section(name="adamw", learning_rate=0.1, weight_decay=0.5))
    zeros = {"conv": {"kernel": jnp.zeros((1, 2)), "bias": jnp.zeros(1)}, "norm": {"scale": jnp.zeros(1)}}
    updates, _ = optimizer.update(zeros, optimizer.init(PARAMS), PARAMS)
    np.testing.assert_allclose(updates["conv"]["kernel"], [[-0.1, 0.2]], rtol=1e-6)  # lr * decay * weight
    np.testing.assert_array_equal(updates["conv"]["bias"], [0])
    np.testing.assert_array_equal(updates["norm"]["scale"], [0])


def test_clipping_bounds_the_global_norm():
    optimizer = optim.optimizer(section(name="sgd", learning_rate=1.0, clip_norm=1.0))
    grads = {"conv": {"kernel": jnp.array([[3.0, 0.0]]), "bias": jnp.array([4.0])}, "norm": {"scale": jnp.array([0.0])}}
    updates, _ = optimizer.update(grads, optimizer.init(PARAMS), PARAMS)
    np.testing.assert_allclose(updates["conv"]["kernel"], [[-0.6, 0]], rtol=1e-6)
    np.testing.assert_allclose(updates["conv"]["bias"], [-0.8], rtol=1e-6)


def test_adam_first_update_is_the_learning_rate():
    optimizer = optim.optimizer(section(learning_rate=0.01))
    grads = {
        "conv": {"kernel": jnp.array([[5.0, -0.2]]), "bias": jnp.array([1.0])},
        "norm": {"scale": jnp.array([9.0])},
    }
    updates, _ = optimizer.update(grads, optimizer.init(PARAMS), PARAMS)
    np.testing.assert_allclose(updates["conv"]["kernel"], [[-0.01, 0.01]], rtol=1e-4)


@pytest.mark.parametrize(("step", "expected"), [(0, 0), (5, 0.5), (10, 1), (60, 0.5), (110, 0), (10_000, 0)])
def test_schedule_cosine_with_warmup(step, expected):
    rate = optim.schedule(section(schedule="cosine", learning_rate=1.0, warmup_steps=10, decay_steps=110))
    assert rate(step) == pytest.approx(expected, abs=1e-6)


def test_schedule_constant_with_and_without_warmup():
    assert optim.schedule(section(learning_rate=0.3))(7) == pytest.approx(0.3)
    rate = optim.schedule(section(learning_rate=0.3, warmup_steps=3))
    assert [float(rate(t)) for t in (0, 1, 3, 900)] == pytest.approx([0, 0.1, 0.3, 0.3])


def test_update_ema_soon_forgets_the_initial_weights():
    average, current = {"w": jnp.array(0.0)}, {"w": jnp.array(1.0)}
    first = optim.update_ema(average, current, 0.99, jnp.array(0))
    np.testing.assert_allclose(first["w"], 0.9, rtol=1e-6)  # decay (1 + 0) / (10 + 0)
    late = optim.update_ema(average, current, 0.99, jnp.array(100_000))
    np.testing.assert_allclose(late["w"], 0.01, rtol=1e-4)


GRADS = {"conv": {"kernel": jnp.array([[3.0, -0.5]]), "bias": jnp.array([4.0])}, "norm": {"scale": jnp.array([0.0])}}


def two_steps(**changes):
    """The first two updates of the first kernel weight, whose gradient is 3."""
    optimizer = optim.optimizer(section(learning_rate=0.1, **changes))
    state, updates_of_weight = optimizer.init(PARAMS), []
    for _ in range(2):
        updates, state = optimizer.update(GRADS, state, PARAMS)
        updates_of_weight.append(float(updates["conv"]["kernel"][0, 0]))
    return updates_of_weight


def test_adagrad_accumulates_squares_from_a_tenth():
    assert two_steps(name="adagrad") == pytest.approx([-0.3 / np.sqrt(9.1), -0.3 / np.sqrt(18.1)], rel=1e-5)


def test_rmsprop_averages_squares_from_one():
    assert two_steps(name="rmsprop") == pytest.approx([-0.3 / np.sqrt(1.8), -0.3 / np.sqrt(1.62 + 0.9)], rel=1e-5)


def test_sgd_with_and_without_momentum():
    assert two_steps(name="sgd") == pytest.approx([-0.3, -0.3])
    assert two_steps(name="sgd", momentum=0.5) == pytest.approx([-0.3, -0.45])


def test_adamw_is_adam_with_decoupled_decay():
    plain, decayed = two_steps(name="adam"), two_steps(name="adamw", weight_decay=0.5)
    assert decayed == pytest.approx([update - 0.1 * 0.5 * 2.0 for update in plain])


@pytest.mark.parametrize("name", ["exponential", "staircase", "inverse_time", "piecewise"])
def test_schedule_starts_with_the_warmup(name):
    changes = {"boundaries": "5: 0.5, 20: 0.25"} if name == "piecewise" else {"decay_steps": 10, "decay_rate": 0.5}
    rate = optim.schedule(section(schedule=name, learning_rate=1.0, warmup_steps=4, **changes))
    assert [float(rate(t)) for t in (0, 1, 4)] == pytest.approx([0, 0.25, 1.0])
    expected = {"exponential": 0.5, "staircase": 0.5, "inverse_time": 1 / 1.5, "piecewise": 0.5}
    assert rate(14) == pytest.approx(expected[name])


@pytest.mark.parametrize(
    "text", ["", "5", "5: x", "5: 0.1, 5: 0.2", "9: 0.1, 5: 0.2", "0: 0.1", "5: -1", "5: inf", "3000000000: 1"]
)
def test_parse_boundaries_refuses_invalid_text(text):
    with pytest.raises(UserError, match="cannot be parsed"):
        optim.parse_boundaries(text)


@pytest.mark.parametrize("decay", [0.0, 0.3, 0.999])
def test_update_ema_keeps_constant_weights_bit_for_bit(decay):
    weights = {"w": jnp.array([0.1, 1 / 3, 1e-7])}
    average = weights
    for step in range(20):
        average = optim.update_ema(average, weights, decay, jnp.array(step))
    np.testing.assert_array_equal(average["w"], weights["w"])
