"""Where batches come from: `create(config, split)` gives a source. A data set is a pure function of the index.

A source has `spec`, `arrays`, `batches(start)`, `all(batch_size)` and `make(arrays, host, key, train)`; see Source.
"""

from __future__ import annotations

import abc
import functools
from collections.abc import Callable, Iterator
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from ml_collections import ConfigDict

from seqdigits.batch import NO_DIGIT, Batch, Spec, pad_rows
from seqdigits.config import reads_box
from seqdigits.data import augment, compose, digits, own, scene, svhn, svhn_cropped, views
from seqdigits.errors import UserError
from seqdigits.streams import Stream, stream_key

Host = dict[str, np.ndarray]
"""What the host gives a step: index i32 [B], position i32 [B], and the payload of `spec`, if it has one. Of several processes
each gives its own part of the batch, all of one size."""


class Part(NamedTuple):
    """Rows low..high-1 of each batch are this process's; all processes give `size` rows, filled up with padding."""

    low: int
    high: int
    size: int

    def host(self, index: np.ndarray, position: np.ndarray) -> Host:
        """The rows of this process, at most `size`, filled up."""
        index, position = (pad_rows(rows.astype(np.int32), self.size) for rows in (index, position))
        return {"index": index, "position": np.maximum(position, 0)}


