"""What a worker of an engine shares with the others: it reads paths on standard input and answers JSON lines.

A worker runs in the environment of its engine, so that this module imports nothing but NumPy and Pillow. Its first line
describes the engine; then comes one line per path, in order:

    {"version": "3.10.0", "settings": {...}, "weights_bytes": 31749509, "threads": 2, "load_seconds": 1.4}
    {"path": "a.png", "number": "352", "confidence": 0.98, "numbers": ["352", "7"], "milliseconds": 151.2,
     "repeated": false}

A file that is no picture is answered by {"path", "unreadable": reason}. An engine that is not installed answers
{"missing": reason} instead of its description, and ends.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

BEGAN = time.perf_counter()

WARM_UP_SIZES = ((480, 640), (640, 480), (768, 1024), (256, 1024), (64, 128))
"""Heights and widths in pixels of the pictures that are read before anything is timed. The first ends the loading."""

TIMEOUT = 60
"""Of a program that reads one picture, in seconds."""


class MissingError(Exception):
    """Raised by `load` where the engine is not installed; the message says how to install it."""


class Text(NamedTuple):
    """One text that an engine finds.

    Attributes:
      text: its characters.
      height: in pixels.
      confidence: 0..1; 0.5 where an engine has none.
    """

    text: str
    height: float
    confidence: float


class Number(NamedTuple):
    """One number that an engine finds: its digits in reading order, and its confidence, 0..1."""

    digits: str
    confidence: float


class Engine(NamedTuple):
    """A loaded engine.

    Attributes:
      version: of the engine.
      settings: what differs from its defaults.
      weights_bytes: the size of the files of its weights; of its program where its rules are part of that.
      threads: that it computes with.
      read: returns the numbers in a picture, uint8 [H, W, 3] RGB, best first.
      compilations: returns how often it has compiled so far.
    """

    version: str
    settings: dict[str, Any]
    weights_bytes: int
    threads: int
    read: Callable[[Any], list[Number]]
    compilations: Callable[[], int] = lambda: 0


def numbers_of(texts: Iterable[Text]) -> list[Number]:
    """Returns the digits of the texts that have any, the tallest text first.

    >>> numbers_of([Text("No. 7", 10, 0.9), Text("12,50", 30, 0.8), Text("Main St", 40, 0.9)])
    [Number(digits='1250', confidence=0.8), Number(digits='7', confidence=0.9)]
    """
    tallest = sorted(texts, key=lambda text: (-text.height, -text.confidence))
    numbers = [Number("".join(c for c in text.text if c in "0123456789"), text.confidence) for text in tallest]
    return [number for number in numbers if number.digits]


def serve(load: Callable[[int], Engine]) -> None:
    """Runs a worker: `python WORKER.py CORES`. On Linux it stays on that many cores, the first ones that it may use.

    Only the reading of the decoded picture is timed: a file is opened, decoded, turned by its EXIF orientation, and laid
    onto white before. A reading in which the engine compiles, for a size that it has not seen, is repeated, and the second
    one is timed. `load_seconds` is the time from the start of the process to its first answer.

    Args:
      load: loads the engine for a number of cores.
    """
    cores = int(sys.argv[1])
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # engines log to standard output
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
    try:
        engine = load(cores)
    except MissingError as e:
        print(json.dumps({"missing": str(e)}), file=answers)
        return
    engine.read(drawn_number(*WARM_UP_SIZES[0]))
    load_seconds = time.perf_counter() - BEGAN
    for height, width in WARM_UP_SIZES[1:]:
        engine.read(drawn_number(height, width))
    about = {
        "version": engine.version,
        "settings": engine.settings,
        "weights_bytes": engine.weights_bytes,
        "threads": engine.threads,
        "load_seconds": round(load_seconds, 2),
    }
    print(json.dumps(about), file=answers)
    for line in sys.stdin:
        path = line.rstrip("\n")
        try:
            picture = decode(path)
        except Exception as e:  # Pillow raises many kinds for damaged files, and for too many pixels
            print(json.dumps({"path": path, "unreadable": str(e)}), file=answers)
            continue
        compilations = engine.compilations()
        numbers, milliseconds = _timed(engine, picture)
        repeated = engine.compilations() > compilations
        if repeated:
            numbers, milliseconds = _timed(engine, picture)
        answer = {
            "path": path,
            "number": numbers[0].digits if numbers else None,
            "confidence": round(numbers[0].confidence, 4) if numbers else 0.0,
            "numbers": [number.digits for number in numbers],
            "milliseconds": round(milliseconds, 2),
            "repeated": repeated,
        }
        print(json.dumps(answer), file=answers)


def _timed(engine: Engine, picture: Any) -> tuple[list[Number], float]:
    """Returns the numbers, and the milliseconds that reading them takes."""
    began = time.perf_counter()
    numbers = engine.read(picture)
    return numbers, 1000 * (time.perf_counter() - began)


def drawn_number(height: int, width: int) -> Any:
    """Returns a picture with a number, uint8 [height, width, 3]: engines that find none skip a part of their work."""
    import numpy as np
    from PIL import Image, ImageDraw, ImageFont

    image = Image.new("RGB", (width, height), "white")
    font = ImageFont.load_default(min(height, width) // 3)
    ImageDraw.Draw(image).text((width / 2, height / 2), "352", "black", font, anchor="mm")
    return np.array(image)


def decode(path: str) -> Any:
    """Returns a picture as uint8 [H, W, 3] RGB: turned by its EXIF orientation, transparent pixels on white.

    These are the pixels that seqdigits/data/photos/folder.py returns.
    """
    import numpy as np
    from PIL import Image, ImageOps

    with Image.open(path) as opened:
        image = ImageOps.exif_transpose(opened)
    if image.mode.startswith("I;16"):  # Pillow would clip it
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    elif image.mode == "I" and np.asarray(image).max() > 255:
        image = Image.fromarray((np.asarray(image).clip(0, 65535) >> 8).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGB", image.size, "white")
        white.paste(image, mask=image.getchannel("A"))
        image = white
    return np.array(image.convert("RGB"))


def enlarged(picture: Any, short_side: int) -> Any:
    """Returns a picture, enlarged where its short side has fewer than `short_side` pixels."""
    import numpy as np
    from PIL import Image

    height, width = picture.shape[:2]
    if min(height, width) >= short_side:
        return picture
    scale = short_side / min(height, width)
    size = (round(width * scale), round(height * scale))
    return np.array(Image.fromarray(picture).resize(size, Image.Resampling.BICUBIC))


def output_of(command: Sequence[str], picture: Any = None, statuses: Sequence[int] = (0,)) -> str:
    """Returns what a program prints, which gets a picture, uint8 [H, W, 3], as a gray PGM file on its standard input.

    Args:
      command: the program and its arguments.
      picture: None = nothing is sent.
      statuses: the exit statuses that are no failure.

    Raises:
      RuntimeError: it failed, or took longer than TIMEOUT.
    """
    import io

    from PIL import Image

    file = io.BytesIO()
    if picture is not None:
        Image.fromarray(picture).convert("L").save(file, "PPM")
    try:
        done = subprocess.run(command, input=file.getvalue(), capture_output=True, check=False, timeout=TIMEOUT)
    except subprocess.TimeoutExpired as e:
        raise RuntimeError(f"{command[0]} took longer than {TIMEOUT} seconds") from e
    if done.returncode not in statuses:
        raise RuntimeError(f"{command[0]} failed with status {done.returncode}: {done.stderr.decode(errors='replace')}")
    return done.stdout.decode(errors="replace")
