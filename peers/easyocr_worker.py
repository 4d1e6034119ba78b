"""Worker of EasyOCR: CRAFT, which finds text, and the recognizer english_g2, by PyTorch."""

from __future__ import annotations

import warnings
from importlib import metadata
from pathlib import Path
from typing import Any

import protocol

ALLOWED = "0123456789"
"""The only setting that is not its default. Of 100 handwritten amounts it reads 25 with it, and 23, 23 and 19 enlarged to a short side of
64, 128 and 256 pixels. With text_threshold 0.4 and low_text 0.3 it reads 23 of these, and 13 in place of 11 of 30 house numbers
pasted into backgrounds; with 0.5 and 0.3, and 0.2 and 0.2, 23 of the amounts."""


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
    # It would make a folder for networks of the user's own in the home directory.
    folders = {"model_storage_directory": weights, "user_network_directory": weights}
    reader = easyocr.Reader(["en"], gpu=False, download_enabled=False, verbose=False, **folders)

    def read(picture: Any) -> list[protocol.Number]:
        # readtext would take an array for BGR where it recognizes, and for RGB where it detects.
        rows_and_columns, corners_of_turned = reader.detect(picture)
        gray = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
        found = reader.recognize(gray, rows_and_columns[0], corners_of_turned[0], allowlist=ALLOWED)
        texts = []
        for corners, text, score in found:
            rows = [y for _, y in corners]
            texts.append(protocol.Text(text, float(max(rows) - min(rows)), float(score)))
        return protocol.numbers_of(texts)

    return protocol.Engine(
        version=f"{metadata.version('easyocr')}, PyTorch {metadata.version('torch')}",
        settings={"allowlist": ALLOWED},
        weights_bytes=sum(path.stat().st_size for path in Path(weights).glob("*.pth")),
        threads=cores,
        read=read,
    )


if __name__ == "__main__":
    protocol.serve(load)
