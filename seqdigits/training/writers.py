"""Writes the logs of a run: `W/metrics.jsonl` and TensorBoard events."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Collection
from pathlib import Path
from types import ModuleType
from typing import Any

from PIL import Image
from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
from tensorboard.compat.proto import event_pb2, summary_pb2
from tensorboard.plugins.hparams.metadata import SESSION_START_INFO_TAG
from tensorboard.plugins.hparams.summary_v2 import hparams_pb
from tensorboard.summary.writer.event_file_writer import EventFileWriter
from tensorboard.summary.writer.record_writer import RecordWriter

from seqdigits.core.files import write_atomically
from seqdigits.parallel.processes import is_main
from seqdigits.visualization.predictions import jpeg, png

# TensorBoard would import TensorFlow if it is installed, which takes 5 seconds. A module of this name prevents that.
sys.modules.setdefault("tensorboard.compat.notf", ModuleType("tensorboard.compat.notf"))


_HPARAMS = SESSION_START_INFO_TAG.split("/")[0]  # where an event has the split


class Writers:
    """The log files of one run, which only process 0 writes.

    Opening them removes the entries after the restored step, so that a resumed run leaves no duplicate points in its
    curves. A damaged file does not end the run, because no step depends on it: what can be read is kept, a message names
    the file, and a copy of it is kept beside it.
    """

    def __init__(
        self,
        workdir: Path,
        step: int,
        rewritten_splits: Collection[str] = (),
        hparams: dict[str, bool | int | float | str] | None = None,
    ):
        """Opens the logs at a step.

        Args:
          workdir: the folder of the run.
          step: the restored step; entries of later steps are removed.
          rewritten_splits: splits whose entries of exactly this step are removed too, because they will be written
            again.
          hparams: hyperparameters of the run, for TensorBoard to compare runs by; they replace those in the logs.
        """
        self._events: EventFileWriter | None = None
        if not is_main():
            return

        def is_kept(entry_step: int, split: str) -> bool:
            if split == _HPARAMS and hparams is not None:
                return False
            return entry_step < step or (entry_step == step and split not in rewritten_splits)

        self._lines = workdir / "metrics.jsonl"
        _truncate_lines(self._lines, is_kept)
        events = workdir / "tensorboard"
        _truncate_events(events, is_kept)
        self._events = EventFileWriter(str(events))
        if hparams is not None:
            self._add(0, list(hparams_pb(hparams).value))

    def write(self, step: int, split: str, values: dict[str, Any]) -> None:
        """Writes a line of JSON with all values, and each number as a TensorBoard scalar `split/name`.

        Metrics by position and by length have a scalar for each of them: `split/accuracy_by_position/1`.
        """
        if self._events is None:
            return
        line = json.dumps({"step": step, "split": split, **values})
        with self._lines.open("a") as file:
            file.write(line + "\n")
        scalars = [
            summary_pb2.Summary.Value(tag=f"{split}/{name}", simple_value=value)
            for name, value in _flat(values).items()
        ]
        self._add(step, scalars)

    def write_image(self, step: int, tag: str, image: Image.Image) -> None:
        """Writes an image to TensorBoard, as the smaller one of a PNG and a JPEG file."""
        encoded = summary_pb2.Summary.Image(
            height=image.height,
            width=image.width,
            colorspace=3,
            encoded_image_string=min(png(image), jpeg(image), key=len),
        )
        self._add(step, [summary_pb2.Summary.Value(tag=tag, image=encoded)])

    def flush(self) -> None:
        """Writes all buffered TensorBoard events to disk."""
        if self._events is not None:
            self._events.flush()

    def close(self) -> None:
        """Writes all buffered events and closes the event file."""
        if self._events is not None:
            self._events.close()

    def _add(self, step: int, values: list[summary_pb2.Summary.Value]) -> None:
        if self._events is not None:
            summary = summary_pb2.Summary(value=values)
            self._events.add_event(event_pb2.Event(wall_time=time.time(), step=step, summary=summary))


def _flat(values: dict[str, Any]) -> dict[str, float]:
    """Returns the numbers of metrics by name.

    >>> _flat({"loss": 2.5, "iou": None, "accuracy_by_position": [0.5, 1.0], "accuracy_by_length": {"2": 0.5}, "confusion": [[1]]})
    {'loss': 2.5, 'accuracy_by_position/1': 0.5, 'accuracy_by_position/2': 1.0, 'accuracy_by_length/2': 0.5}
    """
    flat = {}
    for name, value in values.items():
        parts = {name: value}
        if name == "accuracy_by_position":
            parts = {f"{name}/{i}": share for i, share in enumerate(value, 1)}
        elif name == "accuracy_by_length":
            parts = {f"{name}/{length}": share for length, share in value.items()}
        flat.update({key: part for key, part in parts.items() if isinstance(part, int | float)})
    return flat


def _truncate_lines(path: Path, is_kept: Callable[[int, str], bool]) -> None:
    """Keeps only lines whose step and split satisfy `is_kept`; drops a last line that a crash cut short."""
    if not path.exists():
        return
    kept, damaged = [], []
    lines = path.read_bytes().split(b"\n")
    for number, line in enumerate(lines, 1):
        try:
            values = json.loads(line)
            if is_kept(values["step"], values["split"]):
                kept.append(line + b"\n")
        except (ValueError, LookupError, TypeError, RecursionError):
            if line or number < len(lines):  # nothing follows the last line break
                damaged.append(number)
    if damaged:
        _keep_damaged(path, f"{len(damaged)} of its lines cannot be read, the first one is line {damaged[0]}")
    write_atomically(path, b"".join(kept))


def _truncate_events(folder: Path, is_kept: Callable[[int, str], bool]) -> None:
    """Keeps only events whose step and split satisfy `is_kept`, in each event file."""
    for path in sorted(folder.glob("events.out.tfevents.*")):
        partial = _unread_name(path, "partial")
        read = 0
        with partial.open("wb") as out:
            writer = RecordWriter(out)
            for record in RawEventFileLoader(str(path)).Load():  # ends at the first record whose checksum differs
                event = event_pb2.Event.FromString(record)
                split = event.summary.value[0].tag.split("/")[0] if event.summary.value else ""
                if is_kept(event.step, split):
                    writer.write(record)
                read += len(record) + _RECORD_FRAME
        size = path.stat().st_size
        if read < size:
            _keep_damaged(
                path, f"it cannot be read from byte {read:,} of {size:,} on; metrics.jsonl has the same values"
            )
        os.replace(partial, path)


_RECORD_FRAME = 16
"""Bytes of a record of an event file besides its content: the length and two checksums."""


def _keep_damaged(path: Path, reason: str) -> None:
    """Copies a damaged log file and prints why."""
    copy = _unread_name(path, "damaged")
    shutil.copyfile(path, copy)
    print(f"{path} is damaged or cut short: {reason}. What can be read is kept; the old file is now {copy}", flush=True)


def _unread_name(path: Path, state: str) -> Path:
    """Returns a path in the same folder, with a name that TensorBoard does not read."""
    return path.with_name(f"{state}-{path.name.replace('tfevents', 'tf-events')}")
