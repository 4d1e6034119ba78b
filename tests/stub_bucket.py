"""A stub of a bucket: an fsspec file system that is not local, with the schemes gs and s3."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import fsspec
from fsspec.registry import _registry  # the public name is read-only


class StubBucket(fsspec.AbstractFileSystem):
    """Serves the files of a folder; buckets are its subfolders."""

    protocol = ("gs", "s3")
    cachable = False
    root: ClassVar[Path]
    opened: ClassVar[list[str]] = []
    """The path of every file that was opened."""
    spoil: ClassVar[Callable[[str, bytes], bytes]]
    """Maps a path and its content to what is delivered; it may raise."""

    def _open(self, path: str, mode: str = "rb", **kwargs: Any) -> io.BytesIO:
        assert mode == "rb"
        assert kwargs["cache_type"] == "none"
        self.opened.append(path)
        return io.BytesIO(type(self).spoil(path, (self.root / path).read_bytes()))


def install(root: Path, seconds_per_file: float = 0.0) -> type[StubBucket]:
    """Registers the stub for gs:// and s3://."""

    def delayed(path: str, content: bytes) -> bytes:
        time.sleep(seconds_per_file)
        return content

    StubBucket.root, StubBucket.spoil = root, staticmethod(delayed)
    StubBucket.opened.clear()
    for scheme in StubBucket.protocol:
        _registry[scheme] = StubBucket
    return StubBucket


def uninstall() -> None:
    for scheme in StubBucket.protocol:
        _registry.pop(scheme, None)
