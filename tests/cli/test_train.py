"""The end of a run: the commands that it prints, and the picture of predictions."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import jax
import pytest
from conftest import ROOT
from PIL import Image

from seqdigits.cli.train import next_steps
from seqdigits.config.registry import load_config

QUICKSTART = ["seqdigits/main.py", "--config", "configs/quickstart.py", "--workdir", "runs/q"]


@pytest.fixture
def environment(tmp_path, monkeypatch):
    """The folder of the programs of a virtual environment in the working directory, not activated."""
    programs = tmp_path / ".venv" / "bin"
    programs.mkdir(parents=True)
    for name in ("python", "seqdigits"):
        (programs / name).touch(mode=0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "executable", str(programs / "python"))
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    return programs


def commands(argv, config, workdir="runs/q"):
    return re.findall(r"^    (.+)$", next_steps(argv, Path(workdir), config), re.MULTILINE)


def test_next_steps_of_the_quick_start(environment):
    text = next_steps(QUICKSTART, Path("runs/q"), load_config("quickstart"))
    assert text == (
        "\n"
        "Next steps\n"
        "  read a picture with the pretrained weights:\n"
        "    .venv/bin/seqdigits predict PICTURE\n"
        "  the same with the network of this run:\n"
        "    .venv/bin/seqdigits predict PICTURE --workdir runs/q\n"
        "  show the curves of the run:\n"
        "    .venv/bin/python -m tensorboard.main --logdir runs/q\n"
        "  evaluate the best checkpoint:\n"
        "    .venv/bin/python -m seqdigits.main --config configs/quickstart.py --workdir runs/q --mode evaluate --checkpoint best\n"
        "  calibrate its confidences:\n"
        "    .venv/bin/seqdigits calibrate --config configs/quickstart.py --workdir runs/q\n"
        "  to train longer: a new --workdir, --config.train.steps=N and --config.optim.decay_steps=N\n"
        "\n"
        "Predictions of test examples, true boxes green, predicted boxes red:\n"
        "runs/q/evaluation/test_first.png"
    )


def test_programs_are_named_as_the_shell_finds_them(environment, monkeypatch, tmp_path):
    config = load_config("quickstart")
    monkeypatch.setenv("PATH", f"{environment}:/usr/bin:/bin")  # activated
    assert commands(QUICKSTART, config)[0] == "seqdigits predict PICTURE"
    assert commands(QUICKSTART, config)[2].startswith("python -m tensorboard.main ")
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    assert commands(QUICKSTART, config)[0] == f"{environment}/seqdigits predict PICTURE"
    (environment / "seqdigits").unlink()  # the package is on PYTHONPATH, and not installed
    assert commands(QUICKSTART, config)[0] == f"{environment}/python -m seqdigits predict PICTURE"


def test_next_steps_keep_the_flags_of_the_experiment(environment):
    config = load_config("strip5_gru")  # no detector, and no schedule that ends
    flags = ["--config=strip5_gru", "--config.train.steps=9", "--config.note=a b", "--workdir", "W"]
    found = commands(["main", *flags, "--mode=train", "--process_id", "0"], config, "W")
    assert not [command for command in found if "predict" in command and "--workdir" in command]
    assert [shlex.split(command)[2:] for command in found if "calibrate" in command] == [flags]
    assert shlex.split(found[-1])[3:] == [flags[0], *flags[2:], "--config.train.steps=N"]


def test_a_run_without_unseen_examples_has_no_picture(environment):
    config = load_config("quickstart")
    config.evaluate.splits = ("train",)
    assert next_steps(QUICKSTART, Path("W"), config).endswith("--config.optim.decay_steps=N")


@pytest.mark.slow
def test_printed_commands_run_and_the_picture_exists(tmp_path):
    sizes = {"train.steps": 2, "data.validation_examples": 20, "data.test_examples": 20}
    flags = [f"--config.{key}={value}" for key, value in sizes.items()]
    command = [sys.executable, "-m", "seqdigits.main", "--config", "quickstart", "--workdir", "runs/q", *flags]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "JAX_COMPILATION_CACHE_DIR": jax.config.jax_compilation_cache_dir}

    def run(words):
        done = subprocess.run(words, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{words}\n{done.stderr}"
        return done.stdout

    output = run(["sh", "-c", shlex.join([*command, "--config.evaluate.splits=('test',)"])])
    with Image.open(tmp_path / output.splitlines()[-1]) as picture:
        assert picture.size == (3 * (2 * 128 + 8), 4 * (2 * 64 + 26))
    printed = re.findall(r"^    (.+)$", output.partition("Next steps")[2], re.MULTILINE)
    assert len(printed) == 5
    for line in printed:
        if "tensorboard" in line:
            line = f"{line.partition(' --logdir')[0]} --version_tb"  # it would serve until it is stopped
        run(["sh", "-c", line.replace("PICTURE", shlex.quote(str(ROOT / "docs" / "door.jpg")))])
