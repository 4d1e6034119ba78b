"""Trains or evaluates one experiment: `python -m seqdigits.main --config configs/X.py --workdir W`.

Exit status: 0 success, 2 a user error, 130 or 143 stopped by a signal.
"""

from seqdigits.core import app

if __name__ == "__main__":
    app.run("seqdigits.cli.train:main")
