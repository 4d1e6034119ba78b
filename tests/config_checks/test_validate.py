"""Configs are validated before any work on a device, and each error says how to fix it."""

import ast
import re

import jax
import numpy as np
import pytest
from conftest import ROOT
from ml_collections import ConfigDict

from seqdigits import optim
from seqdigits.cli import config as cli_config
from seqdigits.config import defaults
from seqdigits.config import registry as config_registry
from seqdigits.config_checks.validate import validate
from seqdigits.core.constants import SPLITS
from seqdigits.core.errors import UserError
from seqdigits.data import create, digits, record_location, scenes
from seqdigits.data.create import create_source
from seqdigits.data.photos import svhn, svhn_cropped
from seqdigits.data.photos.crop import PHOTO_COMPOSITIONS
from seqdigits.data.synthetic.compositions import COMPOSITIONS
from seqdigits.inference.predict_step import PredictStep
from seqdigits.models import losses, recurrent, stack, targets
from seqdigits.models.build import build, init_variables
from seqdigits.parallel import devices
from seqdigits.training.train_step import TrainStep

EXPERIMENTS = config_registry.config_names()
OF_DIGITS = [name for name in EXPERIMENTS if config_registry.load_config(name).data.composition in COMPOSITIONS]


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_experiment_is_valid_and_states_its_command(experiment, name):
    validate(experiment(name))
    text = (ROOT / "configs" / f"{name}.py").read_text()
    assert f"--config configs/{name}.py --workdir runs/{name}" in text or name == "quickstart"


@pytest.mark.parametrize(
    "names", [("reader_canvas", "reader_mnist", "reader_strip5"), ("reader_scene", "reader_svhn", "reader_svhn_crop")]
)
def test_detectors_initialized_from_another_share_the_model(experiment, names):
    first, *others = (experiment(name) for name in names)
    for other in others:
        other.model.mean_jitter = first.model.mean_jitter  # of training images; it has no parameters
        other.loss.normalizer = first.loss.normalizer
        assert (other.model, other.loss) == (first.model, first.loss)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_experiment_runs_without_mnist_or_needs_photographs(experiment, name):
    config = experiment(name)
    config.data.digits = "uci"
    if config.data.composition in PHOTO_COMPOSITIONS and not config.data.half_scenes:
        with pytest.raises(UserError, match="data.digits = 'uci' has no effect with data.composition"):
            validate(config)
    else:
        validate(config)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_step_of_experiment_traces_without_opening_a_file(experiment, name):
    config = experiment(name)
    config.data.folder = "/nowhere"
    source = create_source(config, "train")
    steps = TrainStep(config, build(config, source.spec))
    predict = PredictStep(config, steps.model)
    state = jax.eval_shape(lambda: steps.init(source))
    host_batch = {key: jax.ShapeDtypeStruct((config.train.batch_size,), "int32") for key in ("index", "position")}
    after = jax.eval_shape(lambda s, a, h: steps.train(s, a, h, source), state, source.spec.arrays, host_batch)
    assert jax.tree.map(lambda x: (x.shape, x.dtype), after) == jax.tree.map(lambda x: (x.shape, x.dtype), state)
    counted, exact_match = jax.eval_shape(
        lambda v, a, h: predict.count(v, a, h, source), state.variables(), source.spec.arrays, host_batch
    )
    assert counted.correct_by_position.shape == (config.data.max_length,)
    assert exact_match.shape == (config.train.batch_size,)


@pytest.mark.parametrize(
    "name", ["svhn_cropped_cnn", "strip4_row_gru", "strip5_overlap", "canvas_variable_deeper", "svhn_transfer_l2"]
)
@pytest.mark.slow
def test_step_of_each_model_family_changes_all_parameters(experiment, name):
    """One step on two examples: the loss is finite, and every parameter changes."""
    config = experiment(name)
    config.train.batch_size = 2
    if name in OF_DIGITS:
        config.data.digits = "uci"
    source = create_source(config, "train")
    steps = TrainStep(config, build(config, source.spec))
    if name not in OF_DIGITS:  # noise, because photographs are not available everywhere
        noise = np.random.default_rng(0)
        arrays = {
            "images": noise.integers(0, 256, (2, *source.spec.image)).astype(np.uint8),
            "digits": np.array([[3] + [10] * (config.data.max_length - 1)] * 2, np.int32),
            "boxes": np.full((2, config.data.max_length, 4), 20, np.float32),
        }
    else:
        arrays = source.arrays
    host_batch = {"index": np.arange(2, dtype=np.int32), "position": np.arange(2, dtype=np.int32)}
    state = jax.jit(lambda: steps.init(source))()
    after = jax.jit(lambda s, a, h: steps.train(s, a, h, source))(state, arrays, host_batch)
    assert (int(after.step), int(after.first_nonfinite)) == (1, -1)
    changed = [
        bool((old != new).any()) for old, new in zip(*map(jax.tree.leaves, (state.params, after.params)), strict=True)
    ]
    assert all(changed)


