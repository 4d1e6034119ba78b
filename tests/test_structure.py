"""The imports of the package: downward only, no circles, TensorFlow behind its wall, and what must start without JAX."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import jax
import pytest
from conftest import ROOT

FLOORS = (
    "core",
    "config",
    "parallel",
    "metrics",
    "decoding",
    "visualization",
    "checkpoint",
    "optim",
    "data",
    "models",
    "config_checks",
    "inspection",
    "inference",
    "evaluation",
    "training",
    "release",
    "experiments",
    "cli",
    "main",
    "__main__",
)
"""Packages, lowest first: each imports only from its own floor and those before it."""

NO_JAX = (
    "seqdigits",
    "seqdigits.__main__",
    "seqdigits.main",
    "seqdigits.core.app",
    "seqdigits.core.console",
    "seqdigits.core.errors",
    "seqdigits.core.files",
    "seqdigits.core.interrupt",
    "seqdigits.core.progress",
    "seqdigits.data.photos.svhn_annotations",
    "seqdigits.data.scenes.fonts",
    "seqdigits.data.scenes.glyphs",
)
"""Modules that start without JAX: what installs signals before it is imported, and what people run without a model."""

TENSORFLOW = {"tensorflow", "tensorflow_datasets", "tf_keras"}
INSIDE = {"tensorflow", "tensorflow_datasets", "matplotlib", "pooch", "sklearn", "scipy", "h5py", "tqdm", "rich"}
"""What may be imported inside a function: optional, or slow to import and needed by few."""


def modules() -> dict[str, Path]:
    """Every module of the package by dotted name."""
    found = {}
    for path in sorted((ROOT / "seqdigits").rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        found[name.removesuffix(".__init__")] = path
    return found


MODULES = modules()


@cache
def imports(name: str) -> tuple[tuple[str, int, bool], ...]:
    """What a module imports, inside functions too: dotted name, line, whether inside a function."""
    found = []
    tree = ast.parse(MODULES[name].read_text())
    inside = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(alias.name, node.lineno, id(node) in inside) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}:{node.lineno} imports relative to itself"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                found.append((whole if whole in MODULES else str(node.module), node.lineno, id(node) in inside))
    return tuple(found)


def floor(name: str) -> int | None:
    """The floor of a module; None of the package itself."""
    parts = name.split(".")
    return FLOORS.index(parts[1]) if len(parts) > 1 else None


def test_every_package_has_a_floor():
    assert {name.split(".")[1] for name in MODULES if "." in name} == set(FLOORS)


@pytest.mark.parametrize("name", MODULES)
def test_imports_run_downward(name):
    wrong = [
        f"line {line}: {imported}"
        for imported, line, _ in imports(name)
        if imported in MODULES and floor(imported) is not None and floor(imported) > (floor(name) or 0)
    ]
    assert not wrong


def test_imports_have_no_circles():
    """Depth first over the modules, imports inside functions too."""
    finished: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, f"a circle of imports: {' -> '.join((*path[path.index(name) :], name))}"
        if name not in finished:
            for imported, _, _ in imports(name):
                if imported in MODULES and imported != name:
                    visit(imported, (*path, name))
            finished.add(name)

    for name in MODULES:
        visit(name, ())


@pytest.mark.parametrize("name", MODULES)
def test_tensorflow_stays_behind_its_wall(name):
    behind = name.startswith(("seqdigits.data.builders", "seqdigits.data.tfdata"))
    wrong = [f"line {line}: {imported}" for imported, line, _ in imports(name) if imported.split(".")[0] in TENSORFLOW]
    assert behind or not wrong
    through = ("seqdigits.data.builders", "seqdigits.data.tfdata")
    at_top = [
        f"line {line}: {imported}"
        for imported, line, is_inside in imports(name)
        if imported.startswith(through) and not is_inside
    ]
    assert behind or not at_top


@pytest.mark.parametrize("name", [name for name in MODULES if not name.startswith("seqdigits.cli")])
def test_imports_stand_at_the_top(name):
    wrong = [
        f"line {line}: {imported}"
        for imported, line, is_inside in imports(name)
        if is_inside
        and imported.split(".")[0] not in INSIDE
        and not imported.startswith(("seqdigits.data.builders", "seqdigits.data.tfdata"))
    ]
    assert not wrong


def test_what_starts_without_jax():
    code = f"import sys; sys.modules['jax'] = None\nfor name in {NO_JAX}: __import__(name)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_bare_machine_trains_two_steps(tmp_path):
    """Training, evaluation and reproduce import nothing that an accelerator machine does not have."""
    code = """
import sys
for name in ("pooch", "matplotlib", "tensorflow", "tensorflow_datasets", "tqdm", "jinja2"):
    sys.modules[name] = None
import seqdigits.cli.reproduce
from conftest import SMALL
from seqdigits.config import base_config
from seqdigits.training.loop import train_and_evaluate
config = base_config()
config.update_from_flattened_dict(SMALL | {"train.steps": 2})
assert int(train_and_evaluate(config, sys.argv[1]).step) == 2
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        cwd=ROOT / "tests",
        env={**os.environ, "PYTHONPATH": str(ROOT), "JAX_COMPILATION_CACHE_DIR": jax.config.jax_compilation_cache_dir},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
