"""Training of every published config against values typed by hand from the publications."""

from __future__ import annotations

import ast
import re
from typing import NamedTuple

import pytest
from conftest import ROOT

from seqdigits.experiments.published import PUBLISHED

FIGURE = re.compile(r"\b0\.\d{3,4}\b")


class Training(NamedTuple):
    """How a published network was trained; a decay is (schedule, steps, rate)."""

    optimizer: str
    rate: float
    steps: int
    batch: int
    digits: float = 1.0
    box: float = 0.0
    positions: str = "mean"
    decay: tuple[str, int, float] = ("constant", 0, 0.0)
    digit_loss: str = "cross_entropy"
    l2: float = 0.0
    no_digit_weight: float = 1.0


def _strip5(steps: int) -> Training:
    return Training("adam", 1e-4, steps, 50)


def _canvas(digits: float, box: float) -> Training:
    return Training("adam", 1e-4, 30_000, 50, digits, box)


BY_HAND = {
    # A
    "mnist_linear": Training("adam", 1e-3, 10_000, 50),
    "mnist_two_layer": Training("adam", 1e-3, 10_000, 50),
    "mnist_cnn": Training("adam", 1e-3, 10_000, 50),
    "mnist_dense": Training("adam", 1e-3, 860, 64),  # one epoch of the 55,000 that are not validation
    "mnist_cnn_dropout": Training("adam", 1e-3, 5_064, 32),  # 3 epochs of 54,000, of 1,688 steps each
    "svhn_cropped_cnn": Training("adagrad", 0.05, 55_000, 64, decay=("staircase", 10_000, 0.96)),
    # B
    "strip4_multi_head": Training("adam", 1e-3, 3_750, 32, positions="sum", digit_loss="one_hot_cross_entropy"),
    "strip4_row_gru": Training("adam", 1e-3, 11_720, 128),  # 100 epochs of 15,000
    "square64_cnn": Training("adagrad", 0.1, 200_000, 64, positions="sum", decay=("exponential", 10_000, 0.96)),
    "strip5_gru": _strip5(10_000),
    "strip5_gru_dropout": _strip5(10_000),
    "strip5_gru_dropout_30k": _strip5(30_000),
    "strip5_gru256": _strip5(30_000),
    "strip5_gru1024": _strip5(30_000),
    "strip5_deep_head": _strip5(30_000),
    "strip5_deep_head_dropout": _strip5(30_000),
    "strip5_reshaped": _strip5(30_000),
    "strip5_reshaped_keep80": _strip5(30_000),
    "strip5_batchnorm": _strip5(30_000),
    "strip5_batchnorm_keep85": _strip5(30_000),
    "strip5_batchnorm_keep75": _strip5(30_000),
    "strip5_deeper": _strip5(30_000),
    "strip5_double": _strip5(30_000),
    "strip5_overlap": _strip5(30_000),
    # C
    "canvas_sequence": _canvas(1, 0),
    "canvas_localize_baseline": _canvas(1, 1),
    "canvas_localize_square": _canvas(1, 4),  # the sum of four squares, four times their mean
    "canvas_classify": _canvas(1, 0),
    "canvas_weighted": _canvas(1000, 1),
    "canvas_variable": _canvas(1000, 1),
    "canvas_variable_deeper": _canvas(1000, 1),
    # D
    "svhn_baseline": _canvas(1000, 1),
    "svhn_paper_gru": _canvas(1000, 1),
    "svhn_paper_heads": _canvas(1000, 1),
    "svhn_transfer": _canvas(1, 0),
    "svhn_transfer_box": _canvas(0, 1),
    "svhn_transfer_l2": Training("adam", 1e-4, 30_000, 50, 1, 0, l2=0.001),
    "svhn_extra_strided": Training("adam", 1e-4, 50_000, 50, 1000, 1, decay=("piecewise", 0, 0.0), l2=0.001),
    "svhn_no_digit_weight": Training(
        "adam", 1e-4, 60_000, 50, 1000, 1, decay=("piecewise", 0, 0.0), l2=0.001, no_digit_weight=0.125
    ),
    "svhn_crop32": Training("adam", 7.5e-4, 116_000, 64, positions="sum", decay=("staircase", 5_000, 0.95)),
    "svhn_crop32_wide": Training("adam", 7.5e-4, 116_000, 64, positions="sum", decay=("staircase", 5_000, 0.95)),
    "svhn_crop32_deep": Training("rmsprop", 1e-3, 110_000, 128, positions="sum", decay=("staircase", 15_000, 0.5)),
    "svhn_crop32_deep5": Training("rmsprop", 1e-3, 56_000, 128, positions="sum", decay=("staircase", 7_500, 0.5)),
}

