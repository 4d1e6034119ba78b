"""Measures which loss moves the shared convolutions of the canvas networks, for docs/findings.md.

    python docs/measure_gradients.py

Each network is trained for some steps as its config says. Before the first step and at some later ones, the gradients of its two
weighted losses with respect to the encoder, which both heads share, are measured on the first 100 validation examples. Writes
results/findings/gradients.json; ten minutes on one core.
"""

from __future__ import annotations

import functools
import itertools
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array
from ml_collections import ConfigDict

from seqdigits.config.registry import load_config
from seqdigits.core import boxes as bx
from seqdigits.core import provenance
from seqdigits.core.constants import NO_DIGIT
from seqdigits.core.files import make_folder, write_atomically
from seqdigits.core.jax_settings import prepare_jax
from seqdigits.core.types import Batch, Variables
from seqdigits.data.create import create_source
from seqdigits.models import losses
from seqdigits.models.build import build
from seqdigits.training.train_step import TrainState, TrainStep

FILE = Path(__file__).parents[1] / "results" / "findings" / "gradients.json"
NAMES = ("canvas_localize_baseline", "canvas_localize_square", "canvas_weighted")
STEPS = (0, 10, 20, 40, 80)
EXAMPLES = 100


def main() -> None:
    """Measures all networks and writes the file."""
    prepare_jax()
    make_folder(FILE.parent, "results/findings")
    program = provenance.describe()
    about = {key: program[key] for key in ("commit", "devices", "cores", "versions")}
    text = json.dumps({"networks": {name: measured(name) for name in NAMES}, "provenance": about}, indent=1)
    write_atomically(FILE, f"{text}\n")


def measured(name: str) -> list[dict[str, float]]:
    """Trains the network of a config; returns at each of STEPS the figures of `figures`."""
    config = load_config(name)
    source, validation = create_source(config, "train"), create_source(config, "validation")
    step = TrainStep(config, build(config, source.spec))
    state = jax.jit(functools.partial(step.init, source))()
    train = jax.jit(step.train, static_argnums=3)
    make = jax.jit(functools.partial(validation.make, train=False))
    batch = make(validation.arrays, next(iter(validation.all(EXAMPLES, EXAMPLES))), jax.random.key(0))
    measure = jax.jit(functools.partial(figures, config, step.model))
    batches, found = source.batches(0, config.train.batch_size), []
    for last, until in itertools.pairwise((0, *STEPS)):
        for _ in range(last, until):
            state = train(state, source.arrays, next(batches), source)
        found.append({"step": until, **{key: float(value) for key, value in measure(state, batch).items()}})
        print(name, found[-1], flush=True)
    return found


def figures(config: ConfigDict, model: Any, state: TrainState, batch: Batch) -> dict[str, Array]:
    """Returns the two weighted losses, `loss_digits` and `loss_box`, and the norms of their gradients, `gradient_*`."""
    box = bx.enclosing_box(batch.boxes, batch.digits != NO_DIGIT)
    others = {"batch_stats": state.batch_stats, "input_stats": state.input_stats}

    def loss(params: Variables, term: str) -> Array:
        outputs = model.apply({"params": params, **others}, batch.image, train=False, mask=batch.mask)
        return config.loss[term] * jnp.mean(losses.loss_terms(outputs, batch, box, config.loss)[term])

    found: dict[str, Array] = {}
    for term in ("digits", "box"):
        value, gradient = jax.value_and_grad(loss)(state.params, term)
        found |= {f"loss_{term}": value, f"gradient_{term}": optax.global_norm(gradient["encoder"])}
    return found


if __name__ == "__main__":
    main()
