"""The second look of the dense detector: tiles, training, decoding, and the configs that are refused."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from seqdigits.config_checks.validate import validate
from seqdigits.core.constants import NO_DIGIT
from seqdigits.core.errors import UserError
from seqdigits.data.create import create_source
from seqdigits.decoding.cells import Candidates, look_again
from seqdigits.inference.predict_step import PredictStep
from seqdigits.metrics import averages
from seqdigits.models.build import build
from seqdigits.models.dense import cut_tiles
from seqdigits.training.train_step import TrainStep

LAYERS = "conv 3x3x8, norm, relu, pool 4, dense 10"


@pytest.fixture
def config(small_config: Callable[..., ConfigDict]) -> ConfigDict:
    return small_config({"model.second_look": LAYERS, "loss.second_look": 1.0})


def test_tiles_are_the_digits_and_repeat_the_edge():
    image = np.random.default_rng(0).integers(0, 256, (2, 40, 60, 1)).astype(np.uint8)
    boxes = jnp.array([[[20.2, 18.9, 28, 28], [2, 39, 9, 9]]] * 2)
    tiles = np.asarray(cut_tiles(jnp.asarray(image), boxes))
    np.testing.assert_array_equal(tiles[1, 0], image[1, 5:33, 6:34])
    assert (tiles[1, 1, :, :13] == tiles[1, 1, :, :1]).all(), "left of the image, its first column"
    assert (tiles[0, 1, 14:] == tiles[0, 1, 14:15]).all(), "below the image, its last row"


def test_second_look_decides_on_digits_but_not_whether_there_are_some():
    candidates = Candidates(
        box=jnp.zeros((1, 2, 4)),
        digit=jnp.array([[3, 4]]),
        digit_probability=jnp.array([[0.5, 0.1]]),
        score=jnp.array([[0.8, 0.2]]),
        tempered_digit_probability=jnp.array([[0.4, 0.1]]),
        tempered_score=jnp.array([[0.7, 0.3]]),
    )
    logits = jnp.log(jnp.full((1, 2, 10), 0.01).at[0, :, 7].set(0.91))
    found = look_again(candidates, logits, 1.0)
    assert found.digit.tolist() == [[7, 7]]
    np.testing.assert_allclose(found.digit_probability, [[0.8 * 0.91, 0.2 * 0.91]], rtol=1e-5)
    np.testing.assert_allclose(found.tempered_digit_probability, [[0.7 * 0.91, 0.3 * 0.91]], rtol=1e-5)
    np.testing.assert_array_equal(found.score, candidates.score)
    sums = candidates._replace(score=jnp.array([[1.4, 0.2]]), tempered_score=jnp.array([[1.3, 0.3]]))
    found = look_again(sums, logits, 1.0)
    np.testing.assert_allclose(found.digit_probability, [[0.91, 0.2 * 0.91]], rtol=1e-5)
    np.testing.assert_allclose(found.tempered_digit_probability, [[0.91, 0.3 * 0.91]], rtol=1e-5)


def test_training_teaches_the_second_look_with_the_detector_frozen(config):
    config.optim.freeze = "(encoder|digits|place)/.*"
    validate(config)
    source = create_source(config, "train")
    step = TrainStep(config, build(config, source.spec))
    before = step.init(source)
    assert {"encoder", "digits", "place", "second_look"} <= set(before.params)
    train = jax.jit(step.train, static_argnums=3)
    host_batch = next(source.batches(0, config.train.batch_size))
    state, losses = before, []
    for _ in range(25):
        state = train(state.replace(sums=before.sums), source.arrays, host_batch, source)
        losses.append(averages.compute(state.sums)["loss/second_look"])
    assert losses[-1] < 0.7 * losses[0]
    same = jax.tree.map(lambda a, b: bool((a == b).all()), before.params, state.params)
    assert all(jax.tree.leaves([same[name] for name in ("encoder", "digits", "place")]))
    assert not any(jax.tree.leaves(same["second_look"]["Dense_0"]))

    batch = jax.jit(source.make, static_argnums=3)(source.arrays, host_batch, jax.random.key(0), False)
    variables = {"params": state.params, "batch_stats": state.batch_stats, "input_stats": state.input_stats}
    outputs, prediction = PredictStep(config, step.model).predict(variables, batch, source.spec)
    assert outputs.tile_logits.shape[2] == NO_DIGIT
    assert outputs.cell_logits is not None
    assert prediction.digits.shape[0] == config.train.batch_size


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"loss.second_look": 0.0}, "loss.second_look = 0: model.second_look would not be trained"),
        ({"model.second_look": ""}, "loss.second_look = 1.0 has no effect"),
        ({"model.second_look": "conv 3x3x8, relu, dense 11"}, "ends with another layer than 'dense 10'"),
        ({"decode.octaves": 1}, "decode.octaves = 1: with model.second_look only 0"),
        ({"model.pixels": "per_pixel"}, "model.pixels = per_pixel"),
        (
            {"data.composition": "scene", "data.max_numbers": 1},
            "data.composition = scene: model.second_look needs upright digits",
        ),
    ],
)
def test_validate_refuses(config, changes, message):
    config.update_from_flattened_dict(changes)
    with pytest.raises(UserError, match=message):
        validate(config)
