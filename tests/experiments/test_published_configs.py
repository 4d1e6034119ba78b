"""Training and details of the published configs against values typed by hand from the publications."""

from __future__ import annotations

import ast
import re
from typing import NamedTuple

import pytest
from conftest import ROOT

from seqdigits.experiments.published import PUBLISHED

FIGURE = re.compile(r"(?<![\d.])0\.\d+(?!\d|\.\d|e)")


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
    length: float = 0.0
    warmup: int = 0
    clip: float = 0.0
    policy: float = 0.0
    baseline: float = 0.0


def _strip5(steps: int) -> Training:
    return Training("adam", 1e-4, steps, 50)


def _first_four() -> Training:
    return Training("adam", 7.5e-4, 6_000, 64, positions="sum", decay=("staircase", 5_000, 0.95))


def _canvas(digits: float, box: float) -> Training:
    return Training("adam", 1e-4, 30_000, 50, digits, box)


def _glimpses(steps: int) -> Training:
    return Training(
        "adam", 1e-3, steps, 128, decay=("cosine", steps, 0.0), warmup=200, clip=1.0, policy=0.1, baseline=1.0
    )


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
    # G. Published: the sum of the losses of length and digits of goodfellow, and the steps of first_four. The training of these, and
    # that of rcnn_crop32, is svhn_crop32's. The rest is assumed, and typed so that it is not changed by accident.
    "goodfellow": Training("adam", 1e-4, 120_000, 128, positions="sum", decay=("staircase", 40_000, 0.3), length=1.0),
    "goodfellow_small": Training(
        "adam", 1e-3, 10_000, 32, positions="sum", decay=("cosine", 10_000, 0.0), length=1.0, warmup=200
    ),
    "rcnn": Training("adam", 1e-3, 150_000, 128, decay=("cosine", 150_000, 0.0), warmup=500),
    "rcnn_small": Training("adam", 1e-3, 5_000, 64, decay=("cosine", 5_000, 0.0), warmup=100),
    "rcnn_crop32": Training("adam", 7.5e-4, 116_000, 64, positions="sum", decay=("staircase", 5_000, 0.95)),
    "glimpses": _glimpses(20_000),
    "glimpses_digits": _glimpses(20_000),
    "glimpses_crop": _glimpses(60_000),
    "first_four_11": _first_four(),
    "first_four_12": _first_four(),
    "first_four_21": _first_four(),
    "first_four_22": _first_four(),
}


class Details(NamedTuple):
    """What else was published of a network; None where nothing was.

    Attributes:
      dropout: rates of the encoder, in the order of its layers; a published "keep p" is 1 - p.
      head: likewise, of the head of each position.
      box: likewise, of the box head.
      weights: model.kernel_init; truncated_normal has the published deviation, 0.1.
      biases: model.bias_init.
      l2: loss.l2_params.
    """

    dropout: tuple[float, ...] = ()
    head: tuple[float, ...] = ()
    box: tuple[float, ...] = ()
    weights: str | None = None
    biases: float | None = None
    l2: str = ""


def _strip(*dropout: float, head: tuple[float, ...] = ()) -> Details:
    return Details(dropout, head, weights="truncated_normal", biases=0.1)


