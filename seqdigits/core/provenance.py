"""Provenance of results: versions, commit, devices, command."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import jax

from seqdigits.core.errors import UserError, short
from seqdigits.core.files import write_atomically

_FILE = "provenance.json"

_PACKAGES = ("seqdigits", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "clu", "ml-collections")


def describe() -> dict[str, Any]:
    """Returns the commit, the command, the devices and the versions of this process."""
    return {
        "commit": commit(),
        "command": sys.argv,
        "devices": [f"{d.platform} {d.device_kind}" for d in jax.devices()],
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in _PACKAGES},
    }


def record(workdir: Path, step: int, steps_per_call: int) -> None:
    """Appends an entry to the list in `W/provenance.json`: what trains the run from this step on.

    Entries of this step or later ones are replaced, because the run was resumed before them.

    Args:
      workdir: W.
      step: the step that the run starts or resumes from.
      steps_per_call: train.steps_per_call.
    """
    path = workdir / _FILE
    try:
        earlier = [entry for entry in read(workdir) if entry["step"] < step] if path.exists() else []
    except UserError as e:
        copy = path.with_name(f"damaged-{path.name}")
        os.replace(path, copy)
        print(f"{e}\n-> moved to {copy}; what trained the steps before {step:,} is not recorded", flush=True)
        earlier = []
    write_atomically(
        path, json.dumps([*earlier, {"step": step, "steps_per_call": steps_per_call, **describe()}], indent=2)
    )


def read(workdir: Path) -> list[dict[str, Any]]:
    """Returns the entries of `W/provenance.json`, first to last.

    Raises:
      UserError: the file is missing or damaged.
    """
    path = workdir / _FILE
    try:
        entries = json.loads(path.read_text())
        for entry in entries:
            if not (isinstance(entry["step"], int) and {"commit", "devices"} <= entry.keys()):
                raise ValueError("an entry has no step, commit or devices")
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as e:
        raise UserError(
            f"{path} is missing or damaged: {short(e)}. Restore it from a copy of the workdir, or train again."
        ) from e
    return entries


def commit() -> str | None:
    """Returns the commit of this source tree; None where it is unknown.

    "+" is appended where files outside results/ differ from the commit. $SEQDIGITS_COMMIT overrides it, for
    machines without the repository.
    """
    named = os.environ.get("SEQDIGITS_COMMIT")
    if named:
        return named
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return None
    try:
        run = {"cwd": root, "capture_output": True, "text": True, "check": True}
        head = subprocess.run(["git", "rev-parse", "HEAD"], **run).stdout.strip()  # type: ignore[call-overload]
        changed = subprocess.run(["git", "status", "--porcelain", ":(exclude)results"], **run).stdout.strip()  # type: ignore[call-overload]
    except (OSError, subprocess.CalledProcessError):
        return None
    return head + ("+" if changed else "")


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
