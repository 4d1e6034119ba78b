"""Geometry of boxes, against values computed by hand."""

import jax.numpy as jnp
import numpy as np
import pytest

from seqdigits.core import boxes as bx


def test_conversions_between_box_formats_are_inverse():
    boxes = jnp.array([[14.0, 10, 28, 20], [0, 0, 1, 3]])
    np.testing.assert_allclose(bx.cxcywh_to_xyxy(boxes), [[0, 0, 28, 20], [-0.5, -1.5, 0.5, 1.5]])
    np.testing.assert_allclose(bx.xyxy_to_cxcywh(bx.cxcywh_to_xyxy(boxes)), boxes)


def test_enclosing_box_encloses_only_the_present_boxes():
    boxes = jnp.array([[[10.0, 10, 4, 4], [20, 14, 4, 8], [0, 0, 0, 0]]] * 2)
    present = jnp.array([[True, True, False], [False, False, False]])
    np.testing.assert_allclose(bx.enclosing_box(boxes, present), [[15, 13, 14, 10], [0, 0, 0, 0]])


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        ([2.0, 2, 4, 4], 1.0),
        ([4.0, 2, 4, 4], 1 / 3),
        ([6.0, 2, 4, 4], 0.0),  # touching
        ([2.0, 2, 2, 2], 1 / 4),  # inside
        ([90.0, 90, 4, 4], 0.0),
    ],
)
def test_iou_equals_values_by_hand(other, expected):
    np.testing.assert_allclose(bx.iou(jnp.array([2.0, 2, 4, 4]), jnp.array(other)), expected, rtol=1e-6)


def test_iou_of_two_empty_boxes_is_zero():
    assert bx.iou(jnp.zeros(4), jnp.zeros(4)) == 0
