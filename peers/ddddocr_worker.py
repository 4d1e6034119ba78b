"""Worker of ddddocr, which reads captchas: its detector and its recognizer, by ONNX Runtime."""

from __future__ import annotations

import io
from importlib import metadata
from pathlib import Path
from typing import Any

import protocol

LINE = 2.0
"""A picture that is at least so many times as wide as high is one line of text, and is recognized as a whole; in others the
texts that are detected are. Of 100 handwritten amounts, lines, 12 are read as a whole and none by detection; of 80 house
numbers pasted into backgrounds, 0 and 6."""

MARGIN = 0.1
"""Of the height of a detected box, around it."""


def load(cores: int) -> protocol.Engine:
    """Loads ddddocr."""
    try:
        import ddddocr
        import onnxruntime
        from PIL import Image
    except ImportError as e:
        raise protocol.MissingError(f"{e.name} is not installed. Run: make peers") from e

    onnxruntime.set_default_logger_severity(3)
    detector = ddddocr.DdddOcr(det=True, ocr=False, show_ad=False)
    recognizer = ddddocr.DdddOcr(show_ad=False)  # with set_ranges(0), digits only, it reads nothing

    def read(picture: Any) -> list[protocol.Number]:
        image = Image.fromarray(picture)
        if image.width >= LINE * image.height:
            boxes = [(0, 0, image.width, image.height)]
        else:
            file = io.BytesIO()
            image.save(file, "PNG")
            boxes = [_wider(box, *image.size) for box in detector.detection(file.getvalue())]
        texts = (protocol.Text(recognizer.classification(image.crop(box)), box[3] - box[1], 0.5) for box in boxes)
        return protocol.numbers_of(texts)  # it has no confidences of texts

    folder = Path(ddddocr.__file__).parent
    return protocol.Engine(
        version=f"{metadata.version('ddddocr')}, ONNX Runtime {metadata.version('onnxruntime')}",
        settings={"line": LINE, "margin": MARGIN},
        weights_bytes=sum((folder / name).stat().st_size for name in ("common_old.onnx", "common_det.onnx")),
        threads=cores,  # ONNX Runtime's own number: that of the cores which the process may use
        read=read,
    )


def _wider(box: list[int], width: int, height: int) -> tuple[int, int, int, int]:
    """Returns a box (left, top, right, bottom) with MARGIN around it, inside the picture."""
    left, top, right, bottom = box
    margin = round(MARGIN * (bottom - top))
    return max(0, left - margin), max(0, top - margin), min(width, right + margin), min(height, bottom + margin)


if __name__ == "__main__":
    protocol.serve(load)
