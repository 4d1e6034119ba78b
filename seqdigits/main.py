"""Trains or evaluates one experiment: `python -m seqdigits.main --config CONFIG --workdir W`.

Exit status: 0 success, 2 a user error, 75 or 130 stopped by a signal (docs/running.md).
"""

from seqdigits.core import app

if __name__ == "__main__":
    app.run("seqdigits.cli.train:main")