PARAMETERS = {
    "mnist_linear": 784 * 10 + 10,
    "mnist_two_layer": 50_890,
    "mnist_cnn": 832 + 4_624 + 520 + 8_256 + 2_080 + 330,
    "mnist_dense": 118_282,
    "mnist_cnn_dropout": 34_826,
    "svhn_cropped_cnn": 1_103_498,
    "strip4_multi_head": 160 + 4_640 + 3_408_000 + 4 * 1_290,
    "strip4_row_gru": 29_880 + 110,
    "square64_cnn": 416 + 12_832 + 51_264 + 331_840 + 5 * 715,
    "strip5_gru": 5_976 + 1_992_384 + 5 * 5_770,
    "strip5_reshaped": 5_013_322,
    "canvas_localize_baseline": 38_016_072,
    "canvas_localize_square": 2_955_992,
    "canvas_weighted": 28_898 + 2_766_528 + 28_850 + 1_330_916,
    "canvas_variable": 4_158_077,
    "canvas_variable_deeper": 4_174_589,
    "svhn_baseline": 4_166_024,
    "svhn_paper_heads": 1_068_320 + 6 * 16_907 + 6_148,
    "svhn_extra_strided": 1_665_142,
    "svhn_no_digit_weight": 1_665_142,
    "svhn_crop32": 570_135,
    "svhn_crop32_wide": 3_341_761,
    "svhn_crop32_deep": 719_895,
    "svhn_crop32_deep5": 1_809_047,
}
"""Numbers of parameters that were published or follow from the published layers; test_models builds the networks."""


def test_every_published_config_was_typed():
    assert list(BY_HAND) == [name for name, row in PUBLISHED.items() if row.family in "ABCD"]


@pytest.mark.parametrize("name", BY_HAND)
def test_training_is_as_published(experiment, name):
    config = experiment(name)
    optim, train, loss = config.optim, config.train, config.loss
    assert BY_HAND[name] == Training(
        optim.name,
        optim.learning_rate,
        train.steps,
        train.batch_size,
        loss.digits,
        loss.box,
        loss.positions,
        (optim.schedule, optim.decay_steps, optim.decay_rate),
        loss.digit_loss,
        loss.l2,
        loss.no_digit_weight,
    )
    unpublished = (optim.warmup_steps, optim.weight_decay, optim.clip_norm, optim.moving_average, loss.l1)
    assert unpublished == (0,) * 5


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters_are_as_typed(name):
    assert PUBLISHED[name].params == PARAMETERS[name]


@pytest.mark.parametrize("name", PUBLISHED)
def test_figures_of_a_docstring_are_published(name):
    """Figures of ours are in RESULTS.md alone, which is generated: in a docstring the next run would make them wrong."""
    docstring = ast.get_docstring(ast.parse((ROOT / "configs" / f"{name}.py").read_text()))
    rows = PUBLISHED.values()
    published = {metric.value for row in rows for metric in row.metrics} | {0.001}  # 0.001: the weight of L2
    published |= {float(figure) for row in rows for figure in FIGURE.findall(row.note)}
    assert {float(figure) for figure in FIGURE.findall(docstring)} <= published
