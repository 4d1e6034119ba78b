"""Small networks of every family with random weights, and the comparison of their predictions."""

import json

import jax
import numpy as np

from seqdigits.checkpoint import weights
from seqdigits.config.saved import to_json
from seqdigits.data.create import create_source
from seqdigits.export.parity import draw
from seqdigits.models.build import build, init_variables

FAMILIES = {
    "heads": {"model.name": "heads", "model.head": "dense 12, norm, relu, dropout 0.5"},
    "localization": {
        "model.name": "heads",
        "model.encoder": "conv 5x5x6 /2, norm shift, relu, pool 2, dense 20, norm, relu",
        "model.localize": True,
        "model.box_head": "dense 8, relu",
        "decode.temperature": 1.7,
        "decode.platt_scale": 1.3,
        "decode.platt_bias": -0.4,
    },
    "length": {
        "model.name": "heads",
        "model.encoder": "conv 3x3x12 /2, maxout 3, pool 2, subtract 3, local 3x3x6, relu, pool 2 /1, subtract 3, dense 8, maxout 2",
        "model.length_head": True,
        "data.min_length": 1,
        "decode.temperature": 1.7,
        "loss.length": 1.0,
    },
    "recurrent": {
        "model.name": "heads",
        "model.encoder": "conv 5x5x8, relu, pool 3 /2, recurrent 3x3x8 x3, dropout 0.5, recurrent 3x3x16 x1, max",
    },
    "gru": {"model.name": "gru", "model.gru_units": 12, "model.shared_head": True, "model.pixels": "image_mean"},
    "keras gru": {"model.name": "row_gru", "model.gru_units": 12, "model.gru_cell": "keras2"},
    "row_gru": {"model.name": "row_gru", "model.gru_units": 12, "model.pixels": "raw"},
    "attention": {"model.name": "attention", "model.gru_units": 12, "model.head": "dense 9, relu"},
    "digit": {
        "model.name": "heads",
        "model.encoder": "conv 3x3x6 valid, norm, relu, pool 2 valid, conv 3x3x8, pool 3 /2",
        "model.pixels": "per_pixel",
        "data.composition": "digit",
        "data.min_length": 1,
        "data.max_length": 1,
    },
    "resnet": {
        "model.name": "heads",
        "model.encoder": "conv 3x3x8, norm, relu, keep a, conv 3x3x8, norm, relu, conv 3x3x8, norm, add a, relu, keep b, "
        "conv 3x3x12 /2, norm, relu, conv 3x3x12, norm, add b, relu, mean, norm",
        "data.height": 31,
        "data.width": 45,
        "data.max_digit": 28,
    },
}
"""Differences from the small config of the tests, by family of networks for images of one size."""

GLIMPSES = {
    "glimpses": {
        "model.name": "glimpses",
        "model.context": "conv 3x3x4, relu",
        "model.gru_units": 12,
        "model.glimpses": 2,
        "model.head": "dense 9, relu",
    }
}
"""The same of networks that ONNX and TensorFlow Lite files are not written for."""

_DETECTOR = {"model.pixels": "image_mean", "decode.min_score": 0.3}
DETECTORS = {
    "detector": _DETECTOR | {"decode.max_numbers": 2, "decode.group_digits": True},
    "octaves": _DETECTOR | {"decode.octaves": 1},
    "second look": _DETECTOR | {"model.second_look": "conv 5x5x4 /4, norm, relu, mean, dense 10"},
}
"""The same of dense detectors."""


def saved(folder, config):
    """Writes random weights of a config, statistics included, and returns their file."""
    spec = create_source(config, "validation").spec
    variables = init_variables(build(config, spec), spec, seed=0)
    rng = np.random.default_rng(1)
    for kind in ("batch_stats", "input_stats"):
        variables[kind] = jax.tree.map(lambda x: rng.random(x.shape, np.float32) + 0.5, variables[kind])
    variables["params"] = jax.tree.map(
        lambda x: x if x.ndim > 1 else x + 0.3 * rng.standard_normal(x.shape, np.float32), variables["params"]
    )
    if (
        config.model.name == "dense_detector"
    ):  # most cells predict a digit, with other probabilities than their neighbors
        digits = variables["params"]["digits"]
        variables["params"]["digits"] = {"kernel": digits["kernel"] * 20, "bias": np.zeros(11, np.float32)}
    weights.save(folder / "a.npz", variables, {"step": 4, "config": json.loads(to_json(config))})
    return folder / "a.npz"


def drawn(program, count):
    rng = np.random.default_rng(2)
    return np.stack([draw(rng, *program.spec.image) for _ in range(count)])


def assert_same(found, expected):
    """Digits and lengths are equal, confidences to 1e-5, boxes to 0.05 px."""
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name].dtype == value.dtype, name
        np.testing.assert_allclose(found[name], value, atol=0.05 if "box" in name else 1e-5, err_msg=name)
