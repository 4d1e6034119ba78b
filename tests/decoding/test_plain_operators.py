"""Decoding consists of operators that export formats have, and predicts what its first version, with loops, predicted."""

import itertools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqdigits.config.registry import config_names, load_config
from seqdigits.core.types import Outputs
from seqdigits.data.create import create_source
from seqdigits.decoding import grouping
from seqdigits.decoding.cells import greedy_nms
from seqdigits.decoding.decode import decode
from seqdigits.decoding.options import DecodeOptions, decode_options
from seqdigits.models.build import build
from seqdigits.models.targets import TARGETS
from seqdigits.training.train_step import TrainStep

DETECTORS = [name for name in config_names() if load_config(name).model.name == "dense_detector"]
FORBIDDEN = {"scan", "while", "cond", "sort", "top_k", "approx_top_k", "is_finite", "cumsum"}


def violations(program):
    """Returns the forbidden operators and infinite values of a jaxpr, of the programs that it calls too."""
    constants = [*getattr(program, "consts", []), *getattr(program, "literals", [])]
    jaxpr = getattr(program, "jaxpr", program)
    found = []
    for equation in jaxpr.eqns:
        name = equation.primitive.name
        if name in FORBIDDEN or "scatter" in name:
            found.append(name)
        constants += [x.val for x in equation.invars if hasattr(x, "val")]
        for value in equation.params.values():
            for inner in value if isinstance(value, (tuple, list)) else [value]:
                if hasattr(inner, "eqns") or hasattr(inner, "jaxpr"):
                    found += violations(inner)
    numbers = [np.asarray(x) for x in constants]
    return found + [str(x) for x in numbers if np.issubdtype(x.dtype, np.floating) and not np.isfinite(x).all()]


@pytest.mark.parametrize("name", DETECTORS)
def test_decode_consists_of_plain_operators(experiment, name):
    config = experiment(name)
    config.data.folder = "/nowhere"
    source, trained_on = create_source(config, "validation"), create_source(config, "train")
    steps = TrainStep(config, build(config, source.spec))
    variables = jax.eval_shape(lambda: steps.init(trained_on).variables())
    image = jax.ShapeDtypeStruct((2, *source.spec.image), "uint8")
    outputs = jax.eval_shape(
        lambda v, x: steps.model.apply(v, x, train=False, mask=jnp.ones(2, bool)), variables, image
    )
    options = decode_options(config, source.spec)
    program = jax.make_jaxpr(lambda x: decode(x, options))(outputs)
    assert len(program.jaxpr.eqns) > 100, "the traced program is the decoding"
    assert violations(program) == []


@pytest.mark.parametrize(
    "forbidden",
    [
        jnp.sort,
        jnp.cumsum,
        lambda x: jax.lax.top_k(x, 2),
        lambda x: x.at[0].set(1.0),
        lambda x: jnp.where(x > 0, x, jnp.inf),
        jax.jit(jnp.isfinite),
        lambda x: jax.lax.fori_loop(0, 3, lambda _, y: y + 1, x),
        lambda x: jax.lax.while_loop(lambda y: y[0] < 3, lambda y: y + 1, x),
        lambda x: jax.lax.cond(x[0] > 0, jnp.sin, jnp.cos, x),
        lambda x: x * np.array([1, 2, np.inf], np.float32),
    ],
)
def test_violations_are_found(forbidden):
    assert violations(jax.make_jaxpr(forbidden)(jnp.ones(3)))


