"""The dense reader designed by measurement: one factor after another is changed, each run sees as many images, and validation
decides. `python -m seqdigits.design [VARIANT ...] [--seeds N]`; no variant = all of them.

Each run leaves OUT/VARIANT-SEED.json and is not run again while that is there; several of these commands may run side by side,
of other variants each.
At the end stands the table of all that is there, in OUT/table.md.
"""

from __future__ import annotations

import dataclasses
import json
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seqdigits import experiments, interrupt
from seqdigits.config import base_config, to_json
from seqdigits.errors import Help, UserError
from seqdigits.interrupt import Stop
from seqdigits.report import half_interval

USAGE = "python -m seqdigits.design [VARIANT ...] [--seeds N] [--out DIR] [--workdirs DIR] [--folder DIR]"
BASE = "reader_canvas"
STEPS = 500
"""Of 64: 32,000 images a run, at the end of a schedule that has fallen to zero."""


def _convolutions(*sizes: str) -> str:
    return ", ".join(f"conv {size}, norm, relu" for size in sizes)


_STRIDE_4 = "fold 2, " + _convolutions("3x3x32", "3x3x64 /2", "3x3x64", "3x3x64")


@dataclasses.dataclass(frozen=True)
class Variant:
    """One change of the base.

    Attributes:
      factor: what is varied.
      level: how.
      keys: of the config that differ from the base.
    """

    factor: str
    level: str
    keys: dict[str, Any]


PLAIN: dict[str, Any] = {
    "model.encoder": "fold 2, " + _convolutions("3x3x32", "3x3x64 /2", "3x3x128 /2", "3x3x128", "3x3x128"),
    "data.train_height": 40,
    "data.train_width": 152,
    "data.train_min_length": 0,
    "data.rotation": 10,
    "data.zoom": 10,
    "data.shear": 10,
    "data.elastic": 0,
    "loss.target": "cell",
    "loss.target_radius": 0.0,
    "loss.smoothing": 0.0,
    "optim.moving_average": 0.0,
}
"""What the factors are varied from, one at a time."""

_SEVERAL = {"loss.target": "several", "loss.target_radius": 0.3}
_GAUSSIAN = {"loss.target": "gaussian", "loss.target_radius": 0.15}
_AVERAGED = {"optim.moving_average": 0.99}
_DEEP = (
    "fold 2, conv 3x3x32, norm, relu, conv 3x3x64 /2, norm, relu, "
    "mark a, conv 3x3x64, norm, relu, conv 3x3x64, norm, add a, relu, conv 3x3x128 /2, norm, relu, "
    "mark b, conv 3x3x128, norm, relu, conv 3x3x128, norm, add b, relu"
)

VARIANTS = {
    "plain": Variant("-", "stride 8, 391,119 parameters; canvases of 40x152; the cell of the centre", {}),
    "small": Variant(
        "network",
        "stride 8, 84,767 parameters",
        {"model.encoder": "conv 5x5x16 /2, norm, relu, " + _convolutions("3x3x32 /2", "3x3x48 /2", "3x3x64", "3x3x64")},
    ),
    "deep": Variant(
        "network",
        "stride 8, two residual pairs",
        {"model.encoder": _DEEP},
    ),
    "stride4": Variant("network", "stride 4, without the last scale", {"model.encoder": _STRIDE_4}),
    "joined": Variant(
        "network",
        "stride 4, joined with stride 8",
        {
            "model.encoder": "fold 2, "
            + _convolutions("3x3x32", "3x3x64 /2")
            + ", mark a, "
            + _convolutions("3x3x128 /2", "3x3x128", "3x3x128")
            + ", join a, "
            + _convolutions("1x1x96")
        },
    ),
    "wide": Variant("canvas", "64x160", {"data.train_height": 64, "data.train_width": 160}),
    "packed": Variant(
        "canvas",
        "40x148 with 4 or 5 digits",
        {"data.train_width": 148, "data.train_min_length": 4},
    ),
    "several": Variant("target", "all cells within 0.3", _SEVERAL),
    "gaussian": Variant("target", "gaussian of 0.15", _GAUSSIAN),
    "smoothed": Variant("label smoothing", "0.1", {"loss.smoothing": 0.1}),
    "averaged": Variant("moving average", "0.99", _AVERAGED),
    "upright": Variant("augmentation", "none", {"data.rotation": 0, "data.zoom": 0, "data.shear": 0}),
    "elastic": Variant("augmentation", "and elastic, 1.5 pixels", {"data.elastic": 150}),
    "both": Variant(
        "several at once",
        "all cells within 0.3, averaged, elastic, deep",
        {**_SEVERAL, **_AVERAGED, "data.elastic": 150, "model.encoder": _DEEP},
    ),
    "both_gaussian": Variant(
        "several at once",
        "gaussian of 0.15, averaged, elastic, deep",
        {**_GAUSSIAN, **_AVERAGED, "data.elastic": 150, "model.encoder": _DEEP},
    ),
}


