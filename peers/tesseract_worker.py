"""Worker of Tesseract, by the C interface of its library: one process, as for the other engines."""

from __future__ import annotations

import ctypes
import ctypes.util
import os
from pathlib import Path
from typing import Any

import protocol

THREADS = 1
"""Its own; two took longer than one, also with OMP_WAIT_POLICY=passive."""

PAGE_SEGMENTATION = 6
"""One block of text, the best of four: 6, 7 (one line), 8 (one word) and 11 (sparse text) read 9, 9, 7 and 5 of 100
handwritten amounts, and 5, 0, 0 and 4 of 80 house numbers pasted into backgrounds."""

SHORT_SIDE = 128
"""Smaller pictures are enlarged to this short side, in pixels: of the 100 amounts, 9 are read so, 7 as they are, and 6 at
256."""

VARIABLES = {"tessedit_char_whitelist": "0123456789"}
"""Without it 6 of the 100 amounts are read."""

_LINE = 2
"""RIL_TEXTLINE: the level of the results."""


def load(_cores: int) -> protocol.Engine:
    """Loads Tesseract with its English model."""
    os.environ["OMP_THREAD_LIMIT"] = str(THREADS)  # before the library is loaded
    name = ctypes.util.find_library("tesseract")
    if name is None:
        raise protocol.MissingError("the library of Tesseract is not installed. Debian: apt-get install tesseract-ocr")
    library = ctypes.CDLL(name)
    library.TessVersion.restype = ctypes.c_char_p
    for function in ("TessBaseAPICreate", "TessBaseAPIGetIterator", "TessResultIteratorGetPageIterator"):
        getattr(library, function).restype = ctypes.c_void_p
    library.TessResultIteratorGetUTF8Text.restype = ctypes.c_void_p
    library.TessResultIteratorConfidence.restype = ctypes.c_float
    library.TessBaseAPIGetDatapath.restype = ctypes.c_char_p

    api = ctypes.c_void_p(library.TessBaseAPICreate())
    if library.TessBaseAPIInit3(api, None, b"eng"):
        raise protocol.MissingError(
            "the English model of Tesseract is missing. Debian: apt-get install tesseract-ocr-eng"
        )
    for variable, value in (VARIABLES | {"debug_file": "/dev/null"}).items():
        library.TessBaseAPISetVariable(api, variable.encode(), value.encode())
    library.TessBaseAPISetPageSegMode(api, PAGE_SEGMENTATION)

    def read(picture: Any) -> list[protocol.Number]:
        picture = protocol.enlarged(picture, SHORT_SIDE)
        height, width = picture.shape[:2]
        library.TessBaseAPISetImage(api, picture.tobytes(), width, height, 3, 3 * width)
        if library.TessBaseAPIRecognize(api, None):
            return []
        iterator = library.TessBaseAPIGetIterator(api)
        return protocol.numbers_of(_texts(library, ctypes.c_void_p(iterator))) if iterator else []

    weights = Path(library.TessBaseAPIGetDatapath(api).decode()) / "eng.traineddata"
    return protocol.Engine(
        version=library.TessVersion().decode(),
        settings={"psm": PAGE_SEGMENTATION, "short_side": SHORT_SIDE, **VARIABLES},
        weights_bytes=weights.stat().st_size,
        threads=THREADS,
        read=read,
    )


def _texts(library: Any, iterator: ctypes.c_void_p) -> list[protocol.Text]:
    """Returns the lines of text of a result, and frees its iterator."""
    texts = []
    page = ctypes.c_void_p(library.TessResultIteratorGetPageIterator(iterator))
    left, top, right, bottom = (ctypes.c_int() for _ in range(4))
    while True:
        text = library.TessResultIteratorGetUTF8Text(iterator, _LINE)
        if text:
            library.TessPageIteratorBoundingBox(page, _LINE, *map(ctypes.byref, (left, top, right, bottom)))
            confidence = library.TessResultIteratorConfidence(iterator, _LINE) / 100
            texts.append(protocol.Text(ctypes.string_at(text).decode(), bottom.value - top.value, confidence))
            library.TessDeleteText(ctypes.c_void_p(text))
        if not library.TessResultIteratorNext(iterator, _LINE):
            break
    library.TessResultIteratorDelete(iterator)
    return texts


if __name__ == "__main__":
    protocol.serve(load)
