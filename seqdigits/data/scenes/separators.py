"""Signs between and after the digits of an amount: points, commas, dashes."""

from __future__ import annotations

import numpy as np

from seqdigits.data.scenes.glyphs import covered_box

COUNT = 2
"""Number of separators of a number: one of thousands, and one at the end."""
DIGITS_AFTER = (3, 0)
"""How many digits follow each."""
_SIDE, _BASELINE = 48, 40


def _draw(*strokes: tuple[float, float, float, float, float]) -> np.ndarray:
    """Returns the coverage of strokes from x, y to x, y with a radius, u8 [48, 48]."""
    y, x = np.mgrid[:_SIDE, :_SIDE] + 0.5
    cover = np.zeros((_SIDE, _SIDE))
    for x0, y0, x1, y1, radius in strokes:
        length = max((x1 - x0) ** 2 + (y1 - y0) ** 2, 1e-9)
        along = np.clip(((x - x0) * (x1 - x0) + (y - y0) * (y1 - y0)) / length, 0, 1)
        distance = np.hypot(x - x0 - along * (x1 - x0), y - y0 - along * (y1 - y0))
        cover = np.maximum(cover, np.clip(radius - distance + 0.5, 0, 1))
    return np.round(255 * cover).astype(np.uint8)


CELLS = np.stack(
    [
        _draw((24, _BASELINE - 1, 24, _BASELINE - 1, 2.0)),  # points
        _draw((24, _BASELINE - 2, 24, _BASELINE - 2, 3.0)),
        _draw((23, 30, 25, 30, 2.0)),
        _draw((25, _BASELINE - 2, 22, _BASELINE + 4, 1.6)),  # commas
        _draw((25, _BASELINE - 3, 21, _BASELINE + 5, 1.1)),
        _draw((18, 25, 30, 24, 1.2)),  # dashes
        _draw((17, 26, 31, 25, 2.0)),
        _draw((18, 21, 30, 20, 1.3), (18, 28, 30, 27, 1.3)),
    ]
)
"""u8 [8, 48, 48], coverage; the middle of the digits is at row 24."""


BOXES = np.array([covered_box(cell) for cell in CELLS], np.int32)
"""i32 [8, 4], left, top, right, bottom (exclusive) of the covered texels."""
