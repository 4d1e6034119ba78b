"""Digits that the labels of house numbers leave out: the rule that finds them, the list, and the command find-unlabeled."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from seqdigits.cli import find_unlabeled
from seqdigits.core.interrupt import Stop, Stopped
from seqdigits.data.photos import svhn, svhn_originals, unlabeled
from seqdigits.data.photos.svhn_originals import Photo

# One labeled digit: x 40..60, y 30..70, 40 high.
LABELED = np.array([[50.0, 50, 20, 40]])
TWO = np.array([[50.0, 50, 20, 40], [200, 50, 20, 80]])
FAR = (300.0, 300.0)


@pytest.mark.parametrize(
    ("digit", "confidence", "box", "is_found"),
    [
        # Anywhere: the confidence, then the height, which is more than 20 and less than 80.
        (7, 0.85, (*FAR, 20, 40), True),
        (7, 0.84, (*FAR, 20, 40), False),
        (1, 0.85, (*FAR, 20, 40), True),
        (7, 0.9, (*FAR, 20, 20), False),
        (7, 0.9, (*FAR, 20, 21), True),
        (7, 0.9, (*FAR, 20, 79), True),
        (7, 0.9, (*FAR, 20, 80), False),
        # In line: a lower confidence, and a higher one of a 1.
        (7, 0.6, (80, 52, 20, 40), True),
        (7, 0.59, (80, 52, 20, 40), False),
        (1, 0.8, (80, 52, 20, 40), True),
        (1, 0.79, (80, 52, 20, 40), False),
        (0, 0.6, (20, 48, 20, 40), True),
        # Less than 2.5 x 40 to the side, and less than 0.4 x 40 above or below.
        (7, 0.7, (149, 50, 20, 40), True),
        (7, 0.7, (150, 50, 20, 40), False),
        (7, 0.7, (80, 65, 20, 40), True),
        (7, 0.7, (80, 66, 20, 40), False),
        (7, 0.7, (80, 34, 20, 40), False),
        # In line: more than 28 and less than 56 high.
        (7, 0.7, (80, 50, 20, 28), False),
        (7, 0.7, (80, 50, 20, 29), True),
        (7, 0.7, (80, 50, 20, 55), True),
        (7, 0.7, (80, 50, 20, 56), False),
        # The labeled digit itself: more than a quarter of the smaller area is shared.
        (7, 0.9, (65, 50, 20, 40), True),
        (7, 0.9, (64, 50, 20, 40), False),
        (7, 0.9, (50, 50, 10, 25), False),
    ],
)
def test_find_by_hand(digit, confidence, box, is_found):
    found = unlabeled.find([digit], np.array([confidence]), np.array([box], float), LABELED)
    assert found.tolist() == ([list(box)] if is_found else [])


@pytest.mark.parametrize(
    ("confidence", "box", "is_found"),
    [
        (0.7, (380.0, 50.0, 20.0, 50.0), True),  # 180 beside the second, which is 80 high
        (0.7, (380.0, 50.0, 20.0, 42.0), False),  # the median of the heights is 60
        (0.7, (-100.0, 50.0, 20.0, 50.0), False),  # 150 beside the first, which is 40 high
        (0.9, (205.0, 50.0, 20.0, 50.0), False),  # it is the second
    ],
)
def test_find_beside_two_labeled_digits(confidence, box, is_found):
    found = unlabeled.find([7], np.array([confidence]), np.array([box]), TWO)
    assert found.tolist() == ([list(box)] if is_found else [])


@pytest.mark.parametrize(("count", "expected"), [(0, 0), (1, 1), (3, 3), (4, 0), (5, 0)])
def test_find_takes_none_of_too_many(count, expected):
    boxes = np.array([[300.0 + 50 * i, 300, 20, 40] for i in range(count)]).reshape(-1, 4)
    unsure = np.array([[300.0, 400, 20, 40]])  # is not counted
    found = unlabeled.find([7] * (count + 1), np.r_[np.full(count, 0.9), 0.5], np.r_[boxes, unsure], LABELED)
    np.testing.assert_array_equal(found, boxes[:expected])
    assert unlabeled.find([], np.zeros(0), np.zeros((0, 4)), LABELED).shape == (0, 4)


def test_write_leaves_out_rejected_and_empty_ones(tmp_path, monkeypatch):
    monkeypatch.setattr(unlabeled, "FILE", tmp_path / "list.json")
    one, two = np.array([[10.04, 20.06, 5, 9]]), np.array([[1.0, 2, 3, 4], [5, 6, 7, 8.25]])
    found = {1000: one, 7: two, 8: np.zeros((0, 4)), **dict.fromkeys(unlabeled.REJECTED, one)}
    assert unlabeled.write(found) == 2
    assert (tmp_path / "list.json").read_text() == (
        '{\n "7": [[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.2]],\n "1000": [[10.0, 20.1, 5.0, 9.0]]\n}\n'
    )
    assert {n: boxes.tolist() for n, boxes in unlabeled.load().items()} == {
        7: [[1, 2, 3, 4], [5, 6, 7, 8.2]],
        1000: [[10, 20.1, 5, 9]],
    }


def test_shipped_list():
    text = Path(unlabeled.FILE).read_text()
    listed = unlabeled.load()
    assert len(json.loads(text)) == len(listed) > 30
    assert list(listed) == sorted(listed)
    assert set(listed) <= set(range(1, sum(svhn.PHOTOGRAPHS["svhn_2000"].lengths["train"]) + 1))
    assert not set(listed) & set(unlabeled.REJECTED)
    for number, boxes in listed.items():
        assert boxes.shape[1:] == (4,), number
        assert 1 <= len(boxes) <= unlabeled.MAX_FOUND, number
        assert (boxes > 0).all(), number


def read(*digits):
    """What the Reader answers: digits with a confidence and a box of left, top, width and height."""
    found = tuple(SimpleNamespace(digit=digit, confidence=p, box=box) for digit, p, box in digits)
    return SimpleNamespace(numbers=[SimpleNamespace(digits=found)] if found else [])


@pytest.fixture
def command(tmp_path, monkeypatch):
    """Runs the command on four photographs: one with a digit beside the labels, one that shows them only, one that is
    rejected, and one where nothing is read."""
    labeled = (5, 0.99, (40.0, 30.0, 20.0, 40.0))
    beside = (7, 0.7, (70.0, 32.0, 20.0, 40.0))
    answers = {2: read(labeled, beside), 4: read(labeled), unlabeled.REJECTED[0]: read(labeled, beside), 1999: read()}
    asked = []

    def photographs(*arguments):
        asked.append(arguments)
        return [Photo(n, np.full((9, 9, 3), n % 256, np.uint8), np.array([5]), LABELED) for n in answers]

    by_pixel = {n % 256: answer for n, answer in answers.items()}
    reader = SimpleNamespace(read=lambda pixels: by_pixel[int(pixels[0, 0, 0])])
    monkeypatch.setattr(find_unlabeled.Reader, "from_pretrained", lambda name: reader if name == "scene" else None)
    monkeypatch.setattr(svhn_originals, "original_photos", photographs)
    monkeypatch.setattr(unlabeled, "FILE", tmp_path / "list.json")
    monkeypatch.setattr(sys, "argv", ["seqdigits find-unlabeled"])

    def run(stop):
        find_unlabeled.main(stop)
        assert asked == [("svhn_2000", "train")]

    return run


def test_command_writes_the_list(command, tmp_path, capsys):
    command(Stop())
    assert json.loads((tmp_path / "list.json").read_text()) == {"2": [[80, 52, 20, 40]]}
    assert capsys.readouterr().out.splitlines()[-1] == f"wrote {tmp_path / 'list.json'}: 1 of 4 photographs"


def test_command_that_is_stopped_writes_nothing(command, tmp_path):
    stop = Stop()
    stop.set()
    with pytest.raises(Stopped):
        command(stop)
    assert list(tmp_path.iterdir()) == []
