"""How a model is computed: in bfloat16, and with recomputed activations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.core import jaxprs_in_params

from seqdigits.config.defaults import base_config
from seqdigits.config.registry import load_config
from seqdigits.core.types import Batch
from seqdigits.data.create import create_source
from seqdigits.models import convolution
from seqdigits.models.build import build
from seqdigits.training.train_step import TrainStep

PYRAMID = (
    "space_to_depth 2, conv 3x3x8, norm, relu, keep a, conv 3x3x16 /2, norm, add a, relu, dropout 0.1, conv 1x1x32, "
    "norm shift, depth_to_space 2, concat a"
)
PLAIN = "conv 5x5x8 /2, norm, relu, conv 3x3x16 /2, relu, pool 2"
BOX = {"model.localize": True, "model.box_head": "dense 32, relu", "loss.box": 0.001}
MODELS = {
    "dense_detector": {"model.name": "dense_detector", "model.encoder": PYRAMID},
    "heads": {"model.name": "heads", "model.head": "dense 16, relu", **BOX},
    "gru": {"model.name": "gru", "model.gru_units": 24, **BOX},
    "attention": {"model.name": "attention", "model.gru_units": 24, "model.shared_head": True},
    "row_gru": {"model.name": "row_gru", "model.gru_units": 24},
    "glimpses": {
        "model.name": "glimpses",
        "model.gru_units": 24,
        "model.context": "conv 3x3x8, relu",
        "loss.policy": 0.1,
        "loss.baseline": 1.0,
    },
}


class Run:
    """A step of a small model on 6 examples of one or two digits."""

    def __init__(self, name, **changes):
        self.config = base_config()
        digits = {"data.digits": "uci", "data.height": 32, "data.width": 64, "data.min_length": 1, "data.max_length": 2}
        weights = ("cells", "cell_boxes") if name == "dense_detector" else ("digits",)
        self.config.update_from_flattened_dict(
            digits | {"model.encoder": PLAIN, **{f"loss.{weight}": 1.0 for weight in weights}} | MODELS[name] | changes
        )
        self.source = create_source(self.config, "train")
        self.step = TrainStep(self.config, build(self.config, self.source.spec))
        self.host_batch = {"index": np.arange(6, dtype=np.int32), "position": np.arange(6, dtype=np.int32)}

    def begin(self):
        return jax.jit(lambda: self.step.init(self.source))()

    def gradient(self, state):
        """Returns the loss, its terms, the new batch_stats and the gradient."""

        def of(state, arrays, host_batch):
            return self.step._gradient(state, self.step._make(arrays, host_batch, self.source))

        return jax.jit(of)(state, self.source.arrays, self.host_batch)

    def train(self, state, arrays, host_batch):
        return self.step.train(state, arrays, host_batch, self.source)


def named(tree):
    return {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


@pytest.mark.parametrize("name", MODELS)
def test_bfloat16_keeps_state_and_loss_in_float32(name):
    plain, half = Run(name), Run(name, **{"model.compute_dtype": "bfloat16"})
    begin = plain.begin()
    for run in (plain, half):
        state = jax.eval_shape(lambda run=run: run.step.init(run.source))
        assert jax.tree.map(str, state) == jax.tree.map(str, jax.eval_shape(lambda: begin))  # names, shapes and dtypes
    after = jax.eval_shape(half.train, begin, half.source.arrays, half.host_batch)
    assert jax.tree.map(str, after) == jax.tree.map(str, jax.eval_shape(lambda: begin))
    assert {leaf.dtype.name for leaf in jax.tree.leaves(after)} == {"float32", "int32"}
    loss, terms, _, grads = half.gradient(begin)
    expected, _, _, expected_grads = plain.gradient(begin)
    assert {x.dtype.name for x in jax.tree.leaves((loss, terms, grads))} == {"float32"}
    assert float(loss) == pytest.approx(float(expected), rel=0.02)
    assert float(loss) != float(expected)
    a, b = (jnp.concatenate([x.ravel() for x in jax.tree.leaves(tree)]) for tree in (grads, expected_grads))
    assert jnp.dot(a, b) / jnp.linalg.norm(a) / jnp.linalg.norm(b) > 0.99


@pytest.mark.parametrize("name", MODELS)
def test_bfloat16_is_used_by_all_but_the_output_layers(name):
    run = Run(name, **{"model.compute_dtype": "bfloat16"})
    state = jax.eval_shape(lambda: run.step.init(run.source))
    image, mask = jnp.zeros((6, *run.source.spec.image), jnp.uint8), jnp.ones(6, bool)
    apply = jax.make_jaxpr(lambda v: run.step.model.apply(v, image, train=False, mask=mask))
    outputs = jax.eval_shape(lambda v: run.step.model.apply(v, image, train=False, mask=mask), state.variables())
    assert {x.dtype.name for x in jax.tree.leaves(outputs)} == {"float32"}
    found = {"float32": 0, "bfloat16": 0}

    def count(jaxpr):
        for equation in jaxpr.eqns:
            if equation.primitive.name in ("conv_general_dilated", "dot_general"):
                found[equation.outvars[0].aval.dtype.name] += 1
            for inner in jaxprs_in_params(equation.params):
                count(inner)

    count(apply(state.variables()).jaxpr)
    output_layers = {"heads": 3, "gru": 3, "attention": 1, "row_gru": 2, "glimpses": 6, "dense_detector": 2}
    assert found["float32"] == output_layers[name]
    assert found["bfloat16"] >= 2


@pytest.mark.parametrize("name", ["dense_detector", "gru"])
def test_remat_changes_neither_names_nor_results(name):
    plain, remat = Run(name), Run(name, **{"model.remat": True})
    state = plain.begin()
    assert named(remat.begin()).keys() == named(state).keys()
    expected, found = named(plain.gradient(state)), named(remat.gradient(state))
    assert found.keys() == expected.keys()
    for path, leaf in found.items():
        np.testing.assert_allclose(leaf, expected[path], rtol=1e-6, atol=1e-6, err_msg=path)


def canvas(remat):
    """Returns the loss of the encoder of canvas_weighted on 128x256 images, as a function of its state, and its arguments."""
    config = load_config("canvas_weighted")
    config.model.remat = remat
    source = create_source(config, "train")
    step, shape = TrainStep(config, build(config, source.spec)), jax.ShapeDtypeStruct
    length = source.spec.max_length
    batch = Batch(
        shape((4, *source.spec.image), "uint8"),
        shape((4, length), "int32"),
        shape((4, length, 4), "float32"),
        shape((4,), "int32"),
    )
    return step._gradient, (jax.eval_shape(lambda: step.init(source)), batch)


def test_remat_computes_the_encoder_twice(monkeypatch):
    monkeypatch.setattr(convolution, "_columns_of_a_block", lambda *_: 1)  # blocks are written beside XLA's convolution
    counts = [
        str(jax.make_jaxpr(gradient)(*arguments)).count("conv_general_dilated[")
        for gradient, arguments in map(canvas, (False, True))
    ]
    assert counts == [15, 20]  # 5 forward, 5 + 5 backward, one of them unused; and 5 once more


def kept_bytes(remat):
    """Returns the size of what the forward pass keeps for the backward pass, in bytes: encoder of canvas_weighted, 4 images."""
    config = load_config("canvas_weighted")
    config.model.remat = remat
    source = create_source(config, "train")
    model = build(config, source.spec)
    images = jnp.zeros((4, *source.spec.image), "uint8")

    def backward(params, state, images):
        def outputs(params):
            variables = {**state.variables(), "params": params}
            rngs = {"dropout": jax.random.key(0)}
            mask = jnp.ones(len(images), bool)
            return model.apply(variables, images, train=True, mask=mask, rngs=rngs, mutable=["batch_stats"])[0]

        return jax.vjp(outputs, params)[1]

    state = jax.eval_shape(lambda: TrainStep(config, model).init(source))
    kept = jax.eval_shape(backward, state.params, state, images)
    sizes = [sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree)) for tree in (kept, state.params)]
    return sizes[0] - sizes[1]  # without the parameters, nearly all of which are kept


def test_remat_keeps_less_for_the_backward_pass():
    """Counted in arrays, as XLA on a CPU merges the recomputation with the first one and saves no memory."""
    assert kept_bytes(remat=True) < 0.25 * kept_bytes(remat=False)
