"""Measures an engine on labeled pictures: ours, or an off-the-shelf one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from seqdigits.core.errors import UserError
from seqdigits.core.interrupt import Stop, Stopped
from seqdigits.core.progress import progress
from seqdigits.data.photos import labels
from seqdigits.data.photos.labeled_pictures import LabeledPicture
from seqdigits.data.photos.picture_files import open_picture
from seqdigits.evaluation.answers import Answer
from seqdigits.evaluation.score import score

Engine = Callable[[Image.Image], Answer]
"""Answers to an upright picture in mode "RGB"."""


class Measured(NamedTuple):
    """The answers of an engine.

    Attributes:
      pictures: the rows whose picture was read, in file order.
      answers: to each of them.
      unreadable: the other rows, with what is wrong with the file.
    """

    pictures: list[LabeledPicture]
    answers: list[Answer]
    unreadable: list[labels.Problem]


def measure_pictures(folder: str | Path, rows: Sequence[LabeledPicture], engine: Engine, stop: Stop) -> Measured:
    """Measures an engine on the pictures, one at a time.

    Args:
      folder: named in the lines of progress.
      rows: the labeled pictures.
      engine: sees the picture only.
      stop: is polled before each picture.

    Raises:
      Stopped: `stop` was set.
    """
    measured = Measured([], [], [])
    for row in progress(iter(rows), len(rows), "pictures", folder):
        if stop.is_set():
            raise Stopped
        try:
            picture = open_picture(row.path)
        except UserError as e:
            measured.unreadable.append((row.line, str(e)))
            continue
        measured.pictures.append(row)
        measured.answers.append(engine(picture))
    return measured


def choose(
    folder: str | Path, rows: Sequence[LabeledPicture], only: Sequence[str], limit: int | None
) -> tuple[list[LabeledPicture], int]:
    """Chooses the rows to measure. Those with an uncertain label are left out.

    Args:
      folder: named in messages.
      rows: all rows.
      only: names of subfolders; empty = all.
      limit: number of pictures of each subfolder, the first ones; None = all.

    Returns:
      The rows in file order, and the number of uncertain ones in these subfolders.

    Raises:
      UserError: a subfolder is unknown, or nothing is left.
    """
    groups = {row.group for row in rows}
    for name in only:
        if name.rstrip("/") not in groups:
            raise UserError(
                f"--only {name}: {Path(folder) / labels.NAME} has no picture there. Allowed are {', '.join(sorted(groups))}."
            )
    names = {name.rstrip("/") for name in only} or groups
    found: dict[str, int] = {}
    chosen = []
    for row in rows:
        if row.group in names and not row.uncertain and (limit is None or found.get(row.group, 0) < limit):
            found[row.group] = found.get(row.group, 0) + 1
            chosen.append(row)
    if not chosen:
        raise UserError(
            f"{Path(folder) / labels.NAME} has no picture whose label is certain in {', '.join(sorted(names))}."
        )
    return chosen, sum(row.uncertain for row in rows if row.group in names)


def score_folders(measured: Measured, min_confidence: float) -> dict[str, Any]:
    """Returns the scores, see `score.score`: `folders`, by subfolder in order of appearance, and `all`."""

    def scored(group: str | None) -> dict[str, Any]:
        pairs = zip(measured.pictures, measured.answers, strict=True)
        chosen = [(row.number, answer) for row, answer in pairs if group in (None, row.group)]
        return score([truth for truth, _ in chosen], [answer for _, answer in chosen], min_confidence)

    groups = dict.fromkeys(row.group for row in measured.pictures)
    return {"folders": {group: scored(group) for group in groups}, "all": scored(None)}
