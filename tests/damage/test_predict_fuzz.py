"""Damaged and hostile picture files through `seqdigits predict`: an answer or an error for each, in bounded memory."""

from __future__ import annotations

import io
import json
import os
import random
import re
import subprocess
import sys
import zlib
from pathlib import Path

import jax
import numpy as np
import pytest
from conftest import ROOT
from fuzz import mutate
from PIL import Image, PngImagePlugin
from test_hostile import png_of

COUNT, MAX_MEMORY, MAX_SECONDS = 200, 1_000_000_000, 600

FORMATS = {
    "png": [{}, {"compress_level": 0}],
    "jpg": [{}, {"progressive": True, "subsampling": 0}],
    "tiff": [{}, *({"compression": name} for name in ("tiff_lzw", "tiff_deflate", "jpeg", "packbits"))],
    **{name: [{}] for name in ("gif", "webp", "avif", "bmp", "ppm", "jp2", "ico", "tga", "pcx", "sgi", "dds", "icns")},
}
"""Options with which a picture is saved, by the end of its name."""
MODES = {
    "png": ["L", "P", "LA", "RGBA", "I;16", "1"],
    "tiff": ["L", "CMYK", "F", "I;16", "1", "RGBA"],
    "jpg": ["L", "CMYK"],
}
"""Other modes in which it is saved."""


def intact() -> list[tuple[str, bytes]]:
    """Names and contents of valid files of a picture in many formats, with metadata."""
    rgb = Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)).resize((80, 60))
    exif = Image.Exif()
    exif[0x0112] = 6
    files = []
    for suffix, options in FORMATS.items():
        for i, (mode, option) in enumerate([("RGB", o) for o in options] + [(m, {}) for m in MODES.get(suffix, [])]):
            if mode == "I;16":
                image = Image.fromarray(np.asarray(rgb.convert("L")).astype(np.uint16) * 257)
            else:
                image = rgb.convert(mode)
            content = io.BytesIO()
            metadata = {"exif": exif} if suffix in ("png", "jpg", "webp", "avif") else {}
            image.save(content, Image.registered_extensions()["." + suffix], **metadata, **option)
            files.append((f"{mode.replace(';', '')}{i}.{suffix}", content.getvalue()))
    return files