def test_base_config_refuses_an_unknown_key():
    with pytest.raises(AttributeError, match="learning_rat"):
        defaults.base_config().optim.learning_rat = 1.0


PHOTOGRAPH = {"data.composition": "photograph", "data.digits": "mnist"}
CROPPED = {
    **PHOTOGRAPH,
    "data.composition": "cropped_digit",
    "data.photographs": "svhn_cropped",
    "data.min_length": 1,
    "data.max_length": 1,
}
ROTATED = {"data.composition": "rotated", "data.height": 128, "data.width": 64}
GRU = {"model.name": "gru", "model.gru_units": 9, "loss.digits": 1.0, "loss.cells": 0.0, "loss.cell_boxes": 0.0}
LENGTH = {**GRU, "model.name": "heads", "model.gru_units": 0, "model.length_head": True, "loss.length": 1.0}
GLIMPSES = {**GRU, "model.name": "glimpses", "loss.policy": 1.0, "loss.baseline": 1.0}

REFUSALS = [
    ({"decode.temperature": 0.0}, "decode.temperature = 0.0 is out of range: 0.01 to 100"),
    ({"decode.max_numbers": 0}, "decode.max_numbers = 0 is out of range: 1 to 100"),
    (
        {
            "model.name": "heads",
            "loss.digits": 1.0,
            "loss.cells": 0.0,
            "loss.cell_boxes": 0.0,
            "decode.group_digits": True,
        },
        "decode.group_digits = True has no effect with model.name = heads",
    ),
    ({"model.name": "readr"}, "model.name = 'readr'.*heads, gru, attention, row_gru, glimpses, dense_detector"),
    ({"data.digits": "emnist"}, "data.digits.*uci, mnist"),
    ({"data.composition": "page"}, "data.composition.*digit, canvas.*scene, photograph, crop"),
    ({"model.pixels": "float"}, "model.pixels.*unit, raw"),
    ({"model.compute_dtype": "float16"}, "model.compute_dtype.*float32, bfloat16"),
    ({"train.accumulate": 3}, "train.accumulate = 3 does not divide train.batch_size = 8"),
    ({"optim.name": "adan"}, "optim.name.*adam, adamw, adagrad, rmsprop, sgd"),
    ({"optim.schedule": "linear"}, "optim.schedule.*constant, cosine, exponential, staircase"),
    ({"train.best_metric": "loss"}, "train.best_metric.*sequence_accuracy.*localization_error"),
    ({"train.batch_size": 0}, "train.batch_size = 0 is out of range: 1 or more"),
    ({"train.steps": 2**31}, "train.steps = 2147483648 is out of range: at most 2147483647"),
    ({"loss.digits": float("nan")}, "loss.digits = nan is out of range: 0 or more"),
    ({"evaluate.splits": ("test", "train", "test")}, "evaluate.splits has 'test' 2 times. Name it once"),
    ({"optim.name": "sgd", "optim.momentum": 1.0}, "optim.momentum = 1: old gradients would never fade"),
    ({**PHOTOGRAPH, "data.seed": 7}, "data.seed = 7 has no effect with data.composition = photograph"),
    (
        {**PHOTOGRAPH, "data.photographs": "folder", "data.mask_unlabeled": True},
        "data.mask_unlabeled = True has no effect with data.photographs = folder",
    ),
    (
        {**CROPPED, "data.photographs": "svhn_2000", "data.train_photographs": 9},
        "data.train_photographs = 9 has no effect with data.composition = cropped_digit",
    ),
    (
        {"loss.target": "cell", "loss.target_radius": 0.3},
        "loss.target_radius = 0.3 has no effect with loss.target = cell",
    ),
    ({"model.second_look": ","}, "model.second_look ends with another layer than 'dense 10'"),
    (
        {**LENGTH, "loss.digit_loss": "binary_cross_entropy"},
        "loss.digit_loss = binary_cross_entropy needs logits, but with model.length_head",
    ),
    ({"data.rotation": 60}, "data.rotation = 60.*0 to 45"),
    ({"decode.min_score": 1.5}, "decode.min_score = 1.5.*0 to 1"),
    ({"data.min_length": 4, "data.max_length": 3}, "data.min_length = 4 is more than data.max_length = 3"),
    ({"data.max_length": 10}, "do not fit into data.width = 96. At most 3"),
    ({"data.test_examples": 0}, "data.test_examples = 0.*only the training set"),
    ({"data.validation_percent": 100}, "data.validation_percent = 100.*0 to 99"),
    ({"data.composition": "digit"}, "data.min_length, data.max_length.*Set both to 1"),
    ({"model.encoder": "conv 5x5, relu"}, "model.encoder: 'conv 5x5' is not a layer"),
    ({"model.encoder": "conv 3x3x8 /2, dense 10"}, "model.encoder has a dense layer"),
    ({"model.encoder": "conv 3x3x8 valid"}, "without padding.*must cover the image"),
    ({"model.head": "conv 3x3x8"}, "model.head: 'conv 3x3x8' needs a feature map"),
    ({"model.box_head": "dense 8, pool 2"}, "model.box_head: 'pool 2' needs a feature map"),
    ({"model.encoder": "dense 8, conv 3x3x8"}, "model.encoder: 'conv 3x3x8' needs a feature map"),
    ({"model.localize": True}, "model.localize = True has no effect with model.name = dense_detector"),
    ({"model.head": "dense 8"}, "model.head = 'dense 8' has no effect"),
    ({"loss.cell_boxes": 0.0}, "loss.cell_boxes = 0: model.name = dense_detector would not be trained on digits"),
    ({"optim.decay_steps": 5}, "optim.decay_steps = 5 has no effect with optim.schedule = constant"),
    ({"optim.learning_rate": float("inf")}, "optim.learning_rate = inf"),
    ({"model.name": "gru", "loss.cells": 0.0}, "model.gru_units = 0"),
    ({"model.name": "heads"}, "loss.cells = 1.0 has no effect with model.name = heads"),
    ({"loss.box": 1.0}, "loss.box = 1.0 has no effect"),
    ({"loss.cells": 0.0}, "loss.cells = 0: model.name = dense_detector would not be trained on digits"),
    ({"optim.schedule": "cosine"}, "optim.decay_steps = 0 must be greater than"),
    ({"optim.moving_average": 1.0}, "would never change"),
    ({"parallel": "smap"}, "parallel = 'smap'.*jit, pmap"),
    ({"data.photographs": "svhn_3"}, "data.photographs = 'svhn_3'.*svhn, svhn_2000, svhn_cropped, folder"),
    (
        {"data.source": "tfds"},
        "data.digits = uci: data.source = tfds supports only mnist and svhn_cropped. Set data.digits to mnist",
    ),
    ({"data.records": "/records"}, "data.records = '/records' has no effect with data.source = device"),
    (
        {"data.digits": "mnist", "data.source": "tfds", "data.records_form": "raw"},
        "data.records_form = 'raw' has no effect with data.source = tfds",
    ),
    (
        {"data.digits": "mnist", "data.source": "tfds", "data.records": "gs://b/f"},
        "data.records = gs://b/f: a bucket can only be read, and only with data.source = tfrecord",
    ),
    (
        {"data.source": "tfrecord", "data.records": "http://b/f"},
        "data.records = http://b/f: allowed are a local folder, gs://BUCKET/FOLDER and s3://BUCKET/FOLDER",
    ),
    ({"data.source": "tfrecord", "data.records": "gs://b/../f"}, "data.records = gs://b/../f: allowed are a local"),
    ({"data.stacked": True}, "data.stacked = True has no effect with data.composition = canvas"),
    ({**ROTATED, "data.scattered": True}, "data.scattered = True has no effect with data.composition = rotated"),
    (
        {"data.scattered": True, "data.source": "tfrecord"},
        "data.scattered = True has no effect with data.source = tfrecord",
    ),
    ({"data.gray": True}, "data.gray = True has no effect"),
    ({"data.cutout": 28}, "data.cutout = 28 has no effect"),
    ({"data.composition": "rotated", "data.width": 120}, "do not fit into data.width = 120. At most 2"),
    (
        {"data.composition": "rotated", "data.width": 128, "data.height": 39},
        "data.height = 39.*needs at least 41 pixels",
    ),
    (
        {"data.composition": "rotated", "data.width": 48, "data.height": 64, "data.stacked": True},
        "data.height = 64.*most 1",
    ),
    ({"data.composition": "centered", "data.max_length": 9}, "12 pixels do not fit into data.width = 96. At most 8"),
    (
        {**ROTATED, "data.stacked": True},
        "data.stacked = True: model.name = dense_detector orders digits from left to right",
    ),
    ({**PHOTOGRAPH, "data.elastic": 5}, "data.elastic = 5 has no effect with data.composition = photograph"),
    ({"data.color": 5}, "data.color = 5 has no effect with data.composition = canvas"),
    ({"data.train_height": 40}, "data.train_height, data.train_width = 40, 0: set both or neither"),
    ({"data.train_height": 40, "data.train_width": 30}, "do not fit into data.train_width = 30. At most 1 do"),
    ({"data.train_height": 24, "data.train_width": 152}, "= 24, 152: set both or neither; each at least 28"),
    (
        {**GRU, "data.train_height": 40, "data.train_width": 152},
        "data.train_height = 40 has no effect with model.name = gru",
    ),
    (
        {**PHOTOGRAPH, "data.train_height": 32, "data.train_width": 64, "data.cutout": 16},
        "data.cutout = 16: it cannot be combined with data.train_h",
    ),
    ({"data.train_min_length": 4}, "data.train_min_length = 4 is out of range: .*, 1 to 3, or 0"),
    ({**PHOTOGRAPH, "data.train_min_length": 2}, "data.train_min_length = 2 has no effect with"),
    ({"data.train_photographs": 9}, "data.train_photographs = 9 has no effect with data.composition = canvas"),
    (
        {"data.source": "tfrecord", "data.train_height": 32, "data.train_width": 96},
        "data.train_height = 32 has no effect with data.source",
    ),
    ({"loss.target": "all"}, "loss.target = 'all' is not known. Allowed are cell, center_sampling, heatmap"),
    ({"loss.target": "center_sampling"}, "loss.target_radius = 0: loss.target = center_sampling needs a radius"),
    ({"loss.target_radius": 0.2}, "loss.target_radius = 0.2 has no effect"),
    ({**PHOTOGRAPH, "data.validation_percent": 5}, "data.validation_percent = 5 has no effect"),
    ({**PHOTOGRAPH, "data.validation_place": "last"}, "data.validation_place = 'last' has no effect"),
    ({"data.max_rotation": 15}, "data.max_rotation = 15 has no effect with data.composition = canvas"),
    ({"data.distinct_digits": 15}, "data.distinct_digits = 15.*a multiple of 10"),
    ({"data.digit_order": "passes"}, "data.digit_order = passes: with data.min_length, data.max_length = 1, 3"),
    ({**PHOTOGRAPH, "data.share_digits": True}, "data.share_digits = True has no effect"),
    ({"data.validation_place": "middle"}, "data.validation_place = 'middle'.*default, first, last"),
    ({**PHOTOGRAPH, "data.min_length": 2}, "data.min_length = 2: house numbers have 1 to 6 digits"),
    ({**PHOTOGRAPH, "data.max_length": 7}, "data.max_length = 7: house numbers have at most 6"),
    ({**PHOTOGRAPH, "data.parts": ("test",)}, "data.parts has 'test'. Allowed are train, extra"),
    ({**PHOTOGRAPH, "data.parts": ()}, "data.parts = \\(\\): allowed are train, extra"),
    (
        {**PHOTOGRAPH, "data.parts": ("extra",), "data.photographs": "svhn_2000"},
        "data.photographs = svhn_2000 has no part extra. Add train",
    ),
    (
        {**PHOTOGRAPH, "data.source": "tfds"},
        "data.photographs = svhn: data.source = tfds supports.*photographs to svhn_cropped",
    ),
    (
        {**PHOTOGRAPH, "data.photographs": "svhn_cropped"},
        "data.composition = photograph: data.photographs = svhn_cropped has single digits",
    ),
    ({**CROPPED, "data.parts": ("test",)}, "data.parts has 'test'. Allowed are train, extra"),
    ({**CROPPED, "data.max_length": 2}, "data.min_length, data.max_length = 1, 2.*one digit"),
    ({**PHOTOGRAPH, "data.cutout": 40}, "data.cutout = 40 is more than the image of 32x96"),
    (
        {**GRU, "model.name": "row_gru", "model.gru_units": 8},
        "model.gru_units = 8: .* a multiple of data.max_length = 3",
    ),
    ({**GRU, "model.name": "row_gru", "model.encoder": "dense 9"}, "model.encoder has a dense layer.*row_gru"),
    (
        {**GRU, "model.name": "heads", "model.shared_head": True, "model.gru_units": 0},
        "model.shared_head = True has no effect",
    ),
    (
        {**GRU, "loss.digit_loss": "hinge"},
        "loss.digit_loss.*cross_entropy, one_hot_cross_entropy, binary_cross_entropy",
    ),
    ({**GRU, "model.name": "attention", "model.gru_cell": "keras2"}, "model.gru_cell = 'keras2' has no effect"),
    ({**GRU, "loss.positions": "max"}, "loss.positions.*mean, sum"),
    ({**GRU, "train.best_metric": "localization_error"}, "the model does not predict a box"),
    ({**GRU, "loss.background_weight": 0.5}, "loss.background_weight = 0.5 has no effect with model.name = gru"),
    ({**GRU, "decode.min_score": 0.5}, "decode.min_score = 0.5 has no effect"),
    (
        {**GRU, "loss.no_digit_weight": 0.5, "data.min_length": 3},
        "loss.no_digit_weight = 0.5 has no effect with data.min_length",
    ),
    ({**GRU, "model.length_head": True}, "model.length_head = True has no effect with model.name = gru"),
    (
        {**LENGTH, "data.min_length": 3},
        "model.length_head = True has no effect with data.min_length = data.max_length = 3",
    ),
    (
        {**LENGTH, "loss.length": 0.0},
        "loss.length = 0: model.name = heads would not be trained on the number of digits",
    ),
    ({**LENGTH, "loss.no_digit_weight": 0.5}, "loss.no_digit_weight = 0.5 has no effect with model.length_head = True"),
    ({**GRU, "model.glimpses": 2}, "model.glimpses = 2 has no effect with model.name = gru"),
    ({**GRU, "loss.policy": 1.0}, "loss.policy = 1.0 has no effect with model.name = gru"),
    (
        {**GLIMPSES, "loss.baseline": 0.0},
        "loss.baseline = 0: model.name = glimpses would not be trained on the rewards",
    ),
    ({**GLIMPSES, "model.glimpse_size": 9}, "model.glimpse_size = 9: it must be even. Set it to 10"),
    ({**GLIMPSES, "model.localize": True}, "model.localize = True has no effect with model.name = glimpses"),
    ({**GLIMPSES, "model.shared_head": True}, "model.shared_head = True has no effect with model.name = glimpses"),
    ({**GLIMPSES, "model.gru_units": 0}, "model.gru_units = 0: model.name = glimpses needs at least 1"),
    (
        {**GLIMPSES, "model.context": "pool 16 valid"},
        "model.context: a 'valid' pool of size 16 is larger than its input",
    ),
    ({**GLIMPSES, "model.encoder": "conv 17x17x8 valid"}, "model.encoder: a 'valid' conv of size 17 .* input, 16x16"),
    ({"loss.length": 1.0}, "loss.length = 1.0 has no effect"),
    ({"model.encoder": "conv 3x3x8 /2, local 3x3x8"}, "model.encoder has a local layer.*reads images of any size"),
    ({"loss.positions": "sum"}, "loss.positions = 'sum' has no effect with model.name = dense_detector"),
    ({"data.photographs": "svhn_2000"}, "data.photographs = 'svhn_2000' has no effect with data.composition = canvas"),
    (
        {**PHOTOGRAPH, "data.height": 4000, "data.rotation": 5, "data.shift": 3},
        "data.rotation, data.shift: training images of 4000x[0-9]+ are too large to be warped. .* at most 3,900",
    ),
    ({"init.params": "head.*"}, "init.params = 'head.\\*' has no effect with init.path = ''"),
    ({"loss.l2": 0.1}, "loss.l2 = 0.1, loss.l2_params = '': set both"),
    ({"loss.l2_params": ".*"}, "set both"),
    ({"loss.l1": 0.1}, "loss.l1 = 0.1, loss.l1_params = '': set both"),
    ({**CROPPED, "data.pasted": 50, "data.backgrounds": "b"}, "data.pasted = 50 has no effect"),
    ({**PHOTOGRAPH, "data.mask_unlabeled": True, "data.parts": ("extra",)}, "data.mask_unlabeled = True: .* Add train"),
    ({**PHOTOGRAPH, "data.train_examples": 100}, "data.train_examples = 100 has no effect"),
    ({**PHOTOGRAPH, "data.validation_examples": 100}, "data.validation_examples = 100 has no effect"),
    ({"data.composition": "digit", "data.min_length": 1, "data.max_length": 1, "data.height": 64}, "data.height = 64"),
    (
        {**ROTATED, "data.max_length": 1, "model.second_look": "dense 10"},
        "data.composition = rotated: model.second_look",
    ),
    ({"optim.freeze": "("}, "optim.freeze = '\\(' is not a regular expression"),
    ({"optim.momentum": 0.9}, "optim.momentum = 0.9 has no effect with optim.name = adam"),
    ({"optim.weight_decay": 0.1}, "optim.weight_decay = 0.1 has no effect with optim.name = adam"),
    ({"optim.decay_rate": 0.5}, "optim.decay_rate = 0.5 has no effect with optim.schedule = constant"),
    ({"optim.schedule": "staircase", "optim.decay_steps": 10}, "optim.schedule = staircase needs both"),
    ({"optim.schedule": "piecewise", "optim.boundaries": "x"}, "optim.boundaries = 'x' cannot be parsed"),
    (
        {"optim.schedule": "piecewise", "optim.boundaries": "5: 1", "optim.warmup_steps": 9},
        "starts within the warm-up of optim.warmup_steps = 9",
    ),
    ({"evaluate.splits": ("dev",)}, "evaluate.splits has 'dev'.*train, validation, test"),
    ({"train.steps": 2**30}, "Reduce train.steps"),
]


