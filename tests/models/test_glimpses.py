"""Tests of the glimpse model: what a glimpse shows, its losses by hand, and where randomness enters."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqdigits.core.boxes import enclosing_box
from seqdigits.core.constants import NO_DIGIT
from seqdigits.core.types import Batch, Outputs
from seqdigits.models import glimpses, losses
from seqdigits.models.glimpses import GlimpseModel, look, pad, reduce
from seqdigits.models.layer_spec import parse
from seqdigits.models.recurrent import GRU, GRUCell


def test_look_shows_the_square_and_twice_its_surroundings():
    x = jnp.arange(100.0).reshape(1, 10, 10, 1)
    glimpse = look(pad(x, 4), jnp.array([[0.2, -0.4]]), 4)  # centered between pixels 5 and 6 of x, 2 and 3 of y
    np.testing.assert_array_equal(glimpse[0, :, :, 0], x[0, 1:5, 4:8, 0])
    # Twice as large: rows -1..6 and columns 2..9, of which row -1 is beyond the image.
    large = np.concatenate([np.zeros((1, 8)), np.asarray(x[0, :7, 2:10, 0])])
    np.testing.assert_allclose(glimpse[0, :, :, 1], large.reshape(4, 2, 4, 2).mean((1, 3)))


def test_look_stays_within_one_glimpse_of_the_image():
    x = jnp.ones((2, 6, 8, 1))
    glimpse = look(pad(x, 4), jnp.array([[-3.0, -1.0], [1.0, 5.0]]), 4)
    np.testing.assert_array_equal(
        glimpse[0, :, :, 0], np.pad(np.ones((2, 2)), ((2, 0), (2, 0)))
    )  # the upper left corner
    np.testing.assert_array_equal(glimpse[1, :, :, 0], np.pad(np.ones((2, 2)), ((0, 2), (0, 2))))


def test_reduce_takes_means_and_leaves_out_the_rest():
    np.testing.assert_allclose(reduce(jnp.arange(15.0).reshape(1, 3, 5, 1), 2)[0, :, :, 0], [[3, 5]])


def test_gru_cell_is_the_step_of_the_gru():
    x = jax.random.normal(jax.random.key(0), (2, 3, 5))
    variables = GRU(units=4).init(jax.random.key(1), x)
    state = jnp.zeros((2, 4))
    for step in range(3):
        state = GRUCell(4).apply(variables, state, x[:, step])
    np.testing.assert_allclose(state, GRU(units=4).apply(variables, x)[:, -1], atol=1e-6)


def model(**changes):
    layers = {"encoder": parse("conv 3x3x4 /2, relu", "e"), "context": parse("conv 3x3x2, relu", "e")}
    return GlimpseModel(**layers, gru_units=6, glimpses=3, glimpse_size=8, positions=2, num_classes=11, **changes)


IMAGE = jax.random.randint(jax.random.key(0), (4, 20, 24, 1), 0, 256).astype(jnp.uint8)
MASK = jnp.ones(4, bool)


@functools.cache
def initialized():
    return jax.jit(lambda: model().init(jax.random.key(0), IMAGE, train=False, mask=MASK))()


@functools.partial(jax.jit, static_argnames=("train", "glimpse_deviation"))
def applied(variables, *, train, key=0, image=IMAGE, glimpse_deviation=0.1):
    rngs = {"dropout": jax.random.key(key)} if train else {}
    mask = MASK[: len(image)]
    return model(glimpse_deviation=glimpse_deviation).apply(variables, image, train=train, mask=mask, rngs=rngs)


def test_locations_are_random_in_training_only():
    variables = initialized()
    first, second = (applied(variables, train=True, key=key) for key in (1, 2))
    assert first.digit_logits.shape == (4, 2, 11)
    assert first.baselines.shape == first.location_log_density.shape == (4, 2, 3)
    assert (first.digit_logits != second.digit_logits).any()
    evaluated = applied(variables, train=False)
    np.testing.assert_array_equal(evaluated.digit_logits, applied(variables, train=False).digit_logits)
    np.testing.assert_array_equal(evaluated.location_log_density, np.zeros((4, 2, 3)))  # at the mean


def test_log_density_is_that_of_the_noise():
    """-|noise|^2 / 2, of two coordinates: on average -1, whatever the deviation."""
    variables = initialized()
    for deviation in (0.05, 0.4):
        density = jnp.stack(
            [
                applied(variables, train=True, key=key, glimpse_deviation=deviation).location_log_density
                for key in range(20)
            ]
        )
        assert -1.2 < density.mean() < -0.8
    few, many = (applied(variables, train=True, glimpse_deviation=d).location_log_density[:, 0, 0] for d in (0.05, 0.4))
    np.testing.assert_allclose(few, many, rtol=1e-4)


@pytest.fixture
def drawn(monkeypatch):
    """Returns a function of the emission's bias to the outputs in training and the locations f32 [B, L, G, 2] of all glimpses.

    The kernel of the emission is zero, so that the mean of each location is tanh(bias); the deviation is 0.2.
    """
    seen = []

    def recorded(padded, location, size):
        seen.append(location)
        return look(padded, location, size)

    monkeypatch.setattr(glimpses, "look", recorded)
    variables = initialized()
    kernel = jnp.zeros_like(variables["params"]["emission"]["kernel"])

    def draw(bias):
        seen.clear()
        params = variables["params"] | {"emission": {"kernel": kernel, "bias": bias}}
        rngs = {"dropout": jax.random.key(3)}
        outputs = model(glimpse_deviation=0.2).apply({"params": params}, IMAGE, train=True, mask=MASK, rngs=rngs)
        return outputs, jnp.stack(seen, axis=1).reshape(4, 2, 3, 2)

    return draw


def test_score_moves_the_mean_towards_what_was_drawn(drawn):
    """d/d mean of the log density is (location - mean) / deviation^2, by the gradient of the emission's bias."""

    def density(bias):
        outputs, locations = drawn(bias)
        return outputs.location_log_density[0, 0, 0], locations[0, 0, 0]

    score, location = jax.jit(jax.grad(density, has_aux=True))(jnp.zeros(2))
    assert (jnp.abs(location) > 0.01).all()
    np.testing.assert_allclose(score, location / 0.2**2, rtol=1e-5)


