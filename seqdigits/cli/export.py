"""Writes a trained network as a file for another runtime: `seqdigits export --to onnx | tflite | stablehlo`.

The file takes uint8 images and returns predictions; preprocessing and decoding are inside. Before it is written, it is run and
compared with the network itself on 500 validation examples of the run. With float32, no file is written if a digit differs, or a
box by more than 0.05 pixels; otherwise if more than 0.5 points of accuracy are lost. The ONNX file of a dense detector returns the
candidates that the Reader needs; these are also compared on drawn images of several sizes.

Exit status: 0 success, 2 a user error, 75 or 130 stopped by a signal (docs/running.md).
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from seqdigits.checkpoint import pretrained
from seqdigits.checkpoint.layout import checkpoints_folder
from seqdigits.checkpoint.load import load_variables
from seqdigits.config.saved import complete_config
from seqdigits.core.arguments import CommandParser
from seqdigits.core.errors import UserError
from seqdigits.core.files import write_output
from seqdigits.core.interrupt import Stop, Stopped
from seqdigits.core.jax_settings import prepare_jax
from seqdigits.export import agreement, parity
from seqdigits.export.formats import DTYPES, exported
from seqdigits.export.program import Program

USAGE = (
    "seqdigits export --to onnx|tflite|stablehlo (--weights NAME | --workdir W) [--dtype float16|float32|int8] "
    "[--size HxW] [--out FILE]"
)


def command_line() -> CommandParser:
    """Returns the parser of the command line."""
    parser = CommandParser(USAGE, __doc__)
    parser.add_argument("--to", choices=tuple(DTYPES), required=True, help="format of the file")
    parser.add_argument("--weights", metavar="NAME", help=f"pretrained weights: {' or '.join(pretrained.NAMES)}")
    parser.add_argument("--workdir", metavar="W", help="the folder of a run, in place of pretrained weights")
    parser.add_argument(
        "--dtype",
        choices=("float16", "float32", "int8"),
        help="of stored weights: float16 (default) or float32, with tflite also int8; stablehlo has float32 only",
    )
    parser.add_argument(
        "--size",
        type=_size,
        metavar="HxW",
        help="of the images of a dense detector, for tflite (default: of its validation)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="default NAME.FORMAT, or W/model.FORMAT; W/model-STEP.FORMAT of W/checkpoints/STEP",
    )
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
    allowed = DTYPES[values.to]
    dtype = values.dtype or allowed[0]
    if dtype not in allowed:
        raise UserError(f"--dtype {dtype}: with --to {values.to} allowed is {' or '.join(allowed)}.")
    out = values.out or (_beside(weights, values.to) if workdir else Path(f"{name}.{values.to}"))
    if not out.parent.is_dir():
        raise UserError(f"--out {out}: there is no folder {out.parent}. Create it, or name another file with --out.")
    if out.is_dir():
        raise UserError(f"--out {out} is a folder. Name a file.")
    prepare_jax()
    is_detector = complete_config(load_variables(weights)[1]["config"], weights).model.name == "dense_detector"
    if values.size and not (is_detector and values.to == "tflite"):
        raise UserError("--size: allowed with --to tflite and a dense detector. Leave it out.")
    program = Program(weights, size=values.size, packaged_data=bool(name))
    if program.is_detector and values.to == "onnx":
        content = parity.compared_detector(program, weights, dtype, out, stop, exact=dtype == "float32")
    else:
        content = compared(program, values.to, dtype, out, stop)
    if stop.is_set():
        raise Stopped
    write_output(out, content, "--out")
    print(f"{out}: {len(content):,} bytes", flush=True)
    if program.is_detector and values.to == "onnx":
        print(
            "It returns candidates for digits, no numbers: the Reader combines them, seqdigits predict --weights FILE."
        )
        if program.config.model.second_look:
            print("model.second_look is left out, as in the Reader: single digits may differ from those of evaluation.")


def compared(program: Program, to: str, dtype: str, out: Path, stop: Stop) -> bytes:
    """Returns a file that predicts, after it has been compared, and prints the figures.

    Args:
      program: the trained network.
      to: the format, a key of DTYPES.
      dtype: one of DTYPES.
      out: the file, for messages.
      stop: is polled before the comparison.

    Raises:
      UserError: the network cannot be exported, a library or the data are missing, or the file predicts something else.
      Stopped: `stop` was set.
    """
    content, run = exported(program, to, dtype, out)
    if stop.is_set():
        raise Stopped
    found = agreement.Examples(program).compare(run)
    print(agreement.text(found), flush=True)
    agreement.check(found, out, dtype)
    return content


def _beside(weights: Path, to: str) -> Path:
    """Returns the file for what `--workdir` names. It is never in a checkpoint, which a new file would damage.

    >>> [str(_beside(Path(p), "onnx")) for p in ("runs/x", "runs/x/checkpoints/400", "x.npz")]
    ['runs/x/model.onnx', 'runs/x/model-400.onnx', 'x.onnx']
    """
    if weights.suffix == ".npz":
        return weights.with_suffix(f".{to}")
    step = weights.resolve()  # "400" and "." within the folder of checkpoints name one too
    if step.parent.name == checkpoints_folder(Path()).name:
        run = weights.parent.parent if weights.parent.name == step.parent.name else step.parent.parent
        return run / f"model-{step.name}.{to}"
    return weights / f"model.{to}"


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", text)
    if not match:
        raise argparse.ArgumentTypeError(f"{text!r} is not HEIGHTxWIDTH, such as 64x128")
    return int(match[1]), int(match[2])
