"""Worker of RapidOCR's recognizer alone: PP-OCRv6 small takes the picture for one line of text, by ONNX Runtime."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path
from typing import Any

import protocol


def load(cores: int) -> protocol.Engine:
    """Loads RapidOCR."""
    try:
        import cv2
        import rapidocr
    except ImportError as e:
        raise protocol.MissingError(f"{e.name} is not installed. Run: make peers") from e

    cv2.setNumThreads(cores)
    engine = {"intra_op_num_threads": cores, "inter_op_num_threads": 1}
    limits = {f"EngineConfig.onnxruntime.{name}": value for name, value in engine.items()}
    ocr = rapidocr.RapidOCR(params={**limits, "Global.log_level": "error"})
    steps = {"use_det": False, "use_cls": False}

    def read(picture: Any) -> list[protocol.Number]:
        found = ocr(picture[..., ::-1], **steps)  # it expects BGR
        texts = zip(found.txts or (), found.scores, strict=False)
        return protocol.numbers_of(protocol.Text(text, float(len(picture)), float(score)) for text, score in texts)

    models = Path(rapidocr.__file__).parent / "models"
    return protocol.Engine(
        version=f"{metadata.version('rapidocr')}, ONNX Runtime {metadata.version('onnxruntime')}",
        settings=steps,
        weights_bytes=sum(path.stat().st_size for path in models.glob("*_rec_*.onnx")),
        threads=cores,
        read=read,
    )


if __name__ == "__main__":
    protocol.serve(load)