def hostile() -> list[tuple[str, bytes]]:
    """Names and contents of files that are made to take much memory or time."""
    text = PngImagePlugin.PngInfo()
    text.add_text("a", "a" * 900_000, zip=True)
    content = io.BytesIO()
    Image.new("1", (13_000, 13_000)).save(content, "PNG", pnginfo=text)  # is allowed
    gif = b"GIF89a" + b"\xff\xff\xff\xff\0\0\0" + b"," + b"\0\0\0\0\xff\xff\xff\xff\0" + b"\x08\xff" + b"\xff" * 300
    ppm = b"P6 4000000000 4000000000 255\n"
    bomb = zlib.compress(bytes(50_000_000))
    chunk = b"zTXt" + b"a\0\0" + bomb
    head, end = png_of(10, 10)[:33], png_of(10, 10)[33:]
    swollen = head + (len(chunk) - 4).to_bytes(4, "big") + chunk + zlib.crc32(chunk).to_bytes(4, "big") + end
    return [
        ("allowed.png", content.getvalue()),
        ("huge.png", png_of(1 << 30, 1 << 30)),
        ("large.png", png_of(30_000, 30_000)),
        ("cut.png", png_of(13_000, 13_000)),
        ("swollen.png", swollen),
        ("huge.gif", gif),
        ("huge.ppm", ppm),
        (
            "huge.bmp",
            b"BM" + bytes(12) + (40).to_bytes(4, "little") + b"\xff\xff\xff\x7f" * 2 + b"\1\0\x18\0" + bytes(24),
        ),
        ("program.eps", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n"),
        ("empty.jpg", b""),
    ]


def write_files(folder: Path, count: int) -> list[str]:
    """Writes hostile files and damaged ones, always the same, and returns their names."""
    files, names = hostile(), []
    valid = intact()
    for i in range(count - len(files)):
        (name, content), rng = valid[i % len(valid)], random.Random(f"predict {i}")
        kind, damaged = mutate(content, rng)
        files.append((f"{i}-{kind}-{name}", damaged))
    for name, content in files:
        (folder / name).write_bytes(content)
        names.append(name)
    return names


# Linux hands the peak memory of a process on to the program it becomes, so pytest's own 2 GB would count as that of a
# program that pytest starts. This small process stands between.
STARTED_BY_A_SMALL_PROCESS = """
import resource, subprocess, sys
status = subprocess.run(sys.argv[2:], timeout=int(sys.argv[1])).returncode
with open("peak", "w") as file:
    file.write(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss))
sys.exit(status)
"""


def run_predict(folder: Path, *arguments: str) -> tuple[int, list[dict], str, int]:
    """Returns the exit status, the answers, standard error, and the peak memory in bytes of `predict ARGUMENTS --json`."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "JAX_COMPILATION_CACHE_DIR": jax.config.jax_compilation_cache_dir}
    starter = [sys.executable, "-c", STARTED_BY_A_SMALL_PROCESS, str(MAX_SECONDS)]
    command = [*starter, sys.executable, "-m", "seqdigits", "predict", *arguments, "--json"]
    process = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)
    peak = folder / "peak"
    assert peak.exists(), process.stderr[-3000:]  # it did not end within MAX_SECONDS
    answers = [json.loads(line) for line in process.stdout.splitlines()]
    return process.returncode, answers, process.stderr, int(peak.read_text()) * 1024


@pytest.mark.slow
def test_predict_answers_or_refuses_every_file(tmp_path, capsys):
    names = write_files(tmp_path, COUNT)
    status, answers, printed, peak = run_predict(tmp_path, *names, "--all", "--save-to", "out")
    messages = [line for line in printed.splitlines() if line.startswith("error: ")]  # libtiff prints others
    with capsys.disabled():
        print(f"\n{len(names)} files: {len(answers)} read, {len(messages)} refused; peak memory {peak / 1e6:,.0f} MB")
    assert status == 1, printed[-3000:]
    assert "Traceback" not in printed
    refused = [re.match(r"error: (\S+) ", message) for message in messages]
    assert all(refused), messages
    read = [answer["path"] for answer in answers]
    assert sorted([*read, *(found[1] for found in refused if found)]) == sorted(names)
    assert {name for name, _ in hostile()} & set(read) == {"allowed.png"}
    assert len(list((tmp_path / "out").iterdir())) == len(read)
    assert min(len(read), len(messages)) > COUNT // 5  # else the files are no test
    assert peak < MAX_MEMORY


@pytest.mark.slow
def test_pictures_of_40_megapixels_are_read_in_bounded_memory(tmp_path, capsys):
    """The same picture as a JPEG, and as PNG with transparency or 16 bits; one process reads all."""
    picture = Image.open(ROOT / "docs" / "door.jpg").resize((7320, 5490))  # 640 x 480, 11.4375 times as large
    picture.save(tmp_path / "a.jpg")
    picture.convert("RGBA").save(tmp_path / "b.png", compress_level=1)
    gray = np.asarray(picture.convert("L")).astype(np.uint16) * 257
    Image.fromarray(gray).save(tmp_path / "c.png", compress_level=1)
    status, answers, printed, peak = run_predict(tmp_path, "a.jpg", "b.png", "c.png", "--save-to", "out")
    with capsys.disabled():
        print(f"\n40 megapixels: peak memory {peak / 1e6:,.0f} MB")
    assert status == 0, printed
    assert [answer["number"] for answer in answers] == ["407"] * 3
    for answer in answers:
        small = [361.3, 159.4, 135.7, 65.2]  # docs/predict.md
        np.testing.assert_allclose(np.array(answer["box"]) / 11.4375, small, atol=3)
    assert peak < MAX_MEMORY
