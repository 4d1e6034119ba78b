"""Measures the Reader on a folder of labeled pictures: `seqdigits measure FOLDER`.

Exit status: 0 success, 2 a user error or pictures that cannot be read, 75 or 130 stopped by a signal (docs/running.md).
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
from PIL import Image

from seqdigits.checkpoint import pretrained
from seqdigits.core import provenance
from seqdigits.core.arguments import CommandParser, integer_from
from seqdigits.core.errors import UserError
from seqdigits.core.files import make_folder
from seqdigits.core.interrupt import Stop
from seqdigits.core.jax_settings import prepare_jax
from seqdigits.data.photos import labeled_pictures, labels
from seqdigits.data.photos.labeled_pictures import LabeledPicture
from seqdigits.data.photos.picture_files import MAX_PIXELS
from seqdigits.evaluation import stages
from seqdigits.evaluation.answer_files import write_files
from seqdigits.evaluation.answers import Answer
from seqdigits.evaluation.pictures import Engine, choose, measure_pictures, score_folders
from seqdigits.evaluation.score_table import score_tables
from seqdigits.inference.reader import Reader, Result

USAGE = """seqdigits measure FOLDER [--weights NAME | --workdir W] [--out DIR] [--min-confidence P] [--limit N]
       [--only SUBFOLDER ...] [--resize 1024x768] [--stages [--boxes FILE]]"""
_LISTED = 20
"""Maximum number of unreadable pictures listed in a message."""


def command_line() -> CommandParser:
    """Returns the parser of the command line."""
    parser = CommandParser(USAGE, __doc__, labeled_pictures.__doc__)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="of the labeled pictures")
    parser.add_argument(
        "--weights", metavar="NAME", help=f"the name of pretrained weights (default {pretrained.DEFAULT})"
    )
    parser.add_argument("--workdir", metavar="W", help="the folder of a run, in place of pretrained weights")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("runs/measure"),
        metavar="DIR",
        help="the folder of answers.json, reliability.svg and wrong.jpg (default %(default)s)",
    )
    parser.add_argument(
        "--min-confidence",
        type=float,
        default=0.8,
        metavar="P",
        help="threshold at which precision and false answers are printed, 0 to 1 (default 0.8)",
    )
    parser.add_argument(
        "--limit", type=integer_from(1), metavar="N", help="number of pictures of each subfolder, the first ones"
    )
    parser.add_argument(
        "--only", action="append", default=[], metavar="SUBFOLDER", help="only this subfolder of FOLDER; repeatable"
    )
    parser.add_argument(
        "--resize", metavar="WIDTHxHEIGHT", help="in pixels: resizes each picture first, to compare times"
    )
    parser.add_argument(
        "--stages", action="store_true", help="prints at which stage of reading numbers are lost, and writes nothing"
    )
    parser.add_argument(
        "--boxes",
        type=Path,
        metavar="FILE",
        help="for --stages: JSON with true boxes, see evaluation/stages.py: read_boxes",
    )
    return parser


def main(stop: Stop) -> None:
    """Runs `seqdigits measure`."""
    values = command_line().parse_command_line()
    folder, out, min_confidence = values.folder, values.out, values.min_confidence
    if not 0 <= min_confidence <= 1:
        raise UserError(f"--min-confidence = {min_confidence} is out of range: 0 to 1.")
    name, workdir = values.weights, values.workdir
    if name and workdir:
        raise UserError(f"--weights {name} and --workdir {workdir}: allowed is one of them.")
    if values.boxes and not values.stages:
        raise UserError("--boxes is used by --stages only. Add --stages.")
    if values.resize and values.stages:
        raise UserError("--resize is not used by --stages, which measures no time. Leave it out.")
    all_rows = labeled_pictures.labeled_pictures(folder)
    rows, uncertain = choose(folder, all_rows, values.only, values.limit)
    if uncertain:
        pictures = (
            "1 picture with an uncertain label is" if uncertain == 1 else f"{uncertain:,} with an uncertain label are"
        )
        print(f"{folder}: {pictures} left out", flush=True)
    size = parse_size(values.resize)
    boxes = stages.read_boxes(values.boxes) if values.boxes else {}
    if not values.stages:
        make_folder(out, "--out")
    prepare_jax()
    reader = Reader.from_workdir(workdir) if workdir else Reader.from_pretrained(name or pretrained.DEFAULT)
    if values.stages:
        print(stages.stages_table(stages.measure_stages(folder, rows, reader, boxes, stop)), flush=True)
        return
    about = {
        "engine": {"workdir": workdir} if workdir else {"weights": name or pretrained.DEFAULT},
        "folder": str(folder),
        "only": values.only,
        "limit": values.limit,
        "resize": values.resize,
        "min_confidence": min_confidence,
        "uncertain": uncertain,
        "provenance": provenance.describe(),
    }
    engine = reader_engine(reader)
    measure(folder, rows, at_size(engine, size) if size else engine, out, min_confidence, about, stop)


def parse_size(text: str | None) -> tuple[int, int] | None:
    """Parses WIDTHxHEIGHT.

    Raises:
      UserError: it is something else.

    >>> parse_size("1024x768"), parse_size(None)
    ((1024, 768), None)
    """
    if text is None:
        return None
    found = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", text)
    if not found:
        raise UserError(f"--resize {text}: allowed is WIDTHxHEIGHT in pixels, such as 1024x768.")
    width, height = int(found[1]), int(found[2])
    if width * height > MAX_PIXELS:
        raise UserError(f"--resize {text}: at most {MAX_PIXELS:,} pixels are allowed.")
    return width, height


def at_size(engine: Engine, size: tuple[int, int]) -> Engine:
    """Returns an engine that resizes each picture to `size` (width, height) before `engine` sees it."""

    def answer(picture: Image.Image) -> Answer:
        found = engine(picture.resize(size))
        if found.box is None:
            return found
        x, y = picture.width / size[0], picture.height / size[1]
        left, top, width, height = found.box
        return found._replace(box=(left * x, top * y, width * x, height * y))

    return answer


def reader_engine(reader: Reader) -> Engine:
    """Returns the engine that reads with a Reader. If JAX compiles, as at the first picture of a size, it reads again."""
    compiled = 0

    def count(event: str, duration_secs: float, **_: Any) -> None:
        del duration_secs
        nonlocal compiled
        compiled += event.startswith("/jax/core/compile/")

    jax.monitoring.register_event_duration_secs_listener(count)

    def timed(picture: Image.Image) -> tuple[Result, float]:
        began = time.perf_counter()
        found = reader.read(picture)
        return found, (time.perf_counter() - began) * 1000

    def answer(picture: Image.Image) -> Answer:
        before = compiled
        found, milliseconds = timed(picture)
        if compiled > before:
            found, milliseconds = timed(picture)
        numbers = tuple(number.number for number in found.numbers)
        return Answer(found.number, found.confidence, milliseconds, numbers, found.box)

    return answer


def measure(
    folder: Path,
    rows: Sequence[LabeledPicture],
    engine: Engine,
    out: Path,
    min_confidence: float,
    about: dict[str, Any],
    stop: Stop,
) -> None:
    """Measures an engine, prints the tables, and writes the files of evaluation/answer_files.py.

    Args:
      folder: of the labeled pictures.
      rows: what to measure.
      engine: what is measured.
      out: an existing folder.
      min_confidence: see `score.score`.
      about: see `answer_files.write_files`.
      stop: is polled before each picture.

    Raises:
      UserError: pictures could not be read, after the others are measured; or a file cannot be written.
      Stopped: `stop` was set; nothing is written.
    """
    measured = measure_pictures(folder, rows, engine, stop)
    if measured.pictures:
        scores = score_folders(measured, min_confidence)
        files = write_files(out, measured, scores, about)
        print(f"{score_tables(scores, min_confidence)}\n")
        print("\n".join(str(file) for file in files), flush=True)
    if measured.unreadable:
        raise labels.refusal(folder, measured.unreadable, _LISTED)
