"""Inspection: every kind of fault is statistics, valid data pass, and the page is complete."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from html.parser import HTMLParser

import jax
import numpy as np
import pytest
from conftest import ROOT

from seqdigits.cli import inspect as cli_inspect
from seqdigits.core.constants import NO_DIGIT
from seqdigits.core.errors import UserError
from seqdigits.core.interrupt import Stop, Stopped
from seqdigits.core.types import HostBatch
from seqdigits.data.photos import augment
from seqdigits.data.photos.source import ResidentSource
from seqdigits.data.source import DataSource
from seqdigits.inspection import checks, inspect, page
from seqdigits.inspection.statistics import LISTED, SplitStatistics, collect_statistics
from seqdigits.parallel.devices import Devices

HEIGHT, WIDTH, LENGTH = 10, 30, 3
N = 40


def make_arrays(seed: int = 0) -> dict[str, np.ndarray]:
    """Returns N images of noise with 1 to 3 digits in boxes of 6x8."""
    random = np.random.default_rng(seed)
    is_digit = np.arange(LENGTH) < (1 + np.arange(N) % LENGTH)[:, None]
    box = np.stack([np.arange(LENGTH) * 10.0 + 4, np.full(LENGTH, 5.0), np.full(LENGTH, 6.0), np.full(LENGTH, 8.0)], 1)
    return {
        "images": random.integers(0, 256, (N, HEIGHT, WIDTH, 1), np.uint8),
        "digits": np.where(is_digit, random.integers(0, 10, (N, LENGTH)), NO_DIGIT).astype(np.int32),
        "boxes": np.where(is_digit[..., None], box, 0).astype(np.float32),
    }


class ArraySource(ResidentSource):
    """A source of given examples, in their order or in one batch of given indices."""

    def __init__(self, arrays: dict[str, np.ndarray], indices: list[int] | None = None, min_length: int = 1) -> None:
        size, lengths = (HEIGHT, WIDTH, 1), (min_length, LENGTH)
        unchanged = {"cutout": 0, "augmentation": augment.Augmentation(), "order_seed": 0}
        super().__init__(load=lambda: arrays, num_examples=N, image=size, lengths=lengths, **unchanged)
        self._indices = indices

    def all(self, batch_size: int, limit: int | None = None) -> Iterator[HostBatch]:
        if self._indices is None:
            yield from super().all(batch_size, limit)
        else:
            index = np.array(self._indices, np.int32)
            yield {"index": index, "position": np.maximum(index, 0)}


def collect(source: DataSource, split: str = "train", **changes) -> SplitStatistics:
    options = {
        "batch_size": 16,
        "limit": None,
        "devices": Devices(),
        "key": jax.random.key(0),
        "photographs": False,
        "stacked": False,
        "seen": {},
        "stop": Stop(),
    }
    return collect_statistics(source, split, **options | changes)


def test_statistics_of_valid_data():
    arrays = make_arrays()
    statistics = collect(ArraySource(arrays))
    assert not statistics.faults.total()
    assert not statistics.notes.total()
    assert statistics.examples == N
    assert statistics.whole
    assert statistics.lengths.tolist() == [0, 14, 13, 13]
    for place in range(LENGTH):
        expected = np.bincount(arrays["digits"][:, place], minlength=11)[:10]
        np.testing.assert_array_equal(statistics.digits[place], expected)
    images = arrays["images"].astype(np.float64)
    np.testing.assert_allclose(statistics.mean, images.mean(0))
    np.testing.assert_allclose(statistics.deviation, images.std(0))
    np.testing.assert_allclose(statistics.pixels, (images.mean(), images.std()))
    assert (statistics.low, statistics.high) == (0, 255)
    np.testing.assert_array_equal(statistics.brightness, np.bincount(images.mean((1, 2, 3)).astype(int), minlength=256))
    assert statistics.boxes == statistics.digits.sum() == statistics.centers.sum()
    assert (statistics.size_low.tolist(), statistics.size_high.tolist()) == ([6, 8], [6, 8])
    assert (statistics.quantile(0, 0.5), statistics.quantile(1, 0.5)) == (6, 8)
    assert [example.index for example in statistics.samples] == sorted({(2 * i + 1) * N // 72 for i in range(36)})
    for example in statistics.samples:
        np.testing.assert_array_equal(example.image, arrays["images"][example.index])
    assert len(set(statistics.prints.image.tolist())) == N


def with_value(name: str, where: tuple, value: float) -> dict[str, np.ndarray]:
    arrays = make_arrays()
    arrays[name][where] = value
    return arrays


# Example 7 has two digits, example 8 has three.
FAULTS = {
    "label": with_value("digits", (7, 1), 12),
    "gap": with_value("digits", (8, 1), NO_DIGIT) | {"boxes": with_value("boxes", (8, 1), 0)["boxes"]},
    "not_finite": with_value("boxes", (7, 0, 2), np.inf),
    "no_size": with_value("boxes", (7, 0, 3), -2),
    "no_digit": with_value("boxes", (7, 2, 0), 3),
    "outside": with_value("boxes", (7, 0, 0), 40),
}


@pytest.mark.parametrize("kind", FAULTS)
def test_checks_find_each_kind_of_fault(kind):
    statistics = collect(ArraySource(FAULTS[kind]))
    assert dict(+statistics.faults) == {kind: 1}
    (fault,) = statistics.listed[kind]
    assert (fault.kind, fault.split, fault.index) == (kind, "train", 8 if kind == "gap" else 7)
    assert "reads" in fault.detail
    assert [example.index for example in statistics.faulty] == [fault.index]


def test_checks_find_short_numbers():
    statistics = collect(ArraySource(make_arrays(), min_length=2))
    assert dict(+statistics.faults) == {"length": 14}
    assert statistics.listed["length"][0].index == 0
    assert statistics.listed["length"][0].detail.endswith("1 digit")
    assert len(collect(ArraySource(make_arrays(), min_length=3)).listed["length"]) == LISTED


def test_checks_find_repeated_and_missing_indices():
    statistics = collect(ArraySource(make_arrays(), [*range(N - 2), 5, 5, N + 3, -1, -1]))
    assert dict(+statistics.faults) == {"twice": 2, "no_index": 1, "missing": 2}
    assert [fault.index for fault in statistics.listed["missing"]] == [N - 2, N - 1]
    assert [fault.index for fault in statistics.listed["twice"]] == [5, 5]
    assert [fault.index for fault in statistics.listed["no_index"]] == [N + 3]


def test_statistics_count_and_keep_notes():
    arrays = make_arrays()
    arrays["boxes"][7, 0] = 0  # no known box
    arrays["boxes"][8, 0] = [1, 5, 6, 8]  # a third is beyond the edge
    arrays["boxes"][11, 1, 0] = 2  # left of the first digit
    arrays["images"][3] = 9
    statistics = collect(ArraySource(arrays), photographs=True)
    assert not statistics.faults.total()
    assert dict(statistics.notes) == {"over": 2, "unknown": 1, "disorder": 1, "plain": 1}
    assert [example.index for example in statistics.over.examples] == [8, 11]
    assert [example.index for example in statistics.disorder.examples] == [11]


def test_photograph_boxes_may_cross_the_edge():
    entirely, partly = with_value("boxes", (7, 0, 0), -3), with_value("boxes", (7, 0, 0), -1)
    assert collect(ArraySource(entirely), photographs=True).faults["outside"] == 1
    assert collect(ArraySource(partly), photographs=True).faults["outside"] == 0
    assert collect(ArraySource(partly), photographs=False).faults["outside"] == 1


def test_out_of_order_of_stacked_digits():
    boxes = np.array([[[5, 9, 2, 2], [4, 12, 2, 2]]], np.float32)
    digits, unknown = np.array([[1, 2]], np.int32), np.array([[-1, -1]], np.int32)
    assert checks.is_out_of_order(digits, boxes, unknown, stacked=False).tolist() == [True]
    assert checks.is_out_of_order(digits, boxes, unknown, stacked=True).tolist() == [False]


def test_out_of_order_is_checked_per_number_of_a_scene():
    digits = np.array([[1, 2]], np.int32)
    for second, same_number, two_numbers in (([4, 12], False, False), ([4, 8], True, False), ([6, 8], False, False)):
        boxes = np.array([[[5, 9, 2, 2], [*second, 2, 2]]], np.float32)
        for number, wrong in (([0, 0], same_number), ([0, 1], two_numbers)):
            assert checks.is_out_of_order(digits, boxes, np.array([number], np.int32), stacked=False).tolist() == [
                wrong
            ]


def test_smallest_and_largest_boxes_are_kept():
    arrays = make_arrays()
    area = np.random.default_rng(1).permutation(N) + 1.0
    arrays["boxes"][:, 0, 2], arrays["boxes"][:, 0, 3] = area, 1
    arrays["boxes"][:, 1:] = 0
    statistics = collect(ArraySource(arrays))
    assert [example.index for example in statistics.smallest.examples] == np.argsort(area)[:4].tolist()
    assert [example.index for example in statistics.largest.examples] == np.argsort(-area)[:4].tolist()


def test_copies_within_and_across_splits():
    train, test, seen = make_arrays(0), make_arrays(1), {}
    train["images"][30] = train["images"][2]
    test["images"][11] = train["images"][2]
    test["digits"][11] = train["digits"][2]
    test["images"][12] = train["images"][4]
    train["digits"][4, 0], test["digits"][12, 0] = 5, 6
    train["digits"][30] = train["digits"][2]
    statistics = [collect(ArraySource(train), "train", seen=seen), collect(ArraySource(test), "test", seen=seen)]
    prints = {s.split: s.prints for s in statistics}
    assert checks.copies(prints) == {
        ("train", "train"): 2,
        ("train", "test"): 3,
        ("test", "train"): 2,
        ("test", "test"): 0,
    }
    assert checks.contradictions(prints) == 2
    assert [example.index for example in statistics[0].again.examples] == [30]
    assert [example.index for example in statistics[1].again.examples] == [11, 12]
    copied = statistics[1].again.examples[0].image_print
    assert checks.places(prints, copied) == [("train", 2), ("train", 30), ("test", 11)]


def test_fingerprint_differs_by_one_byte():
    arrays = make_arrays()
    arrays["images"][:] = 0
    arrays["images"].reshape(N, -1)[np.arange(N), np.arange(N)] = 1
    arrays["images"].reshape(N, -1)[0, 0] = 0
    assert len(set(collect(ArraySource(arrays)).prints.image.tolist())) == N


class Page(HTMLParser):
    """Parses a page, checks that tags are nested, and counts them."""

    VOID = ("meta", "img", "br")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.count: Counter[str] = Counter()
        self.ids: list[str] = []
        self.bare = self.far = 0
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.count[tag] += 1
        values = dict(attrs)
        self.ids += [values["id"]] if "id" in values else []
        self.bare += tag == "img" and not values.get("alt")
        self.far += any(key in values and not values[key].startswith("data:") for key in ("src", "href", "xlink:href"))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.count[tag] += 1

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


PARTS = ["remarks", "samples", "labels", "boxes", "pixels", "copies", "checks", "origin"]


def test_page_is_complete_and_self_contained(small_config):
    config = small_config({"data.train_examples": 0})
    statistics = inspect.inspect(config, ("train", "validation", "test"), 30, Stop())
    assert [s.examples for s in statistics] == [30, 30, 30]
    assert statistics[0].endless
    assert not sum(s.faults.total() for s in statistics)
    text = page.html("tiny <&> one", config, statistics, "seqdigits inspect 'x' --limit 30")
    assert text == page.html("tiny <&> one", config, statistics, "seqdigits inspect 'x' --limit 30")
    found = Page(text)
    assert found.open == []
    assert found.ids == PARTS
    assert found.bare == found.far == found.count["script"] == found.count["link"] == 0
    assert found.count["img"] >= 3 * (12 + 3)
    assert "url(" not in text
    assert "prefers-color-scheme: dark" in text
    assert "<title>tiny &lt;&amp;&gt; one</title>" in text
    assert "the first of endlessly many" in text
    assert "--limit 30" in text
    assert "non-commercial" not in text


def test_page_of_splits_of_different_image_sizes(small_config):
    config = small_config({"data.train_height": 28, "data.train_width": 64})
    text = page.html("sizes", config, inspect.inspect(config, ("train", "test"), 20, Stop()), "command")
    assert "28 × 64 or 32 × 96 pixels" in text
    assert Page(text).open == []


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({}, "digits side by side, at a random position on black."),
        ({"scattered": True}, "digits each at a random place on black."),
        ({"composition": "rotated", "jitter": 2}, "digits in a row, each rotated by up to 45° and shifted."),
        ({"composition": "rotated", "max_rotation": 15}, "digits in a row, each rotated by up to 15°."),
        ({"composition": "rotated", "max_rotation": 0, "stacked": True}, "digits in a column."),
        ({"composition": "centered"}, "small digits side by side in the center."),
    ],
)
def test_page_says_how_digits_are_composed(small_config, changes, text):
    config = small_config({f"data.{name}": value for name, value in changes.items()})
    about = page.html("digits", config, [collect(ArraySource(make_arrays()))], "command")
    assert f" digits: {text}" in about


def test_page_of_faults_and_photographs(small_config):
    config = small_config({"data.digits": "mnist"})
    config.data.composition, config.data.photographs = "photograph", "svhn_2000"
    found = [collect(ArraySource(FAULTS["label"])), collect(ArraySource(make_arrays(1), min_length=2), "test")]
    text = page.html("faulty", config, found, "command")
    parts = Page(text)
    assert parts.open == []
    assert parts.ids == [PARTS[0], "faults", *PARTS[1:]]
    assert "non-commercial" in text
    assert "position 2 is 12" in text
    said = cli_inspect.faults(found)
    assert f"{checks.FAULTS['length']}: 14 of test" in said
    assert f"train 7: {checks.FAULTS['label']}: reads" in said
    assert re.search(r"^faults +1 +14$", cli_inspect.table(found), re.MULTILINE)


def test_page_without_digits_and_boxes(small_config):
    arrays = make_arrays()
    arrays["boxes"][:] = 0
    arrays["digits"][:] = NO_DIGIT
    text = page.html("empty", small_config({}), [collect(ArraySource(arrays))], "command")
    assert "No box is known." in text
    assert Page(text).open == []


def test_inspect_fault_is_an_error_but_writes_the_page(small_config, monkeypatch, tmp_path):
    monkeypatch.setattr(inspect, "create_source", lambda config, split: ArraySource(FAULTS["no_size"]))
    monkeypatch.setattr(sys, "argv", ["inspect", "configs/quickstart.py", "--split=test", f"--out={tmp_path}"])
    monkeypatch.chdir(ROOT)
    with pytest.raises(UserError, match="without width or height: 1 of test\n  test 7: .*\nThe page .*quickstart.html"):
        cli_inspect.main(Stop())
    assert [path.name for path in tmp_path.iterdir()] == ["quickstart.html"]


def test_inspect_stopped_writes_nothing(monkeypatch, tmp_path):
    stop = Stop()
    stop.set()
    monkeypatch.setattr(sys, "argv", ["inspect", "configs/quickstart.py", f"--out={tmp_path / 'page.html'}"])
    monkeypatch.chdir(ROOT)
    with pytest.raises(Stopped):
        cli_inspect.main(stop)
    assert not list(tmp_path.iterdir())


def run(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *args], cwd=ROOT, capture_output=True, text=True, check=False)


def test_inspect_exit_status(tmp_path):
    command = ("-m", "seqdigits", "inspect", "configs/quickstart.py", "--limit=20", "--split=test")
    done = run(*command, f"--out={tmp_path}")
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(f"\n{tmp_path}/quickstart.html\n")
    assert "seqdigits inspect configs/quickstart.py" in (tmp_path / "quickstart.html").read_text()
    wrong = run(*command, "--split=dev")
    assert (wrong.returncode, wrong.stderr) == (2, "error: --split dev: allowed are train, validation, test.\n")


def test_inspect_module_does_not_shadow_stdlib():
    code = "import seqdigits.inspection.inspect, inspect; print(inspect.getmodulename('x.py'))"
    assert run("-c", code).stdout == "x\n"
