"""Compares the predictions of an exported file with those of its network, on validation examples."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from seqdigits.core.constants import NO_DIGIT
from seqdigits.core.errors import UserError
from seqdigits.core.types import Prediction
from seqdigits.export.parity import MAX_BOX_DIFFERENCE
from seqdigits.export.program import Program, Runtime
from seqdigits.metrics.matching import match_predictions

MAX_ACCURACY_LOST = 0.005
"""By weights that are not stored as float32, in sequence accuracy."""

BATCH = 50


class Agreement(NamedTuple):
    """How far predictions agree.

    Attributes:
      images: number of images.
      same: number of images in which all digits are the same.
      digits: number of digits that the network predicts.
      box: largest difference of a value of a box in these, in pixels; 0 where there are no boxes.
      accuracy: sequence accuracy of the file, 0..1.
      accuracy_of_network: of the network.
    """

    images: int
    same: int
    digits: int
    box: float
    accuracy: float
    accuracy_of_network: float


class Examples:
    """Validation examples, and what the network predicts for them.

    Attributes:
      batch: the examples, numpy.
      expected: the fields of the Prediction by name, numpy.
    """

    def __init__(self, program: Program) -> None:
        """Makes and predicts the examples.

        Raises:
          UserError: the data are missing.
        """
        self.batch = program.examples()
        self._images = np.asarray(self.batch.image)
        predict = jax.jit(program.predict)
        self.expected = in_batches(lambda images: jax.device_get(predict(images)), self._images)

    def compare(self, run: Runtime) -> Agreement:
        """Compares the predictions of a file."""
        found, expected = in_batches(run, self._images), self.expected
        rows = len(self._images)
        same = (found["digits"] == expected["digits"]).reshape(rows, -1).all(-1)
        same &= (found["length"] == expected["length"]).reshape(rows, -1).all(-1)
        box = 0.0
        for name in ("box", "digit_boxes"):
            if name in expected and same.any():
                box = np.maximum(box, np.abs(found[name] - expected[name])[same].max())  # NaN stays NaN
        return Agreement(
            images=rows,
            same=int(same.sum()),
            digits=int((expected["digits"] != NO_DIGIT).sum()),
            box=float(box),
            accuracy=self._accuracy(found),
            accuracy_of_network=self.accuracy_of_network,
        )

    @property
    def accuracy_of_network(self) -> float:
        """Sequence accuracy of `expected`, 0..1."""
        return self._accuracy(self.expected)

    def _accuracy(self, found: dict[str, np.ndarray]) -> float:
        matched = jax.jit(match_predictions)(self.batch, Prediction(**found))
        return float(np.asarray(matched.exact_match).mean())


def in_batches(run: Runtime, images: np.ndarray) -> dict[str, np.ndarray]:
    """Returns what `run` returns for all images u8 [N, H, W, C], which it gets in batches."""
    parts = [run(images[start : start + BATCH]) for start in range(0, len(images), BATCH)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def check(found: Agreement, out: Path, dtype: str) -> None:
    """Checks that a file predicts what its network predicts.

    Raises:
      UserError: it does not, or there was nothing to compare.
    """
    if not found.digits:
        raise UserError(
            f"{out} was not written: the network finds no digit in the validation examples, so that nothing could be compared. "
            "Train it longer."
        )
    if dtype == "float32":
        if found.same < found.images or not found.box <= MAX_BOX_DIFFERENCE:
            raise UserError(
                f"{out} was not written: the file does not predict what the network predicts. Allowed are no other digits, and "
                f"boxes that differ by at most {MAX_BOX_DIFFERENCE} px. Export to another format."
            )
    elif found.accuracy < found.accuracy_of_network - MAX_ACCURACY_LOST or np.isnan(found.box):
        raise UserError(
            f"{out} was not written: the file loses {found.accuracy_of_network - found.accuracy:.2%} of the images. Allowed is "
            f"{MAX_ACCURACY_LOST:.1%}. Use --dtype float32."
        )


def text(found: Agreement) -> str:
    """Returns the figures of a comparison as text for standard output."""
    return (
        f"{found.images} validation images, the file beside JAX: same digits in {found.same}, largest difference of boxes "
        f"{found.box:.5f} px, sequence accuracy {found.accuracy:.4f} and {found.accuracy_of_network:.4f}"
    )
