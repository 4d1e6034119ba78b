"""Goes over every example of a split once, counts what is in it, and keeps the few pictures worth a look."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, fields, replace
from functools import partial

import jax
import numpy as np
from jax import Array

from seqdigits.core.constants import NO_DIGIT
from seqdigits.core.interrupt import Stop, Stopped
from seqdigits.core.progress import duration
from seqdigits.core.types import Spec
from seqdigits.data.source import DataSource
from seqdigits.inspection import checks
from seqdigits.inspection.checks import Fault, Prints
from seqdigits.inspection.fingerprint import ROWS, Fingerprint, fingerprint
from seqdigits.parallel.devices import Devices

LISTED = 20
"""Faults of a kind and split that are named one by one."""
SAMPLES = 36
"""Pictures from all over a split, at most."""
KEPT = 4
"""Pictures of each other kind, at most."""
_CELLS = 48  # of the map of centers, along the image's longer side


@dataclass(frozen=True)
class Example:
    """One example, to be shown: image u8 [H, W, C], digits i32 [L], boxes f32 [L, 4] cxcywh, fingerprint of the image."""

    split: str
    index: int
    image: np.ndarray
    digits: np.ndarray
    boxes: np.ndarray
    image_print: int


@dataclass(frozen=True)
class _Rows:
    """The examples of one batch, without padding: see Fingerprint.

    Attributes:
      digits: i32 [b, L].
      boxes: f32 [b, L, 4].
      index: i32 [b].
      number: i32 [b, L].
      low, high: u8 [b].
      total: u32 [b].
      image_print: u64 [b].
      digits_print: u32 [b].
    """

    digits: np.ndarray
    boxes: np.ndarray
    index: np.ndarray
    number: np.ndarray
    low: np.ndarray
    high: np.ndarray
    total: np.ndarray
    image_print: np.ndarray
    digits_print: np.ndarray


class Best:
    """The few examples of the highest score; of equal ones the first that came."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: list[tuple[float, Example]] = []

    def better(self, scores: np.ndarray) -> np.ndarray:
        """Rows that are among the best so far, f64 [B] -> i64 [n], best first. A score of 0 or less never is."""
        least = self._kept[-1][0] if len(self._kept) == self._most else 0.0
        rows = np.flatnonzero(scores > least)
        return rows[np.argsort(-scores[rows], kind="stable")][: self._most]

    def keep(self, score: float, example: Example) -> None:
        self._kept = sorted([*self._kept, (score, example)], key=lambda pair: -pair[0])[: self._most]

    @property
    def examples(self) -> list[Example]:
        """Best first."""
        return [example for _, example in self._kept]