def batch(digits):
    boxes = jnp.where((digits != NO_DIGIT)[..., None], jnp.array([8.0, 8, 8, 8]), 0.0)
    return Batch(image=IMAGE, digits=digits, boxes=boxes, index=jnp.arange(4))


def terms(config, outputs, truth):
    return losses.loss_terms(outputs, truth, enclosing_box(truth.boxes, truth.digits != NO_DIGIT), config)


def test_reward_is_whether_the_digit_of_the_position_is_right(small_config):
    config = small_config({"loss.policy": 1.0, "loss.baseline": 1.0, "loss.cells": 0.0, "loss.cell_boxes": 0.0}).loss
    logits = jnp.zeros((4, 2, 11)).at[:, :, 3].set(1.0)
    density, baselines = jnp.full((4, 2, 1), -2.0), jnp.array([[[0.25], [0.5]]] * 4)
    truth = batch(jnp.array([[3, 3], [3, NO_DIGIT], [1, 3], [1, 2]]))
    found = terms(config, Outputs(digit_logits=logits, location_log_density=density, baselines=baselines), truth)
    # Twice the sum of reward - baseline, with rewards 1 1, 1 0, 0 1, 0 0.
    np.testing.assert_allclose(found["policy"], [2 * (0.75 + 0.5), 2 * (0.75 - 0.5), 2 * (-0.25 + 0.5), 2 * -0.75])
    squares = np.array([[0.75, 0.5], [0.75, 0.5], [0.25, 0.5], [0.25, 0.5]]) ** 2
    np.testing.assert_allclose(found["baseline"], squares.mean(1), rtol=1e-6)


@pytest.mark.parametrize("trained", ["digits", "policy", "baseline", "all"])
def test_each_loss_trains_its_part(small_config, trained):
    names = ("digits", "policy", "baseline") if trained == "all" else (trained,)
    weights = {f"loss.{name}": 1.0 for name in names}
    config = small_config(weights | {"loss.cells": 0.0, "loss.cell_boxes": 0.0}).loss
    variables, truth = initialized(), batch(jnp.array([[3, 4], [3, NO_DIGIT], [1, 3], [10, 10]]))

    def loss(params):
        found = terms(config, applied({"params": params}, train=True, key=3), truth)
        return losses.total_loss(found, MASK, 4, config)

    grads = jax.jit(jax.grad(loss))(variables["params"])
    moved = {name for name, part in grads.items() if any(leaf.any() for leaf in jax.tree.leaves(part))}
    read = {"encoder", "what", "where", "lower", "head"}  # what the classifier depends on, given the locations
    decided = {"encoder", "what", "where", "lower", "upper", "context", "initial", "emission"}
    assert (
        moved
        == {"digits": read, "policy": decided, "baseline": {"baseline"}, "all": read | decided | {"baseline"}}[trained]
    )


def test_policy_moves_towards_locations_of_more_reward_than_expected(small_config, drawn):
    """The gradient is -(reward - baseline) (location - mean) / deviation^2, summed over glimpses, averaged over examples."""
    config = small_config({"loss.policy": 1.0, "loss.cells": 0.0, "loss.cell_boxes": 0.0}).loss

    def loss(bias):
        outputs, locations = drawn(bias)
        guesses = jnp.argmax(outputs.digit_logits, -1)
        digits = jnp.where(jnp.arange(4)[:, None] < 2, guesses, (guesses + 1) % 11)  # right in two of the four images
        found = terms(config, outputs, batch(digits))
        return losses.total_loss(found, MASK, 4, config), (outputs.baselines, locations)

    gradient, (baselines, locations) = jax.jit(jax.grad(loss, has_aux=True))(jnp.zeros(2))
    reward = np.array([1.0, 1.0, 0.0, 0.0])[:, None, None]
    by_hand = -((reward - baselines)[..., None] * locations / 0.2**2).sum((1, 2)).mean(0)
    assert (np.abs(by_hand) > 0.01).all()
    np.testing.assert_allclose(gradient, by_hand, atol=1e-4)


def test_glimpses_ignore_padded_rows():
    variables = initialized()
    alone = applied(variables, train=False, image=IMAGE[:2])
    np.testing.assert_allclose(alone.digit_logits, applied(variables, train=False).digit_logits[:2], atol=1e-5)
