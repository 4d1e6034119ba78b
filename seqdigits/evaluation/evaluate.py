"""Evaluates a checkpoint of a workdir on the splits that the config or the command names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from seqdigits.config_checks.validate import validate
from seqdigits.core.constants import SPLITS
from seqdigits.core.errors import UserError
from seqdigits.core.interrupt import Stop
from seqdigits.data.create import create_source
from seqdigits.data.evaluated_config import as_evaluated
from seqdigits.evaluation.evaluator import Evaluator
from seqdigits.evaluation.restore import restore
from seqdigits.evaluation.table import report_table
from seqdigits.inference.predict_step import PredictStep


def evaluate_checkpoint(
    config: ConfigDict, workdir: Path, *, which: str, splits: tuple[str, ...], stop: Stop | None = None
) -> dict[str, dict[str, Any]]:
    """Restores a checkpoint, evaluates complete splits, prints a table and writes the reports.

    Args:
      config: see restore.
      workdir: the folder of the run; reports are written to `W/evaluation`.
      which: see restore.
      splits: the splits to evaluate; () = `evaluate.splits` of the config.
      stop: ends the evaluation early.

    Returns:
      The metrics by split.

    Raises:
      UserError: a split is unknown; or the checkpoint does not exist, is damaged, or belongs to another model.
      Stopped: `stop` was set before the end.
    """
    validate(config)
    splits = splits or tuple(config.evaluate.splits)
    for split in splits:
        if split not in SPLITS:
            raise UserError(f"--split {split}: allowed are {', '.join(SPLITS)}.")
    restored = restore(config, workdir, which, (*splits, "test")[0])
    devices = restored.devices
    step = PredictStep(config, restored.model)
    metadata = {"step": restored.step, "checkpoint": which, "differs_from_training": restored.different}
    reports = {}
    for split in splits:
        evaluator = Evaluator(step, create_source(as_evaluated(config), split), devices)
        reports[split] = evaluator.report(workdir, split, restored.variables, metadata, stop)
    print(report_table(reports))
    return reports
