"""Every config key once: default, meaning, unit, allowed values.

A file in `configs/` holds only its differences from these defaults. config_checks/validate.py refuses combinations
that cannot run. docs/configuration.md is generated from the table: `seqdigits config --markdown`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ml_collections import ConfigDict

LOWER_IS_BETTER = ("localization_error", "cross_entropy")
"""Metrics for which lower is better. For all others higher is better."""

METRICS = ("sequence_accuracy", "character_accuracy", "digit_accuracy", "length_accuracy", "localization_error")
"""Metrics that may select the best checkpoint."""

COUNT = 2**31 - 1
"""Largest number of steps or examples, because both are counted in int32."""


@dataclass(frozen=True)
class Key:
    """One config key.

    Attributes:
      name: name with its section, such as data.height.
      default: value in base_config(); every other value has its type.
      doc: meaning.
      unit: unit of a number; "" = none.
      allowed: allowed names, of a tuple those of each element; () = any.
      low, high: range of a number, both ends included; None = no bound.
      resumable: whether it may change when a run resumes. The other keys identify a run.
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
        """Returns the allowed values as text, "" where any value is allowed. An upper limit of COUNT or more is left out.

        >>> Key("x", 1, "", low=1, high=COUNT).allowed_text(), Key("x", 1, "", low=0, high=45).allowed_text()
        ('1 or more', '0 to 45')
        """
        if self.allowed:
            return ", ".join(self.allowed)
        if self.low is None:
            return ""
        return f"{self.low} or more" if self.high is None or self.high >= COUNT else f"{self.low} to {self.high}"


SECTIONS = {
    "": "Keys of the whole run.",
    "data": "The examples.",
    "model": "The network.",
    "decode": "How outputs are decoded into numbers.",
    "init": "Initialization from another run (transfer).",
    "loss": "Weights of the loss terms, and their details. A weight of 0 leaves the term out.",
    "optim": "The optimizer.",
    "train": "The training run.",
    "evaluate": "Evaluation, during a run and at its end.",
}
"""Description of each section, in their order."""

