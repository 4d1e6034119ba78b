"""The base config: every key once. An experiment in `configs/` holds only its differences; what cannot run is refused in
config_checks/validate.py."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from ml_collections import ConfigDict

LESS_IS_BETTER = ("localization_error", "cross_entropy")
"""The figures of an evaluation that are errors; of the others more is better."""

METRICS = ("sequence_accuracy", "character_accuracy", "digit_accuracy", "length_accuracy", "localization_error")
"""What the best checkpoint may be chosen by; less is better of localization_error, more of the others."""

FREE_KEYS = (
    "parallel",
    "data.folder",
    "data.url",
    "data.records",
    "read.min_score",
    "read.max_overlap",
    "read.max_numbers",
    "read.group",
    "read.temperature",
    "read.slope",
    "read.offset",
    "read.halvings",
    "train.steps",
    "train.steps_per_call",
    "train.log_every",
    "train.checkpoint_every",
    "train.keep_checkpoints",
    "evaluate.every",
    "evaluate.examples",
    "evaluate.batch_size",
    "evaluate.splits",
)
"""Keys that may change when a run goes on; all others are its identity."""


def base_config() -> ConfigDict:
    """Every key with its default; locked, so that a misspelled key is refused."""
    config = ConfigDict()
    config.seed = 0  # of initial weights, order, dropout, augmentation and endless training examples
    config.parallel = "jit"  # several devices: jit: the compiler splits a step | pmap: each runs it on its part

    config.data = data = ConfigDict()
    # plain: computed on the device, or resident on it | tfds: resident, but read by TensorFlow Datasets' own builder
    # (mnist, svhn_cropped) | stream: read by tf.data from records that `python -m seqdigits prepare` wrote
    data.source = "plain"
    data.records = ""  # tfds, stream: the folder of TFDS data sets; "" = $TFDS_DATA_DIR, or ~/tensorflow_datasets
    data.records_form = "png"  # stream: how the records hold the pixels: png | raw (uint8) | float64
    data.digits = "mnist"  # uci | mnist
    data.folder = ""  # where data files lie (subfolders mnist, svhn_numbers, svhn_cropped); "" = $SEQDIGITS_DATA, or ~/.cache/seqdigits
    data.url = "https://storage.googleapis.com/cvdf-datasets/mnist"  # where missing MNIST files come from
    data.validation_percent = (
        0  # of the digits to train on, held out for validation; 0 = the set's own (mnist 5,000, uci 270)
    )
    # photographs: svhn: all | svhn_2000: the first 2,000 of train, 500 of test | svhn_cropped: the published single digits
    # of 32x32 (cropped_digit) | own: a folder of your own, named by data.folder; see data/photos/folder.py
    data.photographs = "svhn"
    data.parts = ("train",)  # photographs: the parts to train and validate on: train, extra (svhn_2000 has none of it)
    # digit: each digit as it stands | canvas: several side by side somewhere on black | centred: of 12 pixels, in the
    # middle | turned: each turned by up to 45 degrees and shifted | scene: numbers in handwriting and type, in colour, among
    # other things | photographs of house numbers: photograph: whole |
    # crop: cut out by the true box, 15% wider and higher on each side | cropped_digit: single digits cut out
    data.composition = "canvas"
    data.height = 128  # pixels that digits are put on, or photographs squeezed to; a composition of digits has 28
    data.width = 256
    data.train_height = 0  # reader: pixels of what it trains on, where that is not what it reads; 0 = the same
    data.train_width = 0
    data.train_min_length = 0  # reader, digits put together: fewest digits in what it trains on; 0 = min_length
    data.train_photographs = 0  # photographs: how many of the training split are trained on, the first; 0 = all
    data.jitter = 0  # turned: pixels that a digit is shifted at most, on each axis, as far as its cell has room
    data.stacked = False  # turned: from top to bottom
    data.grey = False  # photographs, scene
    data.rgb = False  # digits: three equal channels, for a network that was trained on colour
    data.cutout = 0  # photographs: side of a square cut out, at random in training, else in the middle; 0 = all of it
    data.min_length = 5  # digits in an image
    data.max_length = 5
    data.max_numbers = 1  # scene: numbers in an image, at most; max_length counts the digits of all of them
    data.min_digit = 10  # scene: height of the digits, pixels
    data.max_digit = 120
    data.train_examples = 165_000  # of what is put together from digits: how many; 0 = endless
    data.validation_examples = 15_000
    data.test_examples = 30_000
    data.seed = 0  # of the canvases of finite sets, and of all validation and test canvases
    # augmentation in training, at most so much: of each digit, see compose.Augmentation; of photographs, augment.Augmentation
    data.rotation = 0  # degrees
    data.zoom = 0  # percent
    data.shear = 0  # percent
    data.shift = 0  # pixels
    data.elastic = 0  # digits: percent of a pixel
    data.colour = 0  # photographs: percent

    config.model = model = ConfigDict()
    model.name = "reader"  # heads: a dense head a position | gru: a GRU unrolls them | attention: looking at the map | row_gru: it reads the rows | reader
    model.pixels = "unit"  # unit: 0..1 | raw: 0..255 | image_mean | per_pixel; see models/pixels.py
    model.encoder = ""  # layers from the image on, as text; see models/stack.py
    model.head = ""  # all but reader: layers of each position's head before its last dense layer
    model.shared_head = False  # gru, attention, row_gru: whether all positions share one head
    model.gru_units = 0  # gru, attention, row_gru
    model.localize = False  # all but reader: whether there is a head for the box of the whole sequence
    model.box_head = ""  # its layers before the last dense layer
    model.kernel_init = "lecun_normal"  # lecun_normal | glorot_uniform | truncated_normal (deviation 0.1)
    model.bias_init = 0.0

    config.read = read = ConfigDict()
    read.min_score = 0.4  # reader: there is a digit if the cells that point at it say so with at least this together
    read.max_overlap = 0.4  # reader: cells whose boxes overlap by more (IoU) point at the same digit
    read.max_numbers = 1  # reader: numbers of a reading, best first; N
    read.group = False  # reader: whether digits that stand together make a number each; else all are one, left to right
    # reader: how often an image is also read at half the size of before, and at 3/4 of its own size and of each of these, for
    # digits larger than those trained on; 0 = at its own size alone
    read.halvings = 0
    read.slope = 1.0  # a number's confidence c becomes sigmoid(slope x logit(c) + offset); see seqdigits/evaluation/calibration.py
    read.offset = 0.0
    read.temperature = (
        1.0  # logits are divided by it, so that confidences are calibrated; see seqdigits/evaluation/calibration.py
    )

    config.init = init = ConfigDict()  # transfer: where parameters begin, if not at random
    init.path = (
        ""  # a workdir (its best checkpoint), a checkpoint W/checkpoints/STEP, a file of weights, or the name of those that
        # come with the package, see checkpoint/pretrained.py; "" = nowhere
    )
    init.params = ".*"  # those whose name fits are taken; a regular expression such as encoder/.*

    config.loss = loss = ConfigDict()  # weights; 0 = not there
    loss.digits = 0.0  # all but reader: loss of the positions
    loss.digit_loss = "cross_entropy"  # cross_entropy | one_hot_cross_entropy (the same) | binary_cross_entropy
    loss.positions = "mean"  # mean | sum of the losses of the positions
    loss.no_digit = 1.0  # weight of a position without a digit, within `digits`
    loss.box = 0.0  # with model.localize: mean squared error of the box, px²
    loss.cells = 0.0  # reader: cross entropy of cells
    loss.cell_boxes = 0.0  # reader: L1 of the digits' boxes, in cells
    loss.background = 0.2  # reader: weight of a cell without a digit, within `cells`
    loss.target = "cell"  # reader: which cells should say a digit: cell: that of its centre | several | gaussian
    loss.target_radius = 0.0  # several, gaussian: how far around the centre, in sides of the digit's box
    loss.smoothing = 0.0  # reader: of a digit's cell, the part that is spread over all classes
    loss.l2 = 0.0  # half the sum of squares of the parameters named by l2_params
    loss.l2_params = ""  # a regular expression such as encoder/.*/kernel

    config.optim = optim = ConfigDict()
    optim.name = "adam"  # adam | adamw | adagrad | rmsprop | sgd
    optim.learning_rate = 1e-3
    optim.momentum = 0.0  # sgd
    optim.schedule = "constant"  # constant | cosine | exponential | staircase | inverse_time | plan; see optim.schedule
    optim.warmup_steps = 0  # linear from 0, before the schedule
    optim.decay_steps = 0  # cosine: the step at which 0 is reached, warm-up included; the next three: the unit of time
    optim.decay_rate = (
        0.0  # exponential, staircase: the factor in decay_steps | inverse_time: the growth of the divisor
    )
    optim.plan = ""  # plan: learning rates from steps on, such as "20000: 5e-5, 40000: 1e-5"
    optim.weight_decay = 0.0  # adamw, sgd: decoupled, of kernels only
    optim.freeze = ""  # parameters whose name fits are not trained; a regular expression such as encoder/.*
    optim.clip_norm = 0.0  # largest norm of the gradient; 0 = no clipping
    optim.moving_average = 0.0  # decay of the average of weights that is evaluated; 0 = the weights themselves

    config.train = train = ConfigDict()
    train.batch_size = 50  # over all devices
    train.steps = 1_000
    train.steps_per_call = (
        1  # steps in one compiled call, at most; more is for accelerators only (8 times slower on a CPU)
    )
    train.log_every = 100  # steps
    train.checkpoint_every = 1_000  # steps
    train.keep_checkpoints = 2  # the newest so many stay, and the best
    train.best_metric = "sequence_accuracy"  # of validation: what the best checkpoint is best in

    config.evaluate = evaluate = ConfigDict()
    evaluate.every = 1_000  # steps, on validation
    evaluate.examples = 2_000  # how many of them; 0 = all
    evaluate.batch_size = 200
    evaluate.splits = ("train", "validation", "test")  # at the end of a training run, whole; of train the first 10,000
    return config.lock()


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
