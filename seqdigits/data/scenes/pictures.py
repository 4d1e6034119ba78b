"""Writes synthetic scenes as a folder of labeled pictures: whole pictures with a number of any size, and without."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import jax
import numpy as np
from PIL import Image

from seqdigits.config.defaults import DEFAULTS
from seqdigits.core.constants import NO_DIGIT
from seqdigits.core.interrupt import Stop, Stopped
from seqdigits.core.progress import progress
from seqdigits.core.rng import RngStream
from seqdigits.core.types import Batch
from seqdigits.data import digits
from seqdigits.data.photos.labeled_folder import LabelRow, new_labeled_folder
from seqdigits.data.scenes.layout import Scene
from seqdigits.data.scenes.source import SceneSource

NUMBER, NO_NUMBER = "scene", "no_number"
"""The subfolders."""
HEIGHT, WIDTH = 480, 640
SMALLEST = 3
"""Height of the smallest digits, in percent of the height of the picture."""
MAX_LENGTH = 8
_BATCH = 4
_QUALITY = 92


def create_pictures(split: str, seed: int, load_backgrounds: Callable[[], Sequence[np.ndarray]] | None) -> SceneSource:
    """Creates the source of the pictures of a split, each with one number or none; it is endless.

    Args:
      split: of the digits, type faces and backgrounds.
      seed: of all random choices.
      load_backgrounds: see SceneSource.
    """
    scene = Scene(
        height=HEIGHT,
        width=WIDTH,
        min_length=1,
        max_length=MAX_LENGTH,
        max_numbers=1,
        min_digit=HEIGHT * SMALLEST // 100,
        max_digit=HEIGHT,
        backgrounds=load_backgrounds is not None,
        whole=True,
    )
    return SceneSource(
        scene=scene,
        split=split,
        num_digits=digits.num_digits("mnist", split, 0),
        load=partial(digits.load, "mnist", split, validation=0, folder="", url=DEFAULTS["data.url"]),
        num_examples=None,
        examples=(seed, RngStream[split.upper()]),
        order_seed=0,
        load_backgrounds=load_backgrounds,
    )


def make(folder: Path, source: SceneSource, *, count: int, empty: int, stop: Stop) -> None:
    """Makes a folder of JPEG pictures and labels.csv, in the order of the source; superfluous ones of a kind are skipped.

    Args:
      folder: the folder, which must not exist or be empty.
      source: of `create_pictures`.
      count: number of pictures with a number.
      empty: number of pictures without a number.
      stop: ends the command; the folder is then not made.

    Raises:
      UserError: the folder exists and is not empty, or cannot be written.
      Stopped: `stop` was set.
    """
    arrays = jax.device_put(source.arrays)
    compiled = jax.jit(partial(source.make, train=False))
    left = {NUMBER: count, NO_NUMBER: empty}
    with new_labeled_folder(folder) as (partial_folder, rows):
        for name in left:
            (partial_folder / name).mkdir()
        written = progress(iter(range(count + empty)), count + empty, "pictures", folder)
        for host_batch in source.batches(0, _BATCH):
            batch: Batch = jax.device_get(compiled(arrays, host_batch, jax.random.key(0)))
            for image, digits_, boxes in zip(batch.image, batch.digits, batch.boxes, strict=True):
                if stop.is_set():
                    raise Stopped
                is_digit = digits_ != NO_DIGIT
                kind = NUMBER if is_digit.any() else NO_NUMBER
                if not left[kind]:
                    continue
                next(written)
                name = f"{kind}/{sum(row.image.startswith(kind) for row in rows) + 1:04}.jpg"
                Image.fromarray(image).save(partial_folder / name, "JPEG", quality=_QUALITY, subsampling=0)
                rows.append(LabelRow(name, digits_[is_digit], boxes[is_digit].astype(np.float64)))
                left[kind] -= 1
            if not any(left.values()):
                break
        next(written, None)
