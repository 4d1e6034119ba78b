"""What a run writes down: `W/metrics.jsonl`, TensorBoard events, lines on the console."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from PIL import Image
from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
from tensorboard.compat.proto import event_pb2, summary_pb2
from tensorboard.summary.writer.event_file_writer import EventFileWriter
from tensorboard.summary.writer.record_writer import RecordWriter

from seqdigits.core.files import write_atomically
from seqdigits.visualization.predictions import png

# TensorBoard would load TensorFlow where there is one, 5 seconds for nothing: a module of this name says that it shall not.
sys.modules.setdefault("tensorboard.compat.notf", ModuleType("tensorboard.compat.notf"))


class Writers:
    """The logs of one run, opened at a step: everything behind it is cut off, so that a run that was stopped and goes on
    leaves no curl in its curves.

    `again`: a split whose lines of that very step are cut too, for they will be written again.
    """

    def __init__(self, workdir: Path, step: int, again: str | None = None):
        def stays(of_step: int, split: str) -> bool:
            return of_step < step or (of_step == step and split != again)

        self._lines = workdir / "metrics.jsonl"
        _cut_lines(self._lines, stays)
        events = workdir / "tensorboard"
        _cut_events(events, stays)
        self._events = EventFileWriter(str(events))

    def write(self, step: int, split: str, values: dict[str, Any]) -> None:
        """One line of JSON with all values, and one TensorBoard scalar `split/name` for each that is a number."""
        line = json.dumps({"step": step, "split": split, **values})
        with self._lines.open("a") as file:
            file.write(line + "\n")
        scalars = [
            summary_pb2.Summary.Value(tag=f"{split}/{name}", simple_value=value)
            for name, value in values.items()
            if isinstance(value, int | float)
        ]
        self._add(step, scalars)

    def picture(self, step: int, tag: str, image: Image.Image) -> None:
        """One TensorBoard picture."""
        encoded = summary_pb2.Summary.Image(
            height=image.height, width=image.width, colorspace=3, encoded_image_string=png(image)
        )
        self._add(step, [summary_pb2.Summary.Value(tag=tag, image=encoded)])

    def flush(self) -> None:
        """Everything written so far is on disk."""
        self._events.flush()

    def close(self) -> None:
        self._events.close()

    def _add(self, step: int, values: list[summary_pb2.Summary.Value]) -> None:
        summary = summary_pb2.Summary(value=values)
        self._events.add_event(event_pb2.Event(wall_time=time.time(), step=step, summary=summary))


def _cut_lines(path: Path, stays: Callable[[int, str], bool]) -> None:
    """Keeps the lines that stay, by step and split. A last line that a crash cut short goes too."""
    if not path.exists():
        return
    kept = []
    for line in path.read_text().splitlines():
        try:
            values = json.loads(line)
            if stays(values["step"], values["split"]):
                kept.append(line + "\n")
        except (ValueError, KeyError, TypeError):
            continue
    write_atomically(path, "".join(kept))


def _cut_events(folder: Path, stays: Callable[[int, str], bool]) -> None:
    """Keeps the events that stay, by step and split, in each event file."""
    for path in sorted(folder.glob("events.out.tfevents.*")):
        partial = path.with_name(path.name.replace("events.out", "partial"))  # a name that TensorBoard does not read
        with partial.open("wb") as out:
            writer = RecordWriter(out)
            for record in RawEventFileLoader(str(path)).Load():
                event = event_pb2.Event.FromString(record)
                split = event.summary.value[0].tag.split("/")[0] if event.summary.value else ""
                if stays(event.step, split):
                    writer.write(record)
        os.replace(partial, path)
