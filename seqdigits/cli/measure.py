"""Measures the Reader on a folder of labeled pictures: `python -m seqdigits measure FOLDER`.

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
from seqdigits.config.flags import prepare_jax
from seqdigits.core import provenance
from seqdigits.core.arguments import parse_arguments
from seqdigits.core.errors import UserError
from seqdigits.core.files import make_folder
from seqdigits.core.interrupt import Stop
from seqdigits.data.photos import labeled_pictures, labels
from seqdigits.data.photos.labeled_pictures import LabeledPicture
from seqdigits.evaluation import stages
from seqdigits.evaluation.answer_files import write_files
from seqdigits.evaluation.answers import Answer
from seqdigits.evaluation.pictures import Engine, choose, measure_pictures, score_folders
from seqdigits.evaluation.score_table import score_tables
from seqdigits.inference.reader import Reader, Result

USAGE = """python -m seqdigits measure FOLDER [--weights NAME | --workdir W] [--out DIR] [--min-confidence P] [--limit N]
       [--only SUBFOLDER ...] [--resize 1024x768] [--stages [--boxes FILE]]"""
_LISTED = 20
"""Maximum number of unreadable pictures listed in a message."""


def main(stop: Stop) -> None:
    """Runs `seqdigits measure`."""
    from absl import flags

    values = flags.FlagValues()
    values.set_gnu_getopt(True)  # flags may follow the folder
    flags.DEFINE_string(
        "weights", None, f"the name of pretrained weights (default {pretrained.DEFAULT})", flag_values=values
    )
    flags.DEFINE_string("workdir", None, "the folder of a run, in place of pretrained weights", flag_values=values)
    flags.DEFINE_string(
        "out", "runs/measure", "the folder of answers.json, reliability.svg and wrong.jpg", flag_values=values
    )
    flags.DEFINE_float(
        "min-confidence", 0.8, "threshold at which precision and false answers are printed, 0 to 1", flag_values=values
    )
    flags.DEFINE_integer(
        "limit", None, "number of pictures of each subfolder, the first ones", lower_bound=1, flag_values=values
    )
    flags.DEFINE_multi_string("only", [], "only this subfolder of FOLDER; repeatable", flag_values=values)
    flags.DEFINE_string(
        "resize", None, "WIDTHxHEIGHT in pixels: resizes each picture first, to compare times", flag_values=values
    )
    flags.DEFINE_boolean(
        "stages", False, "prints at which stage of reading numbers are lost, and writes nothing", flag_values=values
    )
    flags.DEFINE_string(
        "boxes", None, "for --stages: JSON with true boxes, see evaluation/stages.py: read_boxes", flag_values=values
    )
    flags.DEFINE_boolean("help", False, "this text", short_name="h", flag_values=values)
    arguments = parse_arguments(values, USAGE, f"{values.get_help()}\n\n{labeled_pictures.__doc__}")
    if not arguments:
        raise UserError(f"FOLDER is missing. usage: {USAGE}")
    if len(arguments) > 1:
        raise UserError(f"{' '.join(arguments[1:])!r} is not understood. usage: {USAGE}")
    folder, out, min_confidence = Path(arguments[0]), Path(values["out"].value), values["min-confidence"].value
    if not 0 <= min_confidence <= 1:
        raise UserError(f"--min-confidence = {min_confidence} is out of range: 0 to 1.")
    name, workdir = values["weights"].value, values["workdir"].value
    if name and workdir:
        raise UserError(f"--weights {name} and --workdir {workdir}: allowed is one of them.")
    if values["boxes"].value and not values["stages"].value:
        raise UserError("--boxes is used by --stages only. Add --stages.")
    if values["resize"].value and values["stages"].value:
        raise UserError("--resize is not used by --stages, which measures no time. Leave it out.")
    all_rows = labeled_pictures.labeled_pictures(folder)
    rows, uncertain = choose(folder, all_rows, values["only"].value, values["limit"].value)
    if uncertain:
        pictures = (
            "1 picture with an uncertain label is" if uncertain == 1 else f"{uncertain:,} with an uncertain label are"
        )
        print(f"{folder}: {pictures} left out", flush=True)
    size = parse_size(values["resize"].value)
    boxes = stages.read_boxes(Path(values["boxes"].value)) if values["boxes"].value else {}
    if not values["stages"].value:
        make_folder(out, "--out")
    prepare_jax()
    reader = Reader.from_workdir(workdir) if workdir else Reader.from_pretrained(name or pretrained.DEFAULT)
    if values["stages"].value:
        print(stages.stages_table(stages.measure_stages(folder, rows, reader, boxes, stop)), flush=True)
        return
    about = {
        "engine": {"workdir": workdir} if workdir else {"weights": name or pretrained.DEFAULT},
        "folder": str(folder),
        "only": values["only"].value,
        "limit": values["limit"].value,
        "resize": values["resize"].value,
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
    return int(found[1]), int(found[2])


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
