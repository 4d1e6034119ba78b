"""Trains or evaluates one experiment: `python -m seqdigits.main --config configs/X.py --workdir W`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from seqdigits import interrupt
from seqdigits.errors import UserError


def main() -> int:
    """Returns the exit status: 0 done, 2 an error of the user's, 130 or 143 stopped by a signal."""
    stop = interrupt.install()  # before JAX is imported
    try:
        return _main(stop)
    except UserError as e:
        print(f"error: {e}", file=sys.stderr)
        return 2
    except interrupt.Stopped:
        return stop.exit_status


def _main(stop: interrupt.Stop) -> int:
    from seqdigits import command_line

    flags = command_line.parse(sys.argv)
    command_line.keep_compiled()
    from seqdigits.evaluate import evaluate_checkpoint
    from seqdigits.train import train_and_evaluate

    workdir = Path(flags.workdir)
    if flags.mode == "train":
        train_and_evaluate(flags.config, workdir, stop)
        print(command_line.what_next(workdir))
    else:
        evaluate_checkpoint(flags.config, workdir, which=flags.checkpoint, splits=tuple(flags.split), stop=stop)
    return 0


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # threads of compilers and writers have nothing left to do
