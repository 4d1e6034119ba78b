"""The results of `seqdigits reproduce` as one page: `python -m seqdigits report [RESULTS [PAGE]]`, results/ and RESULTS.md."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from seqdigits.config.defaults import LOWER_IS_BETTER
from seqdigits.core.constants import SPLITS
from seqdigits.core.errors import UserError
from seqdigits.experiments.published import FAMILIES, PUBLISHED
from seqdigits.experiments.results import ComparedMetric, Result
from seqdigits.metrics.intervals import half_interval


def read(folder: Path) -> list[Result]:
    """The results in a folder, in the order of the published table, our own behind.

    Raises:
      UserError: there are none, or one is no result.
    """
    results = []
    for path in sorted(folder.glob("*.json")):
        try:
            results.append(Result.from_json(path.read_text()))
        except (OSError, ValueError, KeyError, TypeError) as e:
            raise UserError(f"{path} is no result of seqdigits reproduce: {e!r}. Move it away.") from e
    if not results:
        raise UserError(f"{folder} has no results. python -m seqdigits reproduce writes them.")
    order = {name: i for i, name in enumerate(PUBLISHED)}
    return sorted(results, key=lambda r: (order.get(_base(r), len(order)), r.name))


def text(results: list[Result]) -> str:
    """The page, Markdown."""
    lines = [
        "# Results",
        "",
        "Written by `python -m seqdigits report` from `results/`; nothing here is typed by hand. Three figures are training (its",
        "first 10,000 examples) / validation / test; behind ± half of the 95% interval of ours (Wilson), by the number of examples",
        "of test. *Partial*: only the start of the schedule was run, so nothing is said of beaten or not; *shorter*: a schedule of fewer",
        "steps was run whole. Published figures count as they were printed, rounded. Minutes are of training with its evaluations, on a",
        "machine that did other things besides. Several commits: of the parts of a run that was stopped and went on; + behind one:",
        "files of the tree differed from it.",
    ]
    for letter, what in (*FAMILIES.items(), ("", "Ours alone, and what differs from the published data")):
        rows = [row for result in results if _family(result) == letter for row in _rows(result)]
        if rows:
            lines += ["", f"## {f'{letter}. ' if letter else ''}{what[0].upper()}{what[1:]}", "", *_HEAD, *rows]
    soon = [row for result in results for row in _how_soon(result)]
    if soon:
        lines += ["", "## How soon our readers read", "", *_SOON_HEAD, *soon]
    return "\n".join(lines) + "\n"


_LEVELS = (0.80, 0.95, 0.99)
_SOON_HEAD = (
    "Minutes of training, evaluations and compiling included, until the first examples of validation were first read with a sequence",
    "accuracy of at least so much; behind it the localization error then. Under a schedule that was made for the whole run.",
    "",
    f"| config | examples | {' | '.join(f'{level:.2f}' for level in _LEVELS)} | commit; seed; device |",
    f"|---|---|{'---|' * len(_LEVELS)}---|",
)


def _how_soon(result: Result) -> list[str]:
    """A row for a reader whose run began with nothing learned, or none."""
    model, init = result.config["model"], result.config["init"]
    if model["name"] != "dense_detector" or init["path"] or result.partial:
        return []
    seen = [
        (p.sequence_accuracy, p.seconds, p.localization_error)
        for p in result.curve
        if p.sequence_accuracy is not None and p.seconds is not None
    ]
    cells = []
    for level in _LEVELS:
        first = next((point for point in seen if point[0] >= level), None)
        cells.append("-" if first is None else f"{first[1] / 60:.1f}, {first[2]:.2f} px²")
    examples = result.config["evaluate"]["examples"] or result.config["data"]["validation_examples"]
    return [f"| `{_base(result)}` | {examples:,} | {' | '.join(cells)} | {_origin(result)} |"]


def _origin(result: Result) -> str:
    device = result.devices[0] + (f" x {len(result.devices)}" if len(result.devices) > 1 else "")
    commits = [one.commit or "?" for one in result.trained]
    named = ", ".join(f"`{one[:7]}{'+' * one.endswith('+')}`" for one in dict.fromkeys(commits))
    return f"{named}; {result.seed}; {device}"


_HEAD = (
    "| config | steps | figure | published | ours | beaten | minutes | commit; seed; device |",
    "|---|---|---|---|---|---|---|---|",
)


def _base(result: Result) -> str:
    return result.name.split("+")[0]


def _family(result: Result) -> str:
    """The family that it stands beside; "" where it cannot: a part of a schedule can, another experiment cannot."""
    same = result.comparable or (result.partial and not result.settings)
    return result.published.family if result.published and same else ""


def _rows(result: Result) -> list[str]:
    whole = "*shorter*" if "optim.decay_steps" in result.settings else "*partial*"
    steps = f"{result.steps:,}" + (f" of {result.steps_planned:,}, {whole}" if result.partial else "")
    origin = _origin(result)
    name = f"`{_base(result)}`" + "".join(f"<br>{key}={value}" for key, value in result.settings.items())
    rows: list[str] = []
    for metric, published, ours, verdict in _metrics(result):
        head = (name, steps) if not rows else ("", "")
        tail = (f"{result.minutes:.1f}", origin) if not rows else ("", "")
        rows.append(f"| {' | '.join((*head, metric, published, ours, verdict, *tail))} |")
    return rows


def _metrics(result: Result) -> list[tuple[str, str, str, str]]:
    """Metric, published, ours, verdict: one row a metric."""
    published: dict[str, dict[str, ComparedMetric]] = {}
    for figure in result.published.metrics if result.published else []:
        published.setdefault(figure.metric, {})[figure.split] = figure
    for metric in ("sequence_accuracy", "localization_error"):
        if any(report.get(metric) is not None for report in result.reports.values()):
            published.setdefault(metric, {})
    rows = []
    for metric, by_split in published.items():
        verdicts = {split: figure.improves for split, figure in by_split.items() if split != "train"}
        verdict = "-" if not verdicts or None in verdicts.values() else "yes" if all(verdicts.values()) else "no"
        if verdict == "no" and any(verdicts.values()):
            verdict = ", ".join(f"{split} {'yes' if won else 'no'}" for split, won in verdicts.items())
        theirs = " / ".join(f"{by_split[s].value:g}" for s in SPLITS if s in by_split) or "-"
        if by_split and len(by_split) < 3:
            theirs += f" ({', '.join(s for s in SPLITS if s in by_split)})"
        rows.append((metric.replace("_", " "), theirs, _ours(result.reports, metric), verdict))
    return rows


def _ours(reports: dict[str, dict[str, Any]], metric: str) -> str:
    name, _, position = metric.partition("/")
    form = "{:.2f}" if name in LOWER_IS_BETTER and name != "cross_entropy" else "{:.4f}"
    values = {split: report.get(name) for split, report in reports.items()}
    if position:
        values = {split: value[int(position) - 1] for split, value in values.items() if value}
    shown = " / ".join("-" if values.get(s) is None else form.format(values[s]) for s in SPLITS)
    record = "test" if values.get("test") is not None else "validation"
    share = values.get(record)
    if name != "sequence_accuracy" or share is None:
        return shown
    return f"{shown} ± {half_interval(share, reports[record]['examples']):.4f}"
