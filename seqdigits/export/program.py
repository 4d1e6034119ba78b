"""A trained network with its preprocessing and decoding, as one function of images, and images to compare its exports on."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from ml_collections import ConfigDict

from seqdigits.checkpoint.load import load_variables
from seqdigits.config.saved import complete_config
from seqdigits.core import params
from seqdigits.core.errors import UserError
from seqdigits.core.rng import RngStream, stream_key
from seqdigits.core.types import Batch, Prediction, Spec, Variables
from seqdigits.data.create import create_source
from seqdigits.data.evaluated_config import as_evaluated
from seqdigits.inference.predict_step import PredictStep
from seqdigits.models.build import build, init_variables

EXAMPLES = 500
"""Images that a file is compared on."""


Runtime = Callable[[np.ndarray], dict[str, np.ndarray]]
"""Runs an exported file: images u8 [B, H, W, C] to the fields of their Prediction by name."""


class Program:
    """The predict step of a trained network: images in, a prediction out.

    Attributes:
      config: of its training, with float32 arithmetic.
      spec: of its images.
      model: from models.build.
      variables: of the model, numpy.
    """

    config: ConfigDict
    spec: Spec
    model: nn.Module
    variables: Variables

    def __init__(self, weights: Path, *, size: tuple[int, int] | None = None, packaged_data: bool = False) -> None:
        """Loads a trained network.

        Args:
          weights: see checkpoint.load.load_variables.
          size: height and width of the images, in pixels, of a dense detector; None = those of its validation images.
          packaged_data: whether the examples need no other file: the digits are those of scikit-learn, and there are no natural
            backgrounds.

        Raises:
          UserError: there are no weights, they are damaged, or belong to images of another size or to another version.
        """
        variables, meta = load_variables(weights)
        config = as_evaluated(complete_config(meta["config"], weights))
        config.model.compute_dtype = "float32"
        if packaged_data:
            config.data.update(digits="uci", source="device", backgrounds="", misread="")
        if size:
            config.data.height, config.data.width = size
        self.config, self.variables = config, jax.tree.map(np.asarray, variables)
        self._source = create_source(config, "validation")
        self.spec = self._source.spec
        self.model = build(config, self.spec)
        expected = jax.eval_shape(lambda: init_variables(self.model, self.spec, seed=0))
        if params.shapes(expected) != params.shapes(self.variables):
            height, width, _ = self.spec.image
            raise UserError(f"{weights} does not belong to images of {height}x{width}. Leave out --size.")

    @property
    def is_detector(self) -> bool:
        """Whether it is a dense detector, which reads images of any size."""
        return self.config.model.name == "dense_detector"

    def predict(self, images: Array) -> dict[str, Array]:
        """Returns the fields of the Prediction of images u8 [B, H, W, C] by name, without those that are None."""
        step = PredictStep(self.config, self.model)
        rows, length = images.shape[0], self.spec.max_length
        batch = Batch(
            image=images,
            digits=jnp.zeros((rows, length), jnp.int32),
            boxes=jnp.zeros((rows, length, 4)),
            index=jnp.zeros(rows, jnp.int32),
        )
        return fields(step.predict(self.variables, batch, self.spec)[1])

    def examples(self, count: int = EXAMPLES) -> Batch:
        """Returns the first validation examples, or all of them where there are fewer, numpy.

        Raises:
          UserError: the data are missing.
        """
        make = jax.jit(partial(self._source.make, train=False))
        key = stream_key(self.config.seed, RngStream.AUGMENT)
        parts = [make(self._source.arrays, host_batch, key) for host_batch in self._source.all(100, count)]
        batch: Batch = jax.tree.map(lambda *x: np.concatenate(x), *parts)
        return jax.tree.map(lambda x: x[batch.index >= 0], batch)


def fields(prediction: Prediction) -> dict[str, Array]:
    """Returns the fields of a prediction by name, without those that are None."""
    return {name: value for name, value in vars(prediction).items() if value is not None}
