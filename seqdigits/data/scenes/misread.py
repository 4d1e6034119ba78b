"""Parts of natural backgrounds in which a reader sees a number that is not there: the hardest views without one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jax import Array

from seqdigits.core.errors import UserError
from seqdigits.data.scenes import natural_backgrounds
from seqdigits.data.scenes.draws import Draws

SLOTS = 256
"""Number of parts at hand. Fewer are repeated; of more, the first ones are taken."""
HEIGHT, WIDTH = 96, 192
"""Size of a part, pixels. A view is cut from it at random, so it may be at most as large."""
PERCENT = 50
"""Percentage of the training views without a number that show such a part."""


def pack(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Returns SLOTS parts, i32 [SLOTS, HEIGHT, WIDTH]: red in bits 16 to 23, green in 8 to 15, blue in 0 to 7.

    Args:
      parts: u8 [HEIGHT, WIDTH, 3], at least one.

    Raises:
      UserError: a part has another size.
    """
    if others := {part.shape[:2] for part in parts} - {(HEIGHT, WIDTH)}:
        height, width = others.pop()
        raise UserError(
            f"data.misread: its file has parts of {height}x{width} pixels, and scenes show parts of {HEIGHT}x{WIDTH}. To make it "
            f"again: seqdigits find-misread"
        )
    return natural_backgrounds.pack_pixels(np.stack([parts[i % len(parts)] for i in range(SLOTS)]))


def cut(draws: Draws, packed: Array, height: int, width: int) -> Array:
    """Cuts a view from a random part, sometimes mirrored, in other colors: i32 [3, H, W], 0..255.

    Args:
      draws: the random numbers of the scene.
      packed: from `pack`.
      height: of the view, pixels.
      width: of the view, pixels.
    """
    y, x = natural_backgrounds.draw_part(draws, (HEIGHT, WIDTH), height, width)
    return natural_backgrounds.recolored(draws, natural_backgrounds.unpacked(packed[draws.below(SLOTS), y, x]))
