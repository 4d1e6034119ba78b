"""The wheel and the sdist: their files and metadata, and commands of an installation outside of the tree."""

from __future__ import annotations

import email
import email.message
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import jax
import pytest
from conftest import ROOT
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import seqdigits
from seqdigits.config.registry import config_names

SOURCES = (
    "pyproject.toml",
    "MANIFEST.in",
    "README.md",
    "PACKAGE.md",
    "LICENSE",
    "CHANGELOG.md",
    "CITATION.cff",
    "Makefile",
)
FOLDERS = ("docs", "launch")


def packaged_files() -> dict[str, str]:
    """The path in the wheel of every file of the package, by its path in the tree."""
    files = [path.relative_to(ROOT) for name in ("seqdigits", "configs") for path in (ROOT / name).rglob("*")]
    return {
        str(path): str("seqdigits" / path if path.parts[0] == "configs" else path)
        for path in files
        if (ROOT / path).is_file() and not any(part == "__pycache__" or part.startswith(".") for part in path.parts)
    }


def run(command: list[str | Path], cwd: Path) -> str:
    """Runs a command without the tree on its path; returns its standard output."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    env["JAX_COMPILATION_CACHE_DIR"] = jax.config.jax_compilation_cache_dir
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


class Built(NamedTuple):
    wheel: Path
    sdist: Path


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The wheel, built from the sdist, which is built from a copy of the tree."""
    for name in ("build", "twine"):
        try:
            metadata.version(name)
        except metadata.PackageNotFoundError:
            pytest.skip(f"{name} is not installed; it is in the extra dev of pyproject.toml")
    tree, dist = tmp_path_factory.mktemp("tree"), tmp_path_factory.mktemp("dist")
    for name in ("seqdigits", "configs", *FOLDERS):
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in SOURCES:
        shutil.copy(ROOT / name, tree)
    run([sys.executable, "-m", "build", "--no-isolation", "--outdir", dist], tree)
    (wheel,), (sdist,) = dist.glob("*.whl"), dist.glob("*.tar.gz")
    return Built(wheel, sdist)


def environment(built: Built, folder: Path) -> tuple[Path, Path]:
    """Makes a virtual environment in a folder, with the wheel alone; returns its Python, and the folder of its packages."""
    run([sys.executable, "-m", "venv", folder], folder)
    python = folder / "bin" / "python"
    run([python, "-m", "pip", "--disable-pip-version-check", "install", "--no-index", "--no-deps", built.wheel], folder)
    (site_packages,) = folder.glob("lib/python*/site-packages")
    return python, site_packages