KEYS: tuple[Key, ...] = (
    Key(
        "seed",
        0,
        "Seed of initial parameters, order, dropout, augmentation and endless training examples.",
        low=0,
        high=2**32 - 1,
    ),
    Key(
        "parallel",
        "jit",
        "How a step runs on several devices. jit: the compiler partitions it; pmap: each device runs it on its "
        "shard of the batch.",
        allowed=("jit", "pmap"),
        resumable=True,
    ),
    Key(
        "data.source",
        "device",
        "Where examples come from. device: computed in the step, or resident on the device; tfds: resident, "
        "read by the builder of TensorFlow Datasets (mnist, svhn_cropped); tfrecord: streamed by tf.data from "
        "records that `seqdigits prepare` wrote.",
        allowed=("device", "tfds", "tfrecord"),
    ),
    Key(
        "data.records",
        "",
        'tfds, tfrecord: the folder of TFDS data sets; "" = $TFDS_DATA_DIR, or ~/tensorflow_datasets. tfrecord: also '
        "gs://BUCKET/FOLDER or s3://BUCKET/FOLDER, from which files are copied once per host to $SEQDIGITS_DATA/records, or "
        "~/.cache/seqdigits/records.",
        resumable=True,
    ),
    Key(
        "data.records_form",
        "png",
        "tfrecord: how records store pixels. raw: uint8.",
        allowed=("png", "raw", "float64"),
    ),
    Key("data.digits", "mnist", "The set of digit images.", allowed=("uci", "mnist")),
    Key(
        "data.folder",
        "",
        'The folder of the data files (subfolders mnist, svhn_numbers, svhn_cropped); "" = $SEQDIGITS_DATA, or '
        "~/.cache/seqdigits. With data.photographs = folder it is the data set, must not change when a run resumes, and "
        "the other files are in that default folder.",
        resumable=True,
    ),
    Key(
        "data.url",
        "https://storage.googleapis.com/cvdf-datasets/mnist",
        "Where missing MNIST files are downloaded from.",
        resumable=True,
    ),
    Key(
        "data.validation_percent",
        0,
        "Share of the training digits that is held out for validation; 0 = the default of the set (mnist 5,000 "
        "images, uci 270).",
        unit="percent",
        low=0,
        high=99,
    ),
    Key(
        "data.validation_place",
        "default",
        "Which training digits are held out for validation, in file order. default: that of the set (mnist first, uci last).",
        allowed=("default", "first", "last"),
    ),
    Key(
        "data.distinct_digits",
        0,
        "Compositions of digits: number of training digits that are used, equally many of each class, the first in file order; a "
        "multiple of 10, 0 = all.",
        low=0,
        high=COUNT,
    ),
    Key(
        "data.share_digits",
        False,
        "canvas, centered, rotated: whether validation images are composed of the training digits, to measure what "
        "memorizing them is worth; the images differ.",
    ),
    Key(
        "data.digit_order",
        "independent",
        "canvas, centered, rotated: how the digits of an image are drawn. independent: each from all; passes: in passes of "
        "permutations, so that each is used equally often.",
        allowed=("independent", "passes"),
    ),
    Key(
        "data.photographs",
        "svhn",
        "The set of photographs. svhn: all house numbers; svhn_2000: the first 2,000 of train and 500 of test; "
        "svhn_cropped: the published 32x32 single digits (data.composition = cropped_digit); folder: custom "
        "photos in data.folder (see data/photos/folder.py).",
        allowed=("svhn", "svhn_2000", "svhn_cropped", "folder"),
    ),
    Key(
        "data.parts",
        ("train",),
        "Photographs: the parts to train and validate on; svhn_2000 has no extra.",
        allowed=("train", "extra"),
    ),
    Key(
        "data.composition",
        "canvas",
        "What an image shows. Compositions of digits: digit: a single one, unchanged; canvas: several side by side, anywhere on "
        "black; centered: several of 12 pixels, in the middle; rotated: each rotated (by up to data.max_rotation) and "
        "shifted; scene: synthetic scenes with handwritten and printed numbers, in color, with distractors. Of "
        "photographs: photograph: the whole image; crop: cropped to the true box with a margin of 15% on each "
        "side; cropped_digit: single digits, cropped.",
        allowed=("digit", "canvas", "centered", "rotated", "scene", "photograph", "crop", "cropped_digit"),
    ),
    Key(
        "data.height",
        128,
        "Height of the canvas, or the height that photographs are resized to; a composition of digits needs at "
        "least 28, and digit has 28x28.",
        unit="pixels",
        low=28,
        high=8192,
    ),
    Key("data.width", 256, "Width, likewise.", unit="pixels", low=28, high=8192),
    Key(
        "data.train_height",
        0,
        "dense_detector: height of the training images, where it differs from that of evaluation; 0 = the same.",
        unit="pixels",
        low=0,
        high=8192,
    ),
    Key("data.train_width", 0, "Width, likewise.", unit="pixels", low=0, high=8192),
    Key(
        "data.train_min_length",
        0,
        "dense_detector, compositions of digits: fewest digits of a training image; 0 = data.min_length.",
        unit="digits",
        low=0,
        high=100,
    ),
    Key(
        "data.train_photographs",
        0,
        "Number of photographs to train on: the first of the training split, or of custom photos some at random, which are "
        "always the same and which a larger number includes; 0 = all.",
        low=0,
        high=COUNT,
    ),
    Key(
        "data.jitter",
        0,
        "rotated: largest shift of a digit on each axis, within its cell.",
        unit="pixels",
        low=0,
        high=8192,
    ),
    Key(
        "data.max_rotation",
        45,
        "rotated: largest rotation of a digit, in either direction.",
        unit="degrees",
        low=0,
        high=45,
    ),
    Key("data.stacked", False, "rotated: whether digits are placed from top to bottom."),
    Key(
        "data.scattered",
        False,
        "canvas: whether each digit has a place of its own, without overlaps, in the order of the left edges; else digits are side by "
        "side.",
    ),
    Key("data.gray", False, "Photographs, scene: whether images have one channel."),
    Key("data.rgb", False, "Digits: whether images have three equal channels, for a model that was trained on color."),
    Key(
        "data.cutout",
        0,
        "Photographs: side of a square crop, random in training, else centered; 0 = no crop.",
        unit="pixels",
        low=0,
        high=8192,
    ),
    Key("data.min_length", 5, "Fewest digits in an image.", unit="digits", low=1, high=100),
    Key("data.max_length", 5, "Most digits in an image; L.", unit="digits", low=1, high=100),
    Key(
        "data.max_numbers",
        1,
        "scene: most numbers in an image; data.max_length counts the digits of all of them.",
        low=1,
        high=8,
    ),
    Key("data.min_digit", 10, "scene: smallest height of a digit.", unit="pixels", low=8, high=512),
    Key(
        "data.scene_version",
        2,
        "scene: the version of the scenes, which changes with their pixels. Only the current one can be made.",
        low=2,
        high=2,
    ),
    Key(
        "data.backgrounds",
        "",
        'scene, data.pasted: the file of natural backgrounds, made by seqdigits build-backgrounds; "" = none. '
        "It must not change when a run resumes.",
    ),
    Key(
        "data.misread",
        "",
        "scene: the file of parts of natural backgrounds in which a reader saw a number, made by seqdigits find-misread; they are "
        'shown in half of the training views without a number. "" = none. It must not change when a run resumes.',
    ),
    Key("data.max_digit", 120, "scene: largest height of a digit.", unit="pixels", low=8, high=512),
    Key(
        "data.train_examples",
        165_000,
        "canvas, centered, rotated, scene, half_scenes: number of training examples; 0 = endless.",
        low=0,
        high=COUNT,
    ),
    Key(
        "data.validation_examples",
        15_000,
        "canvas, centered, rotated, scene: number of validation examples.",
        low=0,
        high=COUNT,
    ),
    Key("data.test_examples", 30_000, "canvas, centered, rotated, scene: number of test examples.", low=0, high=COUNT),
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
        "Augmentation in training: largest rotation, of each digit (compositions.Augmentation) or of the "
        "photograph (augment.Augmentation). The next five keys are further augmentations.",
        unit="degrees",
        low=0,
        high=45,
    ),
    Key("data.zoom", 0, "Largest change of scale.", unit="percent", low=0, high=90),
    Key("data.shear", 0, "Largest shear.", unit="percent", low=0, high=90),
    Key("data.shift", 0, "Largest shift on each axis.", unit="pixels", low=0, high=28),
    Key("data.elastic", 0, "Digits: largest elastic displacement.", unit="percent of a pixel", low=0, high=400),
    Key("data.color", 0, "Photographs: strength of the color jitter.", unit="percent", low=0, high=60),
    Key(
        "data.pasted",
        0,
        "Photographs: share of the training photographs whose number is pasted into a natural background of data.backgrounds.",
        unit="percent",
        low=0,
        high=100,
    ),
    Key(
        "data.mask_unlabeled",
        False,
        "dense_detector, svhn, svhn_2000: whether no cell is trained to be background where the labels of SVHN train leave out a "
        "digit, by the list of seqdigits find-unlabeled, which covers the 1,800 of svhn_2000, of the first 2,000 photographs.",
    ),
    Key(
        "data.half_scenes",
        False,
        "dense_detector, photographs: whether every second training image is a synthetic scene.",
    ),
    Key(
        "model.name",
        "dense_detector",
        "The architecture. heads: a dense head for each position; gru: a GRU that unrolls the positions; "
        "attention: a GRU that attends to the feature map at each position; row_gru: a GRU over the rows; "
        "glimpses: two GRUs that choose what part of the image to look at next; "
        "dense_detector: a digit class and a box for each cell of the feature map.",
        allowed=("heads", "gru", "attention", "row_gru", "glimpses", "dense_detector"),
    ),
    Key(
        "model.pixels",
        "unit",
        "Normalization of the input. unit: 0..1; raw: 0..255; image_mean, per_pixel: see models/pixels.py.",
        allowed=("unit", "raw", "image_mean", "per_pixel"),
    ),
    Key(
        "model.mean_jitter",
        0.0,
        "dense_detector, image_mean: standard deviation of a number that is added to the normalized pixels of each training "
        "image, because the mean of a cut is not that of its picture.",
        low=0,
        high=1,
    ),
    Key("model.encoder", "", "Layers between the image and the heads, as text (see models/layer_spec.py)."),
    Key(
        "model.head",
        "",
        "All but dense_detector: layers of the head of each position before its last dense layer, as text.",
    ),
    Key(
        "model.length_head",
        False,
        "heads: whether there is a head for the number of digits, and those of the positions are for the ten digits alone.",
    ),
    Key("model.shared_head", False, "gru, attention, row_gru: whether all positions share one head."),
    Key("model.gru_units", 0, "gru, attention, row_gru, glimpses: units of a GRU, at least 1."),
    Key(
        "model.gru_cell",
        "tensorflow1",
        "gru, row_gru: gates and initialization of the GRU (see models/recurrent.py). keras2: hard sigmoid, an orthogonal "
        "recurrent kernel, biases of 0.",
        allowed=("tensorflow1", "keras2"),
    ),
    Key(
        "model.context",
        "",
        "glimpses: layers between the image, reduced by 4, and the features that the first location depends on, as text; "
        "model.encoder has those between a glimpse and its features.",
    ),
    Key("model.glimpses", 1, "glimpses: number of glimpses for each position.", low=1, high=100),
    Key(
        "model.glimpse_size",
        16,
        "glimpses: side of the part of the image that is seen in full; twice this is seen reduced by 2. Even.",
        unit="pixels",
        low=2,
        high=1024,
    ),
    Key(
        "model.glimpse_deviation",
        0.1,
        "glimpses: standard deviation of locations in training.",
        unit="halves of the image",
        low=0.001,
        high=1,
    ),
    Key(
        "model.localize",
        False,
        "heads, gru, attention, row_gru: whether there is a head for the box of the whole sequence.",
    ),
    Key("model.box_head", "", "Layers of the box head before its last dense layer, as text."),
    Key(
        "model.kernel_init",
        "lecun_normal",
        "Initializer of kernels. truncated_normal has standard deviation 0.1.",
        allowed=("lecun_normal", "glorot_uniform", "he_normal", "truncated_normal"),
    ),
    Key("model.bias_init", 0.0, "Initial value of biases."),
    Key(
        "model.second_look",
        "",
        "dense_detector; canvas, digit: layers of a classifier of the tile of each digit that is found, which decides on the "
        'digit, such as "conv 3x3x32, norm, relu, pool 2, dense 10"; "" = none.',
    ),
    Key(
        "model.compute_dtype",
        "float32",
        "What activations and matrix products are computed in, in training and evaluation. Parameters, the state of the "
        "optimizer, statistics of norms, the state of a GRU, logits, boxes and losses are float32 in any case.",
        allowed=("float32", "bfloat16"),
    ),
    Key(
        "model.remat",
        False,
        "Whether training recomputes the activations of the encoder in the backward pass instead of keeping them: less "
        "memory and more time, the same results. For accelerators: XLA on a CPU drops the recomputation.",
        resumable=True,
    ),
    Key(
        "decode.min_score",
        0.4,
        "dense_detector: smallest score of a digit, the probability that its merged cells give to any digit.",
        low=0,
        high=1,
        resumable=True,
    ),
    Key(
        "decode.max_overlap",
        0.4,
        "dense_detector: cells whose boxes overlap by more (IoU) are merged into one digit.",
        low=0,
        high=1,
        resumable=True,
    ),
    Key(
        "decode.max_numbers",
        1,
        "dense_detector: numbers of a prediction, best first; N.",
        low=1,
        high=100,
        resumable=True,
    ),
    Key(
        "decode.group_digits",
        False,
        "dense_detector: whether neighboring digits are grouped into numbers; else all digits are one number, "
        "from left to right.",
        resumable=True,
    ),
    Key(
        "decode.octaves",
        0,
        "dense_detector: octaves of the image pyramid that is decoded, for digits larger than those of "
        "training: each octave halves the size, and adds a scale of 3/4 between; 0 = the original size only.",
        low=0,
        high=4,
        resumable=True,
    ),
    Key(
        "decode.platt_scale",
        1.0,
        "The confidence c of a number becomes sigmoid(platt_scale x logit(c) + platt_bias); "
        "`seqdigits calibrate` finds both.",
        low=0.01,
        high=100,
        resumable=True,
    ),
    Key("decode.platt_bias", 0.0, "See decode.platt_scale.", low=-100, high=100, resumable=True),
    Key(
        "decode.temperature",
        1.0,
        "Logits are divided by it, so that confidences are calibrated; `seqdigits calibrate` finds it.",
        low=0.01,
        high=100,
        resumable=True,
    ),
    Key(
        "init.path",
        "",
        "What parameters are initialized from: a workdir (its best checkpoint), a checkpoint "
        "W/checkpoints/STEP, a file of weights, or the name of pretrained weights (see "
        'checkpoint/pretrained.py); "" = random initialization.',
    ),
    Key(
        "init.params",
        ".*",
        "Which parameters are taken from init.path: a regular expression over their names, such as encoder/.*",
    ),
    Key("loss.digits", 0.0, "All but dense_detector: weight of the loss of the positions.", low=0),
    Key(
        "loss.digit_loss",
        "cross_entropy",
        "The loss of a position; one_hot_cross_entropy equals cross_entropy. binary_cross_entropy: of sigmoid outputs; "
        "softmax_binary_cross_entropy: of softmax outputs, as Keras has it.",
        allowed=(
            "cross_entropy",
            "one_hot_cross_entropy",
            "binary_cross_entropy",
            "softmax_binary_cross_entropy",
        ),
    ),
    Key("loss.positions", "mean", "How the losses of the positions are reduced.", allowed=("mean", "sum")),
    Key("loss.length", 0.0, "With model.length_head: weight of the cross entropy of the number of digits.", low=0),
    Key(
        "loss.policy",
        0.0,
        "glimpses: weight of the loss that trains where to look, by the score function (see models/glimpses.py).",
        low=0,
    ),
    Key("loss.baseline", 0.0, "glimpses: weight of the squared error of the rewards that are predicted for it.", low=0),
    Key("loss.no_digit_weight", 1.0, "Weight of a position without a digit, within loss.digits.", low=0),
    Key("loss.box", 0.0, "With model.localize: weight of the mean squared error of the box (px²).", low=0),
    Key("loss.cells", 0.0, "dense_detector: weight of the cross entropy of cells.", low=0),
    Key(
        "loss.cell_boxes",
        0.0,
        "dense_detector: weight of the L1 error of the boxes of digits (centers in cells, sizes as logarithms).",
        low=0,
    ),
    Key("loss.second_look", 0.0, "With model.second_look: weight of the cross entropy of its digits.", low=0),
    Key(
        "loss.normalizer",
        "example",
        "dense_detector: number of digit cells by which the losses of an image are divided. example: its own; batch: the mean "
        "of the batch, so that an image without digits does not count more than others.",
        allowed=("example", "batch"),
    ),
    Key("loss.background_weight", 0.2, "dense_detector: weight of a cell without a digit, within loss.cells.", low=0),
    Key(
        "loss.target",
        "cell",
        "dense_detector: which cells are positive for a digit. cell: the one that holds its center; "
        "center_sampling: all cells near the center (FCOS); heatmap: the same, with a target that falls with "
        "the distance (CenterNet).",
        allowed=("cell", "center_sampling", "heatmap"),
    ),
    Key(
        "loss.target_radius",
        0.0,
        "center_sampling, heatmap: radius around the center.",
        unit="sides of the digit's box",
        low=0,
        high=2,
    ),
    Key(
        "loss.smoothing",
        0.0,
        "dense_detector: label smoothing of positive cells, spread over all classes.",
        low=0,
        high=0.9,
    ),
    Key("loss.l1", 0.0, "Weight of the sum of absolute values of the parameters named by loss.l1_params.", low=0),
    Key("loss.l1_params", "", "A regular expression over names of parameters, such as encoder/.*/kernel"),
    Key("loss.l2", 0.0, "Weight of half the sum of squares of the parameters named by loss.l2_params.", low=0),
    Key("loss.l2_params", "", "A regular expression over names of parameters, such as encoder/.*/kernel"),
    Key("optim.name", "adam", "The optimizer.", allowed=("adam", "adamw", "adagrad", "rmsprop", "sgd")),
    Key("optim.learning_rate", 1e-3, "The learning rate, before the schedule.", low=0),
    Key("optim.momentum", 0.0, "sgd: momentum.", low=0, high=1),
    Key(
        "optim.schedule",
        "constant",
        "The learning rate by step (see seqdigits.optim.schedule).",
        allowed=("constant", "cosine", "exponential", "staircase", "inverse_time", "piecewise"),
    ),
    Key("optim.warmup_steps", 0, "Length of the linear warm-up from 0.", unit="steps", low=0, high=COUNT),
    Key(
        "optim.decay_steps",
        0,
        "cosine: the step at which the rate reaches 0, warm-up included; exponential, staircase, inverse_time: "
        "the unit of time.",
        unit="steps",
        low=0,
        high=COUNT,
    ),
    Key(
        "optim.decay_rate",
        0.0,
        "exponential, staircase: the factor per decay_steps; inverse_time: the growth of the divisor per decay_steps.",
        low=0,
    ),
    Key(
        "optim.boundaries",
        "",
        'piecewise: steps and the learning rate from each on, such as "20000: 5e-5, 40000: 1e-5".',
    ),
    Key("optim.weight_decay", 0.0, "adamw, sgd: decoupled weight decay, of kernels only.", low=0),
    Key(
        "optim.freeze", "", "Parameters that are not trained: a regular expression over their names, such as encoder/.*"
    ),
    Key("optim.clip_norm", 0.0, "Largest global norm of the gradient; 0 = no clipping.", low=0),
    Key(
        "optim.skip_nonfinite",
        0,
        "Number of steps in a row whose loss or gradient is not finite that stop the run (see training/nonfinite.py); "
        "fewer are skipped and counted: the step changes neither parameters nor optimizer. 0 = the first such step stops "
        "the run, and no step is skipped.",
        unit="steps",
        low=0,
        high=COUNT,
        resumable=True,
    ),
    Key(
        "optim.moving_average",
        0.0,
        "Decay of the exponential moving average of the weights, below 1. The average is evaluated; 0 = the weights "
        "themselves are.",
        low=0,
        high=1,
    ),
    Key("train.batch_size", 50, "Examples per step, over all devices.", low=1, high=COUNT),
    Key(
        "train.accumulate",
        1,
        "Number of micro-batches that the batch of a step is split into, one after another, for less memory; it must divide "
        "train.batch_size. The gradient is that of the whole batch, except that each micro-batch has its own dropout and that "
        "batch norms use its statistics. Slow on a CPU, as train.steps_per_call.",
        low=1,
        high=COUNT,
    ),
    Key("train.steps", 1_000, "Length of the run.", unit="steps", low=1, high=COUNT, resumable=True),
    Key(
        "train.steps_per_call",
        1,
        "Most steps in one compiled call, which ends at the next log, checkpoint or evaluation; more than 1 is "
        "for accelerators only (8 times slower on a CPU).",
        unit="steps",
        low=1,
        high=COUNT,
        resumable=True,
    ),
    Key("train.log_every", 100, "Interval of log lines.", unit="steps", low=1, high=COUNT, resumable=True),
    Key("train.checkpoint_every", 1_000, "Interval of checkpoints.", unit="steps", low=1, high=COUNT, resumable=True),
    Key(
        "train.keep_checkpoints",
        2,
        "Number of newest checkpoints that are kept, in addition to the best.",
        low=1,
        high=COUNT,
        resumable=True,
    ),
    Key(
        "train.best_metric",
        "sequence_accuracy",
        "The metric that selects the best checkpoint, on evaluate.examples of validation; of equal values the later step wins.",
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
    Key(
        "evaluate.examples",
        2_000,
        "Number of validation examples of an evaluation during the run; 0 = all.",
        low=0,
        high=COUNT,
        resumable=True,
    ),
    Key(
        "evaluate.curves",
        ("train",),
        "Splits with curves beside that of validation: train, its first 1,000 examples, not augmented; test, its first "
        "evaluate.examples. Each costs an evaluation as often as that of validation.",
        allowed=("train", "test"),
        resumable=True,
    ),
    Key("evaluate.batch_size", 200, "Examples per batch, over all devices.", low=1, high=COUNT, resumable=True),
    Key(
        "evaluate.splits",
        ("train", "validation", "test"),
        "Splits that are evaluated at the end of a training run, in full; of train only the first 10,000 examples.",
        allowed=("train", "validation", "test"),
        resumable=True,
    ),
)
"""Every key, in the order of base_config()."""

DEFAULTS: dict[str, Any] = {key.name: key.default for key in KEYS}
"""The default of each key, by its name with section."""

RESUMABLE_KEYS = tuple(key.name for key in KEYS if key.resumable)
"""Keys that may change when a run resumes; all others identify it."""


def base_config() -> ConfigDict:
    """Returns every key with its default, locked, so that a misspelled key is refused."""
    config = ConfigDict()
    for key in KEYS:
        section, _, name = key.name.rpartition(".")
        if section and section not in config:
            config[section] = ConfigDict()
        (config[section] if section else config)[name] = key.default
    return config.lock()


def get(config: ConfigDict, key: str) -> Any:
    """Returns the value of a key, named with its section."""
    for part in key.split("."):
        config = config[part]
    return config


def predicts_box(config: ConfigDict) -> bool:
    """Returns whether the model predicts a box."""
    return config.model.name == "dense_detector" or config.model.localize
