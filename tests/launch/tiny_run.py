"""A training run of two processes that takes seconds once it is compiled."""

from __future__ import annotations

import os
import re

FLAGS = [
    "--config=configs/quickstart.py",
    "--config.data.height=32",
    "--config.data.width=64",
    "--config.data.max_length=2",
    "--config.data.validation_examples=64",
    "--config.data.test_examples=64",
    "--config.model.encoder=conv 5x5x8 /2, norm, relu, conv 3x3x8 /2, norm, relu, conv 3x3x16 /2, relu",
    "--config.train.batch_size=8",
    "--config.train.steps=400",
    "--config.train.log_every=20",
    "--config.train.checkpoint_every=100",
    "--config.evaluate.every=200",
    "--config.evaluate.splits=('validation', 'test')",
    "--config.evaluate.curves=()",
]


def environment() -> dict[str, str]:
    """That of the tests, without what launchers set."""
    return {k: v for k, v in os.environ.items() if not k.startswith(("SLURM", "SEQDIGITS_", "CUDA"))}


def table(output: str) -> str:
    """Returns the table that a finished run prints."""
    (found,) = re.findall(r"^step 400\n(.*?)\n\n", output, re.MULTILINE | re.DOTALL)
    assert "sequence_accuracy" in found
    return found