@pytest.mark.parametrize(("changes", "message"), REFUSALS, ids=lambda v: next(iter(v)) if isinstance(v, dict) else "")
def test_validate_refuses_and_names_the_fix(small_config, changes, message):
    config = small_config(changes)
    with pytest.raises(UserError, match=f"(?s){message}"):
        validate(config)


def test_base_config_has_every_key_once_and_is_locked():
    names = [key.name for key in defaults.KEYS]
    assert len(set(names)) == len(names)
    assert {key.rpartition(".")[0] for key in names} == set(defaults.SECTIONS)
    config = defaults.base_config()
    assert config.is_locked
    assert {name: defaults.get(config, name) for name in names} == defaults.DEFAULTS


@pytest.mark.parametrize("key", defaults.KEYS, ids=lambda key: key.name)
def test_key_has_a_description_and_its_default_is_allowed(key):
    assert key.doc.strip()
    assert "|" not in key.doc, "it would break the table of docs/configuration.md"
    values = key.default if isinstance(key.default, tuple) else (key.default,)
    assert not key.allowed or set(values) <= set(key.allowed)
    assert (key.low is None) or key.low <= key.default <= (key.high or float("inf"))


CHOICES = {
    "parallel": devices.PARALLEL,
    "data.records_form": record_location.FORMS,
    "data.digits": digits.DIGITS,
    "data.photographs": (*svhn.PHOTOGRAPHS, svhn_cropped.NAME, "folder"),
    "data.parts": ("train", "extra"),
    "data.composition": (*COMPOSITIONS, scenes.NAME, *PHOTO_COMPOSITIONS),
    "model.compute_dtype": stack.COMPUTE_DTYPES,
    "model.gru_cell": recurrent.CELLS,
    "model.kernel_init": stack.KERNEL_INITS,
    "loss.digit_loss": losses.DIGIT_LOSSES,
    "loss.positions": losses.POSITIONS,
    "loss.target": targets.TARGETS,
    "optim.name": optim.OPTIMIZERS,
    "optim.schedule": optim.SCHEDULES,
    "train.best_metric": defaults.METRICS,
    "evaluate.curves": ("train", "test"),
    "evaluate.splits": SPLITS,
}
"""The tables and tuples with which the code looks a value up, by key."""


