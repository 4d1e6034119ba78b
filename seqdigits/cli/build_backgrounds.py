"""Collects natural backgrounds into one JPEG file: `seqdigits build-backgrounds`.

The backgrounds are photographs and photographic textures without text or digits, from Debian packages with free
licenses (a download of 1 GB) and from scikit-learn, split into train, validation and test. The file is for local use;
its index lists the license of each photograph.
"""

from __future__ import annotations

from pathlib import Path

from seqdigits.core.arguments import CommandParser
from seqdigits.core.interrupt import Stop
from seqdigits.data.photos import backgrounds
from seqdigits.data.photos.build_backgrounds import build

USAGE = f"{backgrounds.COMMAND} [--out FILE] [--packages FOLDER]"


def command_line() -> CommandParser:
    """Returns the parser of the command line."""
    parser = CommandParser(USAGE, __doc__)
    parser.add_argument(
        "--out", type=Path, default=backgrounds.FILE, metavar="FILE", help="the file to write (default %(default)s)"
    )
    parser.add_argument(
        "--packages",
        type=Path,
        metavar="FOLDER",
        help="folder of the packages as .deb files; default: apt-get download",
    )
    return parser


def main(stop: Stop) -> None:
    """Runs `seqdigits build-backgrounds`."""
    values = command_line().parse_command_line()
    print(build(values.out, values.packages, stop))
