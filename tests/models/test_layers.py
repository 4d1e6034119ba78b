"""Tests of layer specifications, their layers, and the masked batch norm."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqdigits.core.errors import UserError
from seqdigits.models import layer_spec, stack
from seqdigits.models.batch_norm import MaskedBatchNorm
from seqdigits.models.convolution import patches
from seqdigits.models.layer_spec import Layer, output_size, parse, total_stride
from seqdigits.models.ops import (
    depth_to_space,
    local_response_norm,
    max_pool,
    space_to_depth,
    subtract_local_mean,
    upsample_nearest,
)
from seqdigits.models.recurrent_conv import RecurrentConv
from seqdigits.models.stack import Stack


def test_parse_accepts_every_kind_of_layer():
    text = (
        "conv 5x5x32, conv 3x3x8 /2, conv 2x2x4 valid, relu, norm, norm shift, dropout 0.25, pool 2, pool 3 valid, "
        "pool 5 /4, local 5x5x6, recurrent 3x3x8 x3, maxout 3, subtract 3, dense 10"
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
        Layer("local", size=5, features=6),
        Layer("recurrent", size=3, features=8, steps=3),
        Layer("maxout", size=3, features=1),
        Layer("subtract", size=3, features=1),
        Layer("dense", size=1, features=10),
    )
    assert parse("", "model.head") == ()


@pytest.mark.parametrize(
    "word",
    [
        "conv 5x3x8",
        "conv 5",
        "relu6",
        "dropout 2",
        "dropout",
        "pool",
        "dense",
        "dense x",
        "norm 3",
        "konv 3x3x8",
        "local 3x3x8 /2",
        "maxout",
        "recurrent 3x3x8",
    ],
)
def test_parse_names_an_unknown_layer(word):
    with pytest.raises(UserError, match=f"model.encoder: '{word}' is not a layer. Allowed are"):
        parse(f"relu, {word}", "model.encoder")


def test_parse_rejects_zeros():
    for word in (
        "conv 0x0x8",
        "conv 3x3x0",
        "conv 3x3x8 /0",
        "pool 0",
        "dense 0",
        "maxout 0",
        "local 3x3x0",
        "recurrent 3x3x8 x0",
    ):
        with pytest.raises(UserError, match="has a zero"):
            parse(word, "model.encoder")


def run(text: str, x: jnp.ndarray) -> tuple[jnp.ndarray, dict]:
    stack, mask = Stack(layers=parse(text, "e")), jnp.ones(len(x), bool)
    variables = stack.init(jax.random.key(0), x, train=False, mask=mask)
    return stack.apply(variables, x, train=False, mask=mask), variables.get("params", {})


def test_depth_to_space_inverts_space_to_depth():
    x = jnp.arange(16.0).reshape(1, 4, 4, 1)
    np.testing.assert_array_equal(space_to_depth(x, 2)[0, 0, 1], [2, 3, 6, 7])
    np.testing.assert_array_equal(depth_to_space(space_to_depth(x, 2), 2), x)
    y, _ = run("space_to_depth 2, depth_to_space 2", jax.random.normal(jax.random.key(0), (2, 8, 12, 3)))
    np.testing.assert_array_equal(y, jax.random.normal(jax.random.key(0), (2, 8, 12, 3)))


def test_upsample_nearest_repeats_and_crops():
    x = jnp.array([[1.0, 2], [3, 4]])[None, :, :, None]
    np.testing.assert_array_equal(
        upsample_nearest(x, (1, 3, 4, 9))[0, :, :, 0], [[1, 1, 2, 2], [1, 1, 2, 2], [3, 3, 4, 4]]
    )


def test_mean_averages_all_positions():
    x = jax.random.normal(jax.random.key(0), (2, 3, 5, 4))
    np.testing.assert_allclose(run("mean", x)[0], x.mean((1, 2)), rtol=1e-6)


def test_stack_adds_or_concatenates_a_kept_map():
    x = jax.random.normal(jax.random.key(0), (2, 5, 7, 3))
    y, _ = run("keep a, relu, add a", x)
    np.testing.assert_allclose(y, x + jnp.maximum(x, 0))
    y, params = run("keep a, pool 2, concat a", x)
    np.testing.assert_array_equal(y[..., :3], x)
    np.testing.assert_array_equal(y[:, 4, 6, 3:], run("pool 2", x)[0][:, 2, 3])
    assert params == {}
    y, params = run("keep a, conv 3x3x4 /2, add a", x)
    assert y.shape == (2, 3, 4, 4)
    assert params["Conv_1"]["kernel"].shape == (1, 1, 3, 4), "projected by a 1x1 convolution"


def test_strides_and_sizes_follow_kept_maps():
    layers = parse(
        "space_to_depth 2, keep a, conv 3x3x4 /2, keep b, pool 2, concat b, conv 1x1x16, depth_to_space 2, concat a",
        "e",
    )
    assert total_stride(layers) == 2
    assert output_size(layers, 32, 48, "e") == (16, 24)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("keep a, keep a", "'keep a' occurs twice"),
        ("conv 3x3x4, add a", "'add a' needs 'keep a' before it. Kept maps are: none"),
        (
            "pool 4, keep a, depth_to_space 2, concat a",
            "the stride at this layer, 2, is not a multiple of that of the kept map, 4",
        ),
        ("pool 3, depth_to_space 2", "'depth_to_space 2' does not divide the stride at this layer, 3"),
        ("mean, conv 3x3x4", "needs a feature map"),
        ("space_to_depth 0", "has a zero"),
        ("dropout 0.99999999999999999999", "drops all activations"),
    ],
)
def test_parse_rejects_impossible_combinations(text, message):
    with pytest.raises(UserError, match=message):
        parse(text, "e")


def test_stack_rejects_maps_that_do_not_fit():
    with pytest.raises(UserError, match="'depth_to_space 2' needs a multiple of 4 features and gets 10"):
        run("conv 3x3x10 /2, depth_to_space 2", jnp.zeros((1, 8, 8, 1)))
    with pytest.raises(UserError, match="'add a' cannot project the kept map of 8x8 by stride 1 to 6x6"):
        run("keep a, conv 3x3x1 valid, add a", jnp.zeros((1, 8, 8, 1)))


def test_maxout_by_hand():
    y, _ = run("maxout 3", jnp.array([[[[1.0, 5, 2, 3, 4, -6]]]]))
    np.testing.assert_array_equal(y, [[[[4, 5]]]])  # of 1, 2, 4 and of 5, 3, -6
    with pytest.raises(UserError, match="'maxout 3' needs a multiple of 3 features and gets 4"):
        run("maxout 3", jnp.zeros((1, 4)))


def test_subtract_removes_the_mean_of_the_window():
    x = jnp.zeros((1, 3, 4, 2)).at[0, 1, 1].set(jnp.array([12.0, 24]))
    y = subtract_local_mean(x, 3)
    np.testing.assert_allclose(y[0, 1, 1], [10, 22])  # 36 over 9 positions of 2 features
    np.testing.assert_allclose(y[0, 0, 0], [-4.5, -4.5])  # over the 4 positions within the map
    np.testing.assert_allclose(y[0, 0, 1], [-3, -3], rtol=1e-6)
    np.testing.assert_allclose(y[0, 1, 3], [0, 0])
    np.testing.assert_allclose(subtract_local_mean(jnp.full((1, 3, 3, 2), 7.0), 3), np.zeros((1, 3, 3, 2)), atol=1e-6)


def test_max_takes_the_largest_of_all_positions():
    x = jax.random.normal(jax.random.key(0), (2, 3, 5, 4))
    np.testing.assert_array_equal(run("max", x)[0], x.max((1, 2)))


def test_local_response_norm_by_hand():
    x = jnp.array([[10.0, 20, 0, 40]])
    sums = np.array([100 + 400, 100 + 400, 400 + 1600, 1600.0])  # of the squares of three neighbors
    np.testing.assert_allclose(local_response_norm(x, 3), x / (1 + 0.001 / 3 * sums) ** 0.75, rtol=1e-6)


def test_recurrent_convolution_by_hand():
    """1x1 kernels of one feature: x(0) = f(2u - 1), x(t) = f(2u - 1 + x(t - 1) / 2), before the normalization."""
    layer = RecurrentConv(1, 1, 3, nn.initializers.zeros, nn.initializers.zeros)
    kernel = jnp.ones((1, 1, 1, 1))
    params = {"input": {"kernel": 2 * kernel, "bias": jnp.array([-1.0])}, "state": {"kernel": kernel / 2}}

    def g(x):
        return x / (1 + 0.001 * x**2) ** 0.75

    for u, given in [(3.0, 5.0), (0.25, -0.5)]:
        state = g(max(given, 0))
        for _ in range(3):
            state = g(max(given + state / 2, 0))
        np.testing.assert_allclose(
            layer.apply({"params": params}, jnp.full((1, 1, 1, 1), u))[0, 0, 0, 0], state, rtol=1e-6
        )


def test_recurrent_convolution_shares_its_kernels_over_the_steps():
    for steps in (1, 3):
        _, params = run(f"recurrent 3x3x8 x{steps}", jnp.ones((1, 4, 4, 2)))
        shapes = jax.tree.map(jnp.shape, params["RecurrentConv_0"])
        assert shapes == {"input": {"kernel": (3, 3, 2, 8), "bias": (8,)}, "state": {"kernel": (3, 3, 8, 8)}}


def test_local_has_a_kernel_and_a_bias_for_each_position():
    x = jax.random.normal(jax.random.key(0), (2, 3, 4, 2))
    stack_, mask = Stack(layers=parse("local 3x3x5", "e"), bias_init=0.5), jnp.ones(2, bool)
    variables = stack_.init(jax.random.key(1), x, train=False, mask=mask)
    kernel, bias = (variables["params"]["LocalConv_0"][name] for name in ("kernel", "bias"))
    assert kernel.shape == (3, 4, 18, 5)
    assert bias.shape == (3, 4, 5)
    assert 0.8 < jnp.std(kernel) * 18**0.5 < 1.2, "LeCun's initialization, by the inputs of one position"
    y = stack_.apply(variables, x, train=False, mask=mask)
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    for row, column in [(0, 0), (1, 2), (2, 3)]:
        window = padded[:, row : row + 3, column : column + 3].reshape(2, 18)
        np.testing.assert_allclose(y[:, row, column], window @ kernel[row, column] + 0.5, atol=1e-5)


def test_add_projects_a_kept_map_of_odd_size():
    y, _ = run("keep a, conv 3x3x4 /2, conv 3x3x4 /2, add a", jnp.zeros((1, 9, 33, 3)))
    assert y.shape == (1, 3, 9, 4)


def test_output_size_rejects_an_indivisible_space_to_depth():
    with pytest.raises(UserError, match="space_to_depth 2 does not divide its input, 5x8"):
        output_size(parse("space_to_depth 2", "e"), 5, 8, "e")


def test_output_size_by_hand():
    layers = parse("conv 5x5x4, pool 2, conv 3x3x4 /2, pool 2, conv 2x2x4 valid", "e")
    assert output_size(layers, 28, 140, "e") == (3, 17)  # 28 -> 14 -> 7 -> 4 -> 3
    with pytest.raises(UserError, match="a 'valid' conv of size 9 is larger than its input, 8x8"):
        output_size(parse("conv 9x9x1 valid", "e"), 8, 8, "e")


@pytest.mark.parametrize("shape", [(4, 6), (5, 7), (7, 4)])
@pytest.mark.parametrize(("size", "stride"), [(2, 2), (3, 3), (3, 2), (2, 1)])
@pytest.mark.parametrize("padding", ["SAME", "VALID"])
def test_max_pool_equals_flax(shape, size, stride, padding):
    x = (
        jax.random.normal(jax.random.key(0), (2, *shape, 3)) - 5
    )  # below zero, so that padding with 0 would change the maximum
    expected = nn.max_pool(x, (size, size), (stride, stride), padding)
    found = max_pool(x, size, stride, padding)
    np.testing.assert_array_equal(found, expected)
    word = f"pool {size} /{stride}{' valid' if padding == 'VALID' else ''}"
    assert found.shape[1:3] == output_size(parse(word, "e"), *shape, "e")


@pytest.mark.parametrize(("size", "stride"), [(2, 2), (3, 3), (2, 1), (3, 2), (3, 1), (2, 3)])
@pytest.mark.parametrize("padding", ["SAME", "VALID"])
def test_gradient_of_max_pool_is_that_of_max(size, stride, padding):
    """Equal values share it. The values of a window are the patches of a convolution."""
    x = jnp.round(jax.random.normal(jax.random.key(0), (2, 7, 10, 1)) * 2)  # many are equal

    def by_patches(x):
        pads = jax.lax.padtype_to_pads(x.shape[1:3], (size, size), (stride, stride), padding)
        return (
            patches(x + 9, (size, size), (stride, stride), tuple(pads)).max(-1, keepdims=True) - 9
        )  # padding is below all

    weights = jax.random.normal(jax.random.key(1), by_patches(x).shape)
    found = jax.grad(lambda x: jnp.sum(weights * max_pool(x, size, stride, padding)))(x)
    expected = jax.grad(lambda x: jnp.sum(weights * by_patches(x)))(x)
    assert jnp.sum(expected != 0) > 10
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_max_pool_with_overlap_by_hand():
    """SAME as in TensorFlow and XLA: 14 -> 4 by pool 5 /4, padded by one pixel before and two after."""
    x = jnp.arange(14.0).reshape(1, 14, 1, 1)
    assert max_pool(x, 5, 4, "SAME")[0, :, 0, 0].tolist() == [3, 7, 11, 13]


def test_norm_without_scale_has_only_a_shift():
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


def test_layer_before_a_norm_has_no_bias():
    stack = Stack(layers=parse("conv 3x3x4, norm, relu, conv 3x3x4, relu, norm", "e"))
    params = stack.init(jax.random.key(0), jnp.ones((1, 8, 8, 1)), train=False, mask=jnp.ones(1, bool))["params"]
    assert set(params["Conv_0"]) == {"kernel"}
    assert set(params["Conv_1"]) == {"kernel", "bias"}


def normalize(x, mask, train=True, stats=None):
    norm = MaskedBatchNorm()
    variables = norm.init(jax.random.key(0), x, train=False, mask=mask)
    if stats:
        variables = {**variables, "batch_stats": stats}
    return norm.apply(variables, x, train=train, mask=mask, mutable=["batch_stats"])


def test_norm_without_padding_equals_flax():
    x = jax.random.normal(jax.random.key(1), (6, 5, 4, 3)) * 3 + 2
    ours, updated = normalize(x, jnp.ones(6, bool))
    theirs = nn.BatchNorm(use_running_average=False, momentum=0.9, epsilon=1e-3)
    variables = theirs.init(jax.random.key(0), x)
    expected, expected_updated = theirs.apply(variables, x, mutable=["batch_stats"])
    np.testing.assert_allclose(ours, expected, atol=1e-5)
    for name in ("mean", "var"):
        np.testing.assert_allclose(updated["batch_stats"][name], expected_updated["batch_stats"][name], rtol=1e-5)


@pytest.mark.parametrize("garbage", [1e6, jnp.nan])
def test_norm_ignores_padded_rows(garbage):
    x = jax.random.normal(jax.random.key(1), (4, 5, 3))
    padded = jnp.concatenate([x, jnp.full((2, 5, 3), garbage)])
    mask = jnp.arange(6) < 4
    expected, stats = normalize(x, jnp.ones(4, bool))
    found, padded_stats = normalize(padded, mask)
    np.testing.assert_allclose(found[:4], expected, atol=1e-6)
    np.testing.assert_allclose(padded_stats["batch_stats"]["mean"], stats["batch_stats"]["mean"], atol=1e-6)
    np.testing.assert_allclose(padded_stats["batch_stats"]["var"], stats["batch_stats"]["var"], atol=1e-6)

    def loss(x, mask):
        out = normalize(x, mask)[0]
        return jnp.sum(jnp.where(mask[:, None, None], jnp.square(out) * jnp.arange(3), 0))

    grads = jax.grad(loss)(padded, mask)[:4]
    np.testing.assert_allclose(grads, jax.grad(loss)(x, jnp.ones(4, bool)), atol=1e-5)


def test_norm_uses_running_statistics_in_evaluation():
    stats = {"mean": jnp.array([1.0, 2.0]), "var": jnp.array([4.0, 1.0]) - 1e-3}
    x = jnp.array([[3.0, 2.0], [1.0, 5.0]])
    out, updated = normalize(x, jnp.ones(2, bool), train=False, stats=stats)
    np.testing.assert_allclose(out, [[1, 0], [0, 3]], atol=1e-6)
    np.testing.assert_array_equal(updated["batch_stats"]["mean"], stats["mean"])


def test_dropout_is_active_only_in_training():
    stack = Stack(layers=parse("dropout 0.5", "e"))
    x = jnp.ones((4, 1000))
    kwargs = {"mask": jnp.ones(4, bool), "rngs": {"dropout": jax.random.key(0)}}
    np.testing.assert_array_equal(stack.apply({}, x, train=False, **kwargs), x)
    dropped = stack.apply({}, x, train=True, **kwargs)
    assert 0.45 < jnp.mean(dropped == 0) < 0.55
    assert set(np.unique(dropped)) == {0, 2}


@pytest.mark.parametrize("garbage", [1e30, jnp.inf, jnp.nan])
def test_norm_gradients_ignore_padded_rows(garbage):
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