def drawn_grids(count, rng):
    """Draws outputs of two scales, 6 x 12 and 3 x 6 cells: up to eight digits in each image, and some cells alike."""
    centers = np.concatenate(
        [
            (np.stack(np.meshgrid(np.arange(w), np.arange(h)), -1).reshape(-1, 2) + 0.5) * 96 / w
            for h, w in [(6, 12), (3, 6)]
        ]
    )
    logits = rng.random((count, len(centers), 11)) * 2
    logits[..., 10] += 5
    boxes = np.concatenate(np.broadcast_arrays(centers + rng.random((count, 1, 2)), [7.3, 12.1]), -1)
    for image in range(count):
        x, y, height = rng.random(3) * [40, 40, 6] + [4, 4, 8]
        for _ in range(rng.integers(0, 9)):
            near = np.hypot(*(centers - [x, y]).T) < rng.choice([7, 10])
            logits[image, near, rng.integers(10)] += 5 + 5 * rng.random()
            spread = rng.choice([0, 3]) * rng.random((near.sum(), 4))
            boxes[image, near] = np.array([x, y, height * 0.6, height]) + spread
            x, y = [x, y] + height * rng.choice(
                [[0.7, 0.1], [0.8, -0.3], [0.05, 1.2], [-3, 1.7]]
            )  # in line, stack, apart
    boxes, logits = (jnp.array(x[:, :, None], jnp.float32) for x in (boxes, logits))
    mean_box = jnp.array(rng.random((count, 4)) * 20, jnp.float32)
    return Outputs(cell_logits=logits, cell_boxes=boxes, box=mean_box, scales=(72, 18))


GOLDEN = Path(__file__).parents[1] / "golden" / "decoded_grids.npz"
CASES = list(itertools.product(TARGETS, (False, True)))


def golden_case(case):
    """Returns 34 grids and the options that they are decoded with."""
    target, group_digits = CASES[case]
    options = DecodeOptions(5, 0.5, 0.4, 2, 2, group_digits, 0.5, 1.3, 2.3, target)
    return drawn_grids(34, np.random.default_rng(case)), options


@pytest.mark.parametrize("case", range(len(CASES)), ids=[f"{t}-{'grouped' if g else 'together'}" for t, g in CASES])
def test_predictions_are_those_of_the_first_version(case):
    grids, options = golden_case(case)
    prediction = jax.jit(lambda x: decode(x, options))(grids)
    with np.load(GOLDEN) as golden:
        np.testing.assert_allclose(np.sum(grids.cell_logits), golden[f"{case}/sum"], rtol=1e-5, err_msg="other grids")
        for name in ("length", "digits"):
            np.testing.assert_array_equal(getattr(prediction, name), golden[f"{case}/{name}"])
        for name in ("digit_confidence", "confidence", "digit_boxes", "box"):
            np.testing.assert_allclose(getattr(prediction, name), golden[f"{case}/{name}"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("count", [2, 3, 4, 5, 8, 9, 24, 33, 40])
def test_components_joins_the_longest_chains(count):
    """Paths over all elements, in orders that slow down the spreading of labels, and both halves of them."""
    orders = [
        np.arange(count),
        np.r_[1:count, 0],
        np.r_[count - 1 : -1 : -1],
        np.random.default_rng(0).permutation(count),
    ]
    components = jax.jit(grouping._components)
    for order in orders:
        links = np.zeros((count, count), bool)
        links[order[:-1], order[1:]] = links[order[1:], order[:-1]] = True
        assert components(links).tolist() == [0] * count
        half = count // 2
        links[order[half - 1], order[half]] = links[order[half], order[half - 1]] = False
        label = components(links)
        for part in (order[:half], order[half:]):
            assert label[part].tolist() == [part.min()] * len(part)


@pytest.mark.parametrize("density", [0.02, 0.1, 0.5])
def test_greedy_nms_equals_its_definition(density):
    rng = np.random.default_rng(1)
    chain = np.abs(np.arange(30)[:, None] - np.arange(30)) == 1
    for overlaps in (chain, *(rng.random((20, 30, 30)) < density)):
        overlaps, candidate = overlaps | overlaps.T, rng.random(30) < 0.9
        kept = np.zeros(30, bool)
        for i in range(30):
            kept[i] = candidate[i] and not (kept & overlaps[i])[:i].any()
        np.testing.assert_array_equal(jax.jit(greedy_nms)(overlaps, candidate), kept)
    assert greedy_nms(chain, np.ones(30, bool)).tolist() == [True, False] * 15


def test_order_of_smallest_keeps_the_order_of_equal_values():
    values = np.random.default_rng(2).integers(0, 9, 40).astype(np.float32)
    expected = np.argsort(values, kind="stable")
    for count in (1, 7, 40):
        np.testing.assert_array_equal(grouping.order_of_smallest(jnp.array(values), count), expected[:count])
