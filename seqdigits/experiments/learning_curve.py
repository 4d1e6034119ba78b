"""Learning curves: accuracy on test after training on more and more pictures of a folder of custom photos.

For each number of pictures there are two runs, one initialized from the pretrained weights `scene` and one at random, which
differ in nothing but that and the learning rate. The rule, the same for all of them:

- Training pictures are drawn from the rows of the split train, always the same ones; a larger number includes those of a
  smaller one (data.photos.folder.drawn).
- n pictures are trained on for about 250 n^(1/4) steps with batches of 32 (`steps_of`), each augmented differently at every
  visit. The learning rate falls to zero by a cosine.
- Validation is evaluated four times, and the checkpoint with the best sequence accuracy is evaluated on test, once. Of
  equal ones the later is taken.

Without any training, `scene` itself is the point of 0 pictures. OUT/NAME.json has the points of the folder NAME and is written
after each. A point of the same labels, config and weights `scene` is not run again, and a stopped run resumes in its workdir.
"""

from __future__ import annotations

import dataclasses
import gc
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from seqdigits.checkpoint import pretrained
from seqdigits.config.defaults import base_config
from seqdigits.config.registry import load_config
from seqdigits.config.saved import diff_results, to_json
from seqdigits.core import provenance
from seqdigits.core.constants import SPLITS
from seqdigits.core.errors import UserError
from seqdigits.core.files import expanded, write_atomically
from seqdigits.core.interrupt import Stop
from seqdigits.data.evaluated_config import MIXED_KEYS
from seqdigits.data.photos import labels
from seqdigits.data.photos.folder import chosen_rows
from seqdigits.evaluation.evaluate import evaluate_checkpoint
from seqdigits.experiments import results
from seqdigits.metrics.intervals import wilson_interval
from seqdigits.training.loop import train_and_evaluate

BASE = "reader_svhn"
SIZES = (20, 50, 100, 500)
"""The numbers of training pictures."""
LEARNING_RATES = {"scene": 1e-3, "random": 2e-3}
"""The learning rate of each initialization."""
EVALUATIONS = 4


@dataclasses.dataclass(frozen=True)
class Point:
    """The result of one run.

    Attributes:
      initialization: scene or random.
      pictures: number of training pictures; 0 = no training.
      steps: number of training steps.
      best_step: step of the evaluated checkpoint.
      right: number of test pictures whose number is read completely.
      examples: number of test pictures.
      accuracy: right / examples.
      interval: its 95% interval (Wilson).
      digit_accuracy: share of the digits of test that are right.
      minutes: time of training, evaluations of validation included.
      config: config of the run.
      weights_sha256: SHA-256 of the file of `scene`; None: random initialization.
      commit: commit of the program.
      devices: kinds of the devices.
      cores: number of CPU cores of the machine.
      versions: versions of packages, by name.
    """

    initialization: str
    pictures: int
    steps: int
    best_step: int
    right: int
    examples: int
    accuracy: float
    interval: tuple[float, float]
    digit_accuracy: float
    minutes: float
    config: dict[str, Any]
    weights_sha256: str | None
    commit: str | None
    devices: list[str]
    cores: int | None
    versions: dict[str, str | None]


@dataclasses.dataclass(frozen=True)
class Curve:
    """The points of a folder.

    Attributes:
      name: name of the folder.
      labels_sha256: SHA-256 of its labels.csv.
      pictures: number of its pictures by split.
      points: those that are run, in the order of their runs.
    """

    name: str
    labels_sha256: str
    pictures: dict[str, int]
    points: list[Point]

    def to_json(self) -> str:
        """Encodes the curve."""
        return json.dumps(dataclasses.asdict(self), indent=1)

    @classmethod
    def from_json(cls, text: str) -> Curve:
        """Decodes a curve.

        Raises:
          ValueError, TypeError, KeyError: it is not JSON, lacks keys, or has unknown ones.
        """
        saved = json.loads(text)
        points = [
            Point(
                **{"weights_sha256": None, **point, "interval": tuple(point["interval"])}
            )  # earlier files lack the SHA-256
            for point in saved["points"]
        ]
        return cls(**{**saved, "points": points})


def steps_of(pictures: int) -> int:
    """Returns the number of training steps for a number of pictures.

    >>> [steps_of(n) for n in SIZES]
    [500, 700, 800, 1200]
    """
    return max(100, round(2.5 * pictures**0.25) * 100)


def plan(sizes: Sequence[int]) -> list[tuple[str, int]]:
    """Returns the initialization and the number of pictures of each point, small numbers first.

    >>> plan([20, 50])
    [('scene', 0), ('scene', 20), ('random', 20), ('scene', 50), ('random', 50)]
    """
    return [("scene", 0), *((name, size) for size in sorted(set(sizes)) for name in LEARNING_RATES)]


