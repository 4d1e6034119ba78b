"""Sources: the examples that a config describes, their order, and the effect of each seed."""

from __future__ import annotations

import functools
from collections.abc import Callable
from itertools import islice

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqdigits.core.constants import SPLITS
from seqdigits.core.types import Batch
from seqdigits.data import digits
from seqdigits.data.create import create_source
from seqdigits.data.photos.augment import Augmentation
from seqdigits.data.photos.source import ResidentSource
from seqdigits.data.source import DataSource

DIGIT = {"data.composition": "digit", "data.min_length": 1, "data.max_length": 1}
ENDLESS = {"data.train_examples": 0}


@functools.cache
def uci(split: str) -> dict[str, np.ndarray]:
    images, labels = digits.load("uci", split, validation=0, folder="", url="")
    return {"images": images, "labels": labels}


@functools.cache
def compiled(source: DataSource) -> Callable[..., Batch]:
    return jax.jit(source.make, static_argnums=3)


def make(source: DataSource, index, split: str = "train") -> Batch:
    """Returns the examples `index`, not augmented, as numpy arrays."""
    index = np.asarray(index, np.int32)
    host_batch = {"index": index, "position": np.maximum(index, 0)}
    return jax.device_get(compiled(source)(uci(split), host_batch, jax.random.key(0), False))


def assert_same(one: Batch, other: Batch) -> None:
    jax.tree.map(np.testing.assert_array_equal, one, other)


def different(one: Batch, other: Batch) -> bool:
    """Returns whether the images of two batches differ in every row."""
    return bool((one.image != other.image).any((1, 2, 3)).all())


def indices(source: DataSource, batch_size: int, steps: int, start: int = 0) -> np.ndarray:
    return np.concatenate([host_batch["index"] for host_batch in islice(source.batches(start, batch_size), steps)])


@pytest.mark.parametrize(
    ("overrides", "split", "image", "lengths", "num_classes", "num_examples", "num_digits"),
    [
        (DIGIT, "train", (28, 28, 1), (1, 1), 10, 1257, 1257),
        (DIGIT | {"data.validation_percent": 2}, "validation", (28, 28, 1), (1, 1), 10, 30, 30),  # of 1,527
        (DIGIT | {"data.validation_percent": 2}, "train", (28, 28, 1), (1, 1), 10, 1497, 1497),
        (DIGIT | ENDLESS, "train", (28, 28, 1), (1, 1), 10, 1257, 1257),
        ({}, "test", (32, 96, 1), (1, 3), 11, 40, 270),
        ({"data.min_length": 3}, "train", (32, 96, 1), (3, 3), 10, 200, 1257),
        (ENDLESS, "train", (32, 96, 1), (1, 3), 11, None, 1257),
        (ENDLESS, "validation", (32, 96, 1), (1, 3), 11, 40, 270),
    ],
)
def test_spec_describes_the_batches(
    small_config, overrides, split, image, lengths, num_classes, num_examples, num_digits
):
    source = create_source(small_config(overrides), split)
    spec = source.spec
    assert spec.image == image
    assert (spec.min_length, spec.max_length) == lengths
    assert spec.num_classes == num_classes
    assert spec.num_examples == num_examples
    assert {k: (v.shape, v.dtype) for k, v in spec.arrays.items()} == {
        "images": ((num_digits, 28, 28), np.uint8),
        "labels": ((num_digits,), np.int32),
    }
    assert {k: (v.shape, v.dtype) for k, v in source.arrays.items()} == {
        k: (v.shape, v.dtype) for k, v in spec.arrays.items()
    }
    host_batch = next(source.all(4, limit=4))
    batch = jax.device_get(jax.jit(source.make, static_argnums=3)(source.arrays, host_batch, jax.random.key(0), True))
    shapes = {"image": (4, *image), "digits": (4, lengths[1]), "boxes": (4, lengths[1], 4), "index": (4,)}
    dtypes = {"image": np.uint8, "digits": np.int32, "boxes": np.float32, "index": np.int32}
    for part, shape in shapes.items():
        assert (getattr(batch, part).shape, getattr(batch, part).dtype) == (shape, dtypes[part])


def test_digits_are_below_num_classes(small_config):
    assert make(create_source(small_config(), "train"), np.arange(40)).digits.max() == 10
    fixed = create_source(small_config({"data.min_length": 3}), "train")
    assert make(fixed, np.arange(40)).digits.max() == 9


