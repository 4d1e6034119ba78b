"""Where the Reader loses numbers: in finding them, in reading them, or in choosing among those it has read."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from seqdigits.core.console import render_table
from seqdigits.core.errors import UserError
from seqdigits.core.interrupt import Stop, Stopped
from seqdigits.core.progress import progress
from seqdigits.data.photos.labeled_pictures import LabeledPicture
from seqdigits.data.photos.picture_files import open_picture
from seqdigits.inference.reader import Reader
from seqdigits.inference.reading import Place, Reading, choose, make_reading, shared_area


class Stages(NamedTuple):
    """At which stages one number is right.

    Attributes:
      covered: a reading of one of the best places of the overview has an IoU above 0.5 with the true box; None without true
        boxes.
      in_overview: a level of the overview reads it, in one of the best places.
      in_true_cut: it is what the cuts of the true box agree on; None without true boxes.
      in_cuts: it is what the readings of one of the best places agree on, after the cuts.
      read: it is the answer.
    """

    covered: bool | None
    in_overview: bool
    in_true_cut: bool | None
    in_cuts: bool
    read: bool


def read_boxes(file: Path) -> dict[str, np.ndarray]:
    """Reads boxes of digits: JSON, a list of {"filename": NAME, "boxes": [{"left", "top", "width", "height"}, ..]}.

    Returns:
      f64 [n, 4], cxcywh in pixels, by file name without folders.

    Raises:
      UserError: the file cannot be read, or has another content.
    """
    try:
        boxes = {
            Path(row["filename"]).name: np.array(
                [
                    (b["left"] + b["width"] / 2, b["top"] + b["height"] / 2, b["width"], b["height"])
                    for b in row["boxes"]
                ],
                np.float64,
            ).reshape(-1, 4)
            for row in json.loads(file.read_text())
        }
        for name, box in boxes.items():
            if not len(box) or not np.isfinite(box).all() or not (box[:, 2:] > 0).all():
                raise ValueError(f"{name} has no box, or one without a size")
        return boxes
    except (OSError, ValueError, KeyError, TypeError) as e:
        raise UserError(
            f"--boxes {file} cannot be read: {e!r}. Allowed is JSON: a list of filename and boxes, each with left, top, width "
            "and height in pixels."
        ) from e


def measure_stages(
    folder: Path, rows: Sequence[LabeledPicture], reader: Reader, boxes: Mapping[str, np.ndarray], stop: Stop
) -> dict[str, list[Stages]]:
    """Returns the stages of each picture with a number, by subfolder.

    Args:
      folder: named in the lines of progress.
      rows: the labeled pictures.
      reader: the Reader.
      boxes: true boxes of digits by file name, for rows without boxes.
      stop: is polled before each picture.

    Raises:
      UserError: a picture cannot be read.
      Stopped: `stop` was set.
    """
    result: dict[str, list[Stages]] = {}
    for row in progress(iter(rows), len(rows), "pictures", folder):
        if stop.is_set():
            raise Stopped
        if row.number:
            true_boxes = boxes.get(row.path.name) if row.boxes is None else row.boxes.astype(np.float64)
            result.setdefault(row.group, []).append(_stages(open_picture(row.path), row.number, true_boxes, reader))
    return result


def _stages(picture: Image.Image, number: str, true_boxes: np.ndarray | None, reader: Reader) -> Stages:
    found = reader.find(picture)
    read = [choose(place, max(picture.size)).reading.text for place in reader.read_places(picture, found)]
    covered = in_true_cut = None
    if true_boxes is not None:
        truth = make_reading(true_boxes, np.ones((len(true_boxes), 10)))
        covered = any(_iou(truth, r) > 0.5 for place in found for r in place.readings)
        silent = truth._replace(text="", digit_confidence=np.zeros(1))  # its vote is 0
        (cut,) = reader.read_places(picture, [Place(silent, (silent,), views=1)])
        in_true_cut = choose(cut, max(picture.size)).reading.text == number
    in_overview = any(r.text == number for place in found for r in place.readings)
    return Stages(covered, in_overview, in_true_cut, number in read, reader.read(picture).number == number)


def _iou(a: Reading, b: Reading) -> float:
    """Returns the IoU of the boxes of two numbers."""
    areas = [(right - left) * (bottom - top) for left, top, right, bottom in (a.edges, b.edges)]
    intersection = shared_area(a, b) * min(areas)
    return intersection / (sum(areas) - intersection)


def stages_table(stages: Mapping[str, Sequence[Stages]]) -> str:
    """Returns the shares of numbers that are right at each stage, as text for standard output."""

    def share(values: Sequence[Any]) -> str:
        known = [value for value in values if value is not None]
        return f"{np.mean(known):.3f}" if known else "-"

    columns = ("folder", "numbers", "covered", "in overview", "in true cut", "after cuts", "read")
    return render_table(
        columns,
        (
            (name, f"{len(found):,}", *(share(values) for values in zip(*found, strict=True)))
            for name, found in stages.items()
        ),
    )