CONVOLUTIONS = "encoder/Conv_.*/kernel"
CROP32 = Details((0.1, 0.25, 0.25, 0.5), weights="glorot_uniform")
DETAILS = {
    "mnist_linear": Details(),
    "mnist_two_layer": Details(),
    "mnist_cnn": Details(),
    "mnist_dense": Details(weights="glorot_uniform", biases=0.0),  # the defaults of Keras, as of the next one
    "mnist_cnn_dropout": Details((0.5,), weights="glorot_uniform", biases=0.0),
    "svhn_cropped_cnn": Details((0.5,), weights="glorot_uniform"),
    "strip4_multi_head": Details((0.2, 0.2, 0.5), weights="glorot_uniform", biases=0.0),
    "strip4_row_gru": Details(weights="glorot_uniform", biases=0.0),
    "square64_cnn": Details((0.5,), weights="glorot_uniform", biases=1.0),
    "strip5_gru": _strip(),
    "strip5_gru_dropout": _strip(0.5, 0.5, 0.5),
    "strip5_gru_dropout_30k": _strip(0.5, 0.5, 0.5),
    "strip5_gru256": _strip(0.5, 0.5, 0.5),
    "strip5_gru1024": _strip(0.5, 0.5, 0.5),
    "strip5_deep_head": _strip(0.5, 0.5, 0.5),
    "strip5_deep_head_dropout": _strip(0.5, 0.5, 0.5, head=(0.5, 0.5)),
    "strip5_reshaped": _strip(0.5, 0.5, 0.5),
    "strip5_reshaped_keep80": _strip(0.2, 0.2, 0.2),
    "strip5_batchnorm": _strip(0.2, 0.2, 0.2),
    "strip5_batchnorm_keep85": _strip(0.15, 0.15, 0.15),
    "strip5_batchnorm_keep75": _strip(0.25, 0.25, 0.25),
    "strip5_deeper": _strip(0.5, 0.5, 0.5, 0.5),
    "strip5_double": _strip(0.2, 0.2, 0.2, 0.2, 0.2, 0.2),
    "strip5_overlap": _strip(0.2, 0.2, 0.2),
    "canvas_sequence": _strip(),
    "canvas_localize_baseline": _strip(),
    "canvas_localize_square": _strip(),
    "canvas_classify": _strip(),
    "canvas_weighted": _strip(),
    "canvas_variable": _strip(),
    "canvas_variable_deeper": Details(box=(0.2,) * 5, weights="truncated_normal", biases=0.1),
    "svhn_baseline": Details(),
    "svhn_paper_gru": Details(),
    "svhn_paper_heads": Details(head=(0.2,), box=(0.2,)),
    "svhn_transfer": Details(head=(0.2,)),
    "svhn_transfer_box": Details(head=(0.2,), box=(0.2,)),
    "svhn_transfer_l2": Details(head=(0.2,), l2=CONVOLUTIONS),
    "svhn_extra_strided": Details(head=(0.5,), box=(0.5,), l2=CONVOLUTIONS),
    "svhn_no_digit_weight": Details(head=(0.5,), box=(0.5,), l2=CONVOLUTIONS),
    "svhn_crop32": CROP32,
    "svhn_crop32_wide": CROP32,
    "svhn_crop32_deep": Details((0.1, 0.25, 0.5, 0.5)),
    "svhn_crop32_deep5": Details((0.1, 0.25, 0.5, 0.5)),
    "goodfellow": Details((0.5,) * 11),  # after each hidden layer: eight convolutions, a local and two dense ones
    "goodfellow_small": Details((0.1,) * 11),
    "rcnn": Details((0.5,) * 3),  # after each recurrent convolution but the last
    "rcnn_small": Details((0.2,) * 3),
    "rcnn_crop32": Details((0.5,) * 3),
    "glimpses": Details(),
    "glimpses_digits": Details(),
    "glimpses_crop": Details(),
    "first_four_11": Details(weights="glorot_uniform"),
    "first_four_12": Details(weights="glorot_uniform"),
    "first_four_21": Details(weights="glorot_uniform"),
    "first_four_22": Details(weights="glorot_uniform"),
}


class Data(NamedTuple):
    """What a published network was trained on.

    Attributes:
      composition: data.composition.
      size: height and width, in pixels; None where the composition decides.
      lengths: fewest and most digits of an image.
      pixels: model.pixels.
      examples: of train, validation and test; None where the data decide, 0 = endless.
      parts: data.parts.
      channels: 1 or 3.
      cutout: side of the random part of an image that is seen, 0 = all of it.
    """

    composition: str
    size: tuple[int, int] | None
    lengths: tuple[int, int]
    pixels: str = "unit"
    examples: tuple[int, int, int] | None = None
    parts: tuple[str, ...] = ("train",)
    channels: int = 1
    cutout: int = 0