@pytest.fixture(scope="module")
def installed(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the programs of a fresh virtual environment with the wheel; its dependencies are those of the tests."""
    folder = tmp_path_factory.mktemp("installed")
    python, site_packages = environment(built, folder)
    # Written last, so that pip sees none of them. A path in a .pth file does not run the .pth files there, such as that of an
    # editable installation of the tree.
    shared = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
    (site_packages / "dependencies.pth").write_text("\n".join(shared))
    return python.parent


LIGHT = ("numpy", "onnxruntime", "pillow")
"""Libraries with which the pretrained weights read pictures, as docs/install.md says."""


def with_requirements(names: Iterable[str]) -> set[str]:
    """The names of distributions, and of those that they require, normalized."""
    found: set[str] = set()
    left = [canonicalize_name(name) for name in names]
    while left:
        name = left.pop()
        if name not in found:
            found.add(name)
            required = [Requirement(line) for line in metadata.requires(name) or []]
            left += [canonicalize_name(r.name) for r in required if not r.marker or r.marker.evaluate({"extra": ""})]
    return found


@pytest.fixture(scope="module")
def light(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the programs of a fresh virtual environment with the wheel, LIGHT, and what these require."""
    folder = tmp_path_factory.mktemp("light")
    python, site_packages = environment(built, folder)
    for name in with_requirements(LIGHT):
        distribution = metadata.distribution(name)
        for entry in {path.parts[0] for path in distribution.files or [] if path.parts[0] not in ("..", "__pycache__")}:
            target = site_packages / entry
            if not target.exists():
                target.symlink_to(Path(str(distribution.locate_file(entry))))
    return python.parent


def test_packages_are_the_folders_of_the_files():
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    folders = {str(Path(path).parent).replace("/", ".") for path in packaged_files().values()}
    assert packages == sorted(folders)


@pytest.mark.slow
def test_wheel_and_sdist_have_every_file(built: Built):
    with zipfile.ZipFile(built.wheel) as file:
        names = {name for name in file.namelist() if not name.startswith("seqdigits-")}
    assert names == set(packaged_files().values())
    assert {"seqdigits/py.typed", "seqdigits/configs/reader_canvas.py", "seqdigits/shipped/scene.onnx"} <= names
    with tarfile.open(built.sdist) as file:
        names = {name.partition("/")[2] for name in file.getnames()}
    assert {*packaged_files(), *SOURCES, "docs/overview.png", "launch/README.md"} <= names
    assert not {name for name in names if name.startswith("tests")}


@pytest.mark.slow
def test_metadata_is_complete_and_pins_no_fonts(built: Built):
    run([sys.executable, "-m", "twine", "check", "--strict", *built], built.wheel.parent)
    with zipfile.ZipFile(built.wheel) as file:
        (name,) = (name for name in file.namelist() if name.endswith(".dist-info/METADATA"))
        found: email.message.Message = email.message_from_bytes(file.read(name))
    assert found["License-Expression"] == "Apache-2.0"
    assert found["Requires-Python"] == ">=3.11"
    assert found["Description-Content-Type"] == "text/markdown"
    description = str(found.get_payload())
    assert "seqdigits predict" in description
    assert not re.findall(r"\]\((?!https?://)", description), "a package index has no files of the tree"
    assert {"Typing :: Typed", "Programming Language :: Python :: 3.11"} <= set(found.get_all("Classifier", []))
    required = found.get_all("Requires-Dist", [])
    assert any(line.startswith("jax>=") for line in required)
    assert [line for line in required if line.startswith("onnxruntime")] == ["onnxruntime>=1.23"]
    assert not [line for line in required if line.startswith("font")]
    assert "fonts" not in found.get_all("Provides-Extra", [])


@pytest.mark.slow
def test_installed_package_is_not_the_tree(installed: Path, tmp_path: Path):
    code = """
import seqdigits
from seqdigits.config.registry import CONFIGS, config_names, load_config
print(seqdigits.__file__, CONFIGS, *config_names(), sep="\\n")
"""
    package, configs, *names = run([installed / "python", "-c", code], tmp_path).splitlines()
    assert Path(package).is_relative_to(installed.parent)
    assert Path(configs) == Path(package).parent / "configs"
    assert names == config_names()


@pytest.mark.slow
def test_installed_commands_run_outside_of_the_tree(installed: Path, tmp_path: Path):
    program = installed / "seqdigits"
    assert run([program, "--version"], tmp_path) == f"seqdigits {seqdigits.__version__}\n"
    listed = run([program, "pretrained"], tmp_path)
    assert "scene (the default)" in listed
    assert str(installed.parent) in listed
    assert run([program, "predict", ROOT / "docs" / "door.jpg"], tmp_path) == "407\n"
    configs = [run([program, "config", text], tmp_path) for text in ("reader_canvas", "configs/reader_canvas.py")]
    assert configs[0] == configs[1]
    assert "* data.train_height = 40  (default 0)" in configs[0]


@pytest.mark.slow
def test_installed_training_takes_the_quick_start_by_name(installed: Path, tmp_path: Path):
    settings = {"train.steps": 5, "data.validation_examples": 20, "data.test_examples": 20}
    flags = [f"--config.{key}={value}" for key, value in settings.items()]
    command = [installed / "python", "-m", "seqdigits.main", "--config", "quickstart", "--workdir", "W", *flags]
    output = run([*command, "--config.evaluate.splits=('validation',)"], tmp_path)
    assert "training to step 5" in output
    assert "sequence_accuracy" in output
    assert (tmp_path / "W" / "evaluation" / "validation.json").exists()


@pytest.mark.slow
def test_light_installation_reads_pictures(light: Path, tmp_path: Path):
    door = ROOT / "docs" / "door.jpg"
    assert run([light / "seqdigits", "predict", door], tmp_path) == "407\n"
    assert '"number": "407"' in run([light / "seqdigits", "predict", door, "--weights", "scene", "--json"], tmp_path)
    code = f"""
from seqdigits import Reader

result = Reader.from_pretrained("scene").read({str(door)!r})
print(result.number, round(result.confidence, 2), result.box)
"""
    assert run([light / "python", "-c", code], tmp_path).startswith("407 0.9")
    found = run([light / "python", "-c", "import importlib.util as u; print(u.find_spec('jax'))"], tmp_path)
    assert found == "None\n"
    (package,) = light.parent.glob("lib/python*/site-packages/seqdigits")
    assert sum(path.stat().st_size for path in package.rglob("*") if path.is_file()) < 20e6
