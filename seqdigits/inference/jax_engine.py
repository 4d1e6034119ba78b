"""The engine of the Reader that evaluates a dense detector with JAX."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from ml_collections import ConfigDict

from seqdigits.checkpoint.load import load_variables
from seqdigits.config.saved import complete_config
from seqdigits.core import params
from seqdigits.core.constants import NO_DIGIT
from seqdigits.core.errors import UserError
from seqdigits.core.types import Spec, Variables
from seqdigits.decoding.cells import best_candidates, softmax
from seqdigits.models.build import build, init_variables

CELLS = 1000
"""Only the cells with the highest scores are merged."""

CANDIDATES = 48
"""M, candidates of an image."""

MIN_CELL_SCORE = 0.2
"""Cells with a lower score are left out: in the mean of a cluster, many unsure cells would hide a few sure ones."""

BATCHES = (1, 2, 4, 6)
"""Batches are padded to one of these sizes; larger ones are split."""


class Detector(NamedTuple):
    """A trained dense detector for images of any size.

    Attributes:
      config: the sections model, decode and loss are those of its training, without octaves: the Reader makes its own levels.
      variables: of the model.
      channels: of its images.
    """

    config: ConfigDict
    variables: Variables
    channels: int


def load_detector(weights: Path) -> Detector:
    """Loads a dense detector.

    Args:
      weights: see checkpoint.load.load_variables.

    Raises:
      UserError: there are no weights, they are damaged, or those of another model or version.
    """
    variables, meta = load_variables(weights)
    trained = {name: meta["config"][name] for name in ("model", "decode", "loss") if name in meta["config"]}
    config = complete_config(trained, weights)
    if config.model.name != "dense_detector":
        raise UserError(
            f"{weights}: model.name = {config.model.name} reads only images of its own size. Allowed is "
            "dense_detector: train one of configs/reader_*.py, or use pretrained weights."
        )
    config.decode.octaves = 0
    return Detector(config, variables, _channels(config, variables, weights))


class JaxEngine:
    """A dense detector, see reader.Engine. It is compiled once for each size of images and batches."""

    def __init__(self, weights: Path) -> None:
        """Loads the variables of a dense detector.

        Args:
          weights: see checkpoint.load.load_variables.

        Raises:
          UserError: see load_detector.
        """
        config, variables, self.channels = load_detector(weights)
        self.min_score = float(config.decode.min_score)
        model = build(config, _spec(self.channels))

        def cells(variables: Variables, images: Array) -> tuple[Array, Array]:
            """Returns the boxes and probabilities of the CELLS cells with the highest scores, f32 [B, cells, 4 and 10]."""
            outputs = model.apply(variables, images, train=False, mask=jnp.ones(len(images), bool))
            box = outputs.cell_boxes.reshape(len(images), -1, 4)
            probability = softmax(outputs.cell_logits)[..., :NO_DIGIT].reshape(len(images), -1, NO_DIGIT)
            probability = jnp.where(probability.sum(-1, keepdims=True) >= MIN_CELL_SCORE, probability, 0.0)
            missing = (0, 0), (0, max(CELLS - box.shape[1], 0)), (0, 0)
            box, probability = jnp.pad(box, missing), jnp.pad(probability, missing)
            best = jax.lax.top_k(probability.sum(-1), CELLS)[1][..., None]
            return jnp.take_along_axis(box, best, 1), jnp.take_along_axis(probability, best, 1)

        merge = partial(
            best_candidates,
            count=CANDIDATES,
            min_score=self.min_score,
            max_overlap=config.decode.max_overlap,
            target=config.loss.target,
        )
        self._variables = jax.device_put(variables)
        self._cells = jax.jit(cells)
        self._merge = jax.jit(jax.vmap(merge))  # apart, because it does not depend on the size of the images

    def __call__(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns the best M candidates, see reader.Engine."""
        boxes, probabilities = [], []
        for start in range(0, len(images), BATCHES[-1]):
            part = images[start : start + BATCHES[-1]]
            size = next(size for size in BATCHES if size >= len(part))
            padded = np.concatenate([part, np.zeros((size - len(part), *part.shape[1:]), np.uint8)])
            box, probability = self._merge(*self._cells(self._variables, padded))
            boxes.append(np.asarray(box)[: len(part)])
            probabilities.append(np.asarray(probability)[: len(part)])
        return np.concatenate(boxes), np.concatenate(probabilities)


def _spec(channels: int) -> Spec:
    """Returns a spec for images of any size; a dense detector depends on its channels alone."""
    return Spec(image=(64, 64, channels), max_length=1, min_length=0, num_examples=None, arrays={})


def _channels(config: ConfigDict, variables: Variables, weights: Path) -> int:
    """Returns the number of channels of the images that the variables belong to.

    Raises:
      UserError: they belong to images of one size.
    """
    saved = params.shapes(variables)
    for channels in (3, 1):
        spec = _spec(channels)
        expected = jax.eval_shape(lambda spec=spec: init_variables(build(config, spec), spec, seed=0))
        if params.shapes(expected) == saved:
            return channels
    raise UserError(
        f"{weights} reads only images of its own size (model.pixels = {config.model.pixels}). Train a dense detector with "
        "model.pixels = image_mean or unit."
    )
