"""A run on four devices is that on one, and a run may go on on other devices."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

FLAGS = {
    "data.digits": "uci",
    "data.height": 32,
    "data.width": 64,
    "data.min_length": 1,
    "data.max_length": 2,
    "data.train_examples": 50,
    "data.validation_examples": 21,
    "model.encoder": "conv 5x5x8 /2, norm, relu, conv 3x3x8 /2, relu, pool 2, dropout 0.2",
    "model.pixels": "per_pixel",
    "model.gru_units": 16,
    "model.box_head": "dense 16, relu",
    "optim.moving_average": 0.9,
    "train.batch_size": 6,  # which four devices do not divide
    "train.log_every": 4,
    "train.checkpoint_every": 4,
    "evaluate.every": 4,
    "evaluate.batch_size": 10,
    "evaluate.splits": "('validation',)",
}


def run(workdir, devices, steps):
    command = [sys.executable, "-m", "seqdigits.main", "--config", str(ROOT / "configs" / "canvas_weighted.py")]
    command += ["--workdir", str(workdir), f"--config.train.steps={steps}"]
    command += [f"--config.{key}={value}" for key, value in FLAGS.items()]
    env = {**os.environ, "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}", "JAX_PLATFORMS": "cpu"}
    result = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert f"on {devices} cpu device(s)" in result.stdout
    return json.loads((workdir / "evaluation" / "validation.json").read_text())


@pytest.mark.slow
def test_four_devices_train_and_evaluate_as_one_and_a_run_may_go_on_on_others(tmp_path):
    """GRU, dropout, norm, per-pixel statistics, box head, moving average; batches that four devices do not divide."""
    one, four = run(tmp_path / "one", 1, 4), run(tmp_path / "four", 4, 4)
    assert four["examples"] == 21
    for name in ("sequence_accuracy", "localization_error", "iou", "cross_entropy"):
        assert four[name] == pytest.approx(one[name], rel=1e-4)
    assert four["confusion"] == one["confusion"]
    on_four, on_one = run(tmp_path / "one", 4, 8), run(tmp_path / "four", 1, 8)
    assert on_four["step"] == on_one["step"] == 8
    assert on_four["cross_entropy"] == pytest.approx(on_one["cross_entropy"], rel=1e-4)
