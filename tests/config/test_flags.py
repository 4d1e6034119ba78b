"""The commands from the command line: an error is one message, Ctrl-C saves, and the run can be resumed."""

import signal
import subprocess
import sys
import time

import pytest
from conftest import ROOT

QUICKSTART = str(ROOT / "configs" / "quickstart.py")


def run(*args, program="seqdigits.main"):
    return subprocess.run([sys.executable, "-m", program, *args], cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--workdir", "W"), "--config is missing"),
        (("--workdir", "W", "--config.seed=1"), "--config is missing"),
        (("--config", QUICKSTART), "--workdir is missing"),
        (("--config", "configs/quikstart.py", "--workdir", "W"), "Did you mean quickstart?"),
        (("--config", QUICKSTART, "--workdir", "W", "--config.optim.learning_rat=1"), "learning_rate"),
        (("--config", QUICKSTART, "--workdir", "W", "--config.train.steps=many"), "many"),
        (
            ("--config", QUICKSTART, "--workdir", "W", "--config.model.name=readr"),
            "heads, gru, attention, row_gru, glimpses, dense_detector",
        ),
        (("--config", QUICKSTART, "--workdir", "W", "--mode", "trian"), "train|evaluate"),
        (("--config", QUICKSTART, "--workdir", "W", "--worldir", "V"), "worldir"),
        (("--config", QUICKSTART, "--workdir", "W", "again"), "'again' is not understood"),
        (("--config", QUICKSTART, "--workdir", "/dev/null/W"), "cannot be used"),
        (("--config", QUICKSTART, "--workdir", "nowhere", "--mode", "evaluate"), "Train first"),
        (("--config", QUICKSTART, "--workdir", "W", "--mode", "evaluate", "--split", "dev"), "train, validation, test"),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
@pytest.mark.slow
def test_train_prints_one_message_for_an_invalid_argument(args, message):
    result = run(*args)
    assert result.returncode == 2, result.stderr
    assert result.stderr.startswith("error: ")
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert not (ROOT / "W").exists()


def test_help_lists_flags_and_configs():
    result = run("--help")
    assert result.returncode == 0
    for word in ("--workdir", "--[no]help", "quickstart"):
        assert word in result.stdout


def test_config_command_loads_from_any_folder_with_overrides(tmp_path):
    config = ROOT / "configs" / "strip5_gru_dropout.py"
    command = [sys.executable, "-m", "seqdigits", "config", "--config", str(config), "--config.train.steps=7"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "* train.steps = 7  (default 1000)" in result.stdout
    assert "* model.gru_units = 576  (default 0)" in result.stdout


def test_config_command_finds_an_experiment_by_name():
    result = run("config", "strip5_gru", program="seqdigits")
    assert result.returncode == 0, result.stderr
    assert "* data.width = 140  (default 256)" in result.stdout
    misspelled = run("config", "strip5_gr", program="seqdigits")
    assert misspelled.returncode == 2
    assert "Did you mean strip5_gru or strip5_gru256 or strip5_gru1024?" in misspelled.stderr


def test_a_key_before_the_config_is_not_called_unknown():
    result = run("config", "--config.seed=1", "strip5_gru", program="seqdigits")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == (
        "error: --config is missing; without --config, the config comes first. "
        "usage: seqdigits config CONFIG [--config.key=value ...] | --markdown\n"
    )


def start(workdir, *args):
    command = [sys.executable, "-m", "seqdigits.main", "--config", QUICKSTART, "--workdir", str(workdir), *args]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def wait_for(process, text):
    for line in process.stdout:
        if text in line:
            return
    raise AssertionError(f"{text!r} was never printed")


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["compiling the first step", "first step after"], ids=["compile", "train"])
def test_ctrl_c_saves_and_the_same_command_resumes(tmp_path, moment):
    process = start(tmp_path, "--config.train.steps=600")
    wait_for(process, moment)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "rerun the same command to resume" in output
    resumed = start(tmp_path, "--config.train.steps=600")
    wait_for(resumed, "resumed from step")
    resumed.send_signal(signal.SIGTERM)
    resumed.communicate(timeout=120)
    assert resumed.returncode == 75


@pytest.mark.slow
def test_second_ctrl_c_stops_at_once_and_keeps_checkpoints(tmp_path):
    process = start(tmp_path, "--config.train.steps=600", "--config.train.checkpoint_every=2")
    while not list(tmp_path.glob("checkpoints/*/manifest.json")):
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    wait_for(process, "stopping")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    resumed = start(tmp_path, "--config.train.steps=600")
    wait_for(resumed, "resumed from step")
    resumed.kill()
    resumed.communicate()


@pytest.mark.slow
def test_train_and_evaluate_work_without_tensorflow(tmp_path):
    code = """
import sys

class WithoutTensorFlow:
    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("tensorflow", "tensorflow_datasets"):
            return None
        return self.finder.find_spec(name, path, target)

    def __getattr__(self, name):
        return getattr(self.finder, name)

sys.meta_path[:] = [WithoutTensorFlow(finder) for finder in sys.meta_path]
import runpy
runpy.run_module("seqdigits.main", run_name="__main__")
"""
    flags = ("--config", QUICKSTART, "--workdir", str(tmp_path), "--config.train.steps=2", "--config.evaluate.every=2")
    flags += ("--config.data.validation_examples=20", "--config.data.test_examples=20")
    for mode in ("train", "evaluate"):
        result = subprocess.run(
            [sys.executable, "-c", code, *flags, "--mode", mode, "--config.evaluate.splits=('test',)"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 0, result.stderr
        assert "sequence_accuracy" in result.stdout
