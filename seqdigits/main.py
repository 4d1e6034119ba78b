"""Trains or evaluates one experiment: `python -m seqdigits.main --config configs/X.py --workdir W`.

Exit status: 0 done, 2 an error of the user's, 130 or 143 stopped by a signal.
"""

from seqdigits.core import app

if __name__ == "__main__":
    app.run("seqdigits.cli.train:main")
