"""Picture files: which ones are named, and how one is opened, in bounded memory."""

from __future__ import annotations

import glob
import math
import os
import struct
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from seqdigits.core.errors import UserError, short

DAMAGED = (
    *(OSError, SyntaxError, ValueError, TypeError, EOFError),
    *(struct.error, zlib.error, Image.DecompressionBombError),
)
"""The exceptions that Pillow raises for an unreadable image file."""

MAX_PIXELS = 32_000_000
"""`open_reduced` reduces a picture of more pixels, to keep memory bounded: Pillow stores RGB in 4 bytes a pixel."""

STDIN = "-"
"""The name of standard input."""

SUFFIXES = (
    *(
        ".avif",
        ".bmp",
        ".dib",
        ".gif",
        ".jfif",
        ".jp2",
        ".jpe",
        ".jpeg",
        ".jpg",
        ".mpo",
        ".pbm",
        ".pcx",
        ".pgm",
        ".png",
    ),
    *(".pnm", ".ppm", ".tga", ".tif", ".tiff", ".webp"),
)
"""Ends of the names of pictures in a folder."""

_RUN_PROGRAMS = ("EPS", "IPTC")
"""Formats that Pillow decodes by running Ghostscript on the file, and one that may contain a file of any format."""

_TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""How a picture of an EXIF orientation is turned upright."""

_BAND_PIXELS = 1_000_000
"""Pixels that are converted at once."""


def verify_png(file: str | Path | BinaryIO) -> None:
    """Verifies the checksums of a PNG file, those of its pixels too, which Pillow does not verify when it decodes them.

    Raises:
      one of DAMAGED: a checksum differs, or the file is cut short.
    """
    with Image.open(file, formats=["PNG"]) as photo:
        photo.verify()


def find_pictures(names: Iterable[str]) -> tuple[list[str], list[str]]:
    """Finds the files that names mean.

    Args:
      names: each a file; a folder, for the files in it, not in its subfolders, whose names end as SUFFIXES and do not begin
        with a dot; or, if there is no such file, a pattern of `glob`, where `**` matches any depth of folders.

    Returns:
      The files in the order of `names`, those of one name sorted, and a message for each folder or pattern without any.
      A file that is named is returned whether it exists or not.
    """
    files: list[str] = []
    problems: list[str] = []
    for name in names:
        if os.path.isdir(name):
            try:
                found = [os.path.join(name, file) for file in os.listdir(name) if _is_picture_name(file)]
            except OSError as e:
                problems.append(f"{name} cannot be read as a folder: {e.strerror}.")
                continue
            subfolders = os.path.join(name, "**", "*.jpg")
            problem = (
                f"{name} is a folder without pictures. Their names end in {', '.join(SUFFIXES)}. For pictures in its subfolders, "
                f"write '{subfolders}'."
            )
        elif not os.path.lexists(name) and glob.has_magic(name):
            found, problem = glob.glob(name, recursive=True), f"{name} matches no file."
        else:
            files.append(name)
            continue
        found = sorted(file for file in found if os.path.isfile(file))
        files += found
        problems += [] if found else [problem]
    return files, problems


def _is_picture_name(name: str) -> bool:
    return name.lower().endswith(SUFFIXES) and not name.startswith(".")


def open_picture(path: str | Path, formats: tuple[str, ...] | None = ("PNG", "JPEG")) -> Image.Image:
    """Opens an image file; of an animation, the first frame.

    Args:
      path: of the file.
      formats: that are allowed, by Pillow's names; None = all that Pillow reads without another program.

    Returns:
      The image in mode "RGB", see `as_rgb`.

    Raises:
      UserError: the file cannot be read in these formats, or has more pixels than Pillow accepts.
    """
    return _open(path, formats, None)[0]


def open_reduced(path: str | Path) -> tuple[Image.Image, int]:
    """Opens an image file of any format that Pillow reads without another program; of an animation, the first frame.

    Memory is bounded: that of the decoded file, at most 4 bytes a pixel, which of a large JPEG are fewer pixels, and 4 bytes
    for each of MAX_PIXELS.

    Args:
      path: of the file.

    Returns:
      The image in mode "RGB", see `as_rgb`, reduced to at most MAX_PIXELS; and how many pixels of the file, in width and in
      height, are one of its pixels.

    Raises:
      UserError: the file cannot be read, or has more pixels than Pillow accepts.
    """
    return _open(path, None, MAX_PIXELS)


def _open(path: str | Path, formats: tuple[str, ...] | None, max_pixels: int | None) -> tuple[Image.Image, int]:
    """Opens an image file, see `open_picture`; where `max_pixels` is not None, reduced, see `open_reduced`."""
    try:
        with Image.open(path, formats=formats) as file:
            if file.format in _RUN_PROGRAMS:
                raise ValueError(f"{file.format} is not allowed, because it is a program that would be run")
            if file.format == "PNG":
                verify_png(path)
            if max_pixels is None:
                return as_rgb(file), 1
            width, factor = file.width, _factor(file.size, max_pixels)
            if factor > 1:  # a JPEG is decoded at 1/2, 1/4 or 1/8 of its size, which takes less memory and time
                file.draft(None, (max(width // factor, 1), max(file.height // factor, 1)))
            factor = _factor(file.size, max_pixels)
            return as_rgb(file, factor), factor * round(width / file.width)
    except (
        *DAMAGED,
        ArithmeticError,
        AssertionError,
        AttributeError,
        LookupError,
        MemoryError,
        RuntimeError,
    ) as e:  # the last ones for rare formats
        allowed = " or ".join(formats) if formats else "a picture"
        fix = ""
        if isinstance(e, UnidentifiedImageError):
            fix = ". If it is a picture, convert it to PNG or JPEG."
        elif isinstance(e, Image.DecompressionBombError):
            fix = " Scale it down."
        raise UserError(f"{path} cannot be read as {allowed}: {short(e)}{fix}") from e


def _factor(size: tuple[int, int], max_pixels: int) -> int:
    """Returns the integer by which the sides of a picture are divided, so that it has at most `max_pixels`.

    >>> _factor((8000, 4000), 32_000_000), _factor((8000, 4001), 32_000_000), _factor((16000, 11000), 32_000_000)
    (1, 2, 3)
    """
    return math.ceil(math.sqrt(size[0] * size[1] / max_pixels)) if size[0] * size[1] > max_pixels else 1


def as_rgb(image: Image.Image, factor: int = 1) -> Image.Image:
    """Returns an image of any mode in mode "RGB".

    It is rotated upright as its EXIF orientation demands. 16 bits are reduced to the upper 8; of floating-point numbers, 0
    to 1 becomes 0 to 255. Transparent pixels are composited onto white.

    Args:
      image: is not changed, and is itself returned if it is such an image.
      factor: the sides are divided by it; a pixel becomes the average of factor x factor.
    """
    image.load()
    orientation = image.getexif().get(ExifTags.Base.Orientation)
    if image.mode != "RGB" or image.has_transparency_data or factor > 1:
        image = _convert(image, factor)
    if orientation in _TRANSPOSE:
        image = image.transpose(_TRANSPOSE[orientation])
        image.info = {
            key: value for key, value in image.info.items() if key == "icc_profile"
        }  # else it is turned again
    return image


def _convert(image: Image.Image, factor: int) -> Image.Image:
    """Converts an image to mode "RGB" and divides its sides, in bands of a few rows."""
    scale = _scale_to_8_bits(image)
    result = Image.new("RGB", (-(-image.width // factor), -(-image.height // factor)))
    rows = max(_BAND_PIXELS // (image.width * factor), 1) * factor
    for top in range(0, image.height, rows):
        band = image.crop((0, top, image.width, min(top + rows, image.height)))
        if scale is not None:
            levels = np.nan_to_num(np.asarray(band, np.float64)) * scale
            band = Image.fromarray(levels.clip(0, 255).astype(np.uint8))
        if band.has_transparency_data:
            band = band.convert("RGBA")
            white = Image.new("RGB", band.size, "white")
            white.paste(band, mask=band.getchannel("A"))
            band = white
        band = band.convert("RGB")
        result.paste(band.reduce(factor) if factor > 1 else band, (0, top // factor))
    return result


def _scale_to_8_bits(image: Image.Image) -> float | None:
    """Returns by what the levels of an image are multiplied; None for an image that Pillow converts as it should."""
    if image.mode.startswith("I;16"):  # Pillow would clip all but the 256 darkest of 65,536 levels
        return 1 / 256
    if image.mode in ("I", "F"):
        highest = cast(float, image.getextrema()[1])  # a pair for each channel, but there is one
        if highest > 255:  # 16 bits in 32: the mode of PGM, for example
            return 1 / 256
        if image.mode == "F" and highest <= 1:
            return 255.0
    return None