ALL = ("train", "extra")
DIGIT = Data("digit", None, (1, 1))
STRIP = Data("canvas", (28, 140), (5, 5), examples=(165_000, 15_000, 30_000))
CANVAS = STRIP._replace(size=(128, 256))
STRIP4 = Data("rotated", (64, 208), (4, 4), examples=(20_000, 5_000, 5_000))
WHOLE = Data("photograph", (128, 256), (1, 6), "raw", channels=3)
CROPPED = Data("crop", (32, 32), (1, 5), "image_mean", parts=ALL)
CROPPED_64 = CROPPED._replace(size=(64, 64), cutout=54)
SINGLE = Data("cropped_digit", (32, 32), (1, 1), "image_mean", parts=ALL, channels=3)
TWO_DIGITS = Data("canvas", (100, 100), (2, 2), examples=(0, 5_000, 10_000))
DATA = {
    **dict.fromkeys(("mnist_linear", "mnist_two_layer", "mnist_cnn", "mnist_dense"), DIGIT),
    "mnist_cnn_dropout": DIGIT._replace(pixels="raw"),
    "svhn_cropped_cnn": SINGLE._replace(pixels="per_pixel", channels=1),
    "strip4_multi_head": STRIP4,
    "strip4_row_gru": STRIP4._replace(examples=(15_000, 5_000, 5_000)),
    "square64_cnn": Data("centered", (64, 64), (1, 5), "raw", (37_500, 2_500, 10_000)),
    **dict.fromkeys((name for name in PUBLISHED if name.startswith("strip5_")), STRIP),
    **dict.fromkeys((name for name in PUBLISHED if name.startswith("canvas_")), CANVAS),
    "canvas_variable": CANVAS._replace(lengths=(1, 5)),
    "canvas_variable_deeper": CANVAS._replace(lengths=(1, 5)),
    "svhn_baseline": WHOLE,
    "svhn_paper_gru": WHOLE,
    "svhn_paper_heads": WHOLE,
    **dict.fromkeys(("svhn_transfer", "svhn_transfer_box", "svhn_transfer_l2"), WHOLE._replace(pixels="per_pixel")),
    **dict.fromkeys(("svhn_extra_strided", "svhn_no_digit_weight"), WHOLE._replace(pixels="per_pixel", parts=ALL)),
    **dict.fromkeys((name for name in PUBLISHED if name.startswith(("svhn_crop32", "first_four"))), CROPPED),
    "goodfellow": CROPPED_64._replace(channels=3),
    "goodfellow_small": CROPPED_64._replace(channels=3, parts=("train",)),
    "rcnn": SINGLE,
    "rcnn_small": SINGLE._replace(parts=("train",), cutout=28),
    "rcnn_crop32": CROPPED,
    "glimpses": TWO_DIGITS,
    "glimpses_digits": TWO_DIGITS._replace(size=(128, 256), lengths=(2, 5)),
    "glimpses_crop": CROPPED_64,
}

# Convolutions of 3x3 to 32, 64 and 128 features; a dense layer on 4x4x128; five heads.
FIRST_FOUR = (9 + 1) * 32 + (9 * 32 + 1) * 64 + (9 * 64 + 1) * 128 + (4 * 4 * 128 + 1) * 128 + 5 * (128 + 1) * 11
SECOND_OF_EACH = (9 * 32 + 1) * 32 + (9 * 64 + 1) * 64 + (9 * 128 + 1) * 128
RECURRENT_96 = (9 * 96 + 1) * 96 + 9 * 96 * 96  # of the input, with biases, and of the state
RECURRENT_48 = (9 * 48 + 1) * 48 + 9 * 48 * 48

# Of images of 100x100: a glimpse at two scales leaves 6x6x64 of 24x24x2, the context 7x7x32 of 25x25.
LOCATION = (2 + 1) * 256 + (256 + 1) * 2 + (256 + 1)  # its features, the next one, and the baseline
GLIMPSES = (
    (25 * 2 + 1) * 16
    + (9 * 16 + 1) * 32
    + (9 * 32 + 1) * 64
    + (6 * 6 * 64 + 1) * 256
    + LOCATION
    + (25 + 1) * 16
    + (9 * 16 + 1) * 32
    + (7 * 7 * 32 + 1) * 256
    + 2 * 3 * 256 * (256 + 256 + 1)
    + (256 + 1) * 128
)

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
    "goodfellow": (25 * 3 + 1) * 3 * 48  # maxout: three filters a unit
    + (25 * 48 + 1) * 64
    + (25 * 64 + 1) * 128
    + (25 * 128 + 1) * 160
    + (25 * 160 + 1) * 192
    + 3 * (25 * 192 + 1) * 192
    + 4 * 4 * (25 * 192 + 1) * 192  # locally connected; four pools of stride 2 leave 27, 14, 7, 4 of 54
    + (4 * 4 * 192 + 1) * 3_072
    + (3_072 + 1) * 3_072
    + 5 * (3_072 + 1) * 10
    + (3_072 + 1) * 7,  # lengths of 0 to 5, and more
    "goodfellow_small": (25 * 3 + 1) * 3 * 16
    + (25 * 16 + 1) * 24
    + (25 * 24 + 1) * 32
    + (25 * 32 + 1) * 48
    + (25 * 48 + 1) * 64
    + 3 * (25 * 64 + 1) * 64
    + 4 * 4 * (25 * 64 + 1) * 64
    + (4 * 4 * 64 + 1) * 256
    + (256 + 1) * 256
    + 5 * (256 + 1) * 10
    + (256 + 1) * 7,
    "rcnn": (25 * 3 + 1) * 96 + 4 * RECURRENT_96 + (96 + 1) * 10,
    "rcnn_small": (25 * 3 + 1) * 48 + 4 * RECURRENT_48 + (48 + 1) * 10,
    "rcnn_crop32": (25 + 1) * 96 + 4 * RECURRENT_96 + (4 * 4 * 96 + 1) * 128 + 5 * (128 + 1) * 11,
    "glimpses": GLIMPSES + (128 + 1) * 10,
    "glimpses_digits": GLIMPSES + (8 * 16 - 7 * 7) * 32 * 256 + (128 + 1) * 11,
    "glimpses_crop": GLIMPSES + (4 * 4 - 7 * 7) * 32 * 256 + (128 + 1) * 11,
    "first_four_11": FIRST_FOUR,
    "first_four_12": FIRST_FOUR + (128 + 1) * 128,
    "first_four_21": FIRST_FOUR + SECOND_OF_EACH,
    "first_four_22": FIRST_FOUR + SECOND_OF_EACH + (128 + 1) * 128,
}
"""Numbers of parameters that were published or follow from the published layers; test_models builds the networks."""