def trace_model(config):
    spec = create_source(config, "train").spec
    jax.eval_shape(lambda: init_variables(build(config, spec), spec, 0))


def trace_step(config):
    source = create_source(config, "train")
    steps = TrainStep(config, build(config, source.spec))
    state = jax.eval_shape(lambda: steps.init(source))
    host_batch = {key: jax.ShapeDtypeStruct((8,), "int32") for key in ("index", "position")}
    jax.eval_shape(lambda s, a, h: steps.train(s, a, h, source), state, source.spec.arrays, host_batch)


BRANCHES = {
    "data.source": lambda config: create._source_on_device(config, "train"),  # records would have to exist
    "data.validation_place": lambda config: create_source(config, "train").arrays,
    "data.digit_order": lambda config: create_source(config, "train"),
    "data.composition": lambda config: create_source(config, "train"),
    "model.name": trace_model,
    "model.pixels": trace_model,
    "loss.normalizer": trace_step,
}
"""What runs the branches of the code for the values of a key."""
ALLOWED = {key.name: key.allowed for key in defaults.KEYS if key.allowed}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name in BRANCHES for value in ALLOWED[name]])
def test_code_has_a_branch_for_every_allowed_value(small_config, name, value):
    units = {"model.gru_units": 9} if name == "model.name" else {}
    BRANCHES[name](small_config({name: value, **units}))


