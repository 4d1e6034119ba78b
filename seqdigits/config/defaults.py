"""Every key of a config, once: default, meaning, unit, allowed values. An experiment in `configs/` holds only its
differences; combinations that cannot run are refused in config_checks/validate.py.

docs/configuration.md is made from the table: `python -m seqdigits config --markdown`.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from ml_collections import ConfigDict

LESS_IS_BETTER = ("localization_error", "cross_entropy")
"""The figures of an evaluation that are errors; of the others more is better."""

METRICS = ("sequence_accuracy", "character_accuracy", "digit_accuracy", "length_accuracy", "localization_error")
"""What the best checkpoint may be chosen by; less is better of localization_error, more of the others."""

COUNT = 2**31 - 1
"""The largest number of steps or examples: they are counted in int32."""


@dataclass(frozen=True)
class Key:
    """One key.

    Attributes:
      name: with its section, such as data.height.
      default: its value in base_config(); its type is that of every value.
      doc: what it means.
      unit: of a number; "" = none.
      allowed: the names that it may have; of a tuple, each of its elements. () = any.
      low, high: the range of a number, both ends included; None = no bound.
      resumable: whether it may change when a run resumes; the other keys are the identity of a run.
    """

    name: str
    default: Any
    doc: str
    unit: str = ""
    allowed: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None
    resumable: bool = False

    def allowed_text(self) -> str:
        """Returns the allowed values for messages and pages, "" where any is.

        >>> Key("x", 1, "", low=1, high=COUNT).allowed_text(), Key("x", 1, "", low=0, high=45).allowed_text()
        ('1 or more', '0 to 45')
        """
        if self.allowed:
            return ", ".join(self.allowed)
        if self.low is None:
            return ""
        return f"{self.low} or more" if self.high is None or self.high >= COUNT else f"{self.low} to {self.high}"


SECTIONS = {
    "": "The whole run.",
    "data": "The examples.",
    "model": "The network.",
    "read": "How numbers are decoded from the outputs.",
    "init": "Transfer: where parameters begin, if not at random.",
    "loss": "Weights of the terms of the loss, and their details. A weight of 0 leaves the term out.",
    "optim": "The optimizer.",
    "train": "The training run.",
    "evaluate": "Evaluation, during a run and at its end.",
}
"""The sections in their order, and what each is about."""

KEYS: tuple[Key, ...] = (
    Key(
        "seed",
        0,
        "Seed of initial weights, order, dropout, augmentation and endless training examples.",
        low=0,
        high=2**32 - 1,
    ),
    Key(
        "parallel",
        "jit",
        "With several devices. jit: the compiler splits a step; pmap: each device runs it on its part.",
        allowed=("jit", "pmap"),
        resumable=True,
    ),
    Key(
        "data.source",
        "plain",
        "plain: computed on the device, or resident on it; tfds: resident, but read by TensorFlow Datasets' own builder "
        "(mnist, svhn_cropped); stream: read by tf.data from records that `python -m seqdigits prepare` wrote.",
        allowed=("plain", "tfds", "stream"),
    ),
    Key(
        "data.records",
        "",
        'tfds, stream: the folder of TFDS data sets; "" = $TFDS_DATA_DIR, or ~/tensorflow_datasets.',
        resumable=True,
    ),
    Key(
        "data.records_form",
        "png",
        "stream: how the records hold the pixels. raw: uint8.",
        allowed=("png", "raw", "float64"),
    ),
    Key("data.digits", "mnist", "The set of digit images.", allowed=("uci", "mnist")),
    Key(
        "data.folder",
        "",
        'Where data files lie (subfolders mnist, svhn_numbers, svhn_cropped); "" = $SEQDIGITS_DATA, or '
        "~/.cache/seqdigits. With data.photographs = own it is the data set, and may not change.",
        resumable=True,
    ),
    Key(
        "data.url",
        "https://storage.googleapis.com/cvdf-datasets/mnist",
        "Where missing MNIST files come from.",
        resumable=True,
    ),
    Key(
        "data.validation_percent",
        0,
        "Share of the digits to train on that is held out for validation; 0 = the set's own (mnist 5,000, uci 270).",
        unit="percent",
        low=0,
        high=99,
    ),
    Key(
        "data.photographs",
        "svhn",
        "svhn: all; svhn_2000: the first 2,000 of train, 500 of test; svhn_cropped: the published single digits of 32x32 "
        "(data.composition = cropped_digit); own: a folder of your own, named by data.folder (see data/photos/folder.py).",
        allowed=("svhn", "svhn_2000", "svhn_cropped", "own"),
    ),
    Key(
        "data.parts",
        ("train",),
        "Photographs: the parts to train and validate on; svhn_2000 has none of extra.",
        allowed=("train", "extra"),
    ),
    Key(
        "data.composition",
        "canvas",
        "digit: each digit as it stands; canvas: several side by side somewhere on black; centred: of 12 pixels, in the "
        "middle; turned: each turned by up to 45 degrees and shifted; scene: numbers in handwriting and type, in color, "
        "among other things; of photographs of house numbers, photograph: whole; crop: cut out by the true box, 15% wider "
        "and higher on each side; cropped_digit: single digits cut out.",
        allowed=("digit", "canvas", "centred", "turned", "scene", "photograph", "crop", "cropped_digit"),
    ),
    Key(
        "data.height",
        128,
        "Height that digits are put on, or photographs resized to; a composition of digits has at least 28.",
        unit="pixels",
        low=28,
        high=8192,
    ),
    Key("data.width", 256, "Width, likewise.", unit="pixels", low=28, high=8192),
    Key(
        "data.train_height",
        0,
        "reader: height of the training images, where it is not that of the images read; 0 = the same.",
        unit="pixels",
        low=0,
        high=8192,
    ),
    Key("data.train_width", 0, "Width, likewise.", unit="pixels", low=0, high=8192),
    Key(
        "data.train_min_length",
        0,
        "reader, digits put together: fewest digits of a training image; 0 = data.min_length.",
        unit="digits",
        low=0,
        high=100,
    ),
    Key(
        "data.train_photographs",
        0,
        "How many photographs of the training split are trained on, the first; 0 = all.",
        low=0,
        high=COUNT,
    ),
    Key(
        "data.jitter",
        0,
        "turned: how far a digit is shifted at most, on each axis, as far as its cell has room.",
        unit="pixels",
        low=0,
        high=8192,
    ),
    Key("data.stacked", False, "turned: from top to bottom."),
    Key("data.grey", False, "Photographs, scene: one channel."),
    Key("data.rgb", False, "Digits: three equal channels, for a network that was trained on color."),
    Key(
        "data.cutout",
        0,
        "Photographs: side of a square cut out, at random in training, else in the middle; 0 = all of it.",
        unit="pixels",
        low=0,
        high=8192,
    ),
    Key("data.min_length", 5, "Fewest digits in an image.", unit="digits", low=1, high=100),
    Key("data.max_length", 5, "Most digits in an image; L.", unit="digits", low=1, high=100),
    Key(
        "data.max_numbers",
        1,
        "scene: numbers in an image, at most; data.max_length counts the digits of all of them.",
        low=1,
        high=8,
    ),
    Key("data.min_digit", 10, "scene: least height of the digits.", unit="pixels", low=8, high=512),
    Key("data.max_digit", 120, "scene: largest height of the digits.", unit="pixels", low=8, high=512),
    Key(
        "data.train_examples",
        165_000,
        "Training examples of what is put together from digits; 0 = endless.",
        low=0,
        high=COUNT,
    ),
    Key("data.validation_examples", 15_000, "Validation examples, likewise; never endless.", low=0, high=COUNT),
    Key("data.test_examples", 30_000, "Test examples, likewise; never endless.", low=0, high=COUNT),
    Key(
        "data.seed",
        0,
        "Seed of the examples of finite sets, and of all validation and test examples.",
        low=0,
        high=2**32 - 1,
    ),
    Key(
        "data.rotation",
        0,
        "Augmentation in training, at most so much, as the next five: of each digit (compositions.Augmentation) or of "
        "photographs (augment.Augmentation).",
        unit="degrees",
        low=0,
        high=45,
    ),
    Key("data.zoom", 0, "Change of size.", unit="percent", low=0, high=90),
    Key("data.shear", 0, "Shear.", unit="percent", low=0, high=90),
    Key("data.shift", 0, "Shift on each axis.", unit="pixels", low=0, high=28),
    Key("data.elastic", 0, "Digits: elastic distortion.", unit="percent of a pixel", low=0, high=400),
    Key("data.colour", 0, "Photographs: color jitter.", unit="percent", low=0, high=60),
    Key(
        "model.name",
        "reader",
        "heads: a dense head for each position; gru: a GRU unrolls the positions; attention: one that looks at the feature "
        "map anew for each; row_gru: one that reads the rows; reader: a dense detector, a digit or none in each cell.",
        allowed=("heads", "gru", "attention", "row_gru", "reader"),
    ),
    Key(
        "model.pixels",
        "unit",
        "What the network takes in. unit: 0..1; raw: 0..255; image_mean, per_pixel: normalized (see models/pixels.py).",
        allowed=("unit", "raw", "image_mean", "per_pixel"),
    ),
    Key("model.encoder", "", "Layers from the image on, as text (see models/stack.py)."),
    Key("model.head", "", "All but reader: layers of each position's head before its last dense layer, as text."),
    Key("model.shared_head", False, "gru, attention, row_gru: whether all positions share one head."),
    Key("model.gru_units", 0, "gru, attention, row_gru: units of the GRU, at least 1."),
    Key("model.localize", False, "All but reader: whether there is a head for the box of the whole sequence."),
    Key("model.box_head", "", "Layers of that head before its last dense layer, as text."),
    Key(
        "model.kernel_init",
        "lecun_normal",
        "How kernels begin. truncated_normal has deviation 0.1.",
        allowed=("lecun_normal", "glorot_uniform", "truncated_normal"),
    ),
    Key("model.bias_init", 0.0, "The value that biases begin with."),
    Key(
        "read.min_score",
        0.4,
        "reader: there is a digit if the cells that point at it say so with at least this probability together.",
        low=0,
        high=1,
        resumable=True,
    ),
    Key(
        "read.max_overlap",
        0.4,
        "reader: cells whose boxes overlap by more (IoU) point at the same digit.",
        low=0,
        high=1,
        resumable=True,
    ),
    Key("read.max_numbers", 1, "reader: numbers of a prediction, best first; N.", low=1, high=100, resumable=True),
    Key(
        "read.group",
        False,
        "reader: whether digits that stand together make a number each; else all are one number, left to right.",
        resumable=True,
    ),
    Key(
        "read.halvings",
        0,
        "reader: how often an image is also read at half the size of before, and at 3/4 of its own size and of each of "
        "these, for digits larger than those trained on; 0 = at its own size alone.",
        low=0,
        high=4,
        resumable=True,
    ),
    Key(
        "read.slope",
        1.0,
        "A number's confidence c becomes sigmoid(slope x logit(c) + offset); `python -m seqdigits calibrate` finds both.",
        low=0.01,
        high=100,
        resumable=True,
    ),
    Key("read.offset", 0.0, "See read.slope.", low=-100, high=100, resumable=True),
    Key(
        "read.temperature",
        1.0,
        "Logits are divided by it, so that confidences are calibrated; `python -m seqdigits calibrate` finds it.",
        low=0.01,
        high=100,
        resumable=True,
    ),
    Key(
        "init.path",
        "",
        "A workdir (its best checkpoint), a checkpoint W/checkpoints/STEP, a file of weights, or the name of weights that "
        'come with the package (see checkpoint/pretrained.py); "" = random initialization.',
    ),
    Key(
        "init.params",
        ".*",
        "The parameters whose name fits are taken: a regular expression such as encoder/.*",
    ),
    Key("loss.digits", 0.0, "All but reader: weight of the loss of the positions.", low=0),
    Key(
        "loss.digit_loss",
        "cross_entropy",
        "The loss of a position; one_hot_cross_entropy is the same as cross_entropy.",
        allowed=("cross_entropy", "one_hot_cross_entropy", "binary_cross_entropy"),
    ),
    Key("loss.positions", "mean", "How the losses of the positions are added up.", allowed=("mean", "sum")),
    Key("loss.no_digit", 1.0, "Weight of a position without a digit, within loss.digits.", low=0),
    Key("loss.box", 0.0, "With model.localize: weight of the mean squared error of the box (px²).", low=0),
    Key("loss.cells", 0.0, "reader: weight of the cross entropy of cells.", low=0),
    Key("loss.cell_boxes", 0.0, "reader: weight of the L1 error of the digits' boxes (in cells).", low=0),
    Key("loss.background", 0.2, "reader: weight of a cell without a digit, within loss.cells.", low=0),
    Key(
        "loss.target",
        "cell",
        "reader: which cells should say a digit. cell: that of its center; several: all around it too; gaussian: those, "
        "the less the farther.",
        allowed=("cell", "several", "gaussian"),
    ),
    Key(
        "loss.target_radius",
        0.0,
        "several, gaussian: how far around the center.",
        unit="sides of the digit's box",
        low=0,
        high=2,
    ),
    Key(
        "loss.smoothing",
        0.0,
        "reader: of a digit's cell, the part that is spread over all classes.",
        low=0,
        high=0.9,
    ),
    Key("loss.l2", 0.0, "Weight of half the sum of squares of the parameters named by loss.l2_params.", low=0),
    Key("loss.l2_params", "", "A regular expression such as encoder/.*/kernel"),
    Key("optim.name", "adam", "The method.", allowed=("adam", "adamw", "adagrad", "rmsprop", "sgd")),
    Key("optim.learning_rate", 1e-3, "The learning rate, before the schedule.", low=0),
    Key("optim.momentum", 0.0, "sgd: share of the last update that is kept.", low=0, high=1),
    Key(
        "optim.schedule",
        "constant",
        "The learning rate by step (see seqdigits.optim.schedule).",
        allowed=("constant", "cosine", "exponential", "staircase", "inverse_time", "plan"),
    ),
    Key("optim.warmup_steps", 0, "Linear from 0, before the schedule.", unit="steps", low=0, high=COUNT),
    Key(
        "optim.decay_steps",
        0,
        "cosine: the step at which 0 is reached, warm-up included; exponential, staircase, inverse_time: the unit of time.",
        unit="steps",
        low=0,
        high=COUNT,
    ),
    Key(
        "optim.decay_rate",
        0.0,
        "exponential, staircase: the factor in decay_steps; inverse_time: the growth of the divisor.",
        low=0,
    ),
    Key("optim.plan", "", 'plan: learning rates from steps on, such as "20000: 5e-5, 40000: 1e-5".'),
    Key("optim.weight_decay", 0.0, "adamw, sgd: decoupled, of kernels only.", low=0),
    Key("optim.freeze", "", "Parameters whose name fits are not trained: a regular expression such as encoder/.*"),
    Key("optim.clip_norm", 0.0, "Largest norm of the gradient; 0 = no clipping.", low=0),
    Key(
        "optim.moving_average",
        0.0,
        "Decay of the average of weights that is evaluated, below 1; 0 = the weights themselves.",
        low=0,
        high=1,
    ),
    Key("train.batch_size", 50, "Examples of a step, over all devices.", low=1, high=COUNT),
    Key("train.steps", 1_000, "Length of the run.", unit="steps", low=1, high=COUNT, resumable=True),
    Key(
        "train.steps_per_call",
        1,
        "Most steps in one compiled call, which ends at the next log, checkpoint or evaluation; more than 1 is for "
        "accelerators only (8 times slower on a CPU).",
        unit="steps",
        low=1,
        high=COUNT,
        resumable=True,
    ),
    Key("train.log_every", 100, "Interval of log lines.", unit="steps", low=1, high=COUNT, resumable=True),
    Key("train.checkpoint_every", 1_000, "Interval of checkpoints.", unit="steps", low=1, high=COUNT, resumable=True),
    Key("train.keep_checkpoints", 2, "The newest so many stay, and the best.", low=1, high=COUNT, resumable=True),
    Key(
        "train.best_metric",
        "sequence_accuracy",
        "What the best checkpoint is best in, on validation.",
        allowed=METRICS,
    ),
    Key(
        "evaluate.every",
        1_000,
        "Interval of evaluations on validation.",
        unit="steps",
        low=1,
        high=COUNT,
        resumable=True,
    ),
    Key("evaluate.examples", 2_000, "How many of its examples; 0 = all.", low=0, high=COUNT, resumable=True),
    Key("evaluate.batch_size", 200, "Examples of a batch, over all devices.", low=1, high=COUNT, resumable=True),
    Key(
        "evaluate.splits",
        ("train", "validation", "test"),
        "Evaluated at the end of a training run, whole; of train the first 10,000.",
        allowed=("train", "validation", "test"),
        resumable=True,
    ),
)
"""Every key, in the order of base_config()."""

DEFAULTS: dict[str, Any] = {key.name: key.default for key in KEYS}
"""The default of each key, by its name with section."""

FREE_KEYS = tuple(key.name for key in KEYS if key.resumable)
"""Keys that may change when a run goes on; all others are its identity."""


def base_config() -> ConfigDict:
    """Every key with its default; locked, so that a misspelled key is refused."""
    config = ConfigDict()
    for key in KEYS:
        section, _, name = key.name.rpartition(".")
        if section and section not in config:
            config[section] = ConfigDict()
        (config[section] if section else config)[name] = key.default
    return config.lock()


def get(config: ConfigDict, key: str) -> Any:
    """Returns the value of a key that is named with its section."""
    for part in key.split("."):
        config = config[part]
    return config


def to_json(config: ConfigDict) -> str:
    """The config as JSON text, keys in their order."""
    return json.dumps(config.to_dict(), indent=2)


def reads_box(config: ConfigDict) -> bool:
    """Whether the model says where the number stands."""
    return config.model.name == "reader" or config.model.localize


def changes(config: ConfigDict, saved: dict[str, Any], sections: tuple[str, ...] = ()) -> list[str]:
    """Where a config differs from a saved one: "key: SAVED -> NEW". A key that was not there yet counts as its default.

    `sections`: only keys of these; () = all that make a run another run (FREE_KEYS are left out).
    """
    now = _flat(json.loads(to_json(config)))
    then = {**_flat(json.loads(to_json(base_config()))), **_flat(saved)}
    is_own = now["data.photographs"] == "own"  # then the folder is the data
    free = set(FREE_KEYS) - ({"data.folder"} if is_own else set())
    return [
        f"{key}: {then.get(key)!r} -> {now.get(key)!r}"
        for key in sorted(now.keys() | then.keys())
        if now.get(key) != then.get(key) and (key.split(".")[0] in sections if sections else key not in free)
    ]


def _flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat.update(_flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value})
    return flat


def digest(config: ConfigDict | dict[str, Any]) -> str:
    """SHA-256 of a config, whatever the order of its keys."""
    plain = config.to_dict() if isinstance(config, ConfigDict) else config
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()
