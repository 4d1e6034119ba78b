"""Statistics of a split: reads every example once, counts its contents, and keeps a few examples to show."""

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
"""The maximum number of faults listed individually, per kind and split."""
SAMPLES = 36
"""The maximum number of examples shown that are spread evenly over a split."""
KEPT = 4
"""The maximum number of examples shown of each other kind."""
_CELLS = 48  # of the map of box centers, along the longer side of the image


@dataclass(frozen=True)
class Example:
    """One example to show.

    Attributes:
      split, index: where the example is from.
      image: u8 [H, W, C].
      digits: i32 [L].
      boxes: f32 [L, 4], cxcywh in pixels.
      image_print: the fingerprint of the image, 64 bits.
    """

    split: str
    index: int
    image: np.ndarray
    digits: np.ndarray
    boxes: np.ndarray
    image_print: int


@dataclass(frozen=True)
class _Rows:
    """The rows of a Fingerprint, without padding.

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
    """The examples of the highest scores; of equal scores the earliest example is kept."""

    def __init__(self, max_count: int) -> None:
        self._max_count = max_count
        self._kept: list[tuple[float, Example]] = []

    def better(self, scores: np.ndarray) -> np.ndarray:
        """Returns the rows to keep, best first, f64 [B] -> i64 [n]; scores of 0 or less are never kept."""
        threshold = self._kept[-1][0] if len(self._kept) == self._max_count else 0.0
        rows = np.flatnonzero(scores > threshold)
        return rows[np.argsort(-scores[rows], kind="stable")][: self._max_count]

    def keep(self, score: float, example: Example) -> None:
        """Adds an example and drops the worst one beyond the maximum number."""
        self._kept = sorted([*self._kept, (score, example)], key=lambda pair: -pair[0])[: self._max_count]

    @property
    def examples(self) -> list[Example]:
        """The kept examples, best first."""
        return [example for _, example in self._kept]


class SplitStatistics:
    """The statistics of one split; complete once every batch was added and `finish` was called.

    Attributes:
      split, spec: the name of the split and its spec.
      count: the expected number of examples.
      examples: the number of examples added so far.
      endless: whether the split is endless, so that only its first examples are counted.
      whole: whether all examples of the split are counted.
      lengths: i64 [L + 1], the number of examples with 0, 1, .. L digits.
      digits: i64 [L, 10], the number of each digit at each position.
      cell: the side of a square cell of the map of box centers, in pixels.
      centers: i64 [rows, columns], the number of box centers in each cell.
      sizes: i64 [2, ..], the number of boxes that are 0, 1, 2 .. pixels wide (first row) and high (second row),
        rounded; larger ones count as the last.
      size_low, size_high, size_sum: f64 [2], the minimum, maximum and sum of widths and heights.
      boxes: the number of valid boxes.
      sums, squares: i64 [H, W, C], the sums of the bytes of all images and of their squares.
      low, high: the darkest and the brightest byte of all images.
      brightness: i64 [256], the number of images by their mean, rounded down.
      faults: the number of examples with a fault, by kind.
      listed: the first LISTED faults by kind.
      notes: the number of occurrences of a note, by kind.
      samples: examples spread evenly over the split.
      faulty: the first examples with a fault.
      smallest, largest: Best examples by the size of their smallest and largest box.
      over: Best examples by the share of a box beyond the edge.
      disorder: Best examples with digits out of order.
      again: Best examples whose image occurred before, those of another split first.
    """

    def __init__(
        self, split: str, spec: Spec, count: int, *, photographs: bool, stacked: bool, seen: dict[int, str]
    ) -> None:
        """Starts with nothing counted.

        Args:
          split: the name of the split.
          spec: its spec.
          count: the expected number of examples.
          photographs: see checks.find_faults.
          stacked: see checks.is_out_of_order.
          seen: the fingerprints of images of earlier splits, with their split; those of this split are added.
        """
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
        """Counts one batch.

        Args:
          seen: the fingerprint of the batch, on the host.
          image: u8 [B, H, W, C], on the device; copied to the host only if one of the images is kept.
        """
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
        """Counts missing examples and sorts the lists; called once after the last batch."""
        for index in np.flatnonzero(self._times == 0)[:LISTED].tolist():
            self._list("missing", index, f"{self.count:,} examples were expected")
        if missing := int((self._times == 0).sum()):
            self.faults["missing"] += missing
        self.samples.sort(key=lambda example: example.index)
        for listed in self.listed.values():
            listed.sort(key=lambda fault: fault.index)

    @property
    def prints(self) -> Prints:
        """The fingerprints of all examples, in the order in which they were added."""
        parts = [(p.index, p.image, p.digits) for p in self._prints]
        return Prints(*(np.concatenate(column) for column in zip(*parts, strict=True)))

    @property
    def mean(self) -> np.ndarray:
        """The mean of each pixel, f64 [H, W, C], 0..255."""
        return self.sums / max(self.examples, 1)

    @property
    def deviation(self) -> np.ndarray:
        """The standard deviation of each pixel over the examples, f64 [H, W, C]."""
        return np.sqrt(np.maximum(self.squares / max(self.examples, 1) - self.mean**2, 0))

    @property
    def pixels(self) -> tuple[float, float]:
        """The mean and standard deviation of all bytes of all images."""
        mean = float(self.mean.mean())
        return mean, float(np.sqrt(max(self.squares.mean() / max(self.examples, 1) - mean**2, 0)))

    def quantile(self, axis: int, share: float) -> int:
        """Returns the quantile `share` of the widths (axis 0) or heights (axis 1) of boxes, in integer pixels."""
        return int(np.searchsorted(np.cumsum(self.sizes[axis]), share * self.sizes[axis].sum()))

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
        """Counts the boxes; returns the score of each row, f64 [B], for each Best list about boxes."""
        valid = checks.has_valid_box(rows.digits, rows.boxes)
        num_digits = (rows.digits != NO_DIGIT).sum()
        boxes = rows.boxes[valid].astype(np.float64)
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
        area, over = np.zeros(valid.shape), np.zeros(valid.shape)
        area[valid], over[valid] = boxes[:, 2:].prod(-1), checks.share_outside(boxes, self.spec)
        self.notes["over"] += int((over > 0).sum())
        self.notes["unknown"] += int(num_digits - ((rows.boxes != 0).any(-1) & (rows.digits != NO_DIGIT)).sum())
        disorder = checks.is_out_of_order(rows.digits, rows.boxes, rows.number, self._stacked)
        self.notes["disorder"] += int(disorder.sum())
        return [
            (self.smallest, 1 / np.where(valid, area, np.inf).min(1, initial=np.inf)),
            (self.largest, area.max(1, initial=0)),
            (self.over, over.max(1, initial=0)),
            (self.disorder, disorder.astype(float)),
        ]

    def _check(self, rows: _Rows) -> np.ndarray:
        """Counts and lists faults; returns which rows have one, bool [B]."""
        wrong = np.zeros(len(rows.index), bool)
        for kind, where in checks.find_faults(rows.digits, rows.boxes, self.spec, self._photographs).items():
            faulty = np.flatnonzero(where.any(1))
            wrong[faulty] = True
            self.faults[kind] += len(faulty)
            for row in faulty[: LISTED - len(self.listed.get(kind, ()))]:
                detail = checks.describe_fault(kind, rows.digits[row], rows.boxes[row], int(where[row].argmax()))
                self._list(kind, int(rows.index[row]), detail)
        for index in rows.index.tolist():
            kind = "no_index" if index >= self.count else "twice" if self._times[index] else ""
            if kind:
                self.faults[kind] += 1
                self._list(kind, index, f"each index from 0 to {self.count - 1:,} must occur once")
            else:
                self._times[index] = 1
        return wrong

    def _list(self, kind: str, index: int, detail: str) -> None:
        listed = self.listed.setdefault(kind, [])
        if len(listed) < LISTED:
            listed.append(Fault(kind, self.split, index, detail))

    def _known(self, prints: np.ndarray) -> np.ndarray:
        """Returns a score for each image: 2 if it occurred in another split before, 1 if in this one, else 0."""
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
        """Keeps the examples to show; `places` are the indices of the rows in `image`."""
        chosen = [(best, row, float(score[row])) for best, score in scores for row in best.better(score)]
        samples = [row for row, index in enumerate(rows.index.tolist()) if index in self._wanted]
        faulty = np.flatnonzero(wrong)[: KEPT - len(self.faulty)]
        if not (chosen or samples or len(faulty)):
            return
        images = np.asarray(image)

        def example(row: int) -> Example:
            pixels = images[places[row]].copy()  # a copy, so that the batch can be freed
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
    """Collects the statistics of a split; prints the progress every 10 seconds.

    The memory needed is that of the source's arrays, one batch, and about 200 bytes of fingerprints per example.

    Args:
      source: the source of the split.
      split: the name of the split.
      batch_size: the number of examples per batch.
      limit: the number of examples, from the first on; None = all.
      devices: the devices that compute the fingerprints.
      key: the random key of `source.make`, which does not augment here.
      photographs: see checks.find_faults.
      stacked: see checks.is_out_of_order.
      seen: the fingerprints of images of earlier splits, with their split; those of this split are added.
      stop: ends the collection early.

    Raises:
      UserError: a record is not readable.
      Stopped: `stop` was set.
    """
    arrays = devices.replicate(source.arrays)
    make = devices.jit(partial(source.make, key=key, train=False))
    # Compiled separately from `make`: in one program XLA would recompute each image for each of its statistics.
    take_fingerprint = devices.jit(fingerprint)
    total = source.count(limit)
    statistics = SplitStatistics(split, source.spec, total, photographs=photographs, stacked=stacked, seen=seen)
    start, last_print, compiled = 0.0, time.monotonic(), 0
    for host_batch in source.all(min(batch_size, ROWS), limit):
        if stop.is_set():
            raise Stopped
        batch = make(arrays, devices.shard_batch(host_batch))
        statistics.add(jax.device_get(take_fingerprint(batch)), batch.image)
        now, done = time.monotonic(), statistics.examples
        if not compiled:  # the first batch includes compilation, so the rate leaves it out
            start, compiled = now, done
        elif now - last_print > 10 and compiled < done < total:
            rate = (done - compiled) / (now - start)
            left = duration((total - done) / rate)
            print(f"  {split}: {done:,} of {total:,}, {rate:,.0f} images/s, {left} left", flush=True)
            last_print = now
    statistics.finish()
    return statistics