class SplitStatistics:
    """What is in one split. All of it is complete once every batch was added and `finish` was called.

    Attributes:
      split, spec: of what.
      count: how many examples there should be; `examples`: how many came.
      endless: whether these are the first of endlessly many; `whole`: whether they are all of the split.
      lengths: i64 [L + 1], how many examples have 0, 1, .. L digits.
      digits: i64 [L, 10], how often each digit stands at each position.
      cell: side of a square of the map of centers, in pixels; centers: i64 [rows, columns], how many boxes have theirs there.
      sizes: i64 [2, ..], how many boxes are 0, 1, 2 .. pixels wide, and high, rounded; what is beyond counts as the last.
      size_low, size_high, size_sum: f64 [2], of widths and heights; boxes: of how many.
      sums, squares: i64 [H, W, C], of the bytes of all images, and of their squares.
      low, high: the darkest and the brightest byte of all; brightness: i64 [256], how many images have which mean, rounded
        down.
      faults: how many examples have a fault of a kind; listed: the first of them, by kind.
      notes: how often there is what is worth knowing, by kind.
      samples: examples spread evenly over the split; faulty: the first with a fault.
      smallest, largest, over, disorder, again: see `Best`; of the smallest and the largest box, of what reaches farthest
        over the edge, of digits that are not in order, and of images that were there before (in another split first).
    """

    def __init__(
        self, split: str, spec: Spec, count: int, *, photographs: bool, stacked: bool, seen: dict[int, str]
    ) -> None:
        """`photographs`, `stacked`: see checks; `seen`: fingerprints of images of earlier splits, to be filled up with those
        of this one."""
        self.split, self.spec, self.count = split, spec, count
        self.endless, self.whole = spec.num_examples is None, spec.num_examples == count
        self._photographs, self._stacked, self._seen = photographs, stacked, seen
        height, width, _ = spec.image
        self.examples = 0
        self.lengths = np.zeros(spec.max_length + 1, np.int64)
        self.digits = np.zeros((spec.max_length, 10), np.int64)
        self.cell = -(-max(height, width) // _CELLS)
        self.centers = np.zeros((-(-height // self.cell), -(-width // self.cell)), np.int64)
        self.sizes = np.zeros((2, 2 * max(height, width) + 1), np.int64)
        self.size_low, self.size_high, self.size_sum = np.full(2, np.inf), np.zeros(2), np.zeros(2)
        self.boxes = 0
        self.sums, self.squares = np.zeros(spec.image, np.int64), np.zeros(spec.image, np.int64)
        self.low, self.high = 255, 0
        self.brightness = np.zeros(256, np.int64)
        self.faults: Counter[str] = Counter()
        self.listed: dict[str, list[Fault]] = {}
        self.notes: Counter[str] = Counter()
        self._wanted = set(((2 * np.arange(min(SAMPLES, count)) + 1) * count // (2 * min(SAMPLES, count))).tolist())
        self.samples: list[Example] = []
        self.faulty: list[Example] = []
        self.smallest, self.largest, self.over, self.disorder, self.again = (Best(KEPT) for _ in range(5))
        self._times = np.zeros(count, np.uint8)
        self._prints: list[Prints] = []

    def add(self, seen: Fingerprint, image: Array) -> None:
        """Counts one batch: `seen` on the host, `image` u8 [B, H, W, C] on the device, fetched only if one of it is kept."""
        places = np.flatnonzero(np.asarray(seen.index) >= 0)
        rows = _Rows(**{field.name: np.asarray(getattr(seen, field.name))[places] for field in fields(_Rows)})
        halves = rows.image_print.astype(np.uint64)
        rows = replace(rows, image_print=(halves[:, 0] << np.uint64(32)) | halves[:, 1])
        self.examples += len(places)
        self.sums += np.asarray(seen.sums)
        self.squares += np.asarray(seen.squares)
        self._prints.append(Prints(rows.index, rows.image_print, rows.digits_print))
        self._count_labels(rows)
        self._count_pixels(rows)
        wrong = self._check(rows)
        scores = [*self._count_boxes(rows), (self.again, self._known(rows.image_print))]
        self._keep(rows, scores, wrong, image, places)

    def finish(self) -> None:
        """What can be said only when all have come."""
        for index in np.flatnonzero(self._times == 0)[:LISTED].tolist():
            self._list("missing", index, f"{self.count:,} were to come")
        if missing := int((self._times == 0).sum()):
            self.faults["missing"] += missing
        self.samples.sort(key=lambda example: example.index)
        for found in self.listed.values():
            found.sort(key=lambda fault: fault.index)

    @property
    def prints(self) -> Prints:
        """Of all examples, in the order in which they came."""
        parts = [(p.index, p.image, p.digits) for p in self._prints]
        return Prints(*(np.concatenate(column) for column in zip(*parts, strict=True)))

    @property
    def mean(self) -> np.ndarray:
        """f64 [H, W, C], of each pixel, 0..255."""
        return self.sums / max(self.examples, 1)

    @property
    def deviation(self) -> np.ndarray:
        """f64 [H, W, C], of each pixel over the examples."""
        return np.sqrt(np.maximum(self.squares / max(self.examples, 1) - self.mean**2, 0))

    @property
    def pixels(self) -> tuple[float, float]:
        """Mean and standard deviation of all bytes of all images."""
        mean = float(self.mean.mean())
        return mean, float(np.sqrt(max(self.squares.mean() / max(self.examples, 1) - mean**2, 0)))

    def quantile(self, axis: int, share: float) -> int:
        """The width (axis 0) or height (1) in whole pixels that so large a share of the boxes does not exceed."""
        return int(np.searchsorted(np.cumsum(self.sizes[axis]), share * self.sizes[axis].sum()))

    # Parts of `add`

    def _count_labels(self, rows: _Rows) -> None:
        self.lengths += np.bincount((rows.digits != NO_DIGIT).sum(1), minlength=len(self.lengths))
        row, place = np.nonzero((rows.digits >= 0) & (rows.digits <= 9))
        np.add.at(self.digits, (place, rows.digits[row, place]), 1)

    def _count_pixels(self, rows: _Rows) -> None:
        self.low = min(self.low, int(rows.low.min(initial=255)))
        self.high = max(self.high, int(rows.high.max(initial=0)))
        self.brightness += np.bincount(rows.total // np.uint32(self.sums.size), minlength=256)
        self.notes["plain"] += int((rows.low == rows.high).sum())

    def _count_boxes(self, rows: _Rows) -> list[tuple[Best, np.ndarray]]:
        """Also how small, large and far over the edge the boxes of each example are."""
        good = checks.sound(rows.digits, rows.boxes)
        there = (rows.digits != NO_DIGIT).sum()
        boxes = rows.boxes[good].astype(np.float64)
        self.boxes += len(boxes)
        if len(boxes):
            size = boxes[:, 2:]
            self.size_low, self.size_high = (
                np.minimum(self.size_low, size.min(0)),
                np.maximum(self.size_high, size.max(0)),
            )
            self.size_sum += size.sum(0)
            last = self.sizes.shape[1] - 1
            for axis in (0, 1):
                rounded = np.minimum(np.rint(size[:, axis]), last).astype(int)
                self.sizes[axis] += np.bincount(rounded, minlength=last + 1)
            column, row = (np.clip(boxes[:, axis] // self.cell, 0, self.centers.shape[1 - axis] - 1) for axis in (0, 1))
            np.add.at(self.centers, (row.astype(int), column.astype(int)), 1)
        area, over = np.zeros(good.shape), np.zeros(good.shape)
        area[good], over[good] = boxes[:, 2:].prod(-1), checks.outside(boxes, self.spec)
        self.notes["over"] += int((over > 0).sum())
        self.notes["unknown"] += int(there - ((rows.boxes != 0).any(-1) & (rows.digits != NO_DIGIT)).sum())
        disorder = checks.disorder(rows.digits, rows.boxes, rows.number, self._stacked)
        self.notes["disorder"] += int(disorder.sum())
        return [
            (self.smallest, 1 / np.where(good, area, np.inf).min(1, initial=np.inf)),
            (self.largest, area.max(1, initial=0)),
            (self.over, over.max(1, initial=0)),
            (self.disorder, disorder.astype(float)),
        ]

    def _check(self, rows: _Rows) -> np.ndarray:
        """Counts and lists faults. Which examples have one: bool [B]."""
        wrong = np.zeros(len(rows.index), bool)
        for kind, where in checks.faults(rows.digits, rows.boxes, self.spec, self._photographs).items():
            those = np.flatnonzero(where.any(1))
            wrong[those] = True
            self.faults[kind] += len(those)
            for row in those[: LISTED - len(self.listed.get(kind, ()))]:
                detail = checks.described(kind, rows.digits[row], rows.boxes[row], int(where[row].argmax()))
                self._list(kind, int(rows.index[row]), detail)
        for index in rows.index.tolist():
            kind = "no_index" if index >= self.count else "twice" if self._times[index] else ""
            if kind:
                self.faults[kind] += 1
                self._list(kind, index, f"the split has 0 to {self.count - 1:,}, each once")
            else:
                self._times[index] = 1
        return wrong

    def _list(self, kind: str, index: int, detail: str) -> None:
        found = self.listed.setdefault(kind, [])
        if len(found) < LISTED:
            found.append(Fault(kind, self.split, index, detail))

    def _known(self, prints: np.ndarray) -> np.ndarray:
        """Which images were there before: 2 in another split, 1 in this one, 0 nowhere."""
        scores = np.zeros(len(prints))
        for row, value in enumerate(prints.tolist()):
            before = self._seen.get(value)
            scores[row] = 0 if before is None else 1 if before == self.split else 2
            self._seen[value] = before or self.split
        return scores

    def _keep(
        self,
        rows: _Rows,
        scores: list[tuple[Best, np.ndarray]],
        wrong: np.ndarray,
        image: Array,
        places: np.ndarray,
    ) -> None:
        """Keeps the examples that are to be shown; `places`: where the rows lie in `image`."""
        chosen = [(best, row, float(score[row])) for best, score in scores for row in best.better(score)]
        samples = [row for row, index in enumerate(rows.index.tolist()) if index in self._wanted]
        faulty = np.flatnonzero(wrong)[: KEPT - len(self.faulty)]
        if not (chosen or samples or len(faulty)):
            return
        images = np.asarray(image)

        def example(row: int) -> Example:
            pixels = images[places[row]].copy()  # of the whole batch only this stays
            print_ = int(rows.image_print[row])
            return Example(self.split, int(rows.index[row]), pixels, rows.digits[row], rows.boxes[row], print_)

        for best, row, score in chosen:
            best.keep(score, example(row))
        for row in samples:
            self._wanted.discard(int(rows.index[row]))
            self.samples.append(example(row))
        self.faulty += [example(row) for row in faulty]


def collect_statistics(
    source: DataSource,
    split: str,
    *,
    batch_size: int,
    limit: int | None,
    devices: Devices,
    key: Array,
    photographs: bool,
    stacked: bool,
    seen: dict[int, str],
    stop: Stop,
) -> SplitStatistics:
    """Goes over a split, with a line about how far it is every 10 seconds.

    Memory: the source's arrays, one batch, and about 200 bytes an example for what it is known by.

    Args:
      source: of the split.
      split: its name.
      batch_size: examples at a time.
      limit: the first so many; None = all.
      devices: that look.
      key: of `source.make`, which does not augment.
      photographs, stacked: see checks.
      seen: fingerprints of the images of earlier splits; those of this one are added.
      stop: ends it early.

    Raises:
      UserError: a record cannot be read.
      Stopped: `stop` was set.
    """
    arrays = devices.replicate(source.arrays)
    make = devices.jit(partial(source.make, key=key, train=False))
    # Compiled apart from `make`: together XLA would make each image again for each of its figures.
    take_fingerprint = devices.jit(fingerprint)
    total = source.count(limit)
    found = SplitStatistics(split, source.spec, total, photographs=photographs, stacked=stacked, seen=seen)
    began, said, compiled = 0.0, time.monotonic(), 0
    for host_batch in source.all(min(batch_size, ROWS), limit):
        if stop.is_set():
            raise Stopped
        batch = make(arrays, devices.shard_batch(host_batch))
        found.add(jax.device_get(take_fingerprint(batch)), batch.image)
        now, done = time.monotonic(), found.examples
        if not compiled:  # the first batch is: it does not count in the rate
            began, compiled = now, done
        elif now - said > 10 and compiled < done < total:
            rate = (done - compiled) / (now - began)
            left = duration((total - done) / rate)
            print(f"  {split}: {done:,} of {total:,}, {rate:,.0f} images/s, {left} left", flush=True)
            said = now
    found.finish()
    return found
