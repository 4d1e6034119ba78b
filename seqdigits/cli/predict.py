"""Reads the numbers in pictures: `seqdigits predict IMAGE...`.

IMAGE is
  a file of any format that Pillow reads; of an animation, the first frame is read;
  a folder: the pictures in it, by the end of their name, but not those in its subfolders;
  a pattern in quotes, such as 'photos/**/*.jpg', where ** is any depth of folders;
  - for one picture on standard input.

Standard output has answers only, one line for each picture, as soon as it is read:

--format text: the number; an empty line where there is none; with --all, all numbers, separated by spaces. Unless one
  file is named alone, the path and a tab precede it. Control characters of a path, such as a line break, are escaped.
--format json: an object with
  path: as given.
  number: the digits of the best number in reading order, a string; null where there is none.
  confidence: that all of them are right, 0 to 1; 0 where there is none.
  box: of the number, [left, top, width, height] in pixels of the upright picture as viewers show it (EXIF orientation
    applied); null where there is none.
  digits: of the number, each with digit, confidence and box.
  numbers: with --all, all numbers, best first, each with number, confidence, box and digits.
--format csv: a header, then path, number, confidence, left, top, width, height; with --all, a line for each number.

A file that cannot be read has no line; its error is printed on standard error, and the other pictures are read. A picture of
more than 179 million pixels is refused; one of more than 32 million is reduced before it is read.

Exit status: 0 success, 1 files that cannot be read or drawings that cannot be written, 2 a user error, 75 or 130 stopped by a
signal (docs/running.md), 141 the program that reads the output has ended.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

from PIL import Image

from seqdigits.checkpoint import pretrained
from seqdigits.core.arguments import CommandParser
from seqdigits.core.errors import UserError
from seqdigits.core.files import FULL_DISK_ERRORS, make_folder
from seqdigits.core.interrupt import Stop, Stopped
from seqdigits.core.progress import progress
from seqdigits.data.photos.picture_files import STDIN, find_pictures, open_reduced
from seqdigits.inference.answer_lines import CSV_HEADER, csv_lines, json_line, one_line, text_line
from seqdigits.inference.drawings import drawing_files, write_drawing
from seqdigits.inference.reader import Reader, Result

USAGE = """seqdigits predict IMAGE... [--weights NAME | --workdir W] [--format text|json|csv | --json] [--save-to DIR]
       [--min-confidence P] [--all]"""
FORMATS = ("text", "json", "csv")

MAX_STDIN_BYTES = 256_000_000
"""More bytes on standard input are refused."""


def command_line() -> CommandParser:
    """Returns the parser of the command line."""
    parser = CommandParser(USAGE, __doc__)
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="a file, a folder, a pattern in quotes, or -")
    parser.add_argument(
        "--weights", metavar="NAME", help=f"the name of pretrained weights (default {pretrained.DEFAULT})"
    )
    parser.add_argument("--workdir", metavar="W", help="the folder of a run, in place of pretrained weights")
    parser.add_argument("--format", choices=FORMATS, help="of the answers (default text)")
    parser.add_argument("--json", action="store_true", help="short for --format json")
    parser.add_argument(
        "--save-to",
        type=Path,
        metavar="DIR",
        help="a folder in which each picture is saved with the boxes drawn, under its name and .png",
    )
    parser.add_argument(
        "--min-confidence",
        type=float,
        default=0.0,
        metavar="P",
        help="numbers with a lower confidence are left out, 0 to 1 (default %(default)g)",
    )
    parser.add_argument("--all", action="store_true", help="all numbers of each picture, not only the best one")
    return parser


def main(stop: Stop) -> None:
    """Runs `seqdigits predict`."""
    values = command_line().parse_command_line()
    name, workdir = values.weights, values.workdir
    if name and workdir:
        raise UserError(f"--weights {name} and --workdir {workdir}: allowed is one of them.")
    if values.json and values.format not in (None, "json"):
        raise UserError(f"--json and --format {values.format}: allowed is one of them.")
    if not 0 <= values.min_confidence <= 1:
        raise UserError(f"--min-confidence = {values.min_confidence} is out of range: 0 to 1.")
    files, problems = find_pictures(values.images)
    drawings: list[Path] = []
    if values.save_to:
        make_folder(values.save_to, "--save-to")
        drawings = drawing_files(files, values.save_to)
    for problem in problems:
        _print_error(problem)
    if not files:
        sys.exit(1)
    if workdir:
        from seqdigits.core.jax_settings import prepare_jax  # imports JAX, which pretrained weights do not need

        prepare_jax()
    warnings.filterwarnings("ignore", module=r"PIL\.")  # large pictures and damaged metadata are no errors
    logging.getLogger("PIL").setLevel(logging.CRITICAL)  # it logs some errors that it raises too
    with contextlib.redirect_stdout(sys.stderr):  # loading may print messages, of a damaged checkpoint for example
        reader = Reader.from_workdir(workdir) if workdir else Reader.from_pretrained(name or pretrained.DEFAULT)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="surrogateescape")  # a path need not be valid UTF-8
    alone = files == values.images and len(files) == 1
    answer_format = "json" if values.json else values.format or "text"
    if answer_format == "csv":
        print(CSV_HEADER, flush=True)

    def answer(file: str, result: Result) -> str:
        if answer_format == "json":
            return json_line(file, result, values.all)
        if answer_format == "csv":
            return csv_lines(file, result)
        return text_line(None if alone else file, result)

    failed = predict(
        reader,
        files,
        answer,
        stop,
        all_numbers=values.all,
        min_confidence=values.min_confidence,
        drawings=drawings,
    )
    if failed or problems:
        sys.exit(1)


def predict(
    reader: Reader,
    files: Sequence[str],
    answer: Callable[[str, Result], str],
    stop: Stop,
    *,
    all_numbers: bool = False,
    min_confidence: float = 0.0,
    drawings: Sequence[Path] = (),
) -> int:
    """Reads pictures and prints an answer for each; errors and progress go to standard error.

    Args:
      reader: reads the pictures.
      files: are read one at a time; STDIN is standard input.
      answer: returns the lines of an answer, given the file and what is read.
      stop: is polled before each picture.
      all_numbers: whether an answer has all numbers, not only the best one.
      min_confidence: numbers with a lower confidence are left out, 0 to 1.
      drawings: files of the pictures with boxes, one for each of `files`; or none.

    Returns:
      The number of files that cannot be read, or whose drawing cannot be written.

    Raises:
      Stopped: `stop` was set.
    """
    failed = 0
    for i in progress(iter(range(len(files))), len(files), "pictures", "predict", file=sys.stderr):
        if stop.is_set():
            raise Stopped
        try:
            picture, factor = _open(files[i])
            found = reader.read(picture)
        except UserError as e:
            _print_error(str(e))
            failed += 1
            continue
        numbers = [number for number in found.numbers if number.confidence >= min_confidence]
        result = Result(tuple(numbers if all_numbers else numbers[:1]))
        print(answer(files[i], result.scaled(factor)), flush=True)
        if drawings:
            try:
                write_drawing(picture, result, drawings[i])
            except OSError as e:
                if e.errno in FULL_DISK_ERRORS:
                    raise
                _print_error(f"{drawings[i]} cannot be written: {e.strerror}")
                failed += 1
    return failed


def _open(file: str) -> tuple[Image.Image, int]:
    """Opens a file, or standard input; see `open_reduced`."""
    if file != STDIN:
        if os.path.exists(file) and not os.path.isfile(file):
            raise UserError(f"{file} is a pipe or a device. To read a picture from a pipe, use: seqdigits predict -")
        return open_reduced(file)
    with tempfile.NamedTemporaryFile() as copy:  # on disk, because the file is read more than once
        _copy_stdin(copy.file)
        try:
            return open_reduced(copy.name)
        except UserError as e:
            raise UserError(str(e).replace(copy.name, "standard input")) from e


def _copy_stdin(copy: IO[bytes]) -> None:
    """Copies standard input to a file.

    Raises:
      UserError: it is closed, empty, or too large, or cannot be read.
      OSError: the file cannot be written.
    """

    def read() -> bytes:
        try:
            return sys.stdin.buffer.read(1_000_000)
        except OSError as e:
            raise UserError(f"standard input cannot be read: {e.strerror}") from e

    if sys.stdin is None:
        raise UserError("standard input is closed. Pipe one picture into it.")
    copied = 0
    while chunk := read():
        copied += len(chunk)
        if copied > MAX_STDIN_BYTES:
            raise UserError(f"standard input has more than the {MAX_STDIN_BYTES:,} bytes allowed. Name a file.")
        copy.write(chunk)
    if not copied:
        raise UserError("standard input is empty. Pipe one picture into it.")
    copy.flush()


def _print_error(message: str) -> None:
    print(f"error: {one_line(message)}", file=sys.stderr, flush=True)
