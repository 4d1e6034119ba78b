"""Measures a trained network with its dropout active, for docs/findings.md.

    python docs/measure_dropout.py runs/strip5_gru_dropout_30k

Reads each split as evaluation does, without dropout; with one random mask of dropout for each image; and with the mean probability
over MASKS masks (Gal and Ghahramani 2016, arXiv:1506.02142, section 4). Where the last two are better than the first one, the
activations of evaluation are not those that the network was trained on. Adds the sequence accuracies to
results/findings/dropout.json, by the name of the workdir; some minutes on one core.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from seqdigits.checkpoint.load import load_variables
from seqdigits.config.saved import complete_config
from seqdigits.core import provenance
from seqdigits.core.files import make_folder, write_atomically
from seqdigits.core.jax_settings import prepare_jax
from seqdigits.core.types import Variables
from seqdigits.data.create import create_source
from seqdigits.data.source import DataSource
from seqdigits.models.build import build

FILE = Path(__file__).parents[1] / "results" / "findings" / "dropout.json"
SPLITS = {"train": 10_000, "validation": None, "test": None}
MASKS = 8
BATCH = 500


def main(workdir: Path) -> None:
    """Measures the last checkpoint of a run."""
    prepare_jax()
    program = provenance.describe()
    step = max((workdir / "checkpoints").iterdir(), key=lambda folder: int(folder.name))
    variables, meta = load_variables(step)
    config = complete_config(meta["config"], workdir)
    found: dict[str, Any] = {"step": int(step.name), "masks": MASKS}
    for split, limit in SPLITS.items():
        source = create_source(config, split)
        found[split] = accuracies(variables, build(config, source.spec), source, limit)
        print(split, found[split], flush=True)
    found["provenance"] = {key: program[key] for key in ("commit", "devices", "cores", "versions")}
    make_folder(FILE.parent, "results/findings")
    measured = json.loads(FILE.read_text()) if FILE.exists() else {}
    write_atomically(FILE, json.dumps(measured | {workdir.name: found}, indent=1) + "\n")


def accuracies(variables: Variables, model: Any, source: DataSource, limit: int | None) -> dict[str, float]:
    """Returns the sequence accuracies of the first `limit` examples of a split (None = all), by the names of `reader`."""
    count = source.count(limit)
    read = jax.jit(reader(model, source))
    rows = [
        jax.device_get(read(variables, source.arrays, host_batch, jax.random.key(number)))
        for number, host_batch in enumerate(source.all(BATCH, count))
    ]
    right = {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}
    is_example = right.pop("is_example")
    return {name: float(np.mean(values[is_example])) for name, values in right.items()}


def reader(model: Any, source: DataSource) -> Callable[..., dict[str, Array]]:
    """Returns a function that reads a batch in the three ways: by name, which images are right, bool [B]."""

    def read(variables: Variables, arrays: Any, host_batch: Any, key: Array) -> dict[str, Array]:
        batch = source.make(arrays, host_batch, key, train=False)

        def log_probabilities(mask_key: Array) -> Array:
            outputs, _ = model.apply(
                variables, batch.image, train=True, mask=batch.mask, rngs={"dropout": mask_key}, mutable=["batch_stats"]
            )
            return jax.nn.log_softmax(outputs.digit_logits)

        def is_right(logits: Array) -> Array:
            return jnp.all(jnp.argmax(logits, axis=-1) == batch.digits, axis=-1)

        masked = jax.lax.map(log_probabilities, jax.random.split(key, MASKS))
        logits = model.apply(variables, batch.image, train=False, mask=batch.mask).digit_logits
        return {
            "without": is_right(logits),
            "one_mask": is_right(masked[0]),
            "mean_of_masks": is_right(jax.nn.logsumexp(masked, axis=0)),
            "is_example": batch.index >= 0,
        }

    return read


if __name__ == "__main__":
    main(Path(sys.argv[1]))
