"""Writes the page of `seqdigits inspect`: one HTML file that refers to no other.

The same data and program give the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from ml_collections import ConfigDict

from seqdigits.config.defaults import base_config
from seqdigits.core import provenance
from seqdigits.inspection import checks
from seqdigits.inspection.findings import find, plural
from seqdigits.inspection.gallery import make_tiles
from seqdigits.inspection.origins import data_origin
from seqdigits.inspection.sections import boxes, labels, pixels
from seqdigits.inspection.statistics import LISTED, SplitStatistics
from seqdigits.visualization import charts
from seqdigits.visualization.html import Table, Tile, render, tile_width

_COMPOSITIONS = {
    "digit": "single digits, unaltered",
    "scene": "synthetic scenes with handwritten and typeset numbers",
    "centered": "small digits side by side in the center",
    "photograph": "whole photographs of numbers",
    "crop": "photographs, cropped around the number",
    "cropped_digit": "single digits cropped from photographs",
}
_ROWS, _PAGE_WIDTH, _GAP = 3, 1040, 12  # of examples, on a wide page; pixels


def html(name: str, config: ConfigDict, statistics: Sequence[SplitStatistics], command: str) -> str:
    """Returns the whole page.

    Args:
      name: name of the config.
      config: the config, with all keys.
      statistics: statistics of one or more splits.
      command: the command line, for the section on provenance.
    """
    prints = {s.split: s.prints for s in statistics}
    copies = checks.copies(prints)
    return render(
        "inspection.html.jinja",
        name=name,
        colors=charts.COLORS,
        splits=[s.split for s in statistics],
        head=_head(config, statistics),
        findings=find(config.data.composition, statistics, copies, checks.contradictions(prints)),
        faults=_faults(statistics),
        faulty=[t for s in statistics for t in make_tiles(s.faulty, [f"{s.split} {e.index:,}" for e in s.faulty])],
        samples=[(s.split, _samples(s)) for s in statistics],
        labels=labels(statistics),
        boxes=boxes([s for s in statistics if s.boxes]),
        pixels=pixels(statistics),
        duplicates=_duplicates(statistics, prints, copies),
        checks=_checks(statistics),
        provenance=_provenance(config, command),
    )


def _head(config: ConfigDict, statistics: Sequence[SplitStatistics]) -> dict[str, Any]:
    spec = statistics[0].spec
    sizes = dict.fromkeys(f"{s.spec.image[0]} × {s.spec.image[1]}" for s in statistics)
    low, high = min(s.spec.min_length for s in statistics), max(s.spec.max_length for s in statistics)
    length = str(high) if low == high else f"{low} to {high}"
    origin, is_restricted = data_origin(config.data)
    return {
        "about": f"{' or '.join(sizes)} pixels, {'gray' if spec.image[2] == 1 else 'color'}, {length} "
        f"digit{'' if high == 1 else 's'}: {_composition(config.data)}.",
        "origin": origin,
        "is_restricted": is_restricted,
        "splits": [(s.split, f"{s.examples:,}", _extent(s), plural(int(s.digits.sum()), "digit")) for s in statistics],
    }


def _composition(data: ConfigDict) -> str:
    """Returns what an image shows: one of _COMPOSITIONS, or for other compositions a text that depends on further keys."""
    if data.composition == "canvas":
        places = "each at a random place" if data.scattered else "side by side, at a random position"
        return f"digits {places} on black"
    if data.composition == "rotated":
        each = [f"rotated by up to {data.max_rotation}°"] * bool(data.max_rotation) + ["shifted"] * bool(data.jitter)
        line = f"digits in a {'column' if data.stacked else 'row'}"
        return f"{line}, each {' and '.join(each)}" if each else line
    return _COMPOSITIONS[data.composition]


def _extent(s: SplitStatistics) -> str:
    if s.endless:
        return "the first of endlessly many"
    return "all of them" if s.whole else f"the first of {s.spec.num_examples:,}"


def _faults(statistics: Sequence[SplitStatistics]) -> list[dict[str, Any]]:
    """Returns each kind of fault that occurs, with its first examples."""
    found = []
    for kind, text in checks.FAULTS.items():
        number = sum(s.faults[kind] for s in statistics)
        rows = [(f"{f.split} {f.index:,}", f.detail) for s in statistics for f in s.listed.get(kind, [])][:LISTED]
        if number:
            found.append({"title": f"{number:,} × {text}", "rows": rows, "more": number - len(rows)})
    return found


def _samples(s: SplitStatistics) -> list[Tile]:
    number = _ROWS * max(_PAGE_WIDTH // (tile_width(s.spec.image[1]) + _GAP), 1)
    every = max(len(s.samples) / number, 1)
    return make_tiles([s.samples[int(i * every)] for i in range(min(number, len(s.samples)))])


def _duplicates(
    statistics: Sequence[SplitStatistics], prints: dict[str, checks.Prints], copies: dict[tuple[str, str], int]
) -> dict[str, Any]:
    splits = [s.split for s in statistics]
    rows = [(f"of {a}", *(f"{copies[a, b]:,}" for b in splits)) for a in splits]
    tiles = []
    for s in statistics:
        for example in s.again.examples:
            same = [f"{split} {index:,}" for split, index in checks.places(prints, example.image_print)]
            tiles += make_tiles([example], [" = ".join(same[:4]) + (" ..." if len(same) > 4 else "")])
    return {"table": Table(("images", *(f"also in {b}" for b in splits)), rows), "tiles": tiles}


def _checks(statistics: Sequence[SplitStatistics]) -> list[Table]:
    splits = [s.split for s in statistics]
    faults = [(text, *(f"{s.faults[kind]:,}" for s in statistics)) for kind, text in checks.FAULTS.items()]
    notes = [(text, *(f"{s.notes[kind]:,}" for s in statistics)) for kind, text in checks.NOTES.items()]
    return [Table(("faults: examples with", *splits), faults), Table(("no fault, but counted", *splits), notes)]


def _provenance(config: ConfigDict, command: str) -> dict[str, Any]:
    about = provenance.describe()
    default = base_config().data
    return {
        "command": command,
        "commit": about["commit"] or "unknown",
        "python": about["python"],
        "versions": ", ".join(f"{name} {version}" for name, version in about["versions"].items() if version),
        "seed": config.seed,
        "data": [
            (f"data.{key}", json.dumps(value), value != default[key])
            for key, value in json.loads(config.data.to_json()).items()
        ],
    }
