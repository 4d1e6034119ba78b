"""Golden SHA-256 hashes of the examples of synthetic data sets, and the functions that compute them."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable

import jax
import numpy as np

from seqdigits.core.types import Batch
from seqdigits.data import digits
from seqdigits.data.source import DataSource

KEY = jax.random.key(7)


@functools.cache
def split_arrays(name: str, split: str, folder: str) -> dict[str, np.ndarray]:
    images, labels = digits.load(name, split, validation=0, folder=folder, url="")
    return {"images": images, "labels": labels}


def make(source: DataSource, arrays: dict, index, position=None, train: bool = False, key=KEY) -> Batch:
    """Returns a batch as numpy arrays, made by the compiled function."""
    host_batch = {"index": np.asarray(index, np.int32)}
    host_batch["position"] = np.asarray(index if position is None else position, np.int32)
    return jax.device_get(compiled(source)(arrays, host_batch, key, train))


@functools.cache
def compiled(source: DataSource) -> Callable[..., Batch]:
    return jax.jit(source.make, static_argnums=3)


def digest(batch: Batch) -> str:
    """Returns the SHA-256 over the image u8, digits i32 and boxes f32 (little-endian) of each example in turn."""
    sha = hashlib.sha256()
    for image, digits_, boxes in zip(batch.image, batch.digits, batch.boxes, strict=True):
        assert (image.dtype, digits_.dtype, boxes.dtype) == (np.uint8, np.int32, np.float32)
        sha.update(image.tobytes() + digits_.astype("<i4").tobytes() + boxes.astype("<f4").tobytes())
    return sha.hexdigest()


def layout(height: int, width: int, min_length: int, max_length: int) -> dict[str, int]:
    return {
        "data.height": height,
        "data.width": width,
        "data.min_length": min_length,
        "data.max_length": max_length,
        "data.train_examples": 100,
        "data.validation_examples": 100,
        "data.test_examples": 100,
    }


GOLDEN_CONFIGS = {
    "digit": ("test", {"data.composition": "digit", "data.min_length": 1, "data.max_length": 1}),
    "strip of 5": ("test", layout(28, 140, 5, 5)),
    "canvas of 5": ("test", layout(128, 256, 5, 5)),
    "canvas of 5, train": ("train", layout(128, 256, 5, 5)),
    "canvas of 5, validation": ("validation", layout(128, 256, 5, 5)),
    "canvas of 1 to 5": ("test", layout(128, 256, 1, 5)),
    "small canvas of 1 to 3": ("test", layout(64, 128, 1, 3)),
    "endless canvas of 5": ("train", layout(128, 256, 5, 5) | {"data.train_examples": 0}),
    "scattered 1 to 3": ("test", layout(100, 100, 1, 3) | {"data.scattered": True}),
    "rotated 4": ("test", layout(64, 208, 4, 4) | {"data.composition": "rotated", "data.jitter": 4}),
    "rotated 1 to 4, stacked": (
        "train",
        layout(208, 64, 1, 4) | {"data.composition": "rotated", "data.jitter": 99, "data.stacked": True},
    ),
    "centered 1 to 5": ("test", layout(64, 64, 1, 5) | {"data.composition": "centered"}),
}


GOLDEN = {
    ("uci", "digit"): "5b84ea4f97d5d9ed9a2e6ac6271386feb5227a51d9ebb94e78b11005499ebf53",
    ("uci", "strip of 5"): "32c9b2ac6c98d96ff2a8833a19daa5b27c142db6172c6310a2becc73d33a4334",
    ("uci", "canvas of 5"): "ea675a85d9a48992bae44c9a840f4c3aa131c73e5453364173275861e9ea7aef",
    ("uci", "canvas of 5, train"): "b907058fac4797d8d30d06c551b056a4e94a9fbf9af2e128e09b9c133719927b",
    ("uci", "canvas of 5, validation"): "f23a308336d75ec39939f6002373ffedbab2562f3ac8812aa113026b217321de",
    ("uci", "canvas of 1 to 5"): "d7d090a7ce94341c5db21a20184620624e6b9746ae8ddc73f724abee600fe90e",
    ("uci", "small canvas of 1 to 3"): "3230e965ac6e66559f3f88dcc7d17c5561bb58d65a648def84b9deb9f0a63723",
    ("uci", "endless canvas of 5"): "8cc3b5c54ce5d279f75a8804f89529aac3076ac18e602659426d5200dde11d3a",
    ("mnist", "digit"): "e20d8790226919eb483d19fd7b6fb5b770a76451a469c28f336802f6c9f829f3",
    ("mnist", "strip of 5"): "497af40d53b5d4cfc7d70f33dbf63ba1a71313d7969972432cf10177aca8e6c7",
    ("mnist", "canvas of 5"): "6f66160f3a3ddbd7ec9de63b71bca9166d768e0bab12ac936ceb390c6d9a98f3",
    ("mnist", "canvas of 5, train"): "2fbda43632bd3f406c1ccab4e22ed5b308a25b3b231f06ba0788dfdc61051935",
    ("mnist", "canvas of 5, validation"): "bb6075a47d4798e2910dc056d6768a6b2eaaec2dc8dcdf79df599134afaadf4d",
    ("mnist", "canvas of 1 to 5"): "0f6ccc593a8475dfdb6697b8f97248898bc461b48f398a85e366597e87f4f1b8",
    ("mnist", "small canvas of 1 to 3"): "8894414d9a38c7b6f53b93a37a35ba063905b1962c6e6d535d84c80a7b800624",
    ("mnist", "endless canvas of 5"): "488f395c919051525504d827c1248bb0bd33c84ac42c099e47f37292d8b96ed5",
    ("uci", "scattered 1 to 3"): "37b01fb0aa1370364091543f021614d0226848c35674b8a9f9ea7441200364e2",
    ("mnist", "scattered 1 to 3"): "64fdf1a9fe738256988be1ce3ad84cc655249d60fa6344cffaab247497dc6fef",
    ("uci", "rotated 4"): "0e2e685022e76a62d648fb58a2e9ed37be437f56a2e7b5de0a5c2d221c5e15c7",
    ("uci", "rotated 1 to 4, stacked"): "d545fbf959b301690f375f8077ea637ee3778a512905191065fc8d9cc907332c",
    ("uci", "centered 1 to 5"): "bfba68e9c7de1d1915dd2e3ef38e8283e90d9d6a2bac07347333c5cfc3a39fa4",
    ("mnist", "rotated 4"): "381ca3fc6fc6d6366033a71f3a4d37c252e31b7c2036d40ca058d3d761290145",
    ("mnist", "rotated 1 to 4, stacked"): "57343a12b915fadd97ac584c4718d66ec62b8c53fa112ead1c6a5cf133493e55",
    ("mnist", "centered 1 to 5"): "6866f5bb5637e058c55001abb5d52009511df58ca660455934d4038f0f86376a",
}
