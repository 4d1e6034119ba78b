"""Worker of EasyOCR: CRAFT, which finds text, and the recognizer english_g2, by PyTorch."""

from __future__ import annotations

import warnings
from importlib import metadata
from pathlib import Path
from typing import Any

import protocol

SHORT_SIDE = 0
"""Smaller pictures are enlarged to this short side, in pixels."""

SETTINGS = {"allowlist": "0123456789", "mag_ratio": 1.0, "text_threshold": 0.7}


def load(cores: int) -> protocol.Engine:
    """Loads EasyOCR."""
    try:
        import cv2
        import easyocr
        import easyocr_en_models
        import torch
    except ImportError as e:
        raise protocol.MissingError(f"{e.name} is not installed. Run: make easyocr") from e

    cv2.setNumThreads(cores)
    torch.set_num_threads(cores)
    warnings.simplefilter("ignore")  # that there is no GPU to pin memory for
    weights = easyocr_en_models.model_dir()
    reader = easyocr.Reader(["en"], gpu=False, model_storage_directory=weights, download_enabled=False, verbose=False)

    def read(picture: Any) -> list[protocol.Number]:
        found = reader.readtext(protocol.enlarged(picture, SHORT_SIDE)[..., ::-1], **SETTINGS)  # it expects BGR
        texts = []
        for corners, text, score in found:
            rows = [y for _, y in corners]
            texts.append(protocol.Text(text, float(max(rows) - min(rows)), float(score)))
        return protocol.numbers_of(texts)

    return protocol.Engine(
        version=f"{metadata.version('easyocr')}, PyTorch {metadata.version('torch')}",
        settings={**SETTINGS, "short_side": SHORT_SIDE},
        weights_bytes=sum(path.stat().st_size for path in Path(weights).glob("*.pth")),
        threads=cores,
        read=read,
    )


if __name__ == "__main__":
    protocol.serve(load)
