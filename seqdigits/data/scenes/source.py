"""Data source of synthetic scenes, which are computed on the device inside the compiled step.

All arithmetic is on integers, so a scene has the same pixels on every device; tests/data/scenes/test_scenes.py checks
their hash.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property, partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from ml_collections import ConfigDict

from seqdigits.core.rng import RngStream, stream_key
from seqdigits.core.types import Batch, Spec
from seqdigits.data import digits
from seqdigits.data.image_size import size_of
from seqdigits.data.photos import backgrounds
from seqdigits.data.scenes import glyphs, misread, natural_backgrounds
from seqdigits.data.scenes.layout import Scene
from seqdigits.data.scenes.render import compose_scene
from seqdigits.data.source import TRAIN_LIMIT, DataSource
from seqdigits.data.synthetic.source import digits_of


class SceneSource(DataSource):
    """Scenes made of the handwritten digits and the type faces of one split. Nothing is stored on disk."""

    statistics_limit = TRAIN_LIMIT

    def __init__(
        self,
        *,
        scene: Scene,
        split: str,
        num_digits: int,
        load: Callable[[], tuple[np.ndarray, np.ndarray]],
        num_examples: int | None,
        examples: tuple[int, RngStream],
        order_seed: int,
        load_backgrounds: Callable[[], Sequence[np.ndarray]] | None = None,
        load_misread: Callable[[], Sequence[np.ndarray]] | None = None,
    ):
        """Creates the source.

        Args:
          scene: the limits of what a scene may contain.
          split: one of SPLITS, that of the type faces.
          num_digits: N, the number of handwritten digits.
          load: returns the handwritten digits, u8 [N, 28, 28], and their labels, i32 [N].
          num_examples: None = endless.
          examples: seed and random stream of the examples.
          order_seed: of the order of the examples in an epoch.
          load_backgrounds: returns the photographs of the natural backgrounds of the split, u8 [h, w, 3]; None = no natural
            backgrounds.
          load_misread: returns the parts of photographs that a reader misread, u8 [misread.HEIGHT, misread.WIDTH, 3]; None = none.
        """
        self._scene = scene
        self._load_backgrounds = load_backgrounds
        self._load_misread = load_misread
        self._split = split
        self._load = load
        self._examples = examples
        faces, others = glyphs.FACES[split], glyphs.OTHERS[split]
        shapes = {
            "images": ((num_digits, digits.SIZE, digits.SIZE), jnp.uint8),
            "labels": ((num_digits,), jnp.int32),
            "type_digits": ((faces, 10, glyphs.SIZE, glyphs.SIZE), jnp.uint8),
            "type_boxes": ((faces, 10, 4), jnp.int32),
            "type_advances": ((faces, 10), jnp.int32),
            "others": ((others, glyphs.SIZE, glyphs.SIZE), jnp.uint8),
            "other_boxes": ((others, 4), jnp.int32),
        }
        if load_backgrounds is not None:
            shapes["backgrounds"] = ((natural_backgrounds.num_pixels(scene.height, scene.width),), jnp.int32)
        if load_misread is not None:
            shapes["misread"] = ((misread.SLOTS, misread.HEIGHT, misread.WIDTH), jnp.int32)
        spec = Spec(
            image=(scene.height, scene.width, 1 if scene.gray else 3),
            max_length=scene.max_length,
            min_length=0,
            num_examples=num_examples,
            arrays={name: jax.ShapeDtypeStruct(*shape) for name, shape in shapes.items()},
        )
        super().__init__(spec, order_seed)

    @cached_property
    def arrays(self) -> dict[str, np.ndarray]:
        """The arrays from which scenes are composed.

        They are `images` u8 [N, 28, 28] and `labels` i32 [N] of handwriting, and the glyphs of type, see
        glyphs.GlyphSet.
        """
        images, labels = self._load()
        glyph_set = glyphs.load(self._split)
        arrays = {
            "images": images,
            "labels": labels,
            "type_digits": glyph_set.digits,
            "type_boxes": glyph_set.digit_boxes,
            "type_advances": glyph_set.digit_advances,
            "others": glyph_set.others,
            "other_boxes": glyph_set.other_boxes,
        }
        if self._load_backgrounds is not None:
            arrays["backgrounds"] = natural_backgrounds.pack(
                self._load_backgrounds(), self._scene.height, self._scene.width
            )
        if self._load_misread is not None:
            arrays["misread"] = misread.pack(self._load_misread())
        return arrays

    def make(self, arrays: dict[str, Array], host_batch: dict[str, Array], key: Array, train: bool) -> Batch:
        """Returns a batch of scenes, see DataSource.make.

        Scenes are not augmented, because endless ones never repeat.
        """
        del key, train
        index = jnp.maximum(host_batch["index"], 0)  # a padded row is computed like example 0
        seed, stream = self._examples
        keys = jax.vmap(jax.random.fold_in, (None, 0))(stream_key(seed, stream), index)
        image, digits_, boxes_, number = jax.vmap(lambda key: compose_scene(self._scene, arrays, key))(keys)
        return Batch(image=image, digits=digits_, boxes=boxes_, index=host_batch["index"], number=number)


def create_scenes(config: ConfigDict, split: str) -> SceneSource:
    """Returns the source of one split of scenes.

    Args:
      config: the complete config.
      split: one of SPLITS.
    """
    data = config.data
    height, width = size_of(data, split)
    scene = Scene(
        height=height,
        width=width,
        min_length=data.min_length,
        max_length=data.max_length,
        max_numbers=data.max_numbers,
        min_digit=data.min_digit,
        max_digit=data.max_digit,
        gray=data.gray,
        backgrounds=bool(data.backgrounds),
        misread=bool(data.misread) and split == "train",
    )
    load_backgrounds = load_misread = None
    if scene.backgrounds:
        load_backgrounds = partial(backgrounds.pixels_of, data.backgrounds, split)
    if scene.misread:
        load_misread = partial(backgrounds.pixels_of, data.misread, split, kind=backgrounds.MISREAD)
    return SceneSource(
        scene=scene,
        split=split,
        **digits_of(config, split),
        load_backgrounds=load_backgrounds,
        load_misread=load_misread,
    )