@pytest.mark.parametrize("overrides", [DIGIT, {}, ENDLESS], ids=["digit", "canvas", "endless"])
def test_make_can_be_traced_without_opening_a_file(small_config, monkeypatch, overrides):
    def refuse(*args, **kwargs):
        raise AssertionError("a file was opened")

    monkeypatch.setattr(digits, "load", refuse)
    source = create_source(small_config(overrides | {"data.digits": "mnist"}), "train")
    assert source.spec.arrays["images"].shape == (55_000, 28, 28)
    host_batch = next(source.batches(0, 8))
    batch = jax.eval_shape(
        functools.partial(source.make, train=True), source.spec.arrays, host_batch, jax.random.key(0)
    )
    assert batch.image.shape == (8, *source.spec.image)
    assert batch.image.dtype == jnp.uint8
    with pytest.raises(AssertionError, match="a file was opened"):
        source.arrays  # noqa: B018


def test_batches_reshuffle_every_epoch(small_config):
    source = create_source(small_config({"data.train_examples": 10}), "train")
    epochs = indices(source, batch_size=4, steps=15).reshape(6, 10)
    assert np.sort(epochs).tolist() == [list(range(10))] * 6
    assert len({tuple(epoch) for epoch in epochs.tolist()}) == 6
    assert (epochs != np.arange(10)).any(1).all(), "every epoch is shuffled"


def test_batches_count_positions_across_epochs(small_config):
    source = create_source(small_config({"data.train_examples": 10}), "train")
    host_batches = list(islice(source.batches(0, 4), 5))
    for step, host_batch in enumerate(host_batches):
        assert set(host_batch) == {"index", "position"}
        assert (host_batch["index"].dtype, host_batch["position"].dtype) == (np.int32, np.int32)
        assert host_batch["position"].tolist() == [4 * step + j for j in range(4)]
    first, second = np.concatenate([host_batch["index"] for host_batch in host_batches]).reshape(2, 10)
    assert host_batches[2]["index"].tolist() == [*first[8:], *second[:2]]
    assert sorted(first) == sorted(second) == list(range(10))


def test_batches_may_be_larger_than_the_set(small_config):
    source = create_source(small_config({"data.train_examples": 3}), "train")
    epochs = indices(source, batch_size=8, steps=3).reshape(8, 3)
    assert np.sort(epochs).tolist() == [[0, 1, 2]] * 8


@pytest.mark.parametrize("overrides", [{"data.train_examples": 10}, ENDLESS, DIGIT], ids=["10", "endless", "digit"])
@pytest.mark.parametrize("start", [1, 2, 5, 13])
def test_batches_can_start_at_any_step(small_config, overrides, start):
    source = create_source(small_config(overrides), "train")
    expected = islice(source.batches(0, 4), start, start + 6)
    for ours, theirs in zip(islice(source.batches(start, 4), 6), expected, strict=True):
        assert ours["index"].tolist() == theirs["index"].tolist()
        assert ours["position"].tolist() == theirs["position"].tolist()


def test_endless_index_equals_the_position(small_config):
    source = create_source(small_config(ENDLESS), "train")
    host_batches = list(islice(source.batches(0, 4), 3)) + list(islice(source.batches(1_000_000, 4), 1))
    assert [host_batch["index"].tolist() for host_batch in host_batches] == [
        [0, 1, 2, 3],
        [4, 5, 6, 7],
        [8, 9, 10, 11],
        [4_000_000 + j for j in range(4)],
    ]
    for host_batch in host_batches:
        assert host_batch["index"].tolist() == host_batch["position"].tolist()
        assert host_batch["index"].dtype == np.int32


@pytest.mark.parametrize(
    ("seed", "start", "expected"),
    [
        (0, 0, [128, 154, 146, 30, 102, 172, 170, 87, 24, 98]),
        (0, 20, [179, 100, 154, 47, 120, 144, 32, 39, 10, 184]),  # the second epoch of 200
        (1, 0, [79, 20, 14, 173, 17, 76, 27, 86, 40, 5]),
        (2**32 - 1, 0, [171, 74, 77, 150, 81, 153, 64, 98, 46, 22]),
    ],
)
def test_batches_golden_order(small_config, seed, start, expected):
    """A run that is resumed after an upgrade must see the same examples."""
    source = create_source(small_config({"seed": seed}), "train")
    assert next(source.batches(start, 10))["index"].tolist() == expected


