"""The train step: updates, padding, several steps per call; and the metrics that evaluation counts."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqdigits.config.defaults import base_config
from seqdigits.data.create import create_source
from seqdigits.inference.predict_step import PredictStep
from seqdigits.metrics import averages, eval_metrics
from seqdigits.models.build import build
from seqdigits.training.train_step import TrainStep


def tiny_config(**changes):
    """Returns the config of a detector with batch normalization, on one or two digits in augmented images of 32x64."""
    config = base_config()
    config.data.digits, config.data.height, config.data.width = "uci", 32, 64
    config.data.min_length, config.data.max_length, config.data.rotation = 1, 2, 15
    config.data.train_examples, config.data.validation_examples = 50, 11
    config.model.encoder = "conv 5x5x4 /4, norm, relu, conv 3x3x8 /2, norm, relu"
    config.loss.cells = config.loss.cell_boxes = 1.0
    config.train.batch_size, config.evaluate.batch_size = 6, 4
    config.update_from_flattened_dict(changes)
    return config


class Run:
    """A tiny run on one device, compiled once."""

    def __init__(self, **changes):
        self.config = tiny_config(**changes)
        self.source = create_source(self.config, "train")
        self.steps = TrainStep(self.config, build(self.config, self.source.spec))
        self.arrays = jax.device_put(self.source.arrays)
        self.predict_step = PredictStep(self.config, self.steps.model)
        self.begin = jax.jit(partial(self.steps.init, self.source))
        self.train = jax.jit(partial(self.steps.train, source=self.source))

    def after(self, batches, state=None):
        """Returns the state after training on these batches, one call each."""
        state = self.begin() if state is None else state
        for host_batch in batches:
            state = self.train(state, self.arrays, host_batch)
        return state


def host_batches(source, count, size=6):
    batches = source.batches(0, size)
    return [next(batches) for _ in range(count)]


def assert_close(a, b, tolerance):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for (path, x), y in zip(jax.tree_util.tree_leaves_with_path(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(x, y, rtol=0, atol=tolerance, err_msg=jax.tree_util.keystr(path))


def learned(state):
    return {"params": state.params, "batch_stats": state.batch_stats}


@pytest.fixture(scope="module")
def run():
    return Run()


@pytest.fixture(scope="module")
def batches(run):
    return host_batches(run.source, 3)


@pytest.fixture(scope="module")
def last(run, batches):
    """Returns the state after those three batches."""
    return run.after(batches)


def test_train_changes_every_parameter_and_counts_steps(run, last):
    before = run.begin()
    assert (int(before.step), int(last.step)) == (0, 3)
    assert int(last.first_nonfinite) == -1
    for (path, x), y in zip(
        jax.tree_util.tree_leaves_with_path(learned(before)), jax.tree.leaves(learned(last)), strict=True
    ):
        assert not np.array_equal(x, y), jax.tree_util.keystr(path)
    np.testing.assert_array_equal(last.input_stats["mean_box"], before.input_stats["mean_box"])  # never trained


def test_train_is_deterministic(run, batches, last):
    assert_close(run.after(batches), last, 0)


def test_sums_average_over_steps_since_last_reset(run, batches, last):
    losses, state = [], run.begin()
    for host_batch in batches:
        state = run.after([host_batch], state.replace(sums=averages.zeros_like(state.sums)))
        losses.append(averages.compute(state.sums))
    assert set(losses[0]) == {"loss", "loss/cells", "loss/cell_boxes", "gradient_norm"}
    for values in losses:
        assert values["loss"] == pytest.approx(values["loss/cells"] + values["loss/cell_boxes"], rel=1e-5)
    for name, value in averages.compute(last.sums).items():
        assert value == pytest.approx(np.mean([values[name] for values in losses]), rel=1e-5)


@pytest.mark.parametrize("padded_at_end", [True, False])
def test_padding_changes_no_parameter_or_metric(run, batches, last, padded_at_end):
    """Augmentation depends on the position of an example in the order, not on its row in the batch."""
    at = 6 if padded_at_end else 0
    padded = [
        {
            "index": np.insert(host_batch["index"], at, [-1, -1]),
            "position": np.insert(host_batch["position"], at, [77, 78]),
        }
        for host_batch in batches
    ]
    state = run.after(padded)
    assert_close(learned(state), learned(last), 1e-6)
    assert averages.compute(state.sums) == pytest.approx(averages.compute(last.sums), rel=1e-5)


def test_augmentation_depends_on_position(run, batches, last):
    shifted = run.after([{**host_batch, "position": host_batch["position"] + 1000} for host_batch in batches])
    kernels = [state.params["encoder"]["Conv_0"]["kernel"] for state in (shifted, last)]
    assert np.abs(kernels[0] - kernels[1]).max() > 1e-5


def test_train_two_steps_in_one_call_equals_two_calls(run, batches):
    two = {name: np.stack([batches[0][name], batches[1][name]]) for name in batches[0]}
    state = jax.jit(partial(run.steps.train, source=run.source))(run.begin(), run.arrays, two)
    one_by_one = run.after(batches[:2])
    assert int(state.step) == 2
    assert_close(learned(state), learned(one_by_one), 1e-5)
    assert_close(state.opt_state, one_by_one.opt_state, 1e-5)
    assert averages.compute(state.sums) == pytest.approx(averages.compute(one_by_one.sums), rel=1e-4)


def test_dropout_differs_per_step_and_is_reproducible():
    run = Run(**{"model.encoder": "conv 8x8x8 /8, relu, dropout 0.5", "optim.learning_rate": 0.0})
    (host_batch,) = host_batches(run.source, 1)
    state, losses = run.begin(), []
    for step in (0, 1, 0):
        fresh = state.replace(step=jnp.int32(step), sums=averages.zeros_like(state.sums))
        losses.append(averages.compute(run.after([host_batch], fresh).sums)["loss"])
    assert losses[0] != losses[1]
    assert losses[0] == losses[2]


@pytest.mark.parametrize("poison", [np.nan, np.inf])
def test_first_nonfinite_is_kept(run, batches, last, poison):
    kernel = last.params["place"]["kernel"]
    poisoned = {**last.params, "place": {**last.params["place"], "kernel": kernel.at[0, 0].set(poison)}}
    state = run.after(batches[:1], last.replace(params=poisoned))
    assert (int(state.step), int(state.first_nonfinite)) == (4, 3)  # step 3 is the fourth
    assert int(run.after(batches[:2], state).first_nonfinite) == 3
    repaired = state.replace(params=last.params, opt_state=last.opt_state, batch_stats=last.batch_stats)
    assert int(run.after(batches[:1], repaired).first_nonfinite) == 3


def test_first_nonfinite_with_too_large_learning_rate(batches):
    run = Run(**{"optim.name": "sgd", "optim.learning_rate": 1e30})
    first = run.after(batches[:1])
    assert int(first.first_nonfinite) == -1  # the loss of step 0 is that of the initial weights
    assert int(run.after(batches[1:], first).first_nonfinite) == 1


def descended(batch, **changes):
    """Returns the parameters before one step of descent at rate 1, the negated update, which is the gradient, and the metrics."""
    small = {"data.rotation": 0, "model.encoder": "conv 5x5x4 /4, relu, conv 3x3x8 /2, relu"}
    run = Run(**small, **{"optim.name": "sgd", "optim.learning_rate": 1.0}, **changes)
    before = run.begin()
    after = run.after([batch], before)
    gradient = jax.tree.map(lambda old, new: np.asarray(old - new), before.params, after.params)
    return jax.device_get(before.params), gradient, averages.compute(after.sums)


@pytest.fixture(scope="module")
def without_norms(batches):
    return descended(batches[0])


@pytest.mark.parametrize("frozen", ["", "(encoder/.*|place)/kernel"], ids=["trained", "frozen"])
def test_l2_and_l1_add_their_values_and_gradients(batches, without_norms, frozen):
    """0.01 w and 0.02 sign(w) on the kernels that match, 0 elsewhere and on frozen kernels."""
    params, plain_gradient, plain = without_norms
    changes = {
        "loss.l2": 0.01,
        "loss.l2_params": "encoder/.*/kernel",
        "loss.l1": 0.02,
        "loss.l1_params": "place/kernel",
    }
    _, gradient, metrics = descended(batches[0], **changes, **{"optim.freeze": frozen})
    encoder, place = params["encoder"], params["place"]["kernel"]
    l2 = sum(float(np.sum(encoder[layer]["kernel"] ** 2)) / 2 for layer in ("Conv_0", "Conv_1"))
    l1 = float(np.sum(np.abs(place)))
    assert (metrics["loss/l2"], metrics["loss/l1"]) == pytest.approx((l2, l1), rel=1e-5)
    assert metrics["loss"] - plain["loss"] == pytest.approx(0.01 * l2 + 0.02 * l1, abs=1e-5)

    def expected(path, weights, plain_part):
        if path[-1].key != "kernel" or path[0].key == "digits":
            return plain_part
        if frozen:
            return np.zeros_like(weights)
        return plain_part + {"encoder": 0.01 * weights, "place": 0.02 * np.sign(weights)}[path[0].key]

    assert_close(gradient, jax.tree_util.tree_map_with_path(expected, params, plain_gradient), 2e-6)
    # Frozen parameters are restored after the update in any case; the norm shows that their gradient is 0.
    squares = sum(float(np.sum(part**2)) for part in jax.tree.leaves(gradient))
    assert metrics["gradient_norm"] == pytest.approx(squares**0.5, rel=1e-5)


def test_moving_average_is_evaluated_but_not_trained_with(batches, last):
    run = Run(**{"optim.moving_average": 0.15})
    state = run.begin()
    by_hand = learned(state)
    for host_batch, decay in zip(batches, (1 / 10, 0.15, 0.15), strict=True):  # (1 + 1) / (10 + 1) exceeds 0.15
        state = run.after([host_batch], state)
        by_hand = jax.tree.map(lambda a, c, d=decay: d * a + (1 - d) * c, by_hand, learned(state))
    variables = state.variables()
    assert_close({name: variables[name] for name in by_hand}, by_hand, 1e-6)
    assert np.abs(variables["params"]["digits"]["bias"] - state.params["digits"]["bias"]).max() > 1e-5
    assert variables["input_stats"] is state.input_stats
    assert_close(learned(state), learned(last), 1e-6)


def test_variables_without_moving_average(last):
    assert last.average == {}
    variables = last.variables()
    assert variables["params"] is last.params
    assert variables["batch_stats"] is last.batch_stats
    assert variables["input_stats"] is last.input_stats


def test_evaluation_counts_every_example_once(run, last):
    source = create_source(run.config, "validation")
    arrays = jax.device_put(source.arrays)
    evaluate = jax.jit(partial(run.predict_step.count, source=source))

    def count(size):
        parts = [evaluate(last.variables(), arrays, host_batch)[0] for host_batch in source.all(size)]
        total = parts[0]
        for part in parts[1:]:
            total = total.merge(part)
        return len(parts), eval_metrics.summarize(jax.device_get(total), localizes=True, has_logits=False)

    (calls, padded), (_, full) = count(4), count(11)
    assert calls == 3  # 4, 4, and 3 with a padded row
    assert padded["examples"] == 11
    assert np.sum(padded["confusion"]) == 22
    for name in ("localization_error", "center_error", "iou"):
        assert padded.pop(name) == pytest.approx(full.pop(name), rel=1e-5)
    assert padded == full


def test_evaluation_does_not_augment(run, last):
    predict = jax.jit(
        lambda host_batch: run.predict_step.make_and_predict(last.variables(), run.arrays, host_batch, run.source)
    )
    host_batch = next(run.source.all(6))
    batch, _, prediction = predict(host_batch)
    shifted, _, shifted_prediction = predict({**host_batch, "position": host_batch["position"] + 99})
    np.testing.assert_array_equal(batch.image, shifted.image)
    assert_close(prediction, shifted_prediction, 0)
    unaugmented_source = create_source(tiny_config(**{"data.rotation": 0}), "train")
    unaugmented = jax.jit(partial(unaugmented_source.make, key=jax.random.key(0), train=True))(run.arrays, host_batch)
    np.testing.assert_array_equal(batch.image, unaugmented.image)
