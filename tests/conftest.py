"""Shared by the tests: the device, the cache of compiled programs, the data folders, and a small config."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Tests compile a lot and compute little, so optimizations of LLVM cost more time than they save. `production_compiler` enables
# them where exact bits are compared. Processes that tests start inherit this.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")

# Shells start commands in the background with Ctrl-C ignored, which the processes of tests would inherit.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

import jax
import pytest
from ml_collections import ConfigDict

from seqdigits.config.defaults import base_config
from seqdigits.config.registry import load_config
from seqdigits.core.interrupt import Stop
from seqdigits.data.photos.crop import PHOTO_COMPOSITIONS

jax.config.update("jax_compilation_cache_dir", str(Path("~/.cache/seqdigits/test-compiled").expanduser()))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)

ROOT = Path(__file__).resolve().parent.parent

SMALL = {
    "data.digits": "uci",
    "data.composition": "canvas",
    "data.height": 32,
    "data.width": 96,
    "data.min_length": 1,
    "data.max_length": 3,
    "data.train_examples": 200,
    "data.validation_examples": 40,
    "data.test_examples": 40,
    "model.name": "dense_detector",
    "model.encoder": "conv 5x5x8 /2, norm, relu, conv 3x3x8 /2, norm, relu, conv 3x3x16 /2, relu",
    "loss.cells": 1.0,
    "loss.cell_boxes": 1.0,
    "train.batch_size": 8,
    "train.steps": 4,
    "train.log_every": 2,
    "train.checkpoint_every": 2,
    "evaluate.every": 2,
    "evaluate.batch_size": 16,
    "evaluate.examples": 0,
    "evaluate.curves": (),
}


class StopAfter(Stop):
    """A stop that is set once it has been checked a given number of times."""

    def __init__(self, checks: int):
        super().__init__()
        self.checks = checks

    def is_set(self) -> bool:
        """Counts this check."""
        self.checks -= 1
        return self.checks < 0


@contextlib.contextmanager
def production_compiler() -> Iterator[None]:
    """Compiles with all optimizations, as outside of tests; a context manager and a decorator."""
    jax.clear_caches()  # the caches do not distinguish programs by their optimizations
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", False)
    try:
        yield
    finally:
        jax.config.update("jax_disable_most_optimizations", before)
        jax.clear_caches()


@pytest.fixture(scope="module", autouse=True)
def freed_programs() -> Iterator[None]:
    """Frees the compiled programs of each test file, which would add up to gigabytes."""
    yield
    jax.clear_caches()
    gc.collect()
    if sys.platform == "linux":
        ctypes.CDLL("libc.so.6").malloc_trim(0)  # glibc would keep gigabytes of freed memory


@pytest.fixture(scope="session")
def small_config() -> Callable[[dict[str, Any] | None], ConfigDict]:
    """`small_config({"data.width": 64})`: a config that is small enough for tests, with overrides by dotted key."""

    def make(overrides: dict[str, Any] | None = None) -> ConfigDict:
        overrides = overrides or {}
        kind = overrides.get("data.composition")
        unread = {"data.validation_examples", "data.test_examples"} if kind in (*PHOTO_COMPOSITIONS, "digit") else set()
        if unread and not overrides.get("data.half_scenes"):
            unread.add("data.train_examples")
        if kind == "digit":
            unread |= {"data.height", "data.width"}
        config = base_config()
        config.update_from_flattened_dict({k: v for k, v in SMALL.items() if k not in unread} | overrides)
        return config

    return make


@pytest.fixture(scope="session")
def experiment() -> Callable[[str], ConfigDict]:
    """`experiment("quickstart")`: the config of a file in configs/."""
    return load_config


@pytest.fixture(scope="session")
def mnist_folder() -> Path:
    """The data folder, with MNIST in its subfolder `mnist`; the test is skipped if it is missing."""
    folder = ROOT / Path(os.environ.get("SEQDIGITS_DATA") or "../shared/data").expanduser()
    if not (folder / "mnist" / "train-images-idx3-ubyte.gz").exists():
        pytest.skip(f"no MNIST in {folder}/mnist; set SEQDIGITS_DATA to its parent folder")
    return folder


@pytest.fixture(scope="session")
def svhn_folder() -> Path:
    """The data folder, with SVHN in its subfolder `svhn_numbers`; the test is skipped if it is missing."""
    folder = ROOT / Path(os.environ.get("SEQDIGITS_DATA") or "../shared/data").expanduser()
    if not (folder / "svhn_numbers").exists():
        pytest.skip(f"no SVHN in {folder}/svhn_numbers; set SEQDIGITS_DATA to its parent folder")
    return folder