def _main(stop: Stop) -> None:
    from absl import flags

    values = flags.FlagValues()
    values.set_gnu_getopt(True)  # flags may stand behind names
    flags.DEFINE_integer("seeds", 1, "seeds 0..N-1 of each variant", lower_bound=1, flag_values=values)
    flags.DEFINE_string("out", "results/design", "the folder of the results", flag_values=values)
    flags.DEFINE_string("workdirs", "runs/design", "the folder of the runs' folders", flag_values=values)
    flags.DEFINE_string("folder", "", "data.folder", flag_values=values)
    flags.DEFINE_boolean("help", False, "this text", short_name="h", flag_values=values)
    if {"--help", "-h", "--helpfull"} & set(sys.argv):
        raise Help(f"usage: {USAGE}\n\n{values.get_help()}\n\nVariants: {', '.join(VARIANTS)}.")
    try:
        names = values(sys.argv)[1:]
    except flags.Error as e:
        raise UserError(f"{e}\nusage: {USAGE}") from e
    unknown = [name for name in names if name not in VARIANTS]
    if unknown:
        raise UserError(f"there is no variant {', '.join(unknown)}. Known are {', '.join(VARIANTS)}.")

    from seqdigits import command_line
    from seqdigits.writers import make_folder, write_atomically

    command_line.prepare_jax()
    out, workdirs = Path(values["out"].value), Path(values["workdirs"].value)
    make_folder(out, "--out")
    for seed in range(values["seeds"].value):
        for name in names or VARIANTS:
            path = out / f"{name}-{seed}.json"
            if not _is_there(path, name, seed):
                print(f"\n--- {name}, seed {seed}", flush=True)
                result = run(name, seed, workdirs / f"{name}-{seed}", values["folder"].value, stop)
                write_atomically(path, json.dumps(result, indent=1))
    text = table(read(out))
    write_atomically(out / "table.md", text)
    print(f"\n{text}")


def _is_there(path: Path, name: str, seed: int) -> bool:
    """Whether a result is there, and of this config; another one is run again."""
    if not path.exists():
        return False
    different = _different(_read(path))
    if different:
        print(f"{path} is of another config, and it is run again:\n  " + "\n  ".join(different), flush=True)
    return not different


def _different(result: dict[str, Any]) -> list[str]:
    """In what the config of a result is not that of its variant now; a key that it does not know yet counts as its default."""
    from seqdigits.config import changes

    return changes(config_of(result["variant"], result["seed"]), result["config"])


def config_of(name: str, seed: int = 0) -> Any:
    """The config of a variant."""
    config = experiments.load(BASE)
    config.read = base_config().read  # what was calibrated is of another network
    config.update_from_flattened_dict(PLAIN | VARIANTS[name].keys)
    config.seed = seed
    config.optim.warmup_steps, config.optim.decay_steps, config.train.steps = STEPS // 5, STEPS, STEPS
    config.train.log_every = config.train.checkpoint_every = config.evaluate.every = STEPS
    config.data.validation_examples = 2_000
    config.evaluate.examples = 200  # along the way; at the end all
    config.evaluate.splits = ("validation",)
    return config


def run(name: str, seed: int, workdir: Path, folder: str, stop: Stop) -> dict[str, Any]:
    """Trains a variant and evaluates it on validation."""
    from seqdigits import params, provenance, results
    from seqdigits.train import train_and_evaluate

    config = config_of(name, seed)
    config.data.folder = folder
    state = train_and_evaluate(config, workdir, stop)
    report = json.loads((workdir / "evaluation" / "validation.json").read_text())
    metrics = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    program = provenance.describe()
    return {
        "variant": name,
        "seed": seed,
        "config": json.loads(to_json(config_of(name, seed))),
        "images": STEPS * config.train.batch_size,
        "parameters": params.count(state.params),
        "seconds": next(line["seconds"] for line in reversed(metrics) if line["split"] == "train"),
        **{key: report[key] for key in ("examples", "sequence_accuracy", "digit_accuracy", "length_accuracy")},
        **{key: report[key] for key in ("localization_error", "centre_error")},
        **{key: program[key] for key in ("commit", "devices", "cores", "versions")},
        "minutes": results.progress(workdir)[1] / 60,
    }


def read(out: Path) -> list[dict[str, Any]]:
    """The results that are there, of the variants as they are now."""
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
    try:
        result = json.loads(path.read_text())
        return {**result, **{key: result[key] for key in _KEYS}}
    except (OSError, ValueError, TypeError, LookupError) as e:
        raise UserError(f"{path} is damaged ({e}). Delete it; the same command runs it again.") from e


def table(found: Sequence[dict[str, Any]]) -> str:
    """The results as Markdown: means over seeds, and the range where there are several."""
    lines = [
        f"{STEPS * 64:,} images a run; sequence accuracy on validation, ± half of its 95% interval (Wilson) by the examples of all",
        "seeds, and localization error in px². Several seeds: the mean, and in brackets the least and the most.",
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
    """The mean, and the least and most of several.

    >>> _spread([0.5], 2), _spread([0.5, 0.75], 2)
    ('0.50', '0.62 (0.50 to 0.75)')
    """
    mean = f"{statistics.mean(values):.{digits}f}"
    return mean if len(values) == 1 else f"{mean} ({min(values):.{digits}f} to {max(values):.{digits}f})"


if __name__ == "__main__":
    interrupt.run(_main)
