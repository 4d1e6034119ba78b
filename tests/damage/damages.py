"""The ways in which the tests of this folder damage a file, and the table of what was found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np


def flip(path: Path, other: Path) -> None:
    """Flips one bit in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def truncate(path: Path, other: Path) -> None:
    """Cuts off the second half of a file."""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def delete(path: Path, other: Path) -> None:
    path.unlink()


def swap(path: Path, other: Path) -> None:
    """Exchanges the contents of two files."""
    content = path.read_bytes()
    path.write_bytes(other.read_bytes())
    other.write_bytes(content)


def empty(path: Path, other: Path) -> None:
    path.write_bytes(b"")


DAMAGES: dict[str, Callable[[Path, Path], None]] = {
    "flip": flip,
    "truncate": truncate,
    "delete": delete,
    "swap": swap,
    "empty": empty,
}


def files_of(folder: Path) -> list[str]:
    """The files of a folder and its subfolders, as relative paths in order."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


class Matrix:
    """Counts the cells of a matrix of damages; prints one line for each damage."""

    def __init__(self, subject: str):
        self._subject = subject
        self._tried: Counter[str] = Counter()
        self._found: Counter[str] = Counter()
        self._missed: list[str] = []

    def add(self, damage: str, file: str, found: object) -> None:
        self._tried[damage] += 1
        if found:
            self._found[damage] += 1
        else:
            self._missed.append(f"{damage} {file}")

    def report(self, capsys) -> None:
        """Prints the table, and fails if a cell was missed."""
        with capsys.disabled():
            print()
            for damage, tried in self._tried.items():
                print(f"| {self._subject} | {damage} | {tried} | {self._found[damage]} |")
            print(f"{self._subject}: {self._tried.total()} cells tried, {self._found.total()} as expected")
        assert not self._missed, self._missed


def fingerprint(tree) -> list[bytes]:
    """The bits of all leaves of a tree of arrays."""
    import jax

    return [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(tree)]
