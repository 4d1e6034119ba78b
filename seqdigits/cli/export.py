"""Writes a trained dense detector as a file for another runtime: `seqdigits export --to onnx`.

Before the file is written, its candidates for digits are compared with those of the network itself on drawn images. No file is
written if a digit differs, or a box by more than 0.05 pixels.

Exit status: 0 success, 2 a user error, 75 or 130 stopped by a signal (docs/running.md).
"""

from __future__ import annotations

from pathlib import Path

from seqdigits.checkpoint import pretrained
from seqdigits.config.flags import prepare_jax
from seqdigits.core.arguments import CommandParser
from seqdigits.core.errors import UserError
from seqdigits.core.files import write_atomically
from seqdigits.core.interrupt import Stop, Stopped
from seqdigits.export.onnx import DTYPES, to_onnx
from seqdigits.export.parity import check, compare, text
from seqdigits.inference.jax_engine import JaxEngine
from seqdigits.inference.onnx_engine import OnnxEngine

USAGE = "seqdigits export --to onnx (--weights NAME | --workdir W) [--dtype float16|float32] [--out FILE]"


def command_line() -> CommandParser:
    """Returns the parser of the command line."""
    parser = CommandParser(USAGE, __doc__)
    parser.add_argument("--to", choices=("onnx",), required=True, help="format of the file")
    parser.add_argument("--weights", metavar="NAME", help=f"pretrained weights: {' or '.join(pretrained.NAMES)}")
    parser.add_argument("--workdir", metavar="W", help="the folder of a run, in place of pretrained weights")
    parser.add_argument(
        "--dtype", choices=tuple(DTYPES), default="float16", help="of stored kernels (default %(default)s)"
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="default NAME.onnx, or W/model.onnx")
    return parser


def main(stop: Stop) -> None:
    """Runs `seqdigits export`."""
    values = command_line().parse_command_line()
    name, workdir = values.weights, values.workdir
    if name and workdir:
        raise UserError(f"--weights {name} and --workdir {workdir}: allowed is one of them.")
    if not name and not workdir:
        names = " or ".join(pretrained.NAMES)
        raise UserError(
            f"what to export is missing. Name pretrained weights, --weights {names}, or a run, --workdir W."
        )
    weights = Path(workdir) if workdir else pretrained.path(name)
    out = values.out or (weights / "model.onnx" if workdir else Path(f"{name}.onnx"))
    if values.out and not out.parent.is_dir():
        raise UserError(f"--out {out}: there is no folder {out.parent}. Create it, or name another file.")
    if out.is_dir():
        raise UserError(f"--out {out} is a folder. Name a file.")
    prepare_jax()
    export(weights, values.dtype, out, stop)


def export(weights: Path, dtype: str, out: Path, stop: Stop) -> None:
    """Writes the ONNX file of a dense detector after it has been compared, and prints the figures.

    Args:
      weights: see checkpoint.load.load_variables.
      dtype: a key of export.onnx.DTYPES.
      out: the file; its folder exists.
      stop: is polled before the comparison, and before the file is written.

    Raises:
      UserError: see to_onnx; the file gives other candidates than the network; or it cannot be written.
      Stopped: `stop` was set; nothing is written.
    """
    content = to_onnx(weights, dtype)
    engine, expected = OnnxEngine(out, content), JaxEngine(weights)
    if stop.is_set():
        raise Stopped
    parity = compare(engine, expected)
    print(text(parity), flush=True)
    check(parity, out, dtype)
    if stop.is_set():
        raise Stopped
    try:
        write_atomically(out, content)
    except OSError as e:
        raise UserError(f"--out {out} cannot be written: {e.strerror}. Name another file.") from e
    print(f"{out}: {len(content):,} bytes", flush=True)
