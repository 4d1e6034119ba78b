"""Finds digits in photographs of SVHN train that its labels leave out: `seqdigits find-unlabeled`.

The Reader reads the training photographs of the first 2,000 with the pretrained weights. What it reads beside the labels is
written to seqdigits/data/photos/svhn_unlabeled.json, which training with data.mask_unlabeled uses. About four minutes on two cores.
"""

from __future__ import annotations

import os

import numpy as np

from seqdigits.checkpoint import pretrained
from seqdigits.core.arguments import CommandParser
from seqdigits.core.errors import UserError
from seqdigits.core.interrupt import Stop, Stopped
from seqdigits.core.progress import progress
from seqdigits.data.photos import svhn_originals, unlabeled
from seqdigits.inference.reader import Reader

USAGE = "seqdigits find-unlabeled"


def command_line() -> CommandParser:
    """Returns the parser of the command line."""
    return CommandParser(USAGE, __doc__)


def main(stop: Stop) -> None:
    """Runs `seqdigits find-unlabeled`."""
    command_line().parse_command_line()
    if not os.access(unlabeled.FILE.parent, os.W_OK):
        raise UserError(f"{unlabeled.FILE} cannot be written. Make its folder writable, or use another source tree.")
    reader = Reader.from_pretrained(pretrained.DEFAULT)
    photos = svhn_originals.original_photos("svhn_2000", "train")
    found = {}
    for photo in progress(iter(photos), len(photos), "photographs", "find-unlabeled"):
        if stop.is_set():
            raise Stopped
        digits = [digit for number in reader.read(photo.pixels).numbers for digit in number.digits]
        boxes = np.array([(x + w / 2, y + h / 2, w, h) for x, y, w, h in (digit.box for digit in digits)]).reshape(
            -1, 4
        )
        confidence = np.array([digit.confidence for digit in digits])
        found[photo.number] = unlabeled.find([digit.digit for digit in digits], confidence, boxes, photo.boxes)
    print(f"wrote {unlabeled.FILE}: {unlabeled.write(found)} of {len(photos)} photographs")
