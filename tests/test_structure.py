"""The imports of the package: only downward, no cycles, TensorFlow isolated, and modules that do not import JAX."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from functools import cache
from importlib import metadata
from pathlib import Path

import jax
import pytest
from conftest import ROOT

LAYERS = (
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
    "export",
    "release",
    "tuning",
    "experiments",
    "cli",
    "main",
    "__main__",
)
"""Packages, lowest layer first: each imports only from its own layer and lower ones."""

NO_JAX = (
    "seqdigits",
    "seqdigits.__main__",
    "seqdigits.main",
    "seqdigits.cli.build_backgrounds",
    "seqdigits.cli.build_glyphs",
    "seqdigits.cli.check_photos",
    "seqdigits.cli.draw_displays",
    "seqdigits.cli.find_unlabeled",
    "seqdigits.cli.paste_photos",
    "seqdigits.cli.predict",
    "seqdigits.cli.pretrained",
    "seqdigits.cli.unpack_photos",
    "seqdigits.core.app",
    "seqdigits.core.console",
    "seqdigits.core.errors",
    "seqdigits.core.files",
    "seqdigits.core.interrupt",
    "seqdigits.core.progress",
    "seqdigits.data.photos.labeled_pictures",
    "seqdigits.data.photos.picture_files",
    "seqdigits.data.photos.svhn_annotations",
    "seqdigits.data.scenes.fonts",
    "seqdigits.data.scenes.glyphs",
    "seqdigits.evaluation.answer_files",
    "seqdigits.evaluation.pictures",
    "seqdigits.evaluation.score",
    "seqdigits.evaluation.score_table",
    "seqdigits.inference.answer_lines",
    "seqdigits.inference.drawings",
    "seqdigits.inference.onnx_engine",
    "seqdigits.inference.reader",
    "seqdigits.visualization.boxes",
)
"""Modules that do not import JAX: signal handling must start before it, and some commands run without a model, or without
JAX beside an off-the-shelf engine; docs/install.md lists them."""

TENSORFLOW = {"tensorflow", "tensorflow_datasets", "tf_keras"}
DEFERRED = {
    "tensorflow",
    "tensorflow_datasets",
    "fsspec",
    "matplotlib",
    "pooch",
    "sklearn",
    "scipy",
    "h5py",
    "rich",
    "onnx",
    "optuna",
    "onnxruntime",
}
"""Libraries that may be imported inside functions: optional, or slow to import and rarely used."""

OPTIONAL = {
    "tensorflow": {"tensorflow-cpu"},
    "tensorflow_datasets": {"tensorflow-datasets"},
    "tf_keras": {"tensorflow-cpu"},
}
"""The distributions of libraries that need not be installed where the tests run."""
REQUIRED_BY_OTHERS = {"protobuf"}
"""It comes with tensorflow-datasets, whose version it must fit."""

IMPORTS_LATER = {
    "seqdigits": "seqdigits.inference.reader",
    "seqdigits.inference.reader": "seqdigits.inference.jax_engine",
    "seqdigits.export.tflite": "jax.experimental",  # jax2tf, which imports TensorFlow
}
"""Modules that import another only when it is used: the package imports fast, and the Reader runs with another engine."""


def modules() -> dict[str, Path]:
    """Path of every module of the package, by dotted name."""
    paths = {}
    for path in sorted((ROOT / "seqdigits").rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        paths[name.removesuffix(".__init__")] = path
    return paths


MODULES = modules()


@cache
def imports(name: str) -> tuple[tuple[str, int, bool], ...]:
    """All imports of a module, each as dotted name, line, and whether it is inside a function."""
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
            assert node.level == 0, f"{name}:{node.lineno} has a relative import"
            for alias in node.names:
                full_name = f"{node.module}.{alias.name}"
                found.append((full_name if full_name in MODULES else str(node.module), node.lineno, id(node) in inside))
    return tuple(found)


def layer(name: str) -> int | None:
    """Index of the layer of a module; None for the package itself."""
    parts = name.split(".")
    return LAYERS.index(parts[1]) if len(parts) > 1 else None


def test_every_package_has_a_layer():
    assert {name.split(".")[1] for name in MODULES if "." in name} == set(LAYERS)


@pytest.mark.parametrize("name", MODULES)
def test_imports_point_downward(name):
    violations = [
        f"line {line}: {imported}"
        for imported, line, _ in imports(name)
        if name != "seqdigits"  # the public face, which names what is in higher layers
        and imported in MODULES
        and layer(imported) is not None
        and layer(imported) > (layer(name) or 0)
    ]
    assert not violations


def test_imports_have_no_cycles():
    """Depth-first search over all imports, including those inside functions."""
    finished: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, f"import cycle: {' -> '.join((*path[path.index(name) :], name))}"
        if name not in finished:
            for imported, _, _ in imports(name):
                if imported in MODULES and imported != name:
                    visit(imported, (*path, name))
            finished.add(name)

    for name in MODULES:
        visit(name, ())


@pytest.mark.parametrize("name", MODULES)
def test_tensorflow_is_imported_only_by_its_modules(name):
    may_import = name.startswith(("seqdigits.data.builders", "seqdigits.data.tfdata", "seqdigits.export.tflite"))
    violations = [
        f"line {line}: {imported}" for imported, line, _ in imports(name) if imported.split(".")[0] in TENSORFLOW
    ]
    assert may_import or not violations
    wrappers = ("seqdigits.data.builders", "seqdigits.data.tfdata")
    at_top = [
        f"line {line}: {imported}"
        for imported, line, is_inside in imports(name)
        if imported.startswith(wrappers) and not is_inside
    ]
    assert may_import or not at_top


@pytest.mark.parametrize("name", [name for name in MODULES if not name.startswith("seqdigits.cli")])
def test_imports_are_at_the_top_of_modules(name):
    violations = [
        f"line {line}: {imported}"
        for imported, line, is_inside in imports(name)
        if is_inside
        and imported.split(".")[0] not in DEFERRED
        and not imported.startswith(("seqdigits.data.builders", "seqdigits.data.tfdata"))
        and not imported.startswith(IMPORTS_LATER.get(name, "-"))
    ]
    assert not violations


def test_modules_import_without_jax():
    code = f"import sys; sys.modules['jax'] = None\nfor name in {NO_JAX}: __import__(name)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_imported_library_is_declared():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [project["optional-dependencies"][name] for name in ("stream", "cloud", "export", "tune")]
    lines = [*project["dependencies"], *(line for extra in extras for line in extra)]
    declared = {line[: re.search(r"[^\w-]", line).start()] for line in lines}
    distributions = metadata.packages_distributions()
    imported = {library.partition(".")[0] for name in MODULES for library, _, _ in imports(name)}
    for library in sorted(imported - sys.stdlib_module_names - {"seqdigits"}):
        names = {name.lower().replace("_", "-") for name in distributions.get(library, [])}
        assert (names or OPTIONAL[library]) & {*declared, *REQUIRED_BY_OTHERS}, f"{library} of {names}"


def test_training_needs_no_optional_dependency(tmp_path):
    """Training, evaluation and reproduce run without the libraries that accelerator machines may lack."""
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
