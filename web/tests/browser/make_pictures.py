"""Draws pictures for the tests of the page, and reads them with the Reader: python make_pictures.py MODEL FOLDER.

FOLDER gets the pictures, answers.json with the numbers that Python reads in them, camera.y4m, a film of a number, and files that
the page must refuse or survive; FOLDER/hostile has 200 damaged and hostile ones.
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

TESTS = Path(__file__).parents[3] / "tests"
sys.path += [str(TESTS), str(TESTS / "damage")]
from test_predict_fuzz import write_files  # noqa: E402 # the files with which `predict` is tested

from seqdigits.inference.onnx_engine import OnnxEngine  # noqa: E402
from seqdigits.inference.reader import Reader  # noqa: E402

EXAMPLES = Path(__file__).parents[2] / "static" / "examples"
COUNT = 50
FILM = 640, 480
FRAMES = 90


def main(model: Path, folder: Path) -> None:
    """Writes all files."""
    examples = {path.stem: Image.open(path).convert("RGB") for path in sorted(EXAMPLES.glob("*.jpg"))}
    rng = np.random.default_rng(5)
    names = []
    for i in range(COUNT):
        stem, picture = list(examples.items())[i % len(examples)]
        names.append(write(varied(picture, i, rng), i, folder / f"{i:02}-{stem}"))
    reader = Reader(OnnxEngine(model))
    answers = {
        name: [
            {"number": n.number, "confidence": n.confidence, "box": list(n.box)}
            for n in reader.read(folder / name).numbers
        ]
        for name in names
    }
    (folder / "answers.json").write_text(json.dumps(answers))
    film(examples["door"], folder / "camera.y4m")
    examples["door"].resize((7680, 5760)).save(folder / "large.jpg", quality=80)  # 44 megapixels
    Image.new("1", (20000, 3000)).save(folder / "too-large.png")
    (folder / "damaged.jpg").write_bytes((EXAMPLES / "door.jpg").read_bytes()[:300])
    (folder / "text.png").write_text("no picture")
    (folder / "hostile").mkdir()
    write_files(folder / "hostile", 200)


def varied(picture: Image.Image, i: int, rng: np.random.Generator) -> Image.Image:
    """The picture after a few changes: size, aspect ratio, rotation, brightness, gray or inverted."""
    width, height = (int(side * rng.uniform(0.25, 1.8)) for side in picture.size)
    if i % 3:
        height = round(width * picture.height / picture.width)
    picture = picture.resize((width, height)).rotate(rng.uniform(-12, 12), Image.Resampling.BILINEAR)
    gain = rng.uniform(0.7, 1.2)
    picture = picture.point(lambda v: min(v * gain, 255))
    if i % 5 == 1:
        picture = ImageOps.invert(picture)
    return picture.convert("L") if i % 5 == 2 else picture


def write(picture: Image.Image, i: int, path: Path) -> str:
    """Writes a picture in one of several formats, and returns the name of the file."""
    kind = ("png", "jpg", "webp", "alpha", "turned")[i % 5]
    if kind == "alpha":
        alpha = np.full((picture.height, picture.width), 255, np.uint8)
        alpha[: picture.height // 8] = 0  # only 0 and 255: a canvas rounds what lies between
        picture = picture.convert("RGB")
        picture.putalpha(Image.fromarray(alpha))
        kind = "png"
    file = path.with_suffix({"turned": ".jpg"}.get(kind, f".{kind}"))
    if kind == "turned":
        exif = Image.Exif()
        exif[0x0112] = 6  # to be rotated clockwise by 90 degrees
        picture.transpose(Image.Transpose.ROTATE_90).save(file, quality=92, exif=exif)
    else:
        picture.save(file, **({"quality": 92} if kind == "jpg" else {"lossless": True} if kind == "webp" else {}))
    return file.name


def film(picture: Image.Image, path: Path) -> None:
    """Writes a film in which the picture moves, as the fake camera of Chromium takes it."""
    width, height = FILM
    with path.open("wb") as file:
        file.write(f"YUV4MPEG2 W{width} H{height} F30:1 Ip A1:1 C420jpeg\n".encode())
        for i in range(FRAMES):
            dx, dy = (f(2 * math.pi * i / FRAMES) for f in (math.sin, math.cos))
            frame = picture.transform(FILM, Image.Transform.AFFINE, (1, 0, 60 * dx, 0, 1, 30 * dy)).convert("YCbCr")
            y, cb, cr = frame.split()
            half = [band.resize((width // 2, height // 2)).tobytes() for band in (cb, cr)]
            file.write(b"".join([b"FRAME\n", y.tobytes(), *half]))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
