"""Test vectors for the pixels of the Reader's views, which docs/reading.md describes: golden/views.json.

`python tests/make_view_vectors.py` writes them. A port makes the same picture with `picture`, and compares the SHA-256 of the
pixels of each view, rows of R, G, B; `sample` has some of them, to see by how much they differ. Sections as in
make_reading_vectors.py.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from seqdigits.inference import views
from seqdigits.inference.views import CutGeometry

PATH = Path(__file__).parent / "golden" / "views.json"
STEP = 101
"""Every STEP-th value is in the sample, MAX_SAMPLES at most."""

MAX_SAMPLES = 40

Case = dict[str, Any]


def picture(width: int, height: int) -> Image.Image:
    """Smooth colors with noise: value = (3x + 5y + 40c + (x y (c + 1) mod 61)) mod 256, in integers."""
    y, x, c = np.mgrid[:height, :width, :3]
    return Image.fromarray(((3 * x + 5 * y + 40 * c + x * y * (c + 1) % 61) % 256).astype(np.uint8))


def overview_levels(case: Case) -> Any:
    found = views.overview_levels(picture(case["width"], case["height"]), case["overview"])
    return [{**_pixels(v.pixels), "matrix": v.matrix.tolist(), "scale": v.scale, "size": list(v.size)} for v in found]


def cut(case: Case) -> Any:
    geometry = CutGeometry(case["cut_width"], case["scale"], np.array(case["matrix"]))
    return _pixels(views.cut(picture(case["width"], case["height"]), geometry, case["contrast"]).pixels)


def rotate(case: Case) -> Any:
    rotation = {90: Image.Transpose.ROTATE_90, 270: Image.Transpose.ROTATE_270}[case["degrees"]]
    return _pixels(np.asarray(picture(case["width"], case["height"]).transpose(rotation)))


def gray(case: Case) -> Any:
    return _pixels(np.asarray(picture(case["width"], case["height"]).convert("L")))


ANSWERS: dict[str, Callable[[Case], Any]] = {f.__name__: f for f in (overview_levels, cut, rotate, gray)}


def _pixels(pixels: np.ndarray) -> Case:
    flat = np.ascontiguousarray(pixels).ravel()
    return {
        "shape": list(pixels.shape),
        "sha256": hashlib.sha256(flat.tobytes()).hexdigest(),
        "sample": flat[::STEP][:MAX_SAMPLES].tolist(),
    }


def inputs() -> dict[str, list[Case]]:
    """The inputs of all cases by section."""
    sizes = [
        *[(640, 480, 512), (1024, 768, 256), (512, 384, 512), (1537, 1021, 256), (4000, 3000, 256), (900, 1600, 512)],
        *[(74, 37, 512), (28, 28, 128), (1, 1, 512), (3, 200, 512), (4031, 60, 512), (333, 500, 384), (257, 255, 128)],
        *[(3000, 211, 128), (128, 96, 128), (2500, 1875, 128)],
    ]

    def a_cut(width: int, height: int, x: float, y: float, scale: float, degrees: float, cut_width: int) -> Case:
        cosine, sine = math.cos(math.radians(degrees)) / scale, math.sin(math.radians(degrees)) / scale
        half = cut_width / 2, views.CUT_HEIGHT / 2
        offset = x - cosine * half[0] + sine * half[1], y - sine * half[0] - cosine * half[1]
        matrix = [[cosine, -sine, offset[0]], [sine, cosine, offset[1]]]
        return {"width": width, "height": height, "cut_width": cut_width, "scale": scale, "matrix": matrix}

    cuts = [
        a_cut(640, 480, 320.5, 240.25, 1.3, 0.0, 160),
        a_cut(640, 480, 320.5, 240.25, 0.7, 12.0, 96),
        a_cut(640, 480, 30.0, 20.0, 0.45, -44.0, 256),  # beyond the left and the top
        a_cut(640, 480, 630.0, 470.0, 0.26, 30.0, 160),
        a_cut(1999, 1501, 1000.0, 700.0, 0.13, -7.0, 256),  # reduced by 7; the picture is no multiple
        a_cut(1999, 1501, 1950.0, 1480.0, 0.21, 3.0, 96),
        a_cut(40, 30, 20.0, 15.0, 4.5, 0.0, 96),  # larger than the picture
        a_cut(9, 300, 4.0, 200.0, 0.2, 0.0, 160),
        a_cut(640, 480, 320.0, 240.0, 1.0, 0.0, 96),
    ]
    turns = [{"width": w, "height": h} for w, h in ((5, 3), (64, 33))]
    return {
        "overview_levels": [{"width": w, "height": h, "overview": overview} for w, h, overview in sizes],
        "cut": [case | {"contrast": contrast} for case in cuts for contrast in (1.0, 0.6, 0.5)],
        "rotate": [case | {"degrees": degrees} for case in turns for degrees in (90, 270)],
        "gray": turns,
    }


def text() -> str:
    """The file: one case a line."""
    sections = []
    for name, cases in inputs().items():
        pairs = ({"input": case, "output": ANSWERS[name](case)} for case in cases)
        lines = [json.dumps(pair, separators=(",", ":")) for pair in pairs]
        sections.append(f'"{name}": [\n' + ",\n".join(lines) + "\n]")
    return "{\n" + ",\n".join(sections) + "\n}\n"


if __name__ == "__main__":
    PATH.write_text(text())
