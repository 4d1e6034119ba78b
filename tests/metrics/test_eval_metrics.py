"""Tests of evaluation metrics, counted by hand."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqdigits.core.constants import NO_DIGIT
from seqdigits.core.types import Batch, Outputs, Prediction
from seqdigits.decoding.decode import decode
from seqdigits.decoding.options import DecodeOptions
from seqdigits.metrics import averages, eval_metrics
from seqdigits.visualization import predictions

N = NO_DIGIT
batch_metrics = jax.jit(eval_metrics.batch_metrics)


def example():
    """Four images and a padded row: correct; one wrong digit; one digit too few; a fourth digit too many."""
    truth = jnp.array([[1, 2, N], [3, 4, 5], [6, 7, N], [8, 9, 0], [1, 1, 1]])
    read = jnp.array([[1, 2, N], [3, 4, 6], [6, N, N], [8, 9, 0], [2, 2, 2]])
    length = jnp.array([2, 3, 1, 4, 3])
    x = jnp.array([4.0, 12, 20])
    boxes = jnp.stack([x, x * 0 + 4, x * 0 + 8, x * 0 + 8], -1)  # [L, 4]
    boxes = jnp.where((truth != N)[..., None], boxes, 0.0)
    batch = Batch(
        image=jnp.zeros((5, 8, 24, 1), jnp.uint8), digits=truth, boxes=boxes, index=jnp.array([0, 1, 2, 3, -1])
    )
    enclosing_boxes = jnp.array([[8.0, 4, 16, 8], [12, 4, 24, 8], [8, 4, 16, 8], [12, 4, 24, 8], [0, 0, 0, 0]])
    off = jnp.array([[0.0, 0, 0, 0], [3, 4, 0, 0], [-4, 0, -8, 0], [0, 0, 0, 0], [900, 900, 900, 900]])
    found = Prediction(
        length=length[:, None],
        digits=read[:, None],
        digit_confidence=jnp.ones((5, 1, 3)),
        confidence=jnp.ones((5, 1)),
        box=(enclosing_boxes + off)[:, None],
    )
    return batch, Outputs(digit_logits=jnp.zeros((5, 3, 11))), found


def metrics(counted, localizes=True, has_logits=True):
    return eval_metrics.summarize(jax.device_get(counted), localizes=localizes, has_logits=has_logits)


def test_metrics_by_hand():
    found = metrics(batch_metrics(*example()))
    assert found["examples"] == 4
    assert found["sequence_accuracy"] == 1 / 4
    assert found["character_accuracy"] == 10 / 12
    assert found["digit_accuracy"] == 8 / 10
    assert found["length_accuracy"] == 2 / 4
    assert found["accuracy_by_position"] == [1.0, 3 / 4, 3 / 4]
    assert found["accuracy_by_length"] == {"2": 1 / 2, "3": 0.0}
    assert found["examples_by_length"] == {"2": 2, "3": 2}
    assert found["wrong_digits_per_missed_number"] == [1, 2, 0, 0]  # at 0: the image with a digit too many
    confusion = np.zeros((11, 11), int)
    for t, r in [(1, 1), (2, 2), (N, N), (3, 3), (4, 4), (5, 6), (6, 6), (7, N), (N, N), (8, 8), (9, 9), (0, 0)]:
        confusion[t, r] += 1
    assert found["confusion"] == confusion.tolist()
    assert found["localization_error"] == pytest.approx(((9 + 16) / 4 + (16 + 64) / 4) / 4)
    assert found["center_error"] == pytest.approx((5 + 4) / 4)
    shifted = (24 - 3) * (8 - 4) / (2 * 24 * 8 - (24 - 3) * (8 - 4))
    assert found["iou"] == pytest.approx((1 + shifted + 1 / 2 + 1) / 4)
    assert found["cross_entropy"] == pytest.approx(np.log(11))
    json.dumps(found)


def test_images_without_a_digit_have_no_box():
    batch, outputs, found = example()
    empty = jnp.array([False, False, True, False, False])[:, None]  # the image whose box has half of the true one
    batch = batch.replace(digits=jnp.where(empty, N, batch.digits), boxes=jnp.where(empty[..., None], 0.0, batch.boxes))
    measured = metrics(batch_metrics(batch, outputs, found))
    assert measured["examples"] == 4
    assert measured["localization_error"] == pytest.approx((9 + 16) / 4 / 3)
    assert measured["center_error"] == pytest.approx(5 / 3)
    shifted = (24 - 3) * (8 - 4) / (2 * 24 * 8 - (24 - 3) * (8 - 4))
    assert measured["iou"] == pytest.approx((1 + shifted + 1) / 3)


def test_merge_equals_one_batch():
    batch, outputs, prediction = example()

    def part(rows):
        return batch_metrics(*jax.tree.map(lambda x: x[rows], (batch, outputs, prediction)))

    merged = part(slice(0, 2)).merge(part(slice(2, 5)))
    full = batch_metrics(batch, outputs, prediction)
    assert jax.tree.all(jax.tree.map(np.allclose, merged, full))


def test_metrics_without_box_or_logits_are_none():
    found = metrics(batch_metrics(*example()), localizes=False, has_logits=False)
    assert [found[n] for n in ("localization_error", "center_error", "iou", "cross_entropy")] == [None] * 4
    batch, _, prediction = example()
    counted = batch_metrics(batch, Outputs(), prediction.replace(box=None))
    assert metrics(counted, localizes=False, has_logits=False)["sequence_accuracy"] == 1 / 4


def test_averages_ignore_padded_rows():
    values = {"loss": jnp.float32(2.0), "loss/digits": jnp.array([1.0, 3.0, jnp.nan])}
    mask = jnp.array([True, True, False])
    once = averages.averages(values, mask)
    assert averages.compute(averages.merge(once, once)) == {"loss": 2.0, "loss/digits": 2.0}
    nothing = averages.zeros_like(once)
    assert averages.compute(averages.merge(nothing, once)) == averages.compute(once)


def test_binary_accuracy_by_hand():
    """Of three classes: right and sure 3, wrong and sure 1, unsure 2; padding does not count."""
    logits = jnp.log(jnp.array([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.4, 0.3, 0.3], [0.1, 0.8, 0.1]]))[:, None]
    outputs = Outputs(digit_logits=logits)
    batch = Batch(
        image=jnp.zeros((4, 4, 4, 1), jnp.uint8),
        digits=jnp.zeros((4, 1), jnp.int32),
        boxes=jnp.full((4, 1, 4), 2.0),
        index=jnp.array([0, 1, 2, -1]),
    )
    counted = batch_metrics(batch, outputs, decode(outputs, DecodeOptions(1, 0.5, 0.4)))
    assert metrics(counted, localizes=False)["binary_accuracy"] == pytest.approx((3 + 1 + 2) / 9)
    assert metrics(counted, localizes=False, has_logits=False)["binary_accuracy"] is None


def test_standard_errors_by_hand():
    """Losses of -log 0.8 = 0.223, -log 0.1 = 2.303 and -log 0.4 = 0.916 nats, and a padded row."""
    logits = jnp.log(jnp.array([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.4, 0.3, 0.3], [0.1, 0.8, 0.1]]))[:, None]
    outputs = Outputs(digit_logits=logits, box=jnp.array([[2.0, 2, 2, 2], [4, 2, 2, 2], [2, 2, 2, 6], [9, 9, 9, 9]]))
    batch = Batch(
        image=jnp.zeros((4, 4, 4, 1), jnp.uint8),
        digits=jnp.zeros((4, 1), jnp.int32),
        boxes=jnp.full((4, 1, 4), 2.0),
        index=jnp.array([0, 1, 2, -1]),
    )
    found = metrics(batch_metrics(batch, outputs, decode(outputs, DecodeOptions(1, 0.5, 0.4))), localizes=True)
    losses, errors = -np.log([0.8, 0.1, 0.4]), np.array([0, 4, 16]) / 4  # of one box one value differs, by 0, 2 and 4
    assert found["cross_entropy_standard_error"] == pytest.approx(losses.std(ddof=1) / 3**0.5, rel=1e-5)
    assert found["localization_error"] == pytest.approx(errors.mean())
    assert found["localization_error_standard_error"] == pytest.approx(errors.std(ddof=1) / 3**0.5)
    counted = batch_metrics(batch, outputs, decode(outputs, DecodeOptions(1, 0.5, 0.4)))
    twice = metrics(counted.merge(counted), localizes=True)  # six images
    assert twice["cross_entropy_standard_error"] == pytest.approx(np.tile(losses, 2).std(ddof=1) / 6**0.5, rel=1e-5)
    without = metrics(counted, localizes=False, has_logits=False)
    assert without["cross_entropy_standard_error"] is without["localization_error_standard_error"] is None


@pytest.mark.parametrize(
    ("total", "squared", "count"),
    [(1.0, 1.0, 1), (np.nan, np.nan, 9), (1e30, np.inf, 9), (2.3e4, 5.29e4, 10_000), (2.3e4, 5.28e4, 10_000)],
    ids=["one example", "nan", "overflow", "constant", "rounded below"],
)
def test_standard_error_that_cannot_be_told_is_none(total, squared, count):
    assert eval_metrics._standard_error(np.float32(total), np.float32(squared), count) is None


def test_top_k_accuracy_by_hand():
    """The most probable class is that of argmax, the first of equal logits; NaN is never correct."""
    logits = [[3.0, 2, 1], [1, 3, 2], [1, 2, 3], [0, 0, 0], [0, 0, 0], [np.nan] * 3, [9, 9, 9]]
    truth = [0, 0, 1, 0, 1, 2, 0]  # ranks 0, 2, 1, 0, 1, none, and padding
    outputs = Outputs(digit_logits=jnp.array(logits)[:, None])
    batch = Batch(
        image=jnp.zeros((7, 4, 4, 1), jnp.uint8),
        digits=jnp.array(truth)[:, None],
        boxes=jnp.full((7, 1, 4), 2.0),
        index=jnp.array([0, 1, 2, 3, 4, 5, -1]),
    )
    found = metrics(batch_metrics(batch, outputs, decode(outputs, DecodeOptions(1, 0.5, 0.4))), localizes=False)
    assert found["top_k_accuracy"] == pytest.approx([2 / 6, 4 / 6, 5 / 6])
    assert found["top_k_accuracy"][0] == found["character_accuracy"]


def two_numbers():
    """One image of "12" at the left and "7" at the right, digits of 8x8, and a padded row like it."""
    digits = jnp.array([[1, 2, 7, N]] * 2)
    boxes = jnp.array([[[4.0, 4, 8, 8], [12, 4, 8, 8], [60, 4, 8, 8], [0, 0, 0, 0]]] * 2)
    image = jnp.zeros((2, 8, 64, 1), jnp.uint8)
    return Batch(
        image=image, digits=digits, boxes=boxes, index=jnp.array([0, -1]), number=jnp.array([[0, 0, 1, 0]] * 2)
    )


def predicted(*numbers):
    """A prediction of N = 3 rows for both rows of `two_numbers`; `numbers`: (digits, x of the first, confidence)."""
    digits, boxes = np.full((3, 4), N), np.zeros((3, 4, 4))
    box, confidence, length = np.zeros((3, 4)), np.zeros(3), np.zeros(3, int)
    for row, (text, x, p) in enumerate(numbers):
        n = length[row] = len(text)
        digits[row, :n] = [int(c) for c in text]
        boxes[row, :n] = [[x + 8 * i, 4, 8, 8] for i in range(n)]
        box[row], confidence[row] = [x + 4 * (n - 1), 4, 8 * n, 8], p
    prediction = Prediction(
        length=length,
        digits=digits,
        digit_confidence=np.broadcast_to(confidence[:, None], (3, 4)),
        confidence=confidence,
        digit_boxes=boxes,
        box=box,
    )
    return jax.tree.map(lambda x: jnp.array([x, x]), prediction)


@pytest.mark.parametrize(
    ("numbers", "recall", "precision", "exact_match", "digits_correct"),
    [
        ([("12", 4, 0.9), ("7", 60, 0.8)], 1.0, 1.0, 1.0, 3),
        ([("7", 60, 0.9), ("12", 4, 0.8)], 1.0, 1.0, 1.0, 3),
        ([("12", 4, 0.9)], 0.5, 1.0, 0.0, 2),
        ([("12", 4, 0.9), ("7", 60, 0.8), ("5", 30, 0.7)], 1.0, 2 / 3, 0.0, 3),
        ([("13", 4, 0.9), ("7", 60, 0.8)], 0.5, 0.5, 0.0, 2),
        ([("12", 20, 0.9), ("7", 60, 0.8)], 0.5, 0.5, 0.0, 1),  # at another location
        ([("12", 4, 0.9), ("7", 60, 0.8), ("7", 60, 0.7)], 1.0, 1.0, 0.0, 4),  # twice
        ([], 0.0, None, 0.0, 0),
    ],
)
def test_metrics_of_several_numbers(numbers, recall, precision, exact_match, digits_correct):
    counted = batch_metrics(two_numbers(), Outputs(), predicted(*numbers))
    result = metrics(counted, has_logits=False)
    assert (result["number_recall"], result["number_precision"]) == (recall, pytest.approx(precision))
    assert result["sequence_accuracy"] == exact_match
    assert counted.digit_confidences.correct.sum() == digits_correct
    assert counted.digit_confidences.count.sum() == sum(len(text) for text, _, _ in numbers)
    assert counted.number_confidences.count.sum() == 1


def test_positions_of_several_numbers_match_by_location():
    result = metrics(
        batch_metrics(two_numbers(), Outputs(), predicted(("7", 60, 0.9), ("13", 4, 0.8))), has_logits=False
    )
    assert result["accuracy_by_position"] == [1.0, 0.0, 1.0, 1.0]
    assert result["length_accuracy"] == 1.0
    assert result["confusion"][2][3] == 1
    assert result["localization_error"] == 0.0


def test_top1_is_correct_if_it_is_any_true_number():
    counted = batch_metrics(two_numbers(), Outputs(), predicted(("7", 60, 0.9)))
    assert counted.number_confidences.correct.sum() == 1
    wrong = batch_metrics(two_numbers(), Outputs(), predicted(("8", 60, 0.9), ("12", 4, 0.8)))
    assert wrong.number_confidences.correct.sum() == 0


def test_merge_of_several_numbers_equals_one_batch():
    one = batch_metrics(two_numbers(), Outputs(), predicted(("12", 4, 0.9)))
    other = batch_metrics(two_numbers(), Outputs(), predicted(("12", 4, 0.6), ("7", 60, 0.8)))
    both = jax.tree.map(lambda *x: jnp.concatenate(x), two_numbers(), two_numbers())
    predictions = jax.tree.map(
        lambda *x: jnp.concatenate(x), predicted(("12", 4, 0.9)), predicted(("12", 4, 0.6), ("7", 60, 0.8))
    )
    full = batch_metrics(both, Outputs(), predictions)
    assert jax.tree.all(jax.tree.map(np.allclose, one.merge(other), full))
    result = metrics(full, has_logits=False)
    assert (result["number_recall"], result["number_precision"], result["sequence_accuracy"]) == (3 / 4, 1.0, 1 / 2)


def test_one_number_by_definition_has_no_recall():
    result = metrics(batch_metrics(*example()))
    assert (result["number_recall"], result["number_precision"]) == (None, None)


def test_example_grid_names_all_numbers():
    batch, prediction = two_numbers(), predicted(("12", 4, 0.9), ("8", 60, 0.8))
    as_numpy = jax.tree.map(np.asarray, (batch, prediction))
    assert predictions.true_text(as_numpy[0], 0) == "12 7"
    assert predictions.predicted_text(as_numpy[1], 0) == "12 8"
    assert predictions.predicted_text(as_numpy[1].replace(length=np.array([[5, 0, 0]])), 0) == "12+"
    assert predictions.predicted_text(as_numpy[1].replace(length=np.array([[0, 0, 0]])), 0) == "nothing"
    grid = predictions.make_example_grid(batch, prediction)
    red = (np.asarray(grid) == predictions.PREDICTED).all(-1)
    assert red.sum() > 2 * 2 * (6 * 4 + 4 * 4)  # boxes of both, and the caption


@pytest.mark.parametrize(("seeks_errors", "first"), [(True, predictions.PREDICTED), (False, predictions.TRUE)])
def test_example_grid_has_errors_first_or_last(seeks_errors, first):
    right, wrong = predicted(("12", 4, 0.9), ("7", 60, 0.8)), predicted(("12", 4, 0.9), ("8", 60, 0.8))
    batch, prediction = jax.tree.map(
        lambda *rows: np.concatenate([np.asarray(row) for row in rows]),
        *[(two_numbers(), one) for one in (right, wrong, right)],
    )
    grid = predictions.make_example_grid(batch, prediction, count=2, columns=2, seeks_errors=seeks_errors)
    captions = np.asarray(grid)[-18:, : grid.width // 2]
    assert (captions == first).all(-1).any()
    other = predictions.TRUE if seeks_errors else predictions.PREDICTED
    assert not (captions == other).all(-1).any()
