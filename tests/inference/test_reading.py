"""The arithmetic of the Reader: hand numbers, its test vectors, and the same links as decoding/grouping.py."""

import importlib
import json
import math
import re
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from make_reading_vectors import ANSWERS, PATH, line, probabilities, text

from seqdigits.decoding import grouping
from seqdigits.inference import reading
from seqdigits.inference.reading import (
    Choice,
    Place,
    Reading,
    add_readings,
    choose,
    find_places,
    group,
    link,
    remove_overlaps,
    shared_area,
)

VECTORS = json.loads(PATH.read_text())
DESCRIPTION = Path(__file__).parents[2] / "docs" / "reading.md"


def a_reading(text, confidence=0.9, **where):
    return Reading(text, np.array(line(text, **where)), np.full(len(text), confidence), 0.0)


def assert_same(found, expected):
    """Equal, and floats within the rounding of the file."""
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for key in expected:
            assert_same(found[key], expected[key])
    elif isinstance(expected, list):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_same(one, other)
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, rel=1e-9, abs=1e-6)
    else:
        assert found == expected


@pytest.mark.parametrize("section", ANSWERS)
def test_vectors_are_reproduced(section):
    assert VECTORS[section]
    for case in VECTORS[section]:
        assert_same(ANSWERS[section](case["input"]), case["output"])


def test_every_section_is_reproduced():
    assert list(VECTORS) == list(ANSWERS)


def test_vectors_are_those_of_the_script():
    assert PATH.read_text() == text()


def test_reading_has_confidence_height_and_edges():
    box = np.array([[10.0, 20, 6, 10], [20, 21, 8, 14], [30, 20, 6, 11]])
    found = Reading("123", box, np.array([0.9, 0.8, 0.5]), 0.0)
    assert found.confidence == pytest.approx((0.9 * 0.8 * 0.5) ** (1 / 3))
    assert found.height == 11
    assert found.edges == (7, 14, 33, 28)


def test_digits_are_grouped_and_put_in_order():
    box = np.array([*line("12", x=100.0)[::-1], *line("7", x=300.0)])
    first, second = group(box, np.array(probabilities("217")), min_score=0.5)
    assert (first.text, second.text) == ("12", "7")
    np.testing.assert_array_equal(first.box, box[1::-1])
    np.testing.assert_allclose(first.digit_confidence, 0.9)


def test_angle_is_clockwise_in_the_picture():
    (found,) = group(np.array(line("123", degrees=20.0)), np.array(probabilities("123")), 0.5)
    assert math.degrees(found.angle) == pytest.approx(20)


def test_stack_is_read_from_top_to_bottom():
    (found,) = group(np.array(line("12", degrees=90.0, step=1.2)[::-1]), np.array(probabilities("21")), 0.5)
    assert (found.text, found.angle) == ("12", math.pi / 2)


@pytest.mark.parametrize(("confidence", "count"), [(0.79, 0), (0.81, 1)])
def test_more_digits_than_numbers_have_must_be_sure(confidence, count):
    text = "123456789"
    assert len(group(np.array(line(text)), np.array(probabilities(text, confidence)), 0.4)) == count


@pytest.mark.parametrize("min_score", [0.0, 0.4])
def test_missing_candidates_are_no_digits(min_score):
    assert group(np.zeros((5, 4)), np.zeros((5, 10)), min_score) == []


def test_links_are_those_of_decoding_except_for_the_gap(monkeypatch):
    monkeypatch.setattr(grouping, "MAX_GAP", reading.MAX_GAP)
    rng = np.random.default_rng(0)
    linked = 0
    for _ in range(100):
        box = np.stack([*rng.uniform(0, 150, (2, 16)), *rng.uniform(8, 25, (2, 16))], 1).astype(np.float32)
        expected = np.asarray(grouping.link_neighbors(jnp.array(box), jnp.ones(16, bool)))
        np.testing.assert_array_equal(link(box), expected)
        linked += int(expected.sum())
    assert linked > 1000


def test_components_of_a_chain():
    links = np.zeros((6, 6), bool)
    for a, b in [(5, 1), (1, 3), (3, 4)]:
        links[a, b] = links[b, a] = True
    assert reading.components(links).tolist() == [0, 1, 2, 1, 1, 1]


def test_shared_area_is_a_part_of_the_smaller_one():
    whole, part = a_reading("123"), a_reading("2", x=64.0)
    assert shared_area(whole, part) == shared_area(part, whole) == pytest.approx(1)
    assert shared_area(whole, a_reading("2", x=64.0, y=50.0)) == pytest.approx(0.5)
    assert shared_area(whole, a_reading("2", x=300.0)) == 0


def test_places_are_ranked_by_confidence_height_and_length():
    single, pair, large = a_reading("7"), a_reading("12", x=200.0), a_reading("34", x=500.0, height=40.0)
    places = find_places([single, pair, large], count=2, views=3)
    assert [place.first.text for place in places] == ["34", "12"]
    assert all(place.views == 3 for place in places)


def test_readings_of_one_place_are_together():
    best, other, far = a_reading("12"), a_reading("17", 0.8, x=51.0), a_reading("3", x=300.0)
    (place, _) = find_places([other, far, best], count=6, views=2)
    assert [r.text for r in place.readings] == ["12", "17"]


def test_readings_of_a_cut_belong_to_its_place():
    place = Place(a_reading("12"), (a_reading("12"),), 3)
    found = add_readings(place, [a_reading("12", x=52.0), a_reading("9", x=150.0)], views=2)
    assert len(found.readings) == 2
    assert found.views == 5


def test_a_few_sure_readings_outvote_many_unsure_ones():
    readings = (*(a_reading("12", 0.6) for _ in range(5)), a_reading("17", 0.95))
    found = choose(Place(readings[0], readings, 6), longer_side=500)
    assert found.reading is readings[-1]
    assert found.support == pytest.approx(0.95**8 / 6)
    assert found.rank == pytest.approx(found.support * 2 * math.sqrt(20 / 500))


def test_confidence_grows_with_support_and_length():
    def confidence(text, support):
        return choose(Place(a_reading(text), (a_reading(text, support ** (1 / 8)),), 1), 500).confidence

    values = [confidence("12", support) for support in (0.001, 0.01, 0.1, 1.0)]
    assert values == sorted(values)
    assert values[-1] == pytest.approx(1 / (1 + math.exp(-4.7 - 1.1 * math.log(1.001))))
    assert confidence("7", 1.0) == pytest.approx(1 / (1 + math.exp(-2.2 - 1.1 * math.log(1.001))))


def test_a_number_inside_a_better_one_is_dropped():
    whole, part, far = (
        Choice(r, 0, rank, 0)
        for r, rank in [(a_reading("123"), 0.3), (a_reading("12"), 0.2), (a_reading("7", x=300.0), 0.5)]
    )
    assert remove_overlaps([part, whole, far]) == [far, whole]


def test_the_description_has_the_constants_of_the_code():
    stated = []
    for module, sentence in re.findall(
        r"Constants of `(\w+)\.py`:(.*?)(?=Constants of|\n\n)", DESCRIPTION.read_text(), re.DOTALL
    ):
        stated += [(module, *pair) for pair in re.findall(r"`([A-Z_]+)`([^`]*)", sentence)]
    assert len(stated) > 30
    for module, name, value in stated:
        constant = getattr(importlib.import_module(f"seqdigits.inference.{module}"), name)
        numbers = re.findall(r"\d+(?:\.\d+)?", re.sub(r"\(.*|\.\s.*", "", value, flags=re.DOTALL))
        assert np.ravel(constant).tolist() == list(map(float, numbers)), name
