"""Compares with off-the-shelf engines on labeled pictures: `python -m seqdigits peers FOLDER ...`."""

from __future__ import annotations

from pathlib import Path

from seqdigits.config.flags import prepare_jax
from seqdigits.core.arguments import parse_arguments
from seqdigits.core.console import render_table
from seqdigits.core.errors import UserError
from seqdigits.core.files import make_folder
from seqdigits.core.interrupt import Stop
from seqdigits.experiments import peers

USAGE = "python -m seqdigits peers FOLDER ... [--engine NAME ...] [--only SUBFOLDER ...] [--limit N] [--out DIR]"


def main(stop: Stop) -> None:
    """Runs `seqdigits peers`."""
    from absl import flags

    values = flags.FlagValues()
    values.set_gnu_getopt(True)  # flags may follow names
    flags.DEFINE_multi_enum(
        "engine", list(peers.ENGINES), list(peers.ENGINES), "only this engine; repeatable", flag_values=values
    )
    flags.DEFINE_multi_string("only", [], "only this subfolder of FOLDER; repeatable", flag_values=values)
    flags.DEFINE_integer(
        "limit", None, "number of pictures of each subfolder, the first ones", lower_bound=1, flag_values=values
    )
    flags.DEFINE_string("out", "runs/peers", "the folder of the answers and of the tables", flag_values=values)
    flags.DEFINE_boolean("help", False, "this text", short_name="h", flag_values=values)
    folders = parse_arguments(values, USAGE, f"{__doc__.splitlines()[0]}\n{values.get_help()}\n\nFirst run: make peers")
    if not folders:
        raise UserError(f"FOLDER is missing. usage: {USAGE}")

    prepare_jax()
    found = peers.picture_sets(folders, values["only"].value, values["limit"].value)
    out = Path(values["out"].value)
    make_folder(out, "--out")
    report = peers.run(found, out, {name: peers.ENGINES[name] for name in values["engine"].value}, stop)
    peers.write(report, out)
    print(f"\n{render_table(peers.COLUMNS, peers.rows(report), 'll' + 'r' * (len(peers.COLUMNS) - 2))}")
    print(f"\n{render_table(peers.ENGINE_COLUMNS, peers.engine_rows(report), 'llrrrrr')}\n")
    print("\n".join([*peers.notes(report), f"{out / 'peers.json'} and {out / 'peers.md'} are written."]))
