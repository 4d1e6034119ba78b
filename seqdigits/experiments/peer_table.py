"""The table of off-the-shelf engines in RESULTS.md, from the files peers.json of `seqdigits peers`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from seqdigits.core.errors import UserError
from seqdigits.evaluation.score_table import interval, share

_NONE = "No run is recorded: `seqdigits peers FOLDER ... --record NAME` writes `results/peers/NAME.json`."


def peer_lines(folder: Path) -> list[str]:
    """Returns the lines of the table, one row per set of pictures; a sentence where no run is recorded.

    Args:
      folder: of the files, each written by a run of `seqdigits peers`.

    Raises:
      UserError: a file is not such a report.
    """
    engines: dict[str, None] = {}
    rows: list[tuple[str, dict[str, str], str]] = []
    for path in sorted(folder.glob("*.json")):
        try:
            report = json.loads(path.read_text())
            heads = {name: f"{name} {engine['version']}" for name, engine in report["engines"].items()}
            engines |= dict.fromkeys(heads.values())
            commit = report["provenance"]["commit"] or "?"
            for name, results in report["sets"].items():
                rows.append((name, {heads[engine]: _cell(result) for engine, result in results.items()}, commit))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as e:
            raise UserError(f"{path} is not a report of seqdigits peers: {e!r}. Move it elsewhere.") from e
    if not rows:
        return [_NONE]
    return [
        f"| pictures | {' | '.join(engines)} | commit |",
        f"|---|{'---|' * len(engines)}---|",
        *(
            f"| {name} | {' | '.join(cells.get(engine, '-') for engine in engines)} | `{commit[:7]}{'+' * commit.endswith('+')}` |"
            for name, cells, commit in rows
        ),
    ]


def _cell(result: dict[str, Any]) -> str:
    """Returns right, its interval, and the number of pictures; false answers where no picture has a number."""
    false = result["no_number"]
    parts = []
    if result["pictures"]:
        parts.append(f"{share(result['right'])} ({interval(result['right_interval'])}) of {result['pictures']:,}")
    if false["pictures"]:
        parts.append(f"false answers {share(false['false_answers'])} of {false['pictures']:,}")
    return "; ".join(parts)
