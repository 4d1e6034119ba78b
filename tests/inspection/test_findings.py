"""The sentences that sum up a data set, on counts made by hand."""

from __future__ import annotations

from collections import Counter

from seqdigits.core.types import Spec
from seqdigits.inspection.findings import Finding, find
from seqdigits.inspection.statistics import SplitStatistics


def statistics(split: str, lengths: list[int], digits: list[int], height: int) -> SplitStatistics:
    found = SplitStatistics(split, Spec((8, 20, 1), 2, 1, 10, {}), 10, photographs=False, stacked=False, seen={})
    found.examples = 10
    found.lengths[:] = lengths
    found.digits[0] = digits
    found.boxes = 10
    found.sizes[1, height] = 10
    return found


def none(*splits: str) -> dict[tuple[str, str], int]:
    return {(a, b): 0 for a in splits for b in splits}


def test_even_data_have_no_problem():
    train = statistics("train", [0, 5, 5], [1] * 10, 4)
    assert find("digit", [train], none("train"), 0) == [
        Finding("good", "All 10 examples can be read, each index occurs once, and labels and boxes are in range."),
        Finding("note", "All lengths are about equally frequent in train."),
        Finding("note", "All digits are about equally frequent in train."),
    ]


def test_uneven_data_are_described():
    train = statistics("train", [0, 0, 10], [0, 6, 4, 0, 0, 0, 0, 0, 0, 0], 4)
    test = statistics("test", [0, 5, 5], [1] * 10, 6)
    texts = [finding.text for finding in find("digit", [train, test], none("train", "test"), 0)]
    assert texts[1:] == [
        "No image occurs in two splits.",
        "Lengths that do not occur in train: 1.",
        "Digits that do not occur in train: 0, 3, 4, 5, 6, 7, 8, 9.",
        "Most frequent digit in train: 1, 60.0%; least frequent: 2, 40.0%.",
        "Digits are larger in test than in train: the median height is 6 px, not 4 px.",
    ]


def test_problems_come_first():
    train, test = (statistics(split, [0, 5, 5], [1] * 10, 4) for split in ("train", "test"))
    train.faults = Counter(label=1)
    train.notes = Counter(over=1, unknown=2, disorder=1, plain=3)
    copies = {("train", "train"): 2, ("train", "test"): 3, ("test", "train"): 1, ("test", "test"): 0}
    found = find("canvas", [train, test], copies, 2)
    assert found[:8] == [
        Finding("bad", "1 fault in 20 examples, listed below."),
        Finding("warn", "1 image of test is also in train (3 there), byte for byte."),
        Finding(
            "note",
            "Images that occur more than once within a split: 2 of train. They are composed at random: with few digits and "
            "few positions, some coincide.",
        ),
        Finding("warn", "2 images have duplicates with another label."),
        Finding("note", "In train, 1 box (10.0%) crosses the image border."),
        Finding("note", "In train, 2 digits (20.0%) have no known box."),
        Finding("note", "In train, the boxes of 1 image are not in the order of the digits."),
        Finding("warn", "In train, 3 images have a single color."),
    ]


def test_one_length_only_is_not_worth_a_word():
    one = statistics("train", [0, 0, 10], [1] * 10, 4)
    one.spec = Spec((8, 20, 1), 2, 2, 10, {})
    assert not [finding for finding in find("digit", [one], none("train"), 0) if "ength" in finding.text]
