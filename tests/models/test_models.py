"""Tests of the models: sizes, initial losses, gradients, overfitting."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqdigits.config.defaults import base_config
from seqdigits.core import boxes as bx
from seqdigits.core import params
from seqdigits.core.boxes import box_squared_error
from seqdigits.core.constants import NO_DIGIT
from seqdigits.data.create import create_source
from seqdigits.decoding.decode import decode
from seqdigits.decoding.options import decode_options
from seqdigits.experiments.published import PUBLISHED
from seqdigits.inference.predict_step import PredictStep
from seqdigits.models import losses
from seqdigits.models.build import build, init_variables
from seqdigits.models.dense import DenseDetector, _three_quarters
from seqdigits.models.pixels import PixelNormalization
from seqdigits.models.recurrent import GRU
from seqdigits.models.stack import KERNEL_INITS
from seqdigits.training.train_step import TrainStep


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameter_counts_are_as_published(experiment, name):
    config = experiment(name)
    spec = create_source(config, "train").spec
    variables = jax.eval_shape(lambda: init_variables(build(config, spec), spec, 0))
    assert params.count(variables["params"]) == PUBLISHED[name].params


ENCODER = "conv 5x5x8 /2, relu, conv 3x3x16 /2, relu, conv 3x3x16 /2, relu"


PYRAMID = "space_to_depth 2, conv 3x3x8, norm, relu, keep a, conv 3x3x16 /2, norm, add a, conv 1x1x32, depth_to_space 2, concat a"


def small(name, **changes):
    config = base_config()
    config.data.digits, config.data.height, config.data.width = "uci", 32, 64
    config.data.min_length, config.data.max_length = 1, 2
    config.model.name, config.model.encoder, config.model.gru_units = name, ENCODER, 24
    if name == "dense_detector":
        config.loss.cells = config.loss.cell_boxes = 1.0
    else:
        config.loss.digits = 1.0
    config.update_from_flattened_dict(changes)
    return config


BOX = {"model.localize": True, "model.box_head": "dense 32, relu", "loss.box": 0.001}


def initialized(model, spec):
    return jax.jit(lambda: init_variables(model, spec, 0))()


def applied(model, variables, image, mask):
    return jax.jit(lambda variables, image, mask: model.apply(variables, image, train=False, mask=mask))(
        variables, image, mask
    )


def four_examples(config):
    source = create_source(config, "train")
    host_batch = {"index": np.arange(4, dtype=np.int32), "position": np.arange(4, dtype=np.int32)}
    make = jax.jit(lambda arrays, host_batch: source.make(arrays, host_batch, jax.random.key(0), train=False))
    return source, make(source.arrays, host_batch)


def test_strip5_gru_starts_as_tensorflow_tutorials_do(experiment):
    """Kernels are normal with deviation 0.1, cut at two deviations; biases are 0.1. The GRU starts in its own way."""
    config = experiment("strip5_gru")
    config.data.digits = "uci"
    spec = create_source(config, "train").spec
    variables = initialized(build(config, spec), spec)["params"]
    started = dict(zip(params.names(variables), jax.tree.leaves(variables), strict=True))
    started = {name: leaf for name, leaf in started.items() if not name.startswith("gru/")}
    assert len(started) == 2 * (3 + 5)  # three convolutions and five heads
    for name, leaf in started.items():
        if name.endswith("/bias"):
            np.testing.assert_allclose(leaf, 0.1, err_msg=name)
        else:
            assert 0.15 < np.abs(leaf).max() <= 0.2, name


@pytest.mark.parametrize("name", KERNEL_INITS)
def test_kernels_start_with_the_deviation_of_their_initializer(name):
    config = small("heads", **{"model.encoder": "dense 200, relu", "model.kernel_init": name})
    spec = create_source(config, "train").spec
    kernel = initialized(build(config, spec), spec)["params"]["encoder"]["Dense_0"]["kernel"]
    assert kernel.shape == (2048, 200)  # from the pixels of an image of 32x64
    deviations = {
        "lecun_normal": (1 / 2048) ** 0.5,
        "glorot_uniform": (2 / (2048 + 200)) ** 0.5,
        "he_normal": (2 / 2048) ** 0.5,
        "truncated_normal": 0.1 * 0.8796,  # a normal variable with deviation 1 that is cut at -2 and 2 has 0.8796
    }
    assert np.std(kernel) == pytest.approx(deviations[name], rel=0.01)


@pytest.mark.parametrize("name", ["heads", "gru", "attention"])
def test_initial_loss_is_near_chance(name):
    config = small(name)
    source, batch = four_examples(config)
    steps = TrainStep(config, build(config, source.spec))
    outputs, _ = jax.jit(lambda v: PredictStep(config, steps.model).predict(v, batch, source.spec))(
        jax.jit(lambda: steps.init(source))().variables()
    )
    loss = jnp.mean(losses.digit_cross_entropy(outputs.digit_logits, batch.digits))
    assert abs(loss - np.log(11)) < 0.5


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("heads", BOX),
        ("gru", BOX | {"model.head": "dense 16, relu"}),
        ("attention", {"model.shared_head": True}),
        ("dense_detector", {}),
        ("dense_detector", {"model.encoder": ENCODER.replace("relu", "norm, relu")}),
        ("dense_detector", {"model.encoder": PYRAMID}),
    ],
    ids=["heads", "gru", "attention", "dense_detector", "dense_detector-norm", "dense_detector-pyramid"],
)
def test_gradient_reaches_every_parameter(name, changes):
    config = small(name, **changes)
    source, batch = four_examples(config)
    model = build(config, source.spec)
    variables = initialized(model, source.spec)

    def loss(params):
        outputs, _ = model.apply(
            {**variables, "params": params}, batch.image, train=True, mask=batch.mask, mutable=["batch_stats"]
        )
        box = bx.enclosing_box(batch.boxes, batch.digits != NO_DIGIT)
        return losses.total_loss(losses.loss_terms(outputs, batch, box, config.loss), batch.mask, 4, config.loss)

    for path, grad in jax.tree_util.tree_leaves_with_path(jax.jit(jax.grad(loss))(variables["params"])):
        assert jnp.any(grad != 0), jax.tree_util.keystr(path)


@pytest.mark.parametrize(("name", "changes"), [("gru", BOX), ("dense_detector", {})], ids=["gru", "dense_detector"])
@pytest.mark.slow
def test_model_overfits_four_examples(name, changes):
    config = small(name, **changes, **{"optim.learning_rate": 3e-3})
    source, batch = four_examples(config)
    steps = TrainStep(config, build(config, source.spec))
    train = jax.jit(steps.train_on)
    state = jax.jit(lambda: steps.init(source))()
    for _ in range(300):
        state = train(state, batch)
    outputs, prediction = jax.jit(lambda v: PredictStep(config, steps.model).predict(v, batch, source.spec))(
        state.variables()
    )
    np.testing.assert_array_equal(prediction.digits[:, 0], batch.digits)
    error = box_squared_error(prediction.box[:, 0], bx.enclosing_box(batch.boxes, batch.digits != NO_DIGIT))
    assert jnp.max(error) < 4.0
    assert outputs.box.shape == (4, 4)


def test_gru_equals_cho_et_al():
    units, steps, features = 3, 4, 5
    x = jax.random.normal(jax.random.key(1), (2, features))
    gru = GRU(units=units, repeats=steps)
    variables = gru.init(jax.random.key(0), x)
    p = jax.tree.map(np.asarray, variables["params"])
    assert sum(leaf.size for leaf in jax.tree.leaves(p)) == 3 * units * (features + units + 1)

    def sigmoid(v):
        return 1 / (1 + np.exp(-v))

    w, b = p["input"]["kernel"], p["input"]["bias"]
    np.testing.assert_array_equal(b, [1] * 6 + [0] * 3)
    u_gates, u_candidate = p["recurrent"]["gates"]["kernel"], p["recurrent"]["candidate"]["kernel"]
    h, states = np.zeros((2, units)), []
    for _ in range(steps):
        given = np.asarray(x) @ w + b
        gates = sigmoid(given[:, :6] + h @ u_gates)
        reset, update = gates[:, :3], gates[:, 3:]
        candidate = np.tanh(given[:, 6:] + (reset * h) @ u_candidate)
        h = update * h + (1 - update) * candidate
        states.append(h)
    np.testing.assert_allclose(gru.apply(variables, x), np.stack(states, 1), atol=1e-5)
    every_step = jnp.repeat(x[:, None], steps, axis=1)  # the same input, with a time axis
    np.testing.assert_allclose(GRU(units=units).apply(variables, every_step), np.stack(states, 1), atol=1e-5)


def test_keras_gru_by_hand():
    units, steps, features = 3, 4, 5
    x = 4 * jax.random.normal(jax.random.key(1), (2, steps, features))  # large enough for gates of 0 and 1
    gru = GRU(units=units, cell="keras2")
    variables = gru.init(jax.random.key(0), x)
    p = jax.tree.map(np.asarray, variables["params"])
    assert sum(leaf.size for leaf in jax.tree.leaves(p)) == 3 * units * (features + units + 1)
    kernel, recurrent, bias = p["input"]["kernel"], p["recurrent"]["kernel"], p["input"]["bias"]
    assert not bias.any()
    np.testing.assert_allclose(recurrent @ recurrent.T, np.eye(units), atol=1e-6)
    h, states, gates_seen = np.zeros((2, units)), [], []
    for t in range(steps):
        given = np.asarray(x[:, t]) @ kernel
        gates = np.clip(0.2 * (given[:, :6] + h @ recurrent[:, :6]) + 0.5, 0, 1)
        reset, update = gates[:, :3], gates[:, 3:]
        candidate = np.tanh(given[:, 6:] + (reset * h) @ recurrent[:, 6:])
        h = update * h + (1 - update) * candidate
        states.append(h)
        gates_seen.append(gates)
    assert {0.0, 1.0} <= set(np.stack(gates_seen).ravel().tolist())
    np.testing.assert_allclose(gru.apply(variables, x), np.stack(states, 1), atol=1e-5)


def test_pixel_normalization_by_hand():
    image = jnp.array([[[[0], [255]], [[51], [102]]]], jnp.uint8)  # [1, 2, 2, 1]

    def normalize(kind, variables=None):
        return PixelNormalization(kind).apply(variables or {}, image)[0, ..., 0]

    np.testing.assert_allclose(normalize("raw"), [[0, 255], [51, 102]])
    np.testing.assert_allclose(normalize("unit"), [[0, 1], [0.2, 0.4]], rtol=1e-6)
    np.testing.assert_allclose(normalize("image_mean"), [[-0.4, 0.6], [-0.2, 0.0]], atol=1e-6)
    stats = {"mean": jnp.full((2, 2, 1), 51.0), "deviation": jnp.array([[[0.0], [51.0]], [[17.0], [51.0]]])}
    np.testing.assert_allclose(normalize("per_pixel", {"input_stats": stats}), [[-51, 4], [0, 1]], rtol=1e-6)


@pytest.mark.slow
def test_dense_detector_accepts_other_image_sizes():
    config = small("dense_detector")
    source, _ = four_examples(config)
    model = build(config, source.spec)
    variables = initialized(model, source.spec)
    image = jnp.zeros((2, 64, 96, 1), jnp.uint8)
    outputs = applied(model, variables, image, jnp.ones(2, bool))
    assert outputs.cell_logits.shape == (2, 8, 12, 11)
    assert decode(outputs, decode_options(config, source.spec)).digits.shape == (2, 1, 2)


def test_mean_jitter_shifts_each_image_in_training():
    encoder = build(small("dense_detector"), four_examples(small("dense_detector"))[0].spec).encoder
    detector = DenseDetector(pixels="image_mean", encoder=encoder, mean_jitter=0.3)
    image, mask = jnp.full((4, 16, 16, 1), 90, jnp.uint8), jnp.ones(4, bool)
    variables = detector.init(jax.random.key(0), image, train=False, mask=mask)

    def logits(key, train):
        rngs = {"dropout": jax.random.key(key)}
        return detector.apply(variables, image, train=train, mask=mask, rngs=rngs, mutable=["batch_stats"])[
            0
        ].cell_logits

    first, second = logits(1, True), logits(2, True)
    assert (first != second).any()
    assert (first[0] != first[1]).any(), "equal images get different shifts"
    np.testing.assert_array_equal(logits(1, False), logits(2, False))


def test_boxes_of_zeros_decode_to_the_cell():
    detector = DenseDetector(
        encoder=build(small("dense_detector"), four_examples(small("dense_detector"))[0].spec).encoder
    )
    image = jnp.zeros((1, 16, 32, 1), jnp.uint8)
    variables = detector.init(jax.random.key(0), image, train=False, mask=jnp.ones(1, bool))
    zeroed = {**variables, "params": jax.tree.map(jnp.zeros_like, variables["params"])}
    boxes = applied(detector, zeroed, image, jnp.ones(1, bool)).cell_boxes
    np.testing.assert_allclose(boxes[0, 1, 2], [20, 12, 8, 8])


def test_dense_detector_initially_predicts_no_digit():
    config = small("dense_detector")
    source, batch = four_examples(config)
    model = build(config, source.spec)
    outputs = applied(model, initialized(model, source.spec), batch.image, batch.mask)
    assert jnp.mean(jax.nn.softmax(outputs.cell_logits)[..., NO_DIGIT]) > 0.9


def test_row_gru_splits_its_last_state():
    config = small("row_gru", **{"model.encoder": "", "model.gru_units": 6, "model.shared_head": True})
    source, batch = four_examples(config)
    model = build(config, source.spec)
    variables = initialized(model, source.spec)
    logits = applied(model, variables, batch.image, batch.mask).digit_logits
    rows = batch.image[..., 0].astype(jnp.float32) / 255  # [B, 32 steps, 64 features]
    last = GRU(units=6).apply({"params": variables["params"]["gru"]}, rows)[:, -1]
    dense = variables["params"]["head"]["Dense_0"]
    for position in range(2):
        part = last[:, 3 * position : 3 * position + 3]
        np.testing.assert_allclose(logits[:, position], part @ dense["kernel"] + dense["bias"], atol=1e-5)


def test_shared_head_ignores_padded_rows_at_all_positions():
    config = small("gru", **{"model.shared_head": True, "model.head": "dense 8, norm, relu"})
    source, batch = four_examples(config)
    model = build(config, source.spec)
    variables = initialized(model, source.spec)
    assert "head_0" not in variables["params"]
    padded = batch.replace(index=jnp.array([0, 1, 2, -1]))

    def train(rows, mask):
        return model.apply(variables, rows, train=True, mask=mask, mutable=["batch_stats"])

    (outputs, stats), (alone, stats_alone) = train(batch.image, padded.mask), train(batch.image[:3], padded.mask[:3])
    np.testing.assert_allclose(outputs.digit_logits[:3], alone.digit_logits, atol=1e-5)
    jax.tree.map(partial(np.testing.assert_allclose, atol=1e-5), stats, stats_alone)


def test_dense_detector_pads_to_the_largest_stride():
    config = small("dense_detector", **{"model.encoder": PYRAMID, "data.max_length": 1, "data.min_length": 1})
    model = build(config, create_source(config, "train").spec)
    image = jnp.zeros((1, 29, 50, 1), jnp.uint8)
    variables = model.init(jax.random.key(0), image, train=False, mask=jnp.ones(1, bool))
    outputs = applied(model, variables, image, jnp.ones(1, bool))
    assert outputs.cell_logits.shape == (1, 16, 26, 11), "32 x 52, multiples of the largest stride, 4; cells of 2"
    assert outputs.stride == 2


@pytest.mark.slow
def test_octaves_scale_boxes_to_image_pixels():
    config = small("dense_detector")
    spec = create_source(config, "train").spec
    single, pyramid = (build(small("dense_detector", **{"decode.octaves": n}), spec) for n in (0, 1))
    image = jax.random.randint(jax.random.key(0), (2, 32, 64, 1), 0, 256).astype(jnp.uint8)
    image = jnp.repeat(jnp.repeat(image[:, ::2, ::2], 2, axis=1), 2, axis=2)  # halved without loss
    half, mask = image[:, ::2, ::2], jnp.ones(2, bool)
    variables = single.init(jax.random.key(1), image, train=False, mask=mask)
    full, halved, all_scales = (
        applied(model, variables, x, mask) for model, x in ((single, image), (single, half), (pyramid, image))
    )
    assert full.cell_logits.shape == (2, 4, 8, 11)
    assert all_scales.scales == (32, 18, 8, 6), "32x64, 24x48, 16x32, 12x24; cells of 8"
    assert all_scales.cell_logits.shape == (2, sum(all_scales.scales), 1, 11)
    logits, boxes = (x.reshape(2, -1, x.shape[-1]) for x in (all_scales.cell_logits, all_scales.cell_boxes))
    np.testing.assert_allclose(logits[:, :32], full.cell_logits.reshape(2, 32, 11), atol=1e-5)
    np.testing.assert_allclose(logits[:, 50:58], halved.cell_logits.reshape(2, 8, 11), atol=1e-5)
    np.testing.assert_allclose(boxes[:, 50:58], 2 * halved.cell_boxes.reshape(2, 8, 4), rtol=1e-5)
    trained = pyramid.apply(variables, image, train=True, mask=mask)
    assert trained.cell_logits.shape == (2, 4, 8, 11), "training uses one scale"


@pytest.mark.slow
def test_octaves_of_a_constant_image_agree():
    ramp = jnp.broadcast_to(jnp.arange(30.0)[:, None, None], (30, 45, 1))[None]  # sides are not multiples of 4
    small_ramp = _three_quarters(ramp)
    assert small_ramp.shape == (1, 24, 36, 1)
    expected = (np.arange(24) + 0.5) * 4 / 3 - 0.5  # the centers of the new pixels
    np.testing.assert_allclose(small_ramp[0, 1:21, 0, 0], expected[1:21], atol=0.05)

    config = small("dense_detector", **{"decode.octaves": 1})
    model = build(config, create_source(config, "train").spec)
    image, mask = jnp.full((1, 96, 128, 1), 77, jnp.uint8), jnp.ones(1, bool)
    variables = model.init(jax.random.key(1), image, train=False, mask=mask)
    outputs = applied(model, variables, image, mask)
    assert outputs.scales == (12 * 16, 9 * 12, 6 * 8, 5 * 6)
    starts = np.cumsum((0, *outputs.scales[:-1]))
    logits, boxes = outputs.cell_logits[0, :, 0], outputs.cell_boxes[0, :, 0]
    for start, width, factor in zip(starts, (16, 12, 8, 6), (1, 4 / 3, 2, 8 / 3), strict=True):
        cell = start + 2 * width + 3  # away from the zero padding of convolutions
        np.testing.assert_allclose(logits[cell], logits[2 * 16 + 3], atol=1e-4)
        np.testing.assert_allclose(boxes[cell, 2:], boxes[2 * 16 + 3, 2:] * factor, rtol=1e-4)
        shift = boxes[2 * 16 + 3, :2] - 8 * jnp.array([3.5, 2.5])
        np.testing.assert_allclose(boxes[cell, :2], (8 * jnp.array([3.5, 2.5]) + shift) * factor, rtol=1e-4)
