"""Worker of ddddocr, which reads captchas: its detector and its recognizer, by ONNX Runtime."""

from __future__ import annotations

import io
from importlib import metadata
from itertools import pairwise
from pathlib import Path
from typing import Any

import protocol

LINE = 2.0
"""A picture that is at least so many times as wide as high is one line of text, and is recognized as a whole; in others the
texts that are detected are. Of 100 handwritten amounts, lines, 28 are read as a whole and none by detection; of 80 house
numbers pasted into backgrounds, 0 and 10 (with a margin of 0.1 and 0.25 of their height around the boxes, 6 and 2)."""

BETA = True
"""Its newer recognizer; the default one reads 22 and 12 of the same."""

SMALLEST = 4
"""Boxes with a side of fewer pixels are left out: it fails on empty ones."""

_DIGITS = "0123456789"


def load(cores: int) -> protocol.Engine:
    """Loads ddddocr."""
    try:
        import ddddocr
        import numpy as np
        import onnxruntime
        from PIL import Image
    except ImportError as e:
        raise protocol.MissingError(f"{e.name} is not installed. Run: make peers") from e

    onnxruntime.set_default_logger_severity(3)
    detector = ddddocr.DdddOcr(det=True, ocr=False, show_ad=False)
    recognizer = ddddocr.DdddOcr(beta=BETA, show_ad=False)

    def text(image: Any) -> protocol.Text:
        """Reads digits alone: of each step the best of them and of no character. Without that, 11 of the amounts are read."""
        found = recognizer.classification(image, probability=True)
        columns = [0, *map(found["charset"].index, _DIGITS)]
        probability = np.concatenate(found["probabilities"]).reshape(-1, len(found["charset"]))[:, columns]
        return protocol.Text(
            collapse(probability.argmax(1).tolist()),
            image.height,
            float((probability.max(1) / probability.sum(1)).mean()),
        )

    def read(picture: Any) -> list[protocol.Number]:
        image = Image.fromarray(picture)
        if image.width >= LINE * image.height:
            boxes = [[0, 0, *image.size]]
        else:
            file = io.BytesIO()
            image.save(file, "PNG")
            boxes = detector.detection(file.getvalue())
        large = (box for box in boxes if min(box[2] - box[0], box[3] - box[1]) >= SMALLEST)
        return protocol.numbers_of(text(image.crop(box)) for box in large)

    folder = Path(ddddocr.__file__).parent
    return protocol.Engine(
        version=f"{metadata.version('ddddocr')}, ONNX Runtime {metadata.version('onnxruntime')}",
        settings={"line": LINE, "beta": BETA, "characters": _DIGITS},
        weights_bytes=sum((folder / name).stat().st_size for name in ("common.onnx", "common_det.onnx")),
        threads=cores,  # ONNX Runtime's own number: the cores that the process may use
        read=read,
    )


def collapse(path: list[int]) -> str:
    """Returns the digits of a path of connectionist temporal classification, in which 0 is no character and 1 is digit 0."""
    return "".join(_DIGITS[step - 1] for before, step in pairwise([0, *path]) if step and step != before)


if __name__ == "__main__":
    protocol.serve(load)
