"""What a search writes: a table of its trials, its result as JSON, the best config, and a picture of what mattered."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from ml_collections import ConfigDict

from seqdigits.core import provenance
from seqdigits.core.console import render_table
from seqdigits.core.files import write_atomically
from seqdigits.tuning.found_config import config_text
from seqdigits.tuning.space import Value, with_settings
from seqdigits.tuning.study import Row, Study
from seqdigits.visualization.search_charts import Axis, what_mattered

_LONGEST = 28  # characters of a value in the table


def search_table(rows: Sequence[Row], study: Study) -> str:
    """Returns the trials as text for standard output; the best is marked."""
    best = study.best()
    names = [parameter.name for parameter in study.space.parameters]
    short = short_names(names)
    columns = (
        "trial",
        "state",
        study.metric.replace("_", " "),
        "at step",
        "steps",
        "minutes",
        *(short[n] for n in names),
    )
    cells = []
    for row in rows:
        is_best = best is not None and row.number == best.number
        cells.append(
            (
                str(row.number),
                "best" if is_best else row.state,
                "-" if row.score is None else f"{row.score:.4f}",
                "-" if row.step is None else f"{row.step:,}",
                f"{row.steps:,}",
                f"{row.cost.seconds / 60:.1f}",
                *(_text(row.values.get(name)) for name in names),
            )
        )
    table = render_table(columns, cells, align="rl" + "r" * (len(columns) - 2))
    problems = [f"trial {row.number} failed: {row.problem}" for row in rows if row.problem]
    return "\n\n".join([table, *problems])


def short_names(names: Sequence[str]) -> dict[str, str]:
    """Returns the shortest ends of names that differ.

    >>> short_names(["optim.learning_rate", "model.encoder.rate", "model.head.rate"])
    {'optim.learning_rate': 'learning_rate', 'model.encoder.rate': 'encoder.rate', 'model.head.rate': 'head.rate'}
    """
    short = {}
    for name in names:
        parts = name.split(".")
        for count in range(1, len(parts) + 1):
            end = ".".join(parts[-count:])
            if sum(other == end or other.endswith(f".{end}") for other in names) == 1:
                break
        short[name] = end
    return short


def _text(value: Value | None) -> str:
    if value is None:
        return "-"
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def write_outputs(study: Study, config: ConfigDict, base: str | None) -> None:
    """Writes result.json, and once a trial is complete best.py and importance.svg, into the folder of the search.

    One worker at a time calls it, under the lock of the search.
    """
    rows, best = study.rows(), study.best()
    importances = study.importances()
    write_atomically(study.folder / "result.json", json.dumps(result(study, rows, best, importances), indent=2) + "\n")
    if best is None:
        return
    found = with_settings(config, study.space.settings(best.values))
    write_atomically(
        study.folder / "best.py",
        config_text(found, base, _docstring(study, rows, best, base, config), keep_resumable=False),
    )
    short = short_names([parameter.name for parameter in study.space.parameters])
    axes = [
        Axis(
            name=short[parameter.name],
            values=[row.values.get(parameter.name) for row in rows],
            is_log=parameter.log,
            choices=parameter.choices,
            importance=importances.get(parameter.name),
        )
        for parameter in study.space.parameters
    ]
    picture = what_mattered(
        axes,
        scores=[row.score for row in rows],
        states=[row.state for row in rows],
        best=best.number,
        metric=study.metric.replace("_", " "),
    )
    write_atomically(study.folder / "importance.svg", picture)


def result(study: Study, rows: Sequence[Row], best: Row | None, importances: dict[str, float]) -> dict[str, Any]:
    """Returns the search as JSON: its cost over all workers, the best trial, importances, and every trial."""
    states = [row.state for row in rows]
    return {
        "metric": f"validation {study.metric}",
        "trials": len(rows),
        **{state: states.count(state) for state in ("complete", "pruned", "failed", "running")},
        "steps": sum(row.steps for row in rows),
        "seconds": round(sum(row.cost.seconds for row in rows), 1),
        "core_seconds": round(sum(row.cost.core_seconds for row in rows), 1),
        "best": None
        if best is None
        else {"trial": best.number, "score": best.score, "step": best.step, "values": best.values},
        "importances": importances,
        "seed": study.seed,
        "program": provenance.describe(),
        "table": [
            {
                "trial": row.number,
                "state": row.state,
                "score": row.score,
                "step": row.step,
                "steps": row.steps,
                "seconds": row.cost.seconds,
                "core_seconds": row.cost.core_seconds,
                "values": row.values,
                **({"problem": row.problem} if row.problem else {}),
            }
            for row in rows
        ],
    }


def _docstring(study: Study, rows: Sequence[Row], best: Row, base: str | None, config: ConfigDict) -> str:
    """Returns the docstring of the best config; its score is the highest of many, so that it looks better than it is."""
    states = [row.state for row in rows]
    return (
        f"{base or 'A config'} with the values that a search found.\n\n"
        f"Trial {best.number} of {len(rows)} ({states.count('pruned')} pruned, {states.count('failed')} failed), each of at most "
        f"{config.train.steps:,} steps: {study.metric}\n"
        f"{best.score:.4f} on validation at step {best.step:,}. As the best of many it is optimistic; test was not read.\n"
    )
