"""Flags of the commands, and what goes wrong with them said in one line."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import jax
from absl import flags
from ml_collections import ConfigDict, config_flags

from seqdigits.errors import UserError


def parse(argv: list[str]) -> Any:
    """The flags of `python -m seqdigits.main`.

    Raises:
      UserError: an unknown flag or key, a value of the wrong type, no such config.
    """
    values = flags.FlagValues()
    config_flags.DEFINE_config_file("config", None, "the experiment, a file in configs/", lock_config=True, flag_values=values)
    flags.DEFINE_string("workdir", None, "where the run is kept; the same one goes on where it stopped", flag_values=values)
    flags.DEFINE_enum("mode", "train", ["train", "evaluate"], "what to do", flag_values=values)
    flags.DEFINE_list("split", [], "evaluate: which splits; default: evaluate.splits of the config", flag_values=values)
    flags.DEFINE_string(
        "checkpoint", "latest", "evaluate: latest, best, a step, or a path W/checkpoints/STEP", flag_values=values
    )
    return _parse(values, argv, "--config configs/quickstart.py --workdir runs/quickstart", needed=("config", "workdir"))
