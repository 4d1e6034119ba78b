"""Which digits images are composed of: passes of permutations, distinct digits, digits shared with validation."""

import hashlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden_examples import digest, layout, make

from seqdigits.core.errors import UserError
from seqdigits.data import digits
from seqdigits.data.create import create_source
from seqdigits.data.synthetic import passes
from seqdigits.data.synthetic.compositions import Rotated


@pytest.mark.parametrize("size", [1, 2, 10, 17, 1257])
def test_permuted_is_a_permutation(size):
    permute = jax.jit(jax.vmap(lambda key, rank: passes.permuted(key, rank, size), (None, 0)))
    found = [np.asarray(permute(jax.random.key(seed), jnp.arange(size))) for seed in (0, 1)]
    for one in found:
        assert sorted(one.tolist()) == list(range(size))
    assert size < 17 or (found[0] != found[1]).any()
    assert size < 17 or (found[0] != np.arange(size)).any()


def test_permuted_is_the_same_everywhere():
    """A golden hash: the permutation of 1,257 digits decides pixels."""
    found = jax.jit(jax.vmap(lambda rank: passes.permuted(jax.random.key(7), rank, 1257)))(jnp.arange(1257))
    assert hashlib.sha256(np.asarray(found).astype("<i4").tobytes()).hexdigest() == GOLDEN


GOLDEN = "ed591005185b5d33ae756ce0db6940b67c2cb059bc69c1c2dd36bd03d1a4f4ca"


def test_draw_uses_each_digit_once_per_pass():
    """Fourteen images of five digits out of seven are ten passes."""
    draw = jax.jit(jax.vmap(lambda i: passes.draw(jax.random.key(3), i, 5, 7)))
    found = np.asarray(draw(jnp.arange(14)))
    for one in found.reshape(10, 7):
        assert sorted(one.tolist()) == list(range(7))
    assert len({tuple(one) for one in found.reshape(10, 7).tolist()}) > 5


def test_passes_use_each_digit_of_a_split_equally_often(small_config):
    changes = layout(28, 56, 2, 2) | {"data.digit_order": "passes", "data.distinct_digits": 40}
    source = create_source(small_config(changes), "train")
    batch = make(source, source.arrays, np.arange(100))  # 200 digits of 40: five passes
    assert np.bincount(batch.digits.ravel(), minlength=10).tolist() == [20] * 10
    known = {image.tobytes(): 0 for image in source.arrays["images"]}
    for image in batch.image[..., 0]:
        for left in (0, 28):
            known[np.ascontiguousarray(image[:, left : left + 28]).tobytes()] += 1
    assert set(known.values()) == {5}


def test_distinct_digits_are_the_first_of_each_class():
    images, labels = digits.load("uci", "train", validation=0, folder="", url="")
    few, classes = digits.load("uci", "train", validation=0, distinct=30, folder="", url="")
    assert np.bincount(classes).tolist() == [3] * 10
    for digit in range(10):
        np.testing.assert_array_equal(few[classes == digit], images[labels == digit][:3])


def test_distinct_digits_refuse_more_than_the_rarest_class_has():
    with pytest.raises(UserError, match=r"data.distinct_digits = 1250: the rarest class has \d+ training digits"):
        digits.load("uci", "train", validation=0, distinct=1250, folder="", url="")


def test_shared_digits_are_those_of_training_in_other_images(small_config):
    changes = layout(28, 56, 2, 2) | {"data.distinct_digits": 20}
    shared = small_config(changes | {"data.share_digits": True})
    train, validation = (create_source(shared, split) for split in ("train", "validation"))
    np.testing.assert_array_equal(train.arrays["images"], validation.arrays["images"])
    first, second = (make(source, source.arrays, np.arange(20)) for source in (train, validation))
    assert digest(first) != digest(second)
    separate = small_config(changes)
    assert len(create_source(separate, "validation").arrays["labels"]) == 270
    assert len(create_source(shared, "test").arrays["labels"]) == 270


def test_max_rotation_limits_degrees():
    keys = jax.random.split(jax.random.key(0), 300)

    def degrees(limit: int) -> set[int]:
        composition = Rotated(64, 208, 4, 4, 4, max_rotation=limit)
        turned = jax.jit(jax.vmap(lambda key: composition.layout(10, jnp.int32(0), key).degrees))(keys)
        return set(np.asarray(turned).ravel().tolist())

    assert degrees(0) == {0}
    assert degrees(15) == set(range(-15, 16))
    assert degrees(45) == set(range(-45, 46))
