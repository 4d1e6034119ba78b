"""Reads the numbers in pictures: `seqdigits predict IMAGE...`.

Standard output has answers only, one line for each picture, as soon as it is read:

--format text: the number; an empty line where there is none. With several pictures, the path and a tab precede it.
--format json: an object with
  path: as given.
  number: the digits of the best number in reading order, a string; null where there is none.
  confidence: that all of them are right, 0 to 1; 0 where there is none.
  box: of the number, [left, top, width, height] in pixels of the upright picture as viewers show it (EXIF orientation
    applied); null where there is none.

IMAGE is a file of any format that Pillow reads. Of an animation, the first frame is read. A file that cannot be read
has no line; its error is printed on standard error, and the other pictures are read.

Exit status: 0 success, 1 files that cannot be read, 2 a user error, 75 or 130 stopped by a signal (docs/running.md), 141 the program
that reads the output has ended.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
import warnings
from collections.abc import Sequence

from PIL import Image

from seqdigits.checkpoint import pretrained
from seqdigits.core.arguments import CommandParser
from seqdigits.core.errors import UserError
from seqdigits.core.interrupt import Stop, Stopped
from seqdigits.core.progress import progress
from seqdigits.inference.reader import Reader, Result

USAGE = "seqdigits predict IMAGE... [--weights NAME | --workdir W] [--format text|json] [--json]"
FORMATS = ("text", "json")


def command_line() -> CommandParser:
    """Returns the parser of the command line."""
    parser = CommandParser(USAGE, __doc__)
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="a file with a picture")
    parser.add_argument(
        "--weights", metavar="NAME", help=f"the name of pretrained weights (default {pretrained.DEFAULT})"
    )
    parser.add_argument("--workdir", metavar="W", help="the folder of a run, in place of pretrained weights")
    parser.add_argument("--format", choices=FORMATS, default="text", help="of the answers (default text)")
    parser.add_argument("--json", action="store_true", help="short for --format json")
    return parser


def main(stop: Stop) -> None:
    """Runs `seqdigits predict`."""
    values = command_line().parse_command_line()
    name, workdir = values.weights, values.workdir
    if name and workdir:
        raise UserError(f"--weights {name} and --workdir {workdir}: allowed is one of them.")
    if workdir:
        from seqdigits.config.flags import prepare_jax  # imports JAX, which pretrained weights do not need

        prepare_jax()
    warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # twice as many pixels are an error
    with contextlib.redirect_stdout(sys.stderr):  # loading may print messages, of a damaged checkpoint for example
        reader = Reader.from_workdir(workdir) if workdir else Reader.from_pretrained(name or pretrained.DEFAULT)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="surrogateescape")  # a path need not be valid UTF-8
    if predict(reader, values.images, "json" if values.json else values.format, stop):
        sys.exit(1)


def predict(reader: Reader, paths: Sequence[str], answer_format: str, stop: Stop) -> int:
    """Reads pictures and prints an answer for each; errors and progress go to standard error.

    Args:
      reader: reads the pictures.
      paths: the files, read one at a time.
      answer_format: one of FORMATS.
      stop: is polled before each picture.

    Returns:
      The number of files that cannot be read.

    Raises:
      Stopped: `stop` was set.
    """
    unreadable = 0
    for path in progress(iter(paths), len(paths), "pictures", "predict", file=sys.stderr):
        if stop.is_set():
            raise Stopped
        try:
            result = reader.read(path)
        except UserError as e:
            print(f"error: {e}", file=sys.stderr, flush=True)
            unreadable += 1
            continue
        if answer_format == "json":
            print(_json(path, result), flush=True)
        else:
            print(f"{path}\t" if len(paths) > 1 else "", result.number or "", sep="", flush=True)
    return unreadable


def _json(path: str, result: Result) -> str:
    answer = {
        "path": path,
        "number": result.number,
        "confidence": round(float(result.confidence), 4),
        "box": None if result.box is None else [round(float(value), 1) for value in result.box],
    }
    return json.dumps(answer)
