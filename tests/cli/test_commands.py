"""The command line `seqdigits COMMAND`: help, errors, what it imports, and its names in texts."""

import ast
import importlib
import json
import os
import pkgutil
import re
import subprocess
import sys
import tomllib

import pytest
from conftest import ROOT

import seqdigits
from seqdigits import __main__ as entry
from seqdigits.cli import COMMANDS, module_of
from seqdigits.core.errors import Help, UserError
from seqdigits.core.interrupt import Stop
from seqdigits.data.photos import unlabeled


def run(*arguments):
    command = [sys.executable, "-m", "seqdigits", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.fixture
def command(monkeypatch):
    """`command("report", "--help")`: runs a command in this process."""

    def call(name, *arguments):
        monkeypatch.setattr(sys, "argv", [f"seqdigits {name}", *arguments])
        importlib.import_module(module_of(name)).main(Stop())

    return call


def test_every_module_is_a_command_but_train():
    modules = {path.stem for path in (ROOT / "seqdigits" / "cli").glob("*.py")} - {"__init__", "train"}
    assert modules == {name.replace("-", "_") for name in COMMANDS}


@pytest.mark.parametrize("name", COMMANDS)
def test_help_shows_usage_and_docstring(command, name):
    with pytest.raises(Help) as e:
        command(name, "--help")
    text = str(e.value)
    assert text.startswith(f"usage: seqdigits {name}")
    assert text.count("usage:") == 1
    assert importlib.import_module(module_of(name)).__doc__.strip() in text
    assert "help" in text.partition(f"seqdigits {name}")[2]  # the flags follow


@pytest.mark.parametrize("name", COMMANDS)
def test_an_unknown_flag_is_refused(command, name):
    with pytest.raises(UserError, match="bogus") as e:
        command(name, "--bogus=1")
    assert str(e.value).count(f"usage: seqdigits {name}") == str(e.value).count("usage:") == 1


@pytest.mark.parametrize(
    "line",
    [
        "ablate --seeds=0",
        "benchmark --rounds=many",
        "build-backgrounds --out",
        "calibrate --examples=0",
        "config quickstart --markdown",
        "draw-scenes FOLDER --split=all",
        "draw-scenes FOLDER --count=-1",
        "inspect --limit=0",
        "measure FOLDER --limit=1.5",
        "measure FOLDER --min-confidence=high",
        "find-misread --pictures=0",
        "paste-photos FOLDER --count=0",
        "peers FOLDER --engine=none",
        "predict IMAGE --format=xml",
        "prepare --shards=-1",
        "pretrained measure scene --limit=0",
        "reproduce --fraction=half",
        "tune --trials=0",
        "unpack-photos FOLDER --photographs=all",
        "upper-bound --split=all",
    ],
)
def test_an_invalid_value_is_refused(command, line):
    with pytest.raises(UserError) as e:
        command(*line.split())
    reason, _, usage = str(e.value).partition("usage:")
    assert line.split()[-1].partition("=")[0].strip("-") in reason
    assert usage.startswith(f" seqdigits {line.split()[0]}")
    assert "usage:" not in usage


@pytest.mark.parametrize("line", ["completion", "completion tcsh", "find-unlabeled now", "build-glyphs now"])
def test_an_invalid_argument_is_refused(command, line):
    with pytest.raises(UserError, match=f"\nusage: seqdigits {line.split()[0]}"):
        command(*line.split())


def test_find_unlabeled_checks_first_that_its_list_can_be_written(command, monkeypatch, tmp_path):
    monkeypatch.setattr(unlabeled, "FILE", tmp_path / "read-only" / "list.json")
    monkeypatch.setattr("os.access", lambda folder, mode: folder != tmp_path / "read-only")
    with pytest.raises(
        UserError, match="list.json cannot be written. Make its folder writable, or use another source tree"
    ):
        command("find-unlabeled")


ENTRY = "import atexit, sys; atexit.register(lambda: print(*sys.modules)); sys.argv = ['seqdigits', {!r}]; " + (
    "from seqdigits.__main__ import main; main()"
)


@pytest.mark.parametrize(
    "code",
    ["import sys, seqdigits; print(*sys.modules)", *(ENTRY.format(flag) for flag in ("--help", "-h", "--version"))],
    ids=["import", "--help", "-h", "--version"],
)
def test_import_help_and_version_need_the_standard_library_only(code):
    """They are fast: what is imported decides, and does not depend on the load of the machine."""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    imported = {name.partition(".")[0] for name in done.stdout.splitlines()[-1].split()}
    libraries = {name for name in imported - sys.stdlib_module_names if not name.startswith(("__editable__", "_"))}
    at_start = subprocess.run([sys.executable, "-c", "import sys; print(*sys.modules)"], capture_output=True, text=True)
    assert libraries - {name.partition(".")[0] for name in at_start.stdout.split()} == {"seqdigits"}


LIGHT = """
import contextlib, io, json, sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        library = name.partition(".")[0]
        if library not in sys.stdlib_module_names | {"seqdigits", "numpy", "PIL"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
from seqdigits.__main__ import main

ends = {}
for line in sys.argv[1:]:
    sys.argv = ["seqdigits", *line.split()]
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main()
        except SystemExit as e:
            ends[line] = (e.code, out.getvalue(), err.getvalue())
print(json.dumps(ends))
"""
LACKING = (
    "error: this command needs the Python module {}, which is not installed. To install all that seqdigits needs: "
)


def test_every_command_runs_without_jax_or_says_what_is_missing(tmp_path):
    """With numpy and Pillow alone; docs/install.md lists what runs."""
    run_there = [
        "--help",
        "--version",
        "check-photos --help",
        "predict --help",
        "pretrained --help",
        "unpack-photos --help",
    ]
    lines = [*run_there, "predict docs/door.jpg", "pretrained", *(f"{name} --help" for name in COMMANDS)]
    done = subprocess.run([sys.executable, "-c", LIGHT, *lines], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    ends = json.loads(done.stdout)
    assert ends.keys() == set(lines)
    for line, (status, out, err) in ends.items():
        if status == 0:
            assert (out != "", err) == (True, ""), line
        else:
            assert (status, out, err.count("\n")) == (2, "", 1), line
            if line == "predict docs/door.jpg":
                assert err.startswith("error: ONNX Runtime cannot be imported"), err
                continue
            library = re.match(r"error: this command needs the Python module (\w+),", err)
            assert library, line
            assert err.startswith(LACKING.format(library[1]) + "pip install seqdigits"), line
    assert [line for line in run_there if ends[line][0] != 0] == []
    assert ends["predict docs/door.jpg"][0] == 2
    assert ends["pretrained"][2].startswith(LACKING.format("rich"))


def test_version_is_that_of_the_package():
    done = run("--version")
    assert (done.returncode, done.stdout) == (0, f"seqdigits {seqdigits.__version__}\n")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == seqdigits.__version__
    assert f"\nversion: {seqdigits.__version__}\n" in (ROOT / "CITATION.cff").read_text()
    assert f"seqdigits-{seqdigits.__version__}-py3-none-any.whl" in (ROOT / "docs" / "install.md").read_text()


def test_the_console_script_is_the_module():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["scripts"].keys() == {"seqdigits"}
    assert pkgutil.resolve_name(project["scripts"]["seqdigits"]) is entry.main


def test_help_lists_all_commands():
    done = run("--help")
    assert done.returncode == 0
    assert [line.split()[0] for line in done.stdout.splitlines() if line.startswith("  ")] == sorted(COMMANDS)
    assert run().stdout == done.stdout


def test_a_misspelled_command_is_corrected():
    done = run("predcit", "a.png")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: unknown command 'predcit'. Did you mean predict?\n")
    assert done.stderr.count("usage:") == 1


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["predict", "--help"], ["pretrained"]], ids=" ".join)
def test_a_closed_pipe_ends_a_command_without_a_traceback(arguments, unbuffered):
    """As in `seqdigits pretrained | head -1`, where head may end first."""
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "seqdigits", *arguments]
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    done = subprocess.run(command, cwd=ROOT, env=environment, stdout=write, stderr=subprocess.PIPE, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (141, b"")


def test_errors_of_a_command_have_no_traceback():
    done = run("report", "--bogus")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: unknown flag --bogus.\nusage: seqdigits report [RESULTS [PAGE]]\n"


def test_texts_name_no_module_as_a_command_but_main():
    folders = [ROOT / name for name in ("docs", "launch", "peers", "seqdigits", "configs", ".ci", ".github")]
    texts = [*ROOT.glob("*.md"), ROOT / "Makefile", *(path for folder in folders for path in folder.rglob("*"))]
    found = []
    for path in texts:
        if path.is_file() and path.suffix in ("", ".md", ".py", ".sh", ".sbatch", ".yaml", ".yml", ".j2", ".html"):
            commands = re.findall(r"-m seqdigits\.[\w.]+", path.read_text())
            found += [f"{path}: {text}" for text in commands if text != "-m seqdigits.main"]
    assert not found


def test_messages_name_no_guide():
    """The wheel has none. Docstrings may name them."""
    found = []
    for path in (ROOT / "seqdigits").rglob("*.py"):
        nodes = list(ast.walk(ast.parse(path.read_text())))
        docstrings = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
        texts = [node for node in nodes if isinstance(node, ast.Constant) and id(node) not in docstrings]
        found += [f"{path}:{node.lineno}" for node in texts if isinstance(node.value, str) and "docs/" in node.value]
    assert not found
