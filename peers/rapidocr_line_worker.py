"""Worker of RapidOCR's recognizer alone: PP-OCRv6 small takes the picture for one line of text, by ONNX Runtime."""

from __future__ import annotations

from typing import Any

import protocol
import rapidocr_worker

STEPS = {"use_det": False, "use_cls": False}


def load(cores: int) -> protocol.Engine:
    """Loads RapidOCR."""
    ocr, version, models = rapidocr_worker.create(cores, {})

    def read(picture: Any) -> list[protocol.Number]:
        found = ocr(picture[..., ::-1], **STEPS)  # it expects BGR
        texts = zip(found.txts or (), found.scores, strict=False)
        return protocol.numbers_of(protocol.Text(text, float(len(picture)), float(score)) for text, score in texts)

    return protocol.Engine(
        version=version,
        settings=STEPS,
        weights_bytes=sum(path.stat().st_size for path in models.glob("*_rec_*.onnx")),
        threads=cores,
        read=read,
    )


if __name__ == "__main__":
    protocol.serve(load)