def config_of(folder: Path, initialization: str, pictures: int, steps: int = 0) -> ConfigDict:
    """Returns the config of a point; `steps` is the number of steps if it is not that of `steps_of`.

    Raises:
      UserError: labels.csv cannot be read, or has invalid lines.
    """
    config = load_config(BASE)
    scene = pretrained.facts("scene")["config"]
    for key in ("min_score", "temperature", "platt_scale", "platt_bias"):
        config.decode[key] = scene["decode"][key]  # the calibration of the base belongs to another network
    config.model.mean_jitter = scene["model"]["mean_jitter"]
    config.data.photographs, config.data.folder = "folder", str(folder)
    config.data.train_photographs = pictures
    default = base_config().data  # no scenes and no other backgrounds: the pictures alone are to count
    config.data.update({key: default[key] for key in ("half_scenes", "mask_unlabeled", *MIXED_KEYS)})
    config.data.max_length = max(len(row.digits) for row in labels.rows(folder))
    config.init.path = {"scene": "scene", "random": ""}[initialization]
    config.train.steps = config.optim.decay_steps = steps or steps_of(pictures)
    config.optim.warmup_steps = config.train.steps // 10
    config.optim.learning_rate = LEARNING_RATES[initialization]
    config.optim.moving_average = 0.99
    config.train.log_every = config.train.checkpoint_every = max(1, config.train.steps // EVALUATIONS)
    config.evaluate.every = config.train.checkpoint_every
    config.train.keep_checkpoints = 1
    config.evaluate.examples = 100
    config.evaluate.batch_size = 50  # validation and its example pictures are padded to it
    config.evaluate.splits, config.evaluate.curves = (), ()  # test is evaluated once, with the best checkpoint
    return config


def check(folder: Path, sizes: Sequence[int]) -> None:
    """Refuses a folder without a split or boxes, or with fewer training pictures than the largest size.

    Raises:
      UserError: see above.
    """
    available = {split: len(chosen_rows(folder, split, boxes=True)) for split in SPLITS}["train"]
    if max(sizes) > available:
        raise UserError(
            f"--sizes {max(sizes)}: {folder / labels.NAME} has {available} rows of the split train. Give sizes of at most "
            f"{available}, or label more pictures."
        )


def learning_curve(
    folder: Path, sizes: Sequence[int], *, out: Path, workdirs: Path, steps: int = 0, stop: Stop | None = None
) -> Curve:
    """Runs the points of a folder that OUT/NAME.json lacks.

    Args:
      folder: a folder of custom photos with boxes, which `check` has accepted.
      sizes: numbers of training pictures.
      out: folder of the results.
      workdirs: folder of the workdirs, each in NAME-DIGEST/INITIALIZATION-DIGEST-PICTURES-STEPS, with a digest of the labels and
        one of the weights `scene`.
      steps: see config_of.
      stop: ends the current run, which saves.

    Raises:
      UserError: a run is impossible, or OUT/NAME.json is damaged.
      Stopped: `stop` was set.
    """
    folder = expanded(folder)
    name, path = folder.resolve().name, out / f"{folder.resolve().name}.json"
    digest = hashlib.sha256((folder / labels.NAME).read_bytes()).hexdigest()
    rows = labels.rows(folder)
    pictures = {split: sum(row.split == split for row in rows) for split in SPLITS}
    curve = Curve(name, digest, pictures, [point for point in _saved(path, digest) if is_current(point, folder, steps)])
    done = {(point.initialization, point.pictures) for point in curve.points}
    todo = [one for one in plan(sizes) if one not in done]
    for number, (initialization, size) in enumerate(todo, start=1):
        print(f"\n--- {name}: {size} pictures, {initialization} ({number} of {len(todo)})", flush=True)
        config = config_of(folder, initialization, size, steps)
        # Random initialization too depends on the weights, whose settings its config takes.
        label = f"{initialization}-{_weights_sha256()[:8]}-{size}-{config.train.steps}"
        workdir = workdirs / f"{name}-{digest[:8]}" / label
        curve.points.append(run(config, initialization, size, workdir, stop or Stop()))
        write_atomically(path, curve.to_json())
    return curve


def is_current(point: Point, folder: Path, steps: int) -> bool:
    """Returns whether the config of a saved point, decoding included, and the weights that it began with, are today's."""
    if point.initialization == "scene" and point.weights_sha256 != _weights_sha256():
        return False
    config = config_of(folder, point.initialization, point.pictures, steps)
    return not diff_results(config, point.config)


def _weights_sha256() -> str:
    return str(pretrained.facts("scene")["sha256"])


def _saved(path: Path, digest: str) -> list[Point]:
    """Returns the saved points of the same labels."""
    if not path.exists():
        return []
    try:
        curve = Curve.from_json(path.read_text())
    except (OSError, ValueError, TypeError, LookupError, AttributeError) as e:
        raise UserError(f"{path} is damaged ({e}). Delete it and rerun the same command.") from e
    if curve.labels_sha256 == digest:
        return curve.points
    print(f"{path} is of other labels, so its points are run again.", flush=True)
    return []


def run(config: ConfigDict, initialization: str, pictures: int, workdir: Path, stop: Stop) -> Point:
    """Trains a point, unless it has 0 pictures, and evaluates it on test."""
    if pictures:
        train_and_evaluate(config, workdir, stop)
    which = "best" if pictures else "scene"
    evaluate_checkpoint(config, workdir, which=which, splits=("test",), stop=stop)
    report = json.loads((workdir / "evaluation" / "test.json").read_text())
    accuracy, examples = report["sequence_accuracy"], report["examples"]
    program = provenance.describe()
    jax.clear_caches()  # programs and data of finished runs would fill the memory
    gc.collect()
    return Point(
        initialization=initialization,
        pictures=pictures,
        steps=config.train.steps if pictures else 0,
        best_step=report["step"] if pictures else 0,
        right=round(accuracy * examples),
        examples=examples,
        accuracy=accuracy,
        interval=wilson_interval(accuracy, examples),
        digit_accuracy=report["digit_accuracy"],
        minutes=round(results.progress(workdir)[1] / 60, 2),
        config=json.loads(to_json(config)),
        weights_sha256=_weights_sha256() if initialization == "scene" else None,
        **{key: program[key] for key in ("commit", "devices", "cores", "versions")},
    )
