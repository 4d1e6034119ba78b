"""Ablation of the dense detector: one factor is changed at a time, and each run sees the same number of images.

Validation decides. Each run writes OUT/VARIANT-SEED.json and is skipped while that file exists. Several commands may run
side by side, with different variants each. At the end the table of all results is written to OUT/table.md.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seqdigits.config.defaults import base_config
from seqdigits.config.registry import load_config
from seqdigits.config.saved import diff_configs, to_json
from seqdigits.config.upgrade import upgrade_record, upgrade_report
from seqdigits.core import params, provenance
from seqdigits.core.errors import UserError
from seqdigits.core.interrupt import Stop
from seqdigits.experiments import results
from seqdigits.experiments.ablation_variants import PLAIN, VARIANTS
from seqdigits.experiments.run_folder import read_metrics
from seqdigits.metrics.intervals import half_interval
from seqdigits.training.loop import train_and_evaluate

BASE = "reader_canvas"
STEPS = 500
"""Steps of batch size 64: 32,000 images per run, with a schedule that ends at zero."""


def is_done(path: Path) -> bool:
    """Returns whether a result of this config exists; one of another config is run again."""
    if not path.exists():
        return False
    different = _different(_read(path))
    if different:
        print(f"{path} has another config, so the variant is run again:\n  " + "\n  ".join(different), flush=True)
    return not different


def _different(result: dict[str, Any]) -> list[str]:
    """Returns the differences between the config of a result and that of its variant; see diff_configs."""
    return diff_configs(config_of(result["variant"], result["seed"]), result["config"])


def config_of(name: str, seed: int = 0) -> Any:
    """Returns the config of a variant."""
    config = load_config(BASE)
    config.decode = base_config().decode  # the calibration of the base belongs to another network
    config.update_from_flattened_dict(PLAIN | VARIANTS[name].keys)
    config.seed = seed
    config.optim.warmup_steps, config.optim.decay_steps, config.train.steps = STEPS // 5, STEPS, STEPS
    config.train.log_every = config.train.checkpoint_every = config.evaluate.every = STEPS
    config.data.validation_examples = 2_000
    config.evaluate.examples = 200  # during the run; all at the end
    config.evaluate.splits, config.evaluate.curves = ("validation",), ()
    return config


def run(name: str, seed: int, workdir: Path, folder: str, stop: Stop) -> dict[str, Any]:
    """Trains a variant and evaluates it on validation."""
    config = config_of(name, seed)
    config.data.folder = folder
    state = train_and_evaluate(config, workdir, stop)
    report = json.loads((workdir / "evaluation" / "validation.json").read_text())
    metrics = read_metrics(workdir / "metrics.jsonl")
    program = provenance.describe()
    return {
        "variant": name,
        "seed": seed,
        "config": json.loads(to_json(config_of(name, seed))),
        "images": STEPS * config.train.batch_size,
        "parameters": params.count(state.params),
        "seconds": next(line["seconds"] for line in reversed(metrics) if line["split"] == "train"),
        **{key: report[key] for key in ("examples", "sequence_accuracy", "digit_accuracy", "length_accuracy")},
        **{key: report[key] for key in ("localization_error", "center_error")},
        **{key: program[key] for key in ("commit", "devices", "cores", "versions")},
        "minutes": results.progress(workdir)[1] / 60,
    }


def load_results(out: Path) -> list[dict[str, Any]]:
    """Returns the existing results whose config is that of their variant."""
    found = [_read(path) for path in sorted(out.glob("*-*.json"))]
    return [one for one in found if one["variant"] in VARIANTS and not _different(one)]


_KEYS = (
    "variant",
    "seed",
    "config",
    "parameters",
    "examples",
    "sequence_accuracy",
    "localization_error",
    "seconds",
    "commit",
)


def _read(path: Path) -> dict[str, Any]:
    """Reads one result.

    Raises:
      UserError: it is damaged.
    """
    try:
        result = upgrade_report(upgrade_record(json.loads(path.read_text())))
        return {**result, **{key: result[key] for key in _KEYS}}
    except (OSError, ValueError, TypeError, LookupError, AttributeError) as e:
        raise UserError(f"{path} is damaged ({e}). Delete it and rerun the same command.") from e


def table(found: Sequence[dict[str, Any]]) -> str:
    """Returns the results as Markdown: means over seeds, and the range where there are several."""
    lines = [
        f"{STEPS * 64:,} images per run. Sequence accuracy on validation ± half of its 95% interval (Wilson, over the examples of all",
        "seeds), and localization error in px². With several seeds: the mean, and in brackets the minimum and maximum.",
        "",
        "| variant | factor | level | parameters | seeds | examples | sequence accuracy | localization error | seconds | commit |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, variant in VARIANTS.items():
        runs = [one for one in found if one["variant"] == name]
        if runs:
            accuracy, error = ([one[key] for one in runs] for key in ("sequence_accuracy", "localization_error"))
            examples = sum(one["examples"] for one in runs)
            half = half_interval(statistics.mean(accuracy), examples)
            commits = dict.fromkeys(f"`{(one['commit'] or '?')[:7]}`" for one in runs)
            cells = (
                *(name, variant.factor, variant.level, f"{runs[0]['parameters']:,}", str(len(runs)), f"{examples:,}"),
                f"{_spread(accuracy, 4)} ± {half:.4f}",
                _spread(error, 2),
                f"{statistics.mean(one['seconds'] for one in runs):.0f}",
                ", ".join(commits),
            )
            lines.append(f"| {' | '.join(cells)} |")
    missing = [name for name in VARIANTS if all(one["variant"] != name for one in found)]
    if missing:
        lines += ["", f"Not run: {', '.join(missing)}."]
    return "\n".join(lines) + "\n"


def _spread(values: list[float], digits: int) -> str:
    """Returns the mean, and the minimum and maximum of several values.

    >>> _spread([0.5], 2), _spread([0.5, 0.75], 2)
    ('0.50', '0.62 (0.50 to 0.75)')
    """
    mean = f"{statistics.mean(values):.{digits}f}"
    return mean if len(values) == 1 else f"{mean} ({min(values):.{digits}f} to {max(values):.{digits}f})"