def test_every_published_config_was_typed():
    assert list(BY_HAND) == list(DETAILS) == list(PUBLISHED)
    assert DATA.keys() == PUBLISHED.keys()


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
        loss.length,
        optim.warmup_steps,
        optim.clip_norm,
        loss.policy,
        loss.baseline,
    )
    unpublished = (optim.weight_decay, optim.moving_average, loss.l1)
    assert unpublished == (0,) * 3


@pytest.mark.parametrize("name", DETAILS)
def test_details_are_as_published(experiment, name):
    config = experiment(name)
    model, typed = config.model, DETAILS[name]
    texts = (model.encoder, model.head, model.box_head)
    dropout = [tuple(map(float, re.findall(r"dropout ([\d.]+)", text))) for text in texts]
    assert typed == Details(
        *dropout,
        model.kernel_init if typed.weights is not None else None,
        model.bias_init if typed.biases is not None else None,
        config.loss.l2_params,
    )


@pytest.mark.parametrize("name", DATA)
def test_data_are_as_published(experiment, name):
    config = experiment(name)
    data, is_digit = config.data, DATA[name].composition == "digit"
    is_made = data.composition in ("canvas", "rotated", "centered")
    assert DATA[name] == Data(
        data.composition,
        None if is_digit else (data.height, data.width),
        (data.min_length, data.max_length),
        config.model.pixels,
        (data.train_examples, data.validation_examples, data.test_examples) if is_made else None,
        tuple(data.parts),
        1 if is_made or is_digit or data.gray else 3,
        data.cutout,
    )
    assert data.photographs == ("svhn_2000" if name.endswith("_small") else "svhn")
    assert data.scattered == name.startswith("glimpses") * is_made


def test_data_of_single_networks_are_as_published(experiment):
    held_out = [experiment(name).data for name in ("mnist_cnn_dropout", "mnist_linear")]
    assert [(data.validation_percent, data.validation_place) for data in held_out] == [(10, "last"), (0, "default")]
    rotated = [experiment(name).data for name in ("strip4_multi_head", "strip4_row_gru")]
    assert [(data.max_rotation, data.jitter) for data in rotated] == [(45, 4)] * 2  # the jitter is assumed
    cells = {name: experiment(name).model.gru_cell for name in PUBLISHED}
    assert [name for name, cell in cells.items() if cell == "keras2"] == ["strip4_row_gru"]


@pytest.mark.parametrize("name", BY_HAND)
def test_rates_that_were_lowered_by_hand_have_steps(experiment, name):
    optim = experiment(name).optim
    # How they were lowered is not published: the steps and the rates are assumed.
    assert optim.boundaries == ("30000: 5e-5, 40000: 1e-5" if optim.schedule == "piecewise" else "")


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters_are_as_typed(name):
    assert PUBLISHED[name].params == PARAMETERS[name]


@pytest.mark.parametrize("name", PUBLISHED)
def test_figures_of_a_docstring_are_published(experiment, name):
    """Figures of ours are in RESULTS.md alone, which is generated: in a docstring the next run would make them wrong."""
    docstring = ast.get_docstring(ast.parse((ROOT / "configs" / f"{name}.py").read_text()))
    rows = [PUBLISHED[other] for other in PUBLISHED if other == name or re.search(rf"\b{other}\b", docstring)]
    published = {metric.value for row in rows for metric in row.metrics}
    published |= {float(figure) for row in rows for figure in FIGURE.findall(row.note)}
    settings = {float(figure) for figure in FIGURE.findall(str(experiment(name)))}
    assert {float(figure) for figure in FIGURE.findall(docstring)} <= published | settings