def part(batch_size: int) -> Part:
    """What each process gives of a batch.

    Raises:
      UserError: there are more processes than rows.
    """
    process, count = jax.process_index(), jax.process_count()
    size = -(-batch_size // count)
    if size * (count - 1) >= batch_size:
        raise UserError(
            f"a batch of {batch_size} cannot be shared out among {count} processes, some would have none of it. Make "
            "train.batch_size and evaluate.batch_size larger, multiples at best."
        )
    return Part(process * size, min((process + 1) * size, batch_size), size)


SOURCES = ("plain", "tfds", "stream")
"""See config.data.source."""

TRAIN_LIMIT = 10_000
"""The training figure, and statistics of images that are computed, are of training examples 0..9,999."""


class Source(abc.ABC):
    """Examples 0..N-1, each a pure function of its index.

    Attributes:
      spec: see Spec.
      statistics_limit: over how many training examples statistics of the images are taken; None = all.
    """

    statistics_limit: int | None

    def __init__(self, spec: Spec, order_seed: int):
        """`order_seed`: of the order of the examples in an epoch."""
        self.spec = spec
        self._order_seed = order_seed

    @property
    @abc.abstractmethod
    def arrays(self) -> dict[str, np.ndarray]:
        """What `make` needs: an ARGUMENT of the compiled step, placed on the devices once."""

    @abc.abstractmethod
    def make(self, arrays: dict[str, Array], host: dict[str, Array], key: Array, train: bool) -> Batch:
        """The batch, pure and traceable.

        Args:
          arrays: `self.arrays`, on the device.
          host: index i32 [B], -1 = padding; position i32 [B].
          key: of augmentation, folded with each position: the same on any number of devices, new each epoch.
          train: whether to augment.
        """

    def batches(self, start: int, batch_size: int) -> Iterator[Host]:
        """Training batches from step `start` on, without end. Position = step * B + j; a finite set has a fresh order each
        epoch (position // N), and a batch may straddle two epochs."""
        order: dict[int, np.ndarray] = {}
        mine = part(batch_size)
        for step in range(start, np.iinfo(np.int32).max):
            position = np.arange(step * batch_size + mine.low, step * batch_size + mine.high, dtype=np.int64)
            if self.spec.num_examples is None:
                index = position
            else:
                epochs, places = np.divmod(position, self.spec.num_examples)
                order = {
                    e: order[e] if e in order else self._permutation(e) for e in np.unique(epochs).tolist()
                }  # sorted
                index = np.concatenate([order[e][places[epochs == e]] for e in order])
            yield mine.host(index, position)

    def all(self, batch_size: int, limit: int | None = None) -> Iterator[Host]:
        """Examples 0..N-1, each once (the first `limit` of them), the last batch padded with index -1; as many batches in
        every process."""
        mine, count = part(batch_size), self.count(limit)
        for start in range(0, count, batch_size):
            rows = np.arange(min(start + mine.low, count), min(start + mine.high, count))
            yield mine.host(rows, rows)

    def count(self, limit: int | None = None) -> int:
        """How many examples `all(limit=limit)` gives.

        Raises:
          ValueError: the set is endless and there is no limit.
        """
        sizes = [n for n in (self.spec.num_examples, limit) if n is not None]
        if not sizes:
            raise ValueError("an endless set has no last example: give a limit")
        return min(sizes)

    def _permutation(self, epoch: int) -> np.ndarray:
        # On the host: a permutation of 165,000 inside the compiled step costs 94 ms a step.
        generator = np.random.Generator(np.random.Philox(key=np.array([self._order_seed, epoch], np.uint64)))
        return generator.permutation(self.count())


class VirtualSource(Source):
    """Examples composed of single digits on the accelerator, inside the step. Nothing on disk."""

    statistics_limit = TRAIN_LIMIT

    def __init__(
        self,
        *,
        composition: compose.Composition,
        augmentation: compose.Augmentation,
        digit_set: str,
        split: str,
        validation: int,
        load: Callable[[], tuple[np.ndarray, np.ndarray]],
        num_examples: int | None,
        examples: tuple[int, Stream],
        order_seed: int,
        channels: int = 1,
    ):
        """`load`: gives the digits; `examples`: seed and stream of the examples themselves; `order_seed`: of their order in
        an epoch; `channels`: 1, or 3 that are equal."""
        self._composition = composition
        self._augmentation = augmentation
        self._load = load
        self._examples = examples
        available = digits.num_digits(digit_set, split, validation)
        spec = Spec(
            image=(composition.height, composition.width, channels),
            max_length=composition.max_length,
            min_length=composition.min_length,
            num_examples=available if isinstance(composition, compose.Digit) else num_examples,
            arrays={
                "images": jax.ShapeDtypeStruct((available, digits.SIZE, digits.SIZE), jnp.uint8),
                "labels": jax.ShapeDtypeStruct((available,), jnp.int32),
            },
        )
        super().__init__(spec, order_seed)

    @cached_property
    def arrays(self) -> dict[str, np.ndarray]:
        """images u8 [N, 28, 28] and labels i32 [N] of the single digits."""
        images, labels = self._load()
        return {"images": images, "labels": labels}

    def make(self, arrays: dict[str, Array], host: dict[str, Array], key: Array, train: bool) -> Batch:
        """See Source.make."""
        index = jnp.maximum(host["index"], 0)  # a padded row is example 0, computed as usual
        seed, stream = self._examples
        keys = jax.vmap(jax.random.fold_in, (None, 0))(stream_key(seed, stream), index)
        augment_keys = jax.vmap(jax.random.fold_in, (None, 0))(key, host["position"]) if train else None

        def one(index: Array, key: Array, augment_key: Array | None) -> tuple[Array, Array, Array]:
            return compose.compose(self._composition, arrays, index, key, augment_key, self._augmentation)

        image, digits_, boxes = jax.vmap(one)(index, keys, augment_keys)
        image = jnp.broadcast_to(image, (*image.shape[:-1], self.spec.image[-1]))
        return Batch(image=image, digits=digits_, boxes=boxes, index=host["index"])


class ResidentSource(Source):
    """Photographs, decoded once to one array that lies on the device whole."""

    statistics_limit = None

    def __init__(
        self,
        *,
        load: Callable[[], dict[str, np.ndarray]],
        num_examples: int,
        image: tuple[int, int, int],
        lengths: tuple[int, int],
        cutout: int,
        augmentation: augment.Augmentation,
        order_seed: int,
    ):
        """What lies on the device, and what becomes of it.

        Args:
          load: gives images u8 [N, H, W, C], digits i32 [N, L] and boxes f32 [N, L, 4], as Batch has them.
          num_examples: N.
          image: H, W, C.
          lengths: fewest digits in an image, and L.
          cutout: side of the square that is cut out of each image, at a random place in training and from the middle
            otherwise; 0 = the whole image.
          augmentation: what is done to each image in training, before that.
          order_seed: of the order of the examples in an epoch.
        """
        self._load = load
        self._cutout = cutout
        self._augmentation = augmentation
        spec = Spec(
            image=(cutout, cutout, image[2]) if cutout else image,
            min_length=lengths[0],
            max_length=lengths[1],
            num_examples=num_examples,
            arrays={
                "images": jax.ShapeDtypeStruct((num_examples, *image), jnp.uint8),
                "digits": jax.ShapeDtypeStruct((num_examples, lengths[1]), jnp.int32),
                "boxes": jax.ShapeDtypeStruct((num_examples, lengths[1], 4), jnp.float32),
            },
        )
        super().__init__(spec, order_seed)

    @cached_property
    def arrays(self) -> dict[str, np.ndarray]:
        """images u8 [N, H, W, C], digits i32 [N, L], boxes f32 [N, L, 4] of all photographs of the split."""
        return self._load()

    def make(self, arrays: dict[str, Array], host: dict[str, Array], key: Array, train: bool) -> Batch:
        """See Source.make."""
        index = jnp.maximum(host["index"], 0)
        image, digits_, boxes = (arrays[name][index] for name in ("images", "digits", "boxes"))
        if train and self._augmentation.on:
            image, boxes = augment.augment_all(
                image, digits_, boxes, host["position"], jax.random.fold_in(key, 1), self._augmentation
            )
        if self._cutout:
            image, boxes = cut_out(image, digits_, boxes, self._cutout, host["position"], key if train else None)
        return Batch(image=image, digits=digits_, boxes=boxes, index=host["index"])


def cut_out(
    image: Array, digits: Array, boxes: Array, side: int, position: Array, key: Array | None
) -> tuple[Array, Array]:
    """Squares out of images u8 [B, H, W, C], and the boxes in them.

    Args:
      image, digits, boxes: as in Batch.
      side: of the square, in pixels.
      position: i32 [B], folded into `key`.
      key: of random places; None = from the middle.
    """
    height, width = image.shape[1] - side, image.shape[2] - side
    if key is not None:
        keys = jax.vmap(jax.random.fold_in, (None, 0))(key, position)
        bits = jax.vmap(lambda k: jax.random.bits(k, (2,), jnp.uint32))(keys)
        corner = (bits % jnp.array([height + 1, width + 1], jnp.uint32)).astype(jnp.int32)
    else:
        corner = jnp.broadcast_to(jnp.array([height // 2, width // 2], jnp.int32), (len(position), 2))

    def cut(image: Array, corner: Array) -> Array:
        return jax.lax.dynamic_slice(image, (corner[0], corner[1], 0), (side, side, image.shape[2]))

    moved = boxes.at[..., :2].add(-corner[:, None, ::-1].astype(jnp.float32))
    return jax.vmap(cut)(image, corner), jnp.where((digits != NO_DIGIT)[..., None], moved, 0.0)


def limit_of(source: Source, split: str) -> int | None:
    """How many examples of a split a whole evaluation counts: of train the first 10,000, else all."""
    return min(TRAIN_LIMIT, source.spec.num_examples or TRAIN_LIMIT) if split == "train" else None


def size_of(data: ConfigDict, split: str) -> tuple[int, int]:
    """Height and width of what digits are put on, or photographs squeezed to, in one split."""
    if split == "train" and data.train_height:
        return data.train_height, data.train_width
    return data.height, data.width


def image_size(data: ConfigDict) -> tuple[int, int]:
    """Height and width of the images, in pixels, from the config's section `data`."""
    if data.composition == "digit":
        return digits.SIZE, digits.SIZE
    if data.composition in views.KINDS and data.cutout:
        return data.cutout, data.cutout
    return data.height, data.width


TRAINED_OTHERWISE = ("train_height", "train_width", "train_min_length")
"""Keys with which a reader trains on other images than it reads."""


def as_read(config: ConfigDict) -> ConfigDict:
    """The config whose training split is made like what is read, to be looked at and not to be trained on."""
    same = config.copy_and_resolve_references()
    same.data.update(dict.fromkeys(TRAINED_OTHERWISE, 0))
    return same


def trains_as_read(data: ConfigDict) -> bool:
    """Whether what is trained on has the size and the lengths of what is read."""
    return not any(data[key] for key in TRAINED_OTHERWISE)


def create(config: ConfigDict, split: str) -> Source:
    """The source of one split ("train", "validation", "test") as a whole config describes it."""
    if config.data.source == "stream":
        from seqdigits.data import streaming  # needs TensorFlow

        return streaming.create_streamed(config, split, _resident_or_virtual(config, split))
    return _resident_or_virtual(config, split)


def _resident_or_virtual(config: ConfigDict, split: str) -> Source:
    data = config.data
    reads_tfds = data.source == "tfds"
    if data.composition in views.KINDS:
        return create_photos(config, split, partial(_tfds_cropped, root=data.records) if reads_tfds else None)
    read_mnist = partial(_tfds_mnist, root=data.records) if reads_tfds else None
    if data.composition == scene.NAME:
        from seqdigits.data import scenes  # it builds on Source

        return scenes.create_scenes(config, split, read_mnist)
    return create_synthetic(config, split, read_mnist)


@functools.cache  # all splits are cut out of it
def _tfds_mnist(folder: Path, url: str, root: str) -> tuple[np.ndarray, np.ndarray]:
    from seqdigits.data.builders import published  # needs TensorFlow

    return published.mnist(folder, url, root)


def _tfds_cropped(folder: Path, part: str, root: str) -> tuple[np.ndarray, np.ndarray]:
    from seqdigits.data.builders import published  # needs TensorFlow

    return published.svhn_cropped(folder, part, root)


ReadMnist = Callable[[Path, str], tuple[np.ndarray, np.ndarray]]
"""Reads all of MNIST from a folder and url, see digits.load."""


def create_synthetic(config: ConfigDict, split: str, read_mnist: ReadMnist | None = None) -> VirtualSource:
    """The source of one split of strips, canvases, or single digits; `read_mnist`: see digits.load."""
    data = config.data
    return VirtualSource(
        composition=_composition(data, split),
        augmentation=compose.Augmentation(**{name: data[name] for name in compose.BENT}),
        channels=3 if data.rgb else 1,
        **digits_of(config, split, read_mnist),
    )


def digits_of(config: ConfigDict, split: str, read_mnist: ReadMnist | None) -> dict[str, Any]:
    """What a source composes of single digits needs to know of them and of its examples, by argument; see VirtualSource."""
    data = config.data
    num_examples = {"train": data.train_examples, "validation": data.validation_examples, "test": data.test_examples}
    endless = data.composition != "digit" and num_examples[split] == 0
    validation = digits.DIGITS[data.digits].pool * data.validation_percent // 100
    files = {"folder": data.folder, "url": data.url, "read_mnist": read_mnist}
    return {
        "digit_set": data.digits,
        "split": split,
        "validation": validation,
        "load": partial(digits.load, data.digits, split, validation=validation, **files),
        "num_examples": None if endless else num_examples[split],
        "examples": (config.seed, Stream.ENDLESS) if endless else (data.seed, Stream[split.upper()]),
        "order_seed": config.seed,
    }


def _composition(data: ConfigDict, split: str) -> compose.Composition:
    height, width = size_of(data, split)
    min_length = (split == "train" and data.train_min_length) or data.min_length
    if data.composition == "digit":
        return compose.Digit()
    if data.composition == "turned":
        return compose.Turned(height, width, data.max_length, min_length, data.jitter, data.stacked)
    kind = compose.Centred if data.composition == "centred" else compose.Canvas
    return kind(height, width, data.max_length, min_length)


def _augmentation(data: ConfigDict) -> augment.Augmentation:
    return augment.Augmentation(**{name: data[name] for name in augment.KEYS})


ReadCropped = Callable[[Path, str], tuple[np.ndarray, np.ndarray]]
"""Reads one part of SVHN's single digits from a folder, see svhn_cropped.load."""


def create_photos(config: ConfigDict, split: str, read_cropped: ReadCropped | None = None) -> ResidentSource:
    """The source of one split of photographs; `read_cropped`: see svhn_cropped.load."""
    if config.data.photographs == "own":
        return _own(config, split)
    if config.data.photographs == svhn_cropped.NAME:
        return _cropped(config, split, read_cropped)
    return _house_numbers(config, split)


def _house_numbers(config: ConfigDict, split: str) -> ResidentSource:
    data = config.data
    height, width = size_of(data, split)
    which = {"name": data.photographs, "parts": tuple(data.parts), "split": split, "max_length": data.max_length}
    layout = {"kind": data.composition, "height": height, "width": width, "grey": data.grey}
    available = svhn.count(**which, single=data.composition == "cropped_digit")
    count = min(data.train_photographs or available, available) if split == "train" else available

    def load() -> dict[str, np.ndarray]:
        everything = svhn.load(**which, **layout, folder=data.folder)
        return {name: array[:count] for name, array in everything.items()}

    return ResidentSource(
        load=load,
        num_examples=count,
        image=(height, width, 1 if data.grey else 3),
        lengths=(data.min_length, data.max_length),
        cutout=data.cutout,
        augmentation=_augmentation(data),
        order_seed=config.seed,
    )


def _cropped(config: ConfigDict, split: str, read: ReadCropped | None) -> ResidentSource:
    data, parts = config.data, tuple(config.data.parts)
    layout = {"height": data.height, "width": data.width, "grey": data.grey}
    return ResidentSource(
        load=partial(svhn_cropped.load, parts, split, **layout, folder=data.folder, read=read),
        num_examples=svhn_cropped.count(parts, split),
        image=(data.height, data.width, 1 if data.grey else 3),
        lengths=(1, 1),
        cutout=data.cutout,
        augmentation=_augmentation(data),
        order_seed=config.seed,
    )


def _own(config: ConfigDict, split: str) -> ResidentSource:
    data = config.data
    lengths = (data.min_length, data.max_length)
    own.chosen(data.folder, split, kind=data.composition, lengths=lengths, boxes=reads_box(config))  # or refuses them
    height, width = size_of(data, split)
    layout = {"kind": data.composition, "height": height, "width": width, "grey": data.grey}
    return ResidentSource(
        load=partial(own.load, data.folder, split, **layout, max_length=data.max_length),
        num_examples=own.count(data.folder, split, data.max_length, data.composition),
        image=(height, width, 1 if data.grey else 3),
        lengths=lengths,
        cutout=data.cutout,
        augmentation=_augmentation(data),
        order_seed=config.seed,
    )