def test_seed_decides_the_order(small_config):
    orders = [indices(create_source(small_config({"seed": seed}), "train"), 8, 25) for seed in (0, 1, 0)]
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(200))
    assert (orders[0] != orders[1]).any()
    assert orders[0].tolist() == orders[2].tolist()


def test_seed_does_not_decide_finite_examples(small_config):
    for split in SPLITS:
        one, other = (create_source(small_config({"seed": seed}), split) for seed in (0, 1))
        assert_same(make(one, np.arange(20), split), make(other, np.arange(20), split))


def test_seed_decides_endless_examples(small_config):
    one, other, again = (create_source(small_config(ENDLESS | {"seed": seed}), "train") for seed in (0, 1, 0))
    assert different(make(one, np.arange(20)), make(other, np.arange(20)))
    assert_same(make(one, np.arange(20)), make(again, np.arange(20)))


def test_data_seed_decides_finite_examples_but_not_their_order(small_config):
    for split in SPLITS:
        one, other = (create_source(small_config({"data.seed": seed}), split) for seed in (0, 1))
        assert different(make(one, np.arange(20), split), make(other, np.arange(20), split))
        assert indices(one, 8, 25).tolist() == indices(other, 8, 25).tolist()


def test_data_seed_does_not_decide_endless_examples(small_config):
    one, other = (create_source(small_config(ENDLESS | {"data.seed": seed}), "train") for seed in (0, 1))
    assert_same(make(one, np.arange(20)), make(other, np.arange(20)))


def test_endless_examples_are_not_those_of_a_finite_set(small_config):
    """Even if seed and data.seed are equal."""
    finite, endless = (create_source(small_config(overrides), "train") for overrides in ({}, ENDLESS))
    assert different(make(finite, np.arange(20)), make(endless, np.arange(20)))


def test_example_does_not_depend_on_the_size_of_the_set(small_config):
    few, many = (create_source(small_config({"data.train_examples": n}), "train") for n in (20, 150_000))
    assert_same(make(few, np.arange(20)), make(many, np.arange(20)))


def test_splits_give_different_examples(small_config):
    """Even of the same digits, because each split has its own random stream."""
    batches = [make(create_source(small_config(), split), np.arange(20), "train") for split in SPLITS]
    assert different(batches[0], batches[1])
    assert different(batches[0], batches[2])
    assert different(batches[1], batches[2])


def test_examples_of_different_indices_differ(small_config):
    batch = make(create_source(small_config(), "train"), np.arange(40))
    assert len({image.tobytes() for image in batch.image}) == 40


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        (None, [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, -1, -1]]),
        (6, [[0, 1, 2, 3], [4, 5, -1, -1]]),
        (8, [[0, 1, 2, 3], [4, 5, 6, 7]]),
        (1, [[0, -1, -1, -1]]),
        (10, [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, -1, -1]]),
        (99, [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, -1, -1]]),
    ],
)
def test_all_yields_each_example_once_and_pads(small_config, limit, expected):
    source = create_source(small_config({"data.test_examples": 10}), "test")
    host_batches = list(source.all(4, limit))
    assert [host_batch["index"].tolist() for host_batch in host_batches] == expected
    assert all(host_batch["index"].dtype == host_batch["position"].dtype == np.int32 for host_batch in host_batches)
    assert all(
        host_batch["position"].tolist() == np.maximum(host_batch["index"], 0).tolist() for host_batch in host_batches
    )
    assert source.count(limit) == sum(i >= 0 for row in expected for i in row)


def test_all_of_single_digits_covers_the_split(small_config):
    source = create_source(small_config(DIGIT), "test")
    rows = np.concatenate([host_batch["index"] for host_batch in source.all(64)])
    assert rows.tolist() == [*range(270), *[-1] * 50]  # 5 batches of 64 are 320
    assert source.count() == 270


def test_endless_set_needs_a_limit_to_count(small_config):
    source = create_source(small_config(ENDLESS), "train")
    with pytest.raises(ValueError, match="limit"):
        source.count()
    with pytest.raises(ValueError, match="limit"):
        next(source.all(4))
    assert source.count(6) == 6
    assert [host_batch["index"].tolist() for host_batch in source.all(4, 6)] == [[0, 1, 2, 3], [4, 5, -1, -1]]