@pytest.mark.parametrize("name", BRANCHES)
def test_code_has_no_branch_for_another_value(small_config, name):
    """So that no value is mistaken for another one whose branch comes last."""
    with pytest.raises((KeyError, AssertionError)):
        BRANCHES[name](small_config({name: "another"}))


def test_allowed_values_are_those_that_the_code_supports():
    assert ALLOWED.keys() == CHOICES.keys() | BRANCHES.keys()
    assert {name: ALLOWED[name] for name in CHOICES} == {name: tuple(values) for name, values in CHOICES.items()}
    sizes = {key.name: key.low for key in defaults.KEYS if key.name in ("data.height", "data.width")}
    assert set(sizes.values()) == {digits.SIZE}


def test_configuration_page_equals_the_generated_text():
    assert (ROOT / "docs" / "configuration.md").read_text() == cli_config.markdown(), (
        "run: seqdigits config --markdown > docs/configuration.md"
    )


def test_config_command_marks_changed_keys():
    config = defaults.base_config()
    config.train.steps = 7
    lines = cli_config.text(config).splitlines()
    assert "* train.steps = 7  (default 1000)" in lines
    assert '  evaluate.splits = ["train", "validation", "test"]' in lines
    assert len([line for line in lines if " = " in line and line[2:].split(" = ")[0] in defaults.DEFAULTS]) == len(
        defaults.KEYS
    )


