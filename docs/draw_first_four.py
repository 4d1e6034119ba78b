"""Draws docs/first_four.png: the curves of the four first networks side by side, from the results of their runs.

seqdigits reproduce first_four_11 first_four_12 first_four_21 first_four_22 --set data.photographs=svhn_2000
python docs/draw_first_four.py results/first_four_*.json
"""

from __future__ import annotations

import sys
from pathlib import Path

from matplotlib.figure import Figure

from seqdigits.experiments.results import Result

_PANELS = (("loss", "training loss"), ("sequence_accuracy", "sequence accuracy on validation"))


def draw(results: list[Result]) -> Figure:
    """Draws the training loss at the left and the sequence accuracy on validation at the right, one line for each result."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    for axes, (name, label) in zip(figure.subplots(1, 2), _PANELS, strict=True):
        for result in results:
            points = [(point.step, getattr(point, name)) for point in result.curve]
            steps, values = zip(*[point for point in points if point[1] is not None], strict=True)
            axes.plot(steps, values, label=result.name.split("+")[0])
        axes.set_xlabel("step")
        axes.set_title(label)
        axes.set_ylim(bottom=0)
    axes.legend()
    return figure


if __name__ == "__main__":
    found = [Result.from_json(Path(path).read_text()) for path in sys.argv[1:]]
    draw(found).savefig(Path(__file__).with_name("first_four.png"), dpi=100)
