"""Draws docs/overview.png: predictions of the pretrained weights on the first test examples of canvases and scenes.

    python docs/draw_overview.py

No example is chosen: the first ones of each test split are drawn, those with a mistake last within their group. The scenes have no
natural backgrounds here, because the repository does not redistribute those photographs.
"""

from __future__ import annotations

from pathlib import Path

import jax
import numpy as np
from PIL import Image

from seqdigits.checkpoint import pretrained
from seqdigits.core.types import Batch, Prediction
from seqdigits.data.create import create_source
from seqdigits.evaluation.restore import restore
from seqdigits.inference.predict_step import PredictStep
from seqdigits.metrics import matching
from seqdigits.release.measure import TARGETS, configured
from seqdigits.visualization.predictions import make_example_grid

GROUPS = (("handwriting", "canvas", 6), ("scene", "scene", 12))
"""Weights, the label of their test data in TARGETS, and the number of examples."""


def main() -> None:
    """Writes overview.png beside this file, and prints how many of the examples are right."""
    grids = []
    for name, label, count in GROUPS:
        batch, prediction = _predict(name, label, count)
        right = int(np.asarray(matching.match_predictions(batch, prediction).exact_match).sum())
        print(f"{name}, {label}: {right} of {count} right")
        grids.append(make_example_grid(batch, prediction, count, seeks_errors=False))
    page, top = Image.new("RGB", (grids[0].width, sum(grid.height for grid in grids))), 0
    for grid in grids:
        page.paste(grid, (0, top))
        top += grid.height
    page.quantize(256, dither=Image.Dither.NONE).save(Path(__file__).with_name("overview.png"), optimize=True)


def _predict(name: str, label: str, count: int) -> tuple[Batch, Prediction]:
    """Returns the first `count` test examples of a target, and the predictions of the weights, as numpy arrays."""
    target = next(target for target in TARGETS[name] if target.label == label)
    config = configured(target, pretrained.facts(name)["config"], pretrained.FOLDER / f"{name}.json")
    config.evaluate.batch_size = count
    config.data.backgrounds = ""
    restored = restore(config, pretrained.FOLDER, str(pretrained.path(name)), "test")
    source = create_source(config, "test")
    step = PredictStep(config, restored.model)
    host_batch = next(iter(source.all(count, count)))
    batch, _, prediction = jax.jit(lambda v, a, h: step.make_and_predict(v, a, h, source))(
        restored.variables, source.arrays, host_batch
    )
    return jax.device_get((batch, prediction))


if __name__ == "__main__":
    main()
