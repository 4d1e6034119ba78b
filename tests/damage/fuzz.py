"""Damages files of every kind that the program reads, at random but always the same:

`PYTHONPATH=. python tests/damage/fuzz.py --count 500`

Each file must be refused with a UserError, or give the same content. Files without any checksum (`PLAIN`) may also give
another valid content: text that users edit, JPEG, annotations outside of their archive. All else fails: another exception,
another content, a crash of the process, more memory than MAX_MEMORY. The last line has the counts.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import random
import resource
import shutil
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

sys.path.append(str(Path(__file__).resolve().parents[1] / "data" / "photos"))

import jax.numpy as jnp
import numpy as np
import test_svhn
from PIL import Image

from seqdigits.checkpoint import pretrained, weights
from seqdigits.checkpoint.layout import load_raw
from seqdigits.checkpoint.manager import Checkpoints
from seqdigits.core import files as core_files
from seqdigits.core import provenance
from seqdigits.core.errors import UserError
from seqdigits.data import manifest as data_manifest
from seqdigits.data.photos import backgrounds, folder, picture_files, svhn, svhn_annotations
from seqdigits.data.photos.labeled_pictures import labeled_pictures
from seqdigits.data.scenes import glyphs
from seqdigits.evaluation.stages import read_boxes
from seqdigits.experiments import report

ROOT = Path(__file__).resolve().parents[2]
MAX_MEMORY = 1_500_000_000
"""Bytes of data of the process, JAX included; Linux refuses more."""


class Subject(NamedTuple):
    """A kind of file.

    Attributes:
      name: for the table.
      make: writes intact files into a folder, and returns those to damage.
      read: reads the folder as the program does, and returns the content.
    """

    name: str
    make: Callable[[Path], list[Path]]
    read: Callable[[Path], Any]


def picture(seed: int, size: tuple[int, int] = (40, 30)) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8))


def make_archive(at: Path) -> list[Path]:
    test_svhn.write_part(at, "train", test_svhn.TRAIN)
    return [test_svhn.pack(at, "train")]


def make_unpacked(at: Path) -> list[Path]:
    test_svhn.write_part(at, "train", test_svhn.TRAIN)
    return sorted((at / "svhn_numbers" / "train").iterdir())


def read_svhn(at: Path) -> Any:
    svhn.PHOTOGRAPHS["tiny"] = test_svhn.TINY  # type: ignore[index]
    svhn.read_annotations.cache_clear()
    return [test_svhn.load(at, split) for split in ("train", "validation")]


def make_annotations(at: Path) -> list[Path]:
    test_svhn.write_mat(at / "digitStruct.mat", test_svhn.TRAIN)
    return [at / "digitStruct.mat"]


def make_folder(suffix: str) -> Callable[[Path], list[Path]]:
    def make(at: Path) -> list[Path]:
        for i in range(3):
            picture(i).save(at / f"{i}.{suffix}")
        lines = ["image,number,boxes,split", *(f"{i}.{suffix},4{i},1 2 9 12;12 2 9 12,train" for i in range(3))]
        (at / "labels.csv").write_text("\n".join(lines) + "\n")
        return sorted(at.iterdir())

    return make


def read_folder(at: Path) -> Any:
    labels = [(row.path.name, row.number, row.boxes) for row in labeled_pictures(at)]
    split = folder.load(at, "train", kind="crop", height=16, width=32, gray=False, max_length=2)
    return labels, split


def make_picture(suffix: str) -> Callable[[Path], list[Path]]:
    def make(at: Path) -> list[Path]:
        picture(5).save(at / f"picture.{suffix}")
        return [at / f"picture.{suffix}"]

    return make


def read_picture(at: Path) -> Any:
    (path,) = at.iterdir()
    return np.asarray(picture_files.open_picture(path, formats=None))


def make_records(at: Path) -> list[Path]:
    shards = []
    for i, split in enumerate(("train", "test")):
        path = at / f"d-{split}.tfrecord-00000-of-00001"
        path.write_bytes(bytes(range(100 + i)) * 3)
        shards.append(data_manifest.Shard(path.name, split, 5, path.stat().st_size, core_files.sha256(path)))
    data_manifest.write_manifest(at, shards, {"name": "d"})
    data_manifest.open_records(at)
    return sorted(at.iterdir())


def read_records(at: Path) -> Any:
    shards = data_manifest.open_records(at)
    return shards, [(at / shard.name).read_bytes() for shard in shards]


def make_weights(at: Path) -> list[Path]:
    variables = {
        "params": {"conv": {"kernel": np.arange(600.0, dtype=np.float32)}},
        "batch_stats": {},
        "input_stats": {},
    }
    weights.save(at / "small.npz", variables, {"step": 4, "config": {"model": {"name": "x"}, "data": {}}})
    return [at / "small.npz"]


def make_checkpoint(at: Path) -> list[Path]:
    checkpoints = Checkpoints(at)
    checkpoints.save(2, {"kernel": jnp.arange(300.0)}, {"step": 2, "best": None, "config": {}})
    checkpoints.close()
    return sorted(path for path in (at / "checkpoints" / "2").rglob("*") if path.is_file())


def make_shipped(at: Path) -> list[Path]:
    names = ("handwriting.npz", "handwriting.json", pretrained.SUMS)
    return [Path(shutil.copy(SHIPPED / name, at)) for name in names]


SHIPPED = pretrained.FOLDER


def read_shipped(at: Path) -> Any:
    pretrained.FOLDER = at  # type: ignore[misc]
    try:
        return pretrained.path("handwriting").read_bytes(), pretrained.facts("handwriting")
    finally:
        pretrained.FOLDER = SHIPPED  # type: ignore[misc]


def make_glyphs(at: Path) -> list[Path]:
    (at / "glyphs.npz").write_bytes(glyphs.FILE.read_bytes())
    return [at / "glyphs.npz"]


def read_glyphs(at: Path) -> Any:
    shipped = glyphs.FILE
    glyphs.FILE = at / "glyphs.npz"
    glyphs._read.cache_clear()
    try:
        return list(glyphs.load("test")), glyphs.faces()
    finally:
        glyphs.FILE = shipped
        glyphs._read.cache_clear()


def make_backgrounds(at: Path) -> list[Path]:
    entries = [
        backgrounds.Entry(name, "mate-backgrounds", "1", "CC0-1.0", picture(i, (64, 48)))
        for i, name in enumerate(("Dune", "Wood", "TwoWings"))
    ]
    (at / "backgrounds.jpg").write_bytes(backgrounds.encode(entries))
    return [at / "backgrounds.jpg"]


def make_json(at: Path) -> list[Path]:
    boxes = [{"filename": "a.png", "boxes": [{"left": 1, "top": 2, "width": 3, "height": 4}]}]
    (at / "boxes.json").write_text(json.dumps(boxes))
    entry = {"step": 0, "steps_per_call": 1, "commit": None, "devices": ["cpu"]}
    (at / "provenance.json").write_text(json.dumps([entry]))
    return sorted(at.iterdir())


def make_result(at: Path) -> list[Path]:
    smallest = min((ROOT / "results").glob("*.json"), key=lambda path: path.stat().st_size)
    return [Path(shutil.copy(smallest, at))]


SUBJECTS = (
    Subject("SVHN archive", make_archive, read_svhn),
    Subject("SVHN unpacked", make_unpacked, read_svhn),
    Subject("annotations", make_annotations, lambda at: svhn_annotations.read(at / "digitStruct.mat")),
    Subject("labels.csv and PNG", make_folder("png"), read_folder),
    Subject("labels.csv and JPEG", make_folder("jpg"), read_folder),
    *(
        Subject(f"picture .{suffix}", make_picture(suffix), read_picture)
        for suffix in ("png", "gif", "tif", "webp", "bmp", "ppm")
    ),
    Subject("records", make_records, read_records),
    Subject("weights", make_weights, lambda at: weights.load(at / "small.npz")),
    Subject("shipped weights", make_shipped, read_shipped),
    Subject("checkpoint", make_checkpoint, lambda at: load_raw(at / "checkpoints" / "2")),
    Subject("glyphs", make_glyphs, read_glyphs),
    Subject("backgrounds", make_backgrounds, lambda at: backgrounds.load(at / "backgrounds.jpg", "train")),
    Subject("boxes, provenance", make_json, lambda at: (read_boxes(at / "boxes.json"), provenance.read(at))),
    Subject("result", make_result, lambda at: report.text(report.load_results(at))),
)

PLAIN = ("labels.csv", ".jpg", ".gif", ".tif", ".webp", ".bmp", ".ppm", ".mat", "boxes.json", "provenance.json")
"""Ends of the names of files without a checksum, whose content may change to another valid one."""


def mutate(content: bytes, rng: random.Random) -> tuple[str, bytes]:
    """Returns the name of a damage, and the damaged content."""
    data = bytearray(content)
    at, size = rng.randrange(len(data)), rng.choice((1, 4, 16, 200))
    kind = rng.choice(
        ("bit", "bit", "bit", "bytes", "ones", "zeros", "cut", "grown", "removed", "doubled", "moved", "other")
    )
    if kind == "bit":
        data[at] ^= 1 << rng.randrange(8)
    elif kind == "bytes":
        data[at : at + size] = rng.randbytes(len(data[at : at + size]))
    elif kind in ("ones", "zeros"):  # huge and empty sizes
        data[at : at + 8] = (b"\xff" if kind == "ones" else b"\0") * len(data[at : at + 8])
    elif kind == "cut":
        del data[at:]
    elif kind == "grown":
        data += rng.randbytes(size)
    elif kind == "removed":
        del data[at : at + size]
    elif kind == "doubled":
        data[at:at] = data[at : at + size]
    elif kind == "moved":
        part = data[at : at + size]
        del data[at : at + size]
        to = rng.randrange(len(data) + 1)
        data[to:to] = part
    else:
        data[:] = rng.randbytes(rng.choice((0, 1, 100, 10_000)))
    return kind, bytes(data)


def digest(value: Any, into: Any = None) -> str:
    """Returns the SHA-256 of a content: nested containers of arrays and plain values."""
    into = into or hashlib.sha256()
    if isinstance(value, dict):
        for key in sorted(value):
            into.update(str(key).encode())
            digest(value[key], into)
    elif isinstance(value, list | tuple):
        into.update(b"[%d" % len(value))
        for one in value:
            digest(one, into)
    elif isinstance(value, np.ndarray):
        into.update(f"{value.shape} {value.dtype}".encode() + value.tobytes())
    else:
        into.update(repr(value).encode())
    return into.hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    outcomes: dict[str, Counter[str]] = {subject.name: Counter() for subject in SUBJECTS}
    failures = []
    with tempfile.TemporaryDirectory() as scratch:
        at = Path(scratch)
        intact: dict[str, tuple[list[Path], str]] = {}
        for i, subject in enumerate(SUBJECTS):
            (at / f"{i}").mkdir()
            targets = subject.make(at / f"{i}")
            intact[subject.name] = targets, digest(subject.read(at / f"{i}"))
        resource.setrlimit(resource.RLIMIT_DATA, (MAX_MEMORY, MAX_MEMORY))
        for number in range(arguments.count):
            i = number % len(SUBJECTS)
            subject, rng = SUBJECTS[i], random.Random(f"{arguments.seed} {number}")
            targets, expected = intact[subject.name]
            target = targets[number // len(SUBJECTS) % len(targets)]
            content = target.read_bytes()
            kind, damaged = mutate(content, rng)
            target.write_bytes(damaged)
            where = f"{number}: {subject.name}, {target.name}, {kind}"
            print(where, file=sys.stderr, flush=True)  # the last one, if the process crashes
            try:
                with redirect_stdout(io.StringIO()):
                    found = digest(subject.read(at / f"{i}"))
                outcome = "same"
                if found != expected:
                    outcome = "valid" if target.name.endswith(PLAIN) or subject.name == "result" else "changed"
            except UserError as e:
                outcome = "refused" if str(at) in str(e) else "nameless"
            except Exception:
                outcome = "crash"
                traceback.print_exc()
            if outcome in ("crash", "changed", "nameless"):
                failures.append(f"{where}: {outcome}")
            outcomes[subject.name][outcome] += 1
            target.write_bytes(content)
    for name, counts in outcomes.items():
        print(f"| {name} | {counts.total()} | {counts['refused']} | {counts['same']} | {counts['valid']} |")
    print(*failures, sep="\n", end="\n" if failures else "")
    total = sum(outcomes.values(), Counter())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1000
    print(
        f"{total.total()} files damaged: {total['refused']} refused, {total['same']} the same content, {total['valid']} another "
        f"valid content (files without checksums), {len(failures)} failures; peak memory {peak:,} MB"
    )
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
