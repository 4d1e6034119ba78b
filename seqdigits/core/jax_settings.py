"""The settings of JAX that all commands share."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import jax
from absl import logging

from seqdigits.core.memory import keep_freed_memory


def prepare_jax() -> None:
    """Configures JAX: caches compiled programs on disk, so that later starts are fast, keeps freed memory, and logs errors only.

    The cache is in $JAX_COMPILATION_CACHE_DIR, or else in ~/.cache/seqdigits/compiled.
    """
    logging.set_verbosity(logging.ERROR)
    keep_freed_memory()
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        with contextlib.suppress(RuntimeError):  # without a home folder nothing is cached
            jax.config.update("jax_compilation_cache_dir", str(Path("~/.cache/seqdigits/compiled").expanduser()))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
