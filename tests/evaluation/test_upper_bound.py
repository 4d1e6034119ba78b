"""Upper bounds, against counts by hand."""

import sys

import jax.numpy as jnp
import numpy as np
import pytest

from seqdigits.cli import upper_bound as cli_upper_bound
from seqdigits.cli.upper_bound import table
from seqdigits.core.constants import NO_DIGIT
from seqdigits.core.errors import UserError
from seqdigits.core.interrupt import Stop, Stopped
from seqdigits.core.types import Batch
from seqdigits.evaluation.upper_bound import UpperBound, count_representable, measure_upper_bound

N = NO_DIGIT


def batch():
    """Returns four images of 16x32 and a padded row.

    Their digits are far apart; have centers 4 pixels apart, in one cell of 8 and overlapping by 1/3; have the same distance
    across a border of cells; and the last image has only one digit.
    """
    x = np.array([[4, 20], [9, 13], [14, 18], [4, 0], [4, 4]], float)
    boxes = np.stack([x, x * 0 + 4, x * 0 + 8, x * 0 + 8], -1)
    digits = np.array([[1, 2], [3, 4], [5, 6], [7, N], [8, 8]])
    return Batch(
        image=jnp.zeros((5, 16, 32, 1), jnp.uint8),
        digits=jnp.array(digits),
        boxes=jnp.array(np.where((digits != N)[..., None], boxes, 0.0)),
        index=jnp.array([0, 1, 2, 3, -1]),
    )


@pytest.mark.parametrize(
    ("stride", "max_overlap", "expected"),
    [
        (8, 0.4, [4, 3, 4, 3]),  # the second has both in the cell 8..16
        (4, 0.4, [4, 4, 4, 4]),
        (16, 0.4, [4, 3, 4, 3]),
        (32, 0.4, [4, 1, 4, 1]),  # one cell in all
        (8, 0.3, [4, 3, 2, 2]),
        (12, 0.3, [4, 3, 2, 2]),  # cells that do not fill the image: 12..24 has both of the third
    ],
)
def test_count_representable_matches_counts_by_hand(stride, max_overlap, expected):
    assert count_representable(batch(), stride, max_overlap).tolist() == expected


def test_measure_upper_bound_of_three_strides(small_config):
    config = small_config({"data.min_length": 2})
    bounds = measure_upper_bound(config, "validation", limit=30)
    assert [(c.stride, c.grid, c.images) for c in bounds] == [(4, (8, 24), 30), (8, (4, 12), 30), (16, (2, 6), 30)]
    assert all(c.both <= min(c.apart, c.separate) <= c.images for c in bounds)
    assert bounds[0].apart == 30  # digits of 28 pixels side by side
    assert bounds[0].separate == bounds[2].separate
    assert measure_upper_bound(config, "validation")[0].images == 40


def test_upper_bound_table(small_config):
    text = table([UpperBound(4, (8, 24), 40, 40, 30, 30), UpperBound(8, (4, 12), 40, 20, 30, 10)], small_config())
    assert "40 images" in text
    assert text.splitlines()[-1].split() == ["8", "4x12", "0.5000", "0.7500", "0.2500", "the", "model's"]


def test_command_measures_the_split_of_a_config(monkeypatch, capsys):
    flags = ["--split", "test", "--limit=30", "--config.data.min_length=3", "--config.decode.max_overlap=0.3"]
    monkeypatch.setattr(sys, "argv", ["seqdigits upper-bound", "quickstart", *flags])
    monkeypatch.setattr(cli_upper_bound, "prepare_jax", lambda: None)
    measured = []

    def measure(config, split, limit, stop):
        measured.append((split, limit))
        return measure_upper_bound(config, split, limit, stop)

    monkeypatch.setattr(cli_upper_bound, "measure_upper_bound", measure)
    cli_upper_bound.main(Stop())
    lines = capsys.readouterr().out.splitlines()
    assert measured == [("test", 30)]
    assert lines[0] == "30 images"
    assert "overlap <= 0.3" in lines[1]
    assert [line.split()[:2] for line in lines[2:]] == [["4", "16x32"], ["8", "8x16"], ["16", "4x8"]]
    assert [line.endswith("the model's") for line in lines[2:]] == [False, True, False]
    assert lines[2].split()[2] == "1.0000"  # digits of 28 pixels, side by side


def test_measure_upper_bound_errors_and_stop(experiment, small_config):
    with pytest.raises(UserError, match="model.name = gru has no grid"):
        measure_upper_bound(experiment("strip5_batchnorm"), "validation")
    stop = Stop()
    stop.set()
    with pytest.raises(Stopped):
        measure_upper_bound(small_config(), "validation", stop=stop)
