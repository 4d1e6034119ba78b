"""Lists, publishes and measures the pretrained weights: `seqdigits pretrained`.

`publish` replaces the weights NAME of this installation; `measure` writes their metrics into their card; `export` writes their
ONNX file again, after a change of the exported graph.
"""

from __future__ import annotations

import sys
from pathlib import Path

from seqdigits.checkpoint import pretrained
from seqdigits.checkpoint.pretrained import DEFAULT, NAMES, facts, path
from seqdigits.core.arguments import CommandParser, integer_from
from seqdigits.core.console import render_table
from seqdigits.core.interrupt import Stop

USAGE = """seqdigits pretrained
       seqdigits pretrained publish NAME RESULT.json [--partial]
       seqdigits pretrained measure NAME [--only LABEL ...] [--limit N]
       seqdigits pretrained export NAME"""


def command_line() -> CommandParser:
    """Returns the parser of the command line."""
    parser = CommandParser(USAGE, __doc__, f"Names are {', '.join(NAMES)}.")
    parser.add_argument(
        "arguments", nargs="*", metavar="publish | measure | export", help="what to do; default: list the weights"
    )
    parser.add_argument("--partial", action="store_true", help="publish: accepts an incomplete run")
    parser.add_argument(
        "--only", action="append", default=[], metavar="LABEL", help="measure: only this target; repeatable"
    )
    parser.add_argument(
        "--limit",
        type=integer_from(1),
        metavar="N",
        help="measure: only the first N examples of each target, which the card states",
    )
    return parser


def main(stop: Stop) -> None:
    """Runs `seqdigits pretrained`."""
    parser = command_line()
    values = parser.parse_command_line()
    given = {name for name in ("partial", "only", "limit") if getattr(values, name)}
    match values.arguments:
        case [] if not given:
            print("\n\n".join(listing(name) for name in NAMES))
        case ["publish", name, result] if given <= {"partial"}:
            _prepare_jax()
            from seqdigits.release import publish

            publish.publish(name, Path(result), partial=values.partial)
        case ["measure", name] if given <= {"only", "limit"}:
            _prepare_jax()
            from seqdigits.release.measure import measure

            measure(name, only=tuple(values.only), limit=values.limit, stop=stop)
        case ["export", name] if not given:
            _prepare_jax()
            from seqdigits.release.onnx_file import export

            export(name)
        case _:
            parser.error(f"{' '.join(sys.argv[1:])!r} is not understood.")


def _prepare_jax() -> None:
    from seqdigits.core.jax_settings import prepare_jax  # imports JAX, which the list does not need

    prepare_jax()


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
