"""The files about the answers of an engine to labeled pictures."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

from seqdigits.core.errors import UserError
from seqdigits.core.files import write_atomically
from seqdigits.data.photos.picture_files import open_picture
from seqdigits.evaluation.pictures import Measured
from seqdigits.visualization.reliability import number_reliability
from seqdigits.visualization.wrong_answers import WrongAnswer, draw_sheet, thumbnail

ANSWERS, RELIABILITY, WRONG = "answers.json", "reliability.svg", "wrong.jpg"
MAX_WRONG = 60
"""Maximum number of pictures on the sheet of wrong answers."""


def write_files(out: Path, measured: Measured, scores: dict[str, Any], about: dict[str, Any]) -> list[Path]:
    """Writes the answers with their scores, the reliability diagram, and the sheet of wrong answers if there are any.

    Files of an earlier measurement are replaced, or deleted if they have no successor.

    Args:
      out: an existing folder.
      measured: the answers.
      scores: see `pictures.score_folders`.
      about: what else `answers.json` records: the engine, the settings, the provenance.

    Returns:
      The written files.

    Raises:
      UserError: a file cannot be written.
    """
    record = {
        **about,
        "unreadable": [problem for _, problem in measured.unreadable],
        "scores": scores,
        "answers": _answers(measured),
    }
    numbers = scores["all"]
    contents: dict[str, str | bytes | None] = {
        ANSWERS: json.dumps(record, indent=1),
        RELIABILITY: number_reliability(numbers["reliability"], numbers["calibration_error"]),
        WRONG: _sheet(measured),
    }
    try:
        for name, content in contents.items():
            if content is None:
                (out / name).unlink(missing_ok=True)
            else:
                write_atomically(out / name, content)
    except OSError as e:
        raise UserError(f"--out: {out} cannot be written: {e.strerror}. Name another folder.") from e
    return [out / name for name, content in contents.items() if content is not None]


def _answers(measured: Measured) -> list[dict[str, Any]]:
    return [
        {
            "path": row.name,
            "truth": row.number,
            "answer": answer.number,
            "confidence": answer.confidence,
            "box": answer.box,
            "numbers": answer.numbers,
            "milliseconds": round(answer.milliseconds, 2),
        }
        for row, answer in zip(measured.pictures, measured.answers, strict=True)
    ]


def _sheet(measured: Measured) -> bytes | None:
    """Returns a JPEG file of the wrong answers, the most confident first; None if there are none."""
    pairs = zip(measured.pictures, measured.answers, strict=True)
    wrong = [(row, answer) for row, answer in pairs if (answer.number or "") != row.number]
    wrong.sort(key=lambda pair: -pair[1].confidence)
    items = []
    for row, answer in wrong[:MAX_WRONG]:
        said = f"{answer.number}  {answer.confidence:.0%}" if answer.number else "nothing"
        truth = f"is {row.number}" if row.number else "has no number"
        items.append(
            thumbnail(WrongAnswer(open_picture(row.path), answer.box, said, f"{truth}  {row.path.name[-24:]}"))
        )
    if not items:
        return None
    buffer = io.BytesIO()
    draw_sheet(items).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()
