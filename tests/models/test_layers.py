"""Layers written as text, and the masked batch norm."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqdigits.core.errors import UserError
from seqdigits.models import layer_spec, stack
from seqdigits.models.batch_norm import MaskedBatchNorm
from seqdigits.models.layer_spec import Layer, output_size, parse, total_stride
from seqdigits.models.ops import convolve, depth_to_space, max_pool, space_to_depth, upsample_nearest
from seqdigits.models.stack import Stack


def test_every_form_is_understood():
    text = (
        "conv 5x5x32, conv 3x3x8 /2, conv 2x2x4 valid, relu, norm, norm shift, dropout 0.25, pool 2, pool 3 valid, "
        "pool 5 /4, dense 10"
    )
    assert parse(text, "model.encoder") == (
        Layer("conv", size=5, features=32),
        Layer("conv", size=3, features=8, stride=2),
        Layer("conv", size=2, features=4, padding="VALID"),
        Layer("relu", size=1, features=1),
        Layer("norm", size=1, features=1),
        Layer("norm", size=1, features=1, scale=False),
        Layer("dropout", size=1, features=1, rate=0.25),
        Layer("pool", size=2, features=1, stride=2),
        Layer("pool", size=3, features=1, stride=3, padding="VALID"),
        Layer("pool", size=5, features=1, stride=4),
        Layer("dense", size=1, features=10),
    )
    assert parse("", "model.head") == ()


@pytest.mark.parametrize(
    "word",
    ["conv 5x3x8", "conv 5", "relu6", "dropout 2", "dropout", "pool", "dense", "dense x", "norm 3", "konv 3x3x8"],
)
def test_what_is_not_understood_is_named(word):
    with pytest.raises(UserError, match=f"model.encoder: '{word}' is not a layer. Allowed are"):
        parse(f"relu, {word}", "model.encoder")


def test_zeros_are_refused():
    for word in ("conv 0x0x8", "conv 3x3x0", "conv 3x3x8 /0", "pool 0", "dense 0"):
        with pytest.raises(UserError, match="has a zero"):
            parse(word, "model.encoder")


def run(text: str, x: jnp.ndarray) -> tuple[jnp.ndarray, dict]:
    stack, mask = Stack(layers=parse(text, "e")), jnp.ones(len(x), bool)
    variables = stack.init(jax.random.key(0), x, train=False, mask=mask)
    return stack.apply(variables, x, train=False, mask=mask), variables.get("params", {})


def test_fold_puts_squares_into_features_and_unfold_takes_them_out_again():
    x = jnp.arange(16.0).reshape(1, 4, 4, 1)
    np.testing.assert_array_equal(space_to_depth(x, 2)[0, 0, 1], [2, 3, 6, 7])
    np.testing.assert_array_equal(depth_to_space(space_to_depth(x, 2), 2), x)
    y, _ = run("space_to_depth 2, depth_to_space 2", jax.random.normal(jax.random.key(0), (2, 8, 12, 3)))
    np.testing.assert_array_equal(y, jax.random.normal(jax.random.key(0), (2, 8, 12, 3)))


def test_enlarge_repeats_and_cuts():
    x = jnp.array([[1.0, 2], [3, 4]])[None, :, :, None]
    np.testing.assert_array_equal(
        upsample_nearest(x, (1, 3, 4, 9))[0, :, :, 0], [[1, 1, 2, 2], [1, 1, 2, 2], [3, 3, 4, 4]]
    )


def test_mean_is_that_of_all_places():
    x = jax.random.normal(jax.random.key(0), (2, 3, 5, 4))
    np.testing.assert_allclose(run("mean", x)[0], x.mean((1, 2)), rtol=1e-6)


def test_a_map_that_was_kept_is_added_or_joined():
    x = jax.random.normal(jax.random.key(0), (2, 5, 7, 3))
    y, _ = run("keep a, relu, add a", x)
    np.testing.assert_allclose(y, x + jnp.maximum(x, 0))
    y, params = run("keep a, pool 2, concat a", x)
    np.testing.assert_array_equal(y[..., :3], x)
    np.testing.assert_array_equal(y[:, 4, 6, 3:], run("pool 2", x)[0][:, 2, 3])
    assert params == {}
    y, params = run("keep a, conv 3x3x4 /2, add a", x)
    assert y.shape == (2, 3, 4, 4)
    assert params["Conv_1"]["kernel"].shape == (1, 1, 3, 4), "brought to the shape by 1x1"


def test_strides_and_sizes_follow_what_is_kept():
    layers = parse(
        "space_to_depth 2, keep a, conv 3x3x4 /2, keep b, pool 2, concat b, conv 1x1x16, depth_to_space 2, concat a",
        "e",
    )
    assert total_stride(layers) == 2
    assert output_size(layers, 32, 48, "e") == (16, 24)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("keep a, keep a", "'keep a' stands there twice"),
        ("conv 3x3x4, add a", "'add a' needs 'keep a' before it. Marked are: none"),
        ("pool 4, keep a, depth_to_space 2, concat a", "the stride here, 2, is no multiple of the one at the mark, 4"),
        ("pool 3, depth_to_space 2", "the stride here, 3, is no multiple of it"),
        ("mean, conv 3x3x4", "needs a feature map"),
        ("space_to_depth 0", "has a zero"),
    ],
)
def test_what_cannot_be_kept_or_joined_is_refused(text, message):
    with pytest.raises(UserError, match=message):
        parse(text, "e")


def test_what_does_not_fit_is_said_when_the_network_is_built():
    with pytest.raises(UserError, match="depth_to_space 2 needs features that 4 divides, and finds 10"):
        run("conv 3x3x10 /2, depth_to_space 2", jnp.zeros((1, 8, 8, 1)))
    with pytest.raises(UserError, match="adds a map of 8x8 with 1 times the stride to one of 6x6"):
        run("keep a, conv 3x3x1 valid, add a", jnp.zeros((1, 8, 8, 1)))


def test_an_odd_map_that_was_kept_is_brought_down_by_the_strides_in_between():
    y, _ = run("keep a, conv 3x3x4 /2, conv 3x3x4 /2, add a", jnp.zeros((1, 9, 33, 3)))
    assert y.shape == (1, 3, 9, 4)


def test_fold_refuses_what_it_does_not_divide():
    with pytest.raises(UserError, match="space_to_depth 2 does not divide 5x8"):
        output_size(parse("space_to_depth 2", "e"), 5, 8, "e")


def test_output_size():
    layers = parse("conv 5x5x4, pool 2, conv 3x3x4 /2, pool 2, conv 2x2x4 valid", "e")
    assert output_size(layers, 28, 140, "e") == (3, 17)  # 28 -> 14 -> 7 -> 4 -> 3
    with pytest.raises(UserError, match="of size 9 without padding meets 8x8"):
        output_size(parse("conv 9x9x1 valid", "e"), 8, 8, "e")


@pytest.mark.parametrize("shape", [(4, 6), (5, 7), (7, 4)])
@pytest.mark.parametrize(("size", "stride"), [(2, 2), (3, 3), (3, 2), (2, 1)])
@pytest.mark.parametrize("padding", ["SAME", "VALID"])
def test_max_pool_is_flax_max_pool(shape, size, stride, padding):
    x = jax.random.normal(jax.random.key(0), (2, *shape, 3)) - 5  # below zero, so that padding with 0 would show
    expected = nn.max_pool(x, (size, size), (stride, stride), padding)
    found = max_pool(x, size, stride, padding)
    np.testing.assert_array_equal(found, expected)
    word = f"pool {size} /{stride}{' valid' if padding == 'VALID' else ''}"
    assert found.shape[1:3] == output_size(parse(word, "e"), *shape, "e")


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
def test_a_small_map_is_convolved_as_a_large_one(sides, size, stride):
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


def test_overlapping_pools_by_hand():
    """SAME as TensorFlow and XLA have it: 14 -> 4 by 5 / 4, one pixel before and two behind."""
    x = jnp.arange(14.0).reshape(1, 14, 1, 1)
    assert max_pool(x, 5, 4, "SAME")[0, :, 0, 0].tolist() == [3, 7, 11, 13]


def test_a_norm_without_scale_has_a_shift_alone():
    x = jax.random.normal(jax.random.key(0), (6, 3))
    mask = jnp.ones(6, bool)
    norm = MaskedBatchNorm(use_scale=False)
    variables = norm.init(jax.random.key(0), x, train=False, mask=mask)
    assert set(variables["params"]) == {"bias"}
    found, _ = norm.apply(variables, x, train=True, mask=mask, mutable=["batch_stats"])
    expected, _ = MaskedBatchNorm().apply(
        {**variables, "params": {"bias": jnp.zeros(3), "scale": jnp.ones(3)}},
        x,
        train=True,
        mask=mask,
        mutable=["batch_stats"],
    )
    np.testing.assert_array_equal(found, expected)


def test_a_layer_right_before_a_norm_has_no_bias():
    stack = Stack(layers=parse("conv 3x3x4, norm, relu, conv 3x3x4, relu, norm", "e"))
    params = stack.init(jax.random.key(0), jnp.ones((1, 8, 8, 1)), train=False, mask=jnp.ones(1, bool))["params"]
    assert set(params["Conv_0"]) == {"kernel"}
    assert set(params["Conv_1"]) == {"kernel", "bias"}


def normalise(x, mask, train=True, stats=None):
    norm = MaskedBatchNorm()
    variables = norm.init(jax.random.key(0), x, train=False, mask=mask)
    if stats:
        variables = {**variables, "batch_stats": stats}
    return norm.apply(variables, x, train=train, mask=mask, mutable=["batch_stats"])


def test_without_padding_the_norm_is_flax_batch_norm():
    x = jax.random.normal(jax.random.key(1), (6, 5, 4, 3)) * 3 + 2
    ours, updated = normalise(x, jnp.ones(6, bool))
    theirs = nn.BatchNorm(use_running_average=False, momentum=0.9, epsilon=1e-3)
    variables = theirs.init(jax.random.key(0), x)
    expected, expected_updated = theirs.apply(variables, x, mutable=["batch_stats"])
    np.testing.assert_allclose(ours, expected, atol=1e-5)
    for name in ("mean", "var"):
        np.testing.assert_allclose(updated["batch_stats"][name], expected_updated["batch_stats"][name], rtol=1e-5)


@pytest.mark.parametrize("garbage", [1e6, jnp.nan])
def test_padded_rows_change_neither_the_others_nor_statistics_nor_gradients(garbage):
    x = jax.random.normal(jax.random.key(1), (4, 5, 3))
    padded = jnp.concatenate([x, jnp.full((2, 5, 3), garbage)])
    mask = jnp.arange(6) < 4
    alone, stats = normalise(x, jnp.ones(4, bool))
    among, padded_stats = normalise(padded, mask)
    np.testing.assert_allclose(among[:4], alone, atol=1e-6)
    np.testing.assert_allclose(padded_stats["batch_stats"]["mean"], stats["batch_stats"]["mean"], atol=1e-6)
    np.testing.assert_allclose(padded_stats["batch_stats"]["var"], stats["batch_stats"]["var"], atol=1e-6)

    def loss(x, mask):
        out = normalise(x, mask)[0]
        return jnp.sum(jnp.where(mask[:, None, None], jnp.square(out) * jnp.arange(3), 0))

    grads = jax.grad(loss)(padded, mask)[:4]
    np.testing.assert_allclose(grads, jax.grad(loss)(x, jnp.ones(4, bool)), atol=1e-5)


def test_evaluation_uses_the_running_statistics():
    stats = {"mean": jnp.array([1.0, 2.0]), "var": jnp.array([4.0, 1.0]) - 1e-3}
    x = jnp.array([[3.0, 2.0], [1.0, 5.0]])
    out, updated = normalise(x, jnp.ones(2, bool), train=False, stats=stats)
    np.testing.assert_allclose(out, [[1, 0], [0, 3]], atol=1e-6)
    np.testing.assert_array_equal(updated["batch_stats"]["mean"], stats["mean"])


def test_dropout_drops_in_training_alone():
    stack = Stack(layers=parse("dropout 0.5", "e"))
    x = jnp.ones((4, 1000))
    kwargs = {"mask": jnp.ones(4, bool), "rngs": {"dropout": jax.random.key(0)}}
    np.testing.assert_array_equal(stack.apply({}, x, train=False, **kwargs), x)
    dropped = stack.apply({}, x, train=True, **kwargs)
    assert 0.45 < jnp.mean(dropped == 0) < 0.55
    assert set(np.unique(dropped)) == {0, 2}


@pytest.mark.parametrize("garbage", [1e30, jnp.inf, jnp.nan])
def test_padded_rows_do_not_reach_the_gradient_of_scale_and_shift(garbage):
    x = jax.random.normal(jax.random.key(1), (4, 3))
    params = {"scale": jnp.array([0.5, 1.0, 2.0]), "bias": jnp.array([1.0, 0.0, -1.0])}
    stats = {"mean": jnp.zeros(3), "var": jnp.ones(3)}

    def loss(params, x, mask):
        variables = {"params": params, "batch_stats": stats}
        out, _ = MaskedBatchNorm().apply(variables, x, train=True, mask=mask, mutable=["batch_stats"])
        return jnp.sum(jnp.where(mask[:, None], jnp.square(out), 0))

    padded = jnp.concatenate([jnp.full((2, 3), garbage), x])
    gradient = jax.jit(jax.grad(loss))
    found = gradient(params, padded, jnp.arange(6) >= 2)
    expected = gradient(params, x, jnp.ones(4, bool))
    for name in ("scale", "bias"):
        np.testing.assert_allclose(found[name], expected[name], atol=1e-5)


def test_every_kind_of_layer_is_parsed_and_applied():
    assert set(stack._APPLY) == set(layer_spec._FORMS)
