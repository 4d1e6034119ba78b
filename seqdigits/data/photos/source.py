"""The source of photographs that lie on the device whole."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from ml_collections import ConfigDict

from seqdigits.config.defaults import predicts_box
from seqdigits.core.constants import NO_DIGIT
from seqdigits.core.types import Batch, Spec
from seqdigits.data.image_size import size_of
from seqdigits.data.photos import augment, svhn, svhn_cropped
from seqdigits.data.photos import folder as photos_folder
from seqdigits.data.photos.folder import chosen_rows
from seqdigits.data.source import DataSource


class ResidentSource(DataSource):
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

    def make(self, arrays: dict[str, Array], host_batch: dict[str, Array], key: Array, train: bool) -> Batch:
        """See Source.make."""
        index = jnp.maximum(host_batch["index"], 0)
        image, digits_, boxes = (arrays[name][index] for name in ("images", "digits", "boxes"))
        if train and self._augmentation.on:
            image, boxes = augment.augment_all(
                image, digits_, boxes, host_batch["position"], jax.random.fold_in(key, 1), self._augmentation
            )
        if self._cutout:
            image, boxes = cut_out(image, digits_, boxes, self._cutout, host_batch["position"], key if train else None)
        return Batch(image=image, digits=digits_, boxes=boxes, index=host_batch["index"])


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


def _augmentation(data: ConfigDict) -> augment.Augmentation:
    return augment.Augmentation(**{name: data[name] for name in augment.KEYS})


ReadCropped = Callable[[Path, str], tuple[np.ndarray, np.ndarray]]
"""Reads one part of SVHN's single digits from a folder, see svhn_cropped.load."""


def create_photos(config: ConfigDict, split: str, read_cropped: ReadCropped | None = None) -> ResidentSource:
    """The source of one split of photographs; `read_cropped`: see svhn_cropped.load."""
    if config.data.photographs == "folder":
        return _own(config, split)
    if config.data.photographs == svhn_cropped.NAME:
        return _cropped(config, split, read_cropped)
    return _house_numbers(config, split)


def _house_numbers(config: ConfigDict, split: str) -> ResidentSource:
    data = config.data
    height, width = size_of(data, split)
    which = {"name": data.photographs, "parts": tuple(data.parts), "split": split, "max_length": data.max_length}
    layout = {"kind": data.composition, "height": height, "width": width, "gray": data.gray}
    available = svhn.count(**which, single=data.composition == "cropped_digit")
    count = min(data.train_photographs or available, available) if split == "train" else available

    def load() -> dict[str, np.ndarray]:
        everything = svhn.load(**which, **layout, folder=data.folder)
        return {name: array[:count] for name, array in everything.items()}

    return ResidentSource(
        load=load,
        num_examples=count,
        image=(height, width, 1 if data.gray else 3),
        lengths=(data.min_length, data.max_length),
        cutout=data.cutout,
        augmentation=_augmentation(data),
        order_seed=config.seed,
    )


def _cropped(config: ConfigDict, split: str, read: ReadCropped | None) -> ResidentSource:
    data, parts = config.data, tuple(config.data.parts)
    layout = {"height": data.height, "width": data.width, "gray": data.gray}
    return ResidentSource(
        load=partial(svhn_cropped.load, parts, split, **layout, folder=data.folder, read=read),
        num_examples=svhn_cropped.count(parts, split),
        image=(data.height, data.width, 1 if data.gray else 3),
        lengths=(1, 1),
        cutout=data.cutout,
        augmentation=_augmentation(data),
        order_seed=config.seed,
    )


def _own(config: ConfigDict, split: str) -> ResidentSource:
    data = config.data
    lengths = (data.min_length, data.max_length)
    chosen_rows(
        data.folder, split, kind=data.composition, lengths=lengths, boxes=predicts_box(config)
    )  # or refuses them
    height, width = size_of(data, split)
    layout = {"kind": data.composition, "height": height, "width": width, "gray": data.gray}
    return ResidentSource(
        load=partial(photos_folder.load, data.folder, split, **layout, max_length=data.max_length),
        num_examples=photos_folder.count(data.folder, split, data.max_length, data.composition),
        image=(height, width, 1 if data.gray else 3),
        lengths=lengths,
        cutout=data.cutout,
        augmentation=_augmentation(data),
        order_seed=config.seed,
    )
