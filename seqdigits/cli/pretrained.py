"""Lists, publishes and measures the weights of the package: `python -m seqdigits pretrained`."""

from __future__ import annotations

import sys
from pathlib import Path

from seqdigits.checkpoint import pretrained
from seqdigits.checkpoint.pretrained import DEFAULT, NAMES, facts, path
from seqdigits.config.flags import prepare_jax
from seqdigits.core.errors import Help, UserError
from seqdigits.core.interrupt import Stop
from seqdigits.release import publish
from seqdigits.release.measure import measure

USAGE = """python -m seqdigits pretrained
       python -m seqdigits pretrained publish NAME RESULT.json [--partial]
       python -m seqdigits pretrained measure NAME [--only LABEL ...] [--limit N]"""


def main(stop: Stop) -> None:
    from absl import flags

    values = flags.FlagValues()
    values.set_gnu_getopt(True)  # flags may stand behind names
    flags.DEFINE_boolean("partial", False, "publish: accepts an incomplete run", flag_values=values)
    flags.DEFINE_multi_string("only", [], "measure: only this target; repeatable", flag_values=values)
    flags.DEFINE_integer(
        "limit", None, "measure: only the first N examples of each, to try it", lower_bound=1, flag_values=values
    )
    flags.DEFINE_boolean("help", False, "this text", short_name="h", flag_values=values)
    if {"--help", "-h", "--helpfull"} & set(sys.argv):
        raise Help(f"usage: {USAGE}\n\n{values.get_help()}\n\nNames are {', '.join(NAMES)}.")
    try:
        arguments = values(sys.argv)[1:]
    except flags.Error as e:
        raise UserError(f"{e}\nusage: {USAGE}") from e
    given = {name for name in ("partial", "only", "limit") if values[name].value}
    match arguments:
        case [] if not given:
            print("\n".join(line for name in NAMES for line in listing(name)))
        case ["publish", name, result] if given <= {"partial"}:
            publish.publish(name, Path(result), partial=values["partial"].value)
        case ["measure", name] if given <= {"only", "limit"}:
            prepare_jax()
            measure(name, only=tuple(values["only"].value), limit=values["limit"].value, stop=stop)
        case _:
            raise UserError(f"{' '.join(sys.argv[1:])!r} is not understood. usage: {USAGE}")


def listing(name: str) -> list[str]:
    """Lines for a person on one name: where its weights lie, and what was measured of them."""
    head = f"{name}{' (the default)' if name == DEFAULT else ''}"
    if not (pretrained.FOLDER / f"{name}.npz").exists():
        return [f"{head}: not published"]
    file, known = path(name), facts(name)
    lines = [
        f"{head}: {file}, {known['bytes']:,} bytes, SHA-256 {known['sha256'][:12]}..., {known['parameters']:,} parameters"
    ]
    for label, row in known["metrics"].items():
        if row is None:
            lines.append(f"  {label:<12} not measured")
            continue
        part = "" if row["limit"] is None else ", the first"
        accuracy = f"{row['sequence_accuracy']:.4f} ± {row['half_interval']:.4f}"
        lines.append(f"  {label:<12} sequence accuracy {accuracy}{part} of {row['examples']:,} examples")
    return lines