@pytest.mark.parametrize("overrides", [DIGIT, {}, ENDLESS], ids=["digit", "canvas", "endless"])
def test_padded_rows_are_example_0_and_masked(small_config, overrides):
    source = create_source(small_config(overrides), "train")
    batch = make(source, [3, -1, 0, -1])
    assert batch.index.tolist() == [3, -1, 0, -1]
    assert batch.mask.tolist() == [True, False, True, False]
    for part in (batch.image, batch.digits, batch.boxes):
        np.testing.assert_array_equal(part[1], part[2])
        np.testing.assert_array_equal(part[3], part[2])
    assert (batch.image[0] != batch.image[2]).any()
    assert batch.digits[1, 0] < 10, "padded rows have valid digits"


def resident(cutout: int, order_seed: int = 0) -> ResidentSource:
    """A source of four images of 8x10 with row, column and index of the image in the three channels."""
    rows, columns = np.meshgrid(np.arange(8), np.arange(10), indexing="ij")
    images = [np.stack([rows, columns, np.full((8, 10), i)], -1) for i in range(4)]
    loaded = {
        "images": np.stack(images).astype(np.uint8),
        "digits": np.array([[i, 10] for i in range(4)], np.int32),
        "boxes": np.array([[[5, 4, 2, 3], [0, 0, 0, 0]]] * 4, np.float32),
    }
    return ResidentSource(
        load=lambda: loaded,
        num_examples=4,
        image=(8, 10, 3),
        lengths=(1, 2),
        cutout=cutout,
        augmentation=Augmentation(),
        order_seed=order_seed,
    )


def make_resident(source: ResidentSource, index, position, train: bool) -> Batch:
    host_batch = {"index": np.asarray(index, np.int32), "position": np.asarray(position, np.int32)}
    return jax.device_get(compiled(source)(source.arrays, host_batch, jax.random.key(5), train))


def test_resident_source_returns_loaded_arrays():
    source = resident(0)
    assert (source.spec.image, source.spec.num_classes, source.spec.num_examples) == ((8, 10, 3), 11, 4)
    assert {k: (v.shape, v.dtype) for k, v in source.spec.arrays.items()} == {
        k: (v.shape, v.dtype) for k, v in source.arrays.items()
    }
    batch = make_resident(source, [2, 0, -1], [0, 1, 0], train=True)
    assert batch.image[:, 0, 0, 2].tolist() == [2, 0, 0]  # a padded row is example 0
    assert batch.digits.tolist() == [[2, 10], [0, 10], [0, 10]]
    assert batch.boxes[0].tolist() == [[5, 4, 2, 3], [0, 0, 0, 0]]
    assert batch.mask.tolist() == [True, True, False]
    assert sorted(indices(source, 2, 2).tolist()) == [0, 1, 2, 3]


def test_cut_out_is_central_or_random_in_training():
    source = resident(6)
    assert source.spec.image == (6, 6, 3)
    middle = make_resident(source, [1, 3], [0, 1], train=False)
    assert middle.image[:, 0, 0].tolist() == [[1, 2, 1], [1, 2, 3]]  # rows 1..6, columns 2..7
    assert middle.boxes[0].tolist() == [[3, 3, 2, 3], [0, 0, 0, 0]]
    batch = make_resident(source, [1] * 300, np.arange(300), train=True)
    corners = batch.image[:, 0, 0, :2].astype(int)
    assert set(map(tuple, corners.tolist())) == {(y, x) for y in range(3) for x in range(5)}
    np.testing.assert_array_equal(
        batch.image[:, :, :, 0] - batch.image[:, :1, :1, 0], np.arange(6)[None, :, None] + np.zeros((300, 1, 6))
    )
    np.testing.assert_array_equal(batch.boxes[:, 0, :2], [5, 4] - corners[:, ::-1])
    assert not batch.boxes[:, 1].any()


def test_cut_out_depends_on_the_position_only():
    source = resident(6)
    first = make_resident(source, [1] * 50, np.arange(50), train=True)
    again = make_resident(source, [1] * 50, np.arange(49, -1, -1), train=True)
    np.testing.assert_array_equal(first.image, again.image[::-1])


@pytest.mark.parametrize("name", ["svhn_paper_heads", "svhn_crop32", "svhn_cropped_norm"])
def test_photograph_spec_needs_no_file(experiment, name):
    config = experiment(name)
    config.data.folder = "/nowhere"
    spec = create_source(config, "train").spec
    expected = {
        "svhn_paper_heads": ((128, 256, 3), 29_402, 11),
        "svhn_crop32": ((32, 32, 1), 229_754, 11),
        "svhn_cropped_norm": ((28, 28, 3), 4_034, 10),
    }
    assert (spec.image, spec.num_examples, spec.num_classes) == expected[name]
