"""The source of photographs that are stored on the device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
from seqdigits.data.photos import augment, backgrounds, svhn, svhn_cropped, unlabeled
from seqdigits.data.photos import folder as photos_folder
from seqdigits.data.photos.folder import chosen_rows
from seqdigits.data.scenes import natural_backgrounds
from seqdigits.data.source import DataSource


class ResidentSource(DataSource):
    """Photographs, decoded once into one array that is placed on the device."""

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
        ignored: int = 0,
        load_backgrounds: Callable[[], Sequence[np.ndarray]] | None = None,
    ):
        """Creates the source of one split.

        Args:
          load: returns images u8 [N, H, W, C], digits i32 [N, L] and boxes f32 [N, L, 4], as in Batch; with `ignored` also
            ignored f32 [N, ignored, 4].
          num_examples: N.
          image: H, W, C.
          lengths: minimum number of digits in an image, and L.
          cutout: side, in pixels, of the square crop of each image, at a random place in training and from the center in
            evaluation; 0 = no crop.
          augmentation: the ranges of augmentation in training, applied before the crop.
          order_seed: seed of the order of the examples in each epoch.
          ignored: number of boxes of each image whose digits are not labeled, K of Batch.ignored; 0 = None there.
          load_backgrounds: returns the natural backgrounds that numbers are pasted into, u8 [h, w, 3]; None without pasting.
        """
        self._load = load
        self._image = image
        self._load_backgrounds = load_backgrounds
        self._cutout = cutout
        self._augmentation = augmentation
        arrays = {
            "images": jax.ShapeDtypeStruct((num_examples, *image), jnp.uint8),
            "digits": jax.ShapeDtypeStruct((num_examples, lengths[1]), jnp.int32),
            "boxes": jax.ShapeDtypeStruct((num_examples, lengths[1], 4), jnp.float32),
        }
        if ignored:
            arrays["ignored"] = jax.ShapeDtypeStruct((num_examples, ignored, 4), jnp.float32)
        if load_backgrounds is not None:
            arrays["backgrounds"] = jax.ShapeDtypeStruct((natural_backgrounds.num_pixels(*image[:2]),), jnp.int32)
        spec = Spec(
            image=(cutout, cutout, image[2]) if cutout else image,
            min_length=lengths[0],
            max_length=lengths[1],
            num_examples=num_examples,
            arrays=arrays,
        )
        super().__init__(spec, order_seed)

    @cached_property
    def arrays(self) -> dict[str, np.ndarray]:
        """What `load` returns of the split; backgrounds, see natural_backgrounds."""
        arrays = self._load()
        if self._load_backgrounds is not None:
            arrays["backgrounds"] = natural_backgrounds.pack(self._load_backgrounds(), *self._image[:2])
        return arrays

    def make(self, arrays: dict[str, Array], host_batch: dict[str, Array], key: Array, train: bool) -> Batch:
        """See DataSource.make."""
        index = jnp.maximum(host_batch["index"], 0)
        image, digits_, boxes = (arrays[name][index] for name in ("images", "digits", "boxes"))
        ignored = arrays["ignored"][index] if "ignored" in arrays else None
        if train and self._augmentation.on:
            of_no_digit = ((0, 0), (0, 0 if ignored is None else ignored.shape[1]))
            image, moved = augment.augment_all(
                image,
                jnp.pad(digits_, of_no_digit, constant_values=NO_DIGIT),
                boxes if ignored is None else jnp.concatenate([boxes, ignored], axis=1),
                host_batch["position"],
                jax.random.fold_in(key, 1),
                self._augmentation,
                arrays.get("backgrounds"),
            )
            boxes = moved[:, : boxes.shape[1]]
            ignored = None if ignored is None else moved[:, boxes.shape[1] :]
        if self._cutout:
            image, boxes = cut_out(image, digits_, boxes, self._cutout, host_batch["position"], key if train else None)
        return Batch(image=image, digits=digits_, boxes=boxes, index=host_batch["index"], ignored=ignored)


def cut_out(
    image: Array, digits: Array, boxes: Array, side: int, position: Array, key: Array | None
) -> tuple[Array, Array]:
    """Crops a square from each image.

    Args:
      image: u8 [B, H, W, C].
      digits: i32 [B, L].
      boxes: f32 [B, L, 4], cxcywh in pixels.
      side: side of the square, in pixels.
      position: i32 [B], folded into `key`.
      key: key of random places; None = crop from the center.

    Returns:
      The crops u8 [B, side, side, C], and the boxes in their pixels, zeros where NO_DIGIT.
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
"""Reads one part of SVHN's single digits from a folder; see svhn_cropped.load."""


def create_photos(config: ConfigDict, split: str, read_cropped: ReadCropped | None = None) -> ResidentSource:
    """Creates the source of one split of photographs; for `read_cropped`, see svhn_cropped.load."""
    if config.data.photographs == "folder":
        return _custom_photos(config, split)
    if config.data.photographs == svhn_cropped.NAME:
        return _cropped(config, split, read_cropped)
    return _house_numbers(config, split)


def _house_numbers(config: ConfigDict, split: str) -> ResidentSource:
    data = config.data
    height, width = size_of(data, split)
    which = {"name": data.photographs, "parts": tuple(data.parts), "split": split, "max_length": data.max_length}
    layout = {"kind": data.composition, "height": height, "width": width, "gray": data.gray}
    mask = data.mask_unlabeled and split == "train"
    available = svhn.count(**which, single=data.composition == "cropped_digit")
    count = min(data.train_photographs or available, available) if split == "train" else available

    return ResidentSource(
        load=partial(svhn.load, **which, **layout, folder=data.folder, most=count, mask_unlabeled=mask),
        num_examples=count,
        image=(height, width, 1 if data.gray else 3),
        lengths=(data.min_length, data.max_length),
        cutout=data.cutout,
        augmentation=_augmentation(data),
        order_seed=config.seed,
        ignored=unlabeled.MAX_FOUND if mask else 0,
        load_backgrounds=_load_backgrounds(data, split),
    )


def _load_backgrounds(data: ConfigDict, split: str) -> Callable[[], Sequence[np.ndarray]] | None:
    return partial(backgrounds.pixels_of, data.backgrounds, split) if data.pasted and split == "train" else None


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


def _custom_photos(config: ConfigDict, split: str) -> ResidentSource:
    data = config.data
    lengths = (data.min_length, data.max_length)
    # Refuses unusable rows before anything is loaded.
    needs_boxes = predicts_box(config) or (data.pasted > 0 and split == "train")
    chosen_rows(data.folder, split, kind=data.composition, lengths=lengths, boxes=needs_boxes)
    height, width = size_of(data, split)
    layout = {"kind": data.composition, "height": height, "width": width, "gray": data.gray}
    most = data.train_photographs if split == "train" else 0
    return ResidentSource(
        load_backgrounds=_load_backgrounds(data, split),
        load=partial(photos_folder.load, data.folder, split, **layout, max_length=data.max_length, most=most),
        num_examples=photos_folder.count(data.folder, split, data.max_length, data.composition, most),
        image=(height, width, 1 if data.gray else 3),
        lengths=lengths,
        cutout=data.cutout,
        augmentation=_augmentation(data),
        order_seed=config.seed,
    )
