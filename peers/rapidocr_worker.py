"""Worker of RapidOCR: PP-OCRv6 small, detector and recognizer, by ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import protocol

SHORT_SIDE = 256
"""Smaller pictures are enlarged to this short side, in pixels."""

SETTINGS = {"Det.limit_type": "min", "Det.limit_side_len": 256, "Global.text_score": 0.1}
"""The best of four sizes: short sides of 256, 320, 480 and 736 (the default) read 73, 72, 74 and 23 of 100 handwritten
amounts; 256, 480 and 736 read 34, 34 and 29 of 80 house numbers pasted into backgrounds, and find 1, 5 and 2 numbers in 40
backgrounds without one; 480 takes twice as long on the amounts. With the default score of 0.5, 256 reads as many."""


def create(cores: int, settings: Mapping[str, Any]) -> tuple[Any, str, Path]:
    """Returns RapidOCR with settings, its version, and the folder of its weights.

    Raises:
      MissingError: it is not installed.
    """
    try:
        import cv2
        import rapidocr
    except ImportError as e:
        raise protocol.MissingError(f"{e.name} is not installed. Run: make peers") from e

    cv2.setNumThreads(cores)
    engine = {"intra_op_num_threads": cores, "inter_op_num_threads": 1}
    limits = {f"EngineConfig.onnxruntime.{name}": value for name, value in engine.items()}
    ocr = rapidocr.RapidOCR(params={**settings, **limits, "Global.log_level": "error"})
    version = f"{metadata.version('rapidocr')}, ONNX Runtime {metadata.version('onnxruntime')}"
    return ocr, version, Path(rapidocr.__file__).parent / "models"


def load(cores: int) -> protocol.Engine:
    """Loads RapidOCR."""
    ocr, version, models = create(cores, SETTINGS)
    import numpy as np  # after create, which says how to install what is missing

    def read(picture: Any) -> list[protocol.Number]:
        found = ocr(protocol.enlarged(picture, SHORT_SIDE)[..., ::-1])  # it expects BGR
        if found.boxes is None:
            return []
        sides = (np.linalg.norm(box[3] - box[0]) + np.linalg.norm(box[2] - box[1]) for box in found.boxes)
        texts = zip(found.txts, sides, found.scores, strict=True)
        return protocol.numbers_of(protocol.Text(text, float(s) / 2, float(score)) for text, s, score in texts)

    return protocol.Engine(
        version=version,
        settings={**SETTINGS, "short_side": SHORT_SIDE},
        weights_bytes=sum(path.stat().st_size for path in models.glob("*.onnx")),
        threads=cores,
        read=read,
    )


if __name__ == "__main__":
    protocol.serve(load)
