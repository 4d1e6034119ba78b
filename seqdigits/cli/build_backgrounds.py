"""Collects natural backgrounds into one JPEG file: `python -m seqdigits build-backgrounds`.

The backgrounds are photographs and photographic textures without text or digits, from Debian packages with free
licenses (a download of 1 GB) and from scikit-learn, split into train, validation and test. The file is for local use;
its index lists the license of each photograph.
"""

from __future__ import annotations

from pathlib import Path

from seqdigits.core.arguments import parse_arguments
from seqdigits.core.errors import UserError
from seqdigits.core.interrupt import Stop
from seqdigits.data.photos import backgrounds
from seqdigits.data.photos.build_backgrounds import build

USAGE = f"{backgrounds.COMMAND} [--out FILE] [--packages FOLDER]"


def main(stop: Stop) -> None:
    """Runs `seqdigits build-backgrounds`."""
    from absl import flags

    values = flags.FlagValues()
    flags.DEFINE_string("out", str(backgrounds.FILE), "the file to write", flag_values=values)
    flags.DEFINE_string(
        "packages", None, "folder of the packages as .deb files; default: apt-get download", flag_values=values
    )
    flags.DEFINE_boolean("help", False, "this text", short_name="h", flag_values=values)
    arguments = parse_arguments(values, USAGE, f"{__doc__}\n{values.get_help()}")
    if arguments:
        raise UserError(f"{' '.join(arguments)!r} is not understood. usage: {USAGE}")
    packages = values["packages"].value
    print(build(Path(values["out"].value), Path(packages) if packages is not None else None, stop))
