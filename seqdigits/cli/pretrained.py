"""Lists, publishes and measures the pretrained weights: `python -m seqdigits pretrained`."""

from __future__ import annotations

import sys
from pathlib import Path

from seqdigits.checkpoint import pretrained
from seqdigits.checkpoint.pretrained import DEFAULT, NAMES, facts, path
from seqdigits.config.flags import prepare_jax
from seqdigits.core.arguments import parse_arguments
from seqdigits.core.console import render_table
from seqdigits.core.errors import UserError
from seqdigits.core.interrupt import Stop
from seqdigits.release import publish
from seqdigits.release.measure import measure

USAGE = """python -m seqdigits pretrained
       python -m seqdigits pretrained publish NAME RESULT.json [--partial]
       python -m seqdigits pretrained measure NAME [--only LABEL ...] [--limit N]"""


def main(stop: Stop) -> None:
    """Runs `seqdigits pretrained`."""
    from absl import flags

    values = flags.FlagValues()
    values.set_gnu_getopt(True)  # flags may follow names
    flags.DEFINE_boolean("partial", False, "publish: accepts an incomplete run", flag_values=values)
    flags.DEFINE_multi_string("only", [], "measure: only this target; repeatable", flag_values=values)
    flags.DEFINE_integer(
        "limit", None, "measure: only the first N examples of each, to try it", lower_bound=1, flag_values=values
    )
    flags.DEFINE_boolean("help", False, "this text", short_name="h", flag_values=values)
    arguments = parse_arguments(values, USAGE, f"{values.get_help()}\n\nNames are {', '.join(NAMES)}.")
    given = {name for name in ("partial", "only", "limit") if values[name].value}
    match arguments:
        case [] if not given:
            print("\n\n".join(listing(name) for name in NAMES))
        case ["publish", name, result] if given <= {"partial"}:
            publish.publish(name, Path(result), partial=values["partial"].value)
        case ["measure", name] if given <= {"only", "limit"}:
            prepare_jax()
            measure(name, only=tuple(values["only"].value), limit=values["limit"].value, stop=stop)
        case _:
            raise UserError(f"{' '.join(sys.argv[1:])!r} is not understood. usage: {USAGE}")


def listing(name: str) -> str:
    """Returns the file of one name's weights and a table of their metrics: as text for standard output."""
    head = f"{name}{' (the default)' if name == DEFAULT else ''}"
    if not (pretrained.FOLDER / f"{name}.npz").exists():
        return f"{head}: not published"
    file, known = path(name), facts(name)
    about = f"{file}, {known['bytes']:,} bytes, SHA-256 {known['sha256'][:12]}..., {known['parameters']:,} parameters"
    if not known["metrics"]:
        return f"{head}: {about}; not measured"
    rows = []
    for label, row in known["metrics"].items():
        if row is None:
            rows.append((label, "not measured", ""))
            continue
        examples = f"{'' if row['limit'] is None else 'the first '}{row['examples']:,}"
        rows.append((label, f"{row['sequence_accuracy']:.4f} ± {row['half_interval']:.4f}", examples))
    return f"{head}: {about}\n{render_table(('test data', 'sequence accuracy (95% interval)', 'examples'), rows)}"