def test_config_names_its_only_parent():
    files = {name: (ROOT / "configs" / f"{name}.py").read_text() for name in EXPERIMENTS}
    parents = {name: re.findall(r'load_config\("(\w+)"\)', text) for name, text in files.items()}
    children = {name: found[0] for name, found in parents.items() if found}
    assert all(len(found) <= 1 for found in parents.values())
    assert children["strip5_gru_dropout"] == "strip5_gru"
    assert not set(children) & set(children.values()), "a parent starts from base_config()"
    for name, parent in children.items():
        assert parent in ast.get_docstring(ast.parse(files[name])), name


def test_every_key_is_used_in_the_code():
    code = "".join(
        path.read_text()
        for path in (ROOT / "seqdigits").rglob("*.py")
        if path.parent.name not in ("config", "config_checks")
    )
    for section, keys in defaults.base_config().items():
        if not isinstance(keys, ConfigDict):
            assert f"config.{section}" in code, section
            continue
        for key in keys:
            by_name = section == "loss" and key in ("digits", "box", "cells", "cell_boxes")  # weights of terms
            # The version of scenes distinguishes the configs of saved runs, which is all that it is for.
            by_name |= (section, key) == ("data", "scene_version")
            assert by_name or re.search(rf"\.{key}\b(?!\()", code), f"{section}.{key}"
