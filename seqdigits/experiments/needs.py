"""What an experiment that was not run needs: data, and time on two cores or an accelerator."""

from __future__ import annotations

from ml_collections import ConfigDict

from seqdigits.data.photos.crop import PHOTO_COMPOSITIONS

GIGAFLOPS = 60
"""Billions of training operations a second on two cores, for the estimates of hours.

A run on one of them, while another one trains on the other, reaches 33 (`strip5_batchnorm`) to 54 (`canvas_variable`).
"""

_LONG_HOURS = 12
"""Longer runs are better done on an accelerator."""

MEGAFLOP_PER_IMAGE = {
    "canvas_classify": 648,
    "canvas_localize_baseline": 285,
    "canvas_localize_square": 649,
    "canvas_sequence": 443,
    "canvas_variable": 656,
    "canvas_variable_deeper": 659,
    "canvas_weighted": 656,
    "first_four_11": 53.6,
    "first_four_12": 53.7,
    "first_four_21": 208,
    "first_four_22": 208,
    "glimpses": 80.1,
    "glimpses_crop": 195,
    "glimpses_digits": 205,
    "goodfellow": 3230,
    "goodfellow_small": 354,
    "mnist_cnn": 8.8,
    "mnist_cnn_dropout": 14.9,
    "mnist_dense": 0.714,
    "mnist_linear": 0.0518,
    "mnist_two_layer": 0.31,
    "photograph_reader": 108,
    "quickstart": 73.6,
    "rcnn": 1340,
    "rcnn_crop32": 1310,
    "rcnn_small": 263,
    "reader_canvas": 387,
    "reader_canvas_second_look": 387,
    "reader_mnist": 58.1,
    "reader_scene": 460,
    "reader_strip5": 286,
    "reader_svhn": 922,
    "reader_svhn_crop": 222,
    "square64_cnn": 88.1,
    "strip4_multi_head": 124,
    "strip4_row_gru": 9.72,
    "strip5_attention": 143,
    "strip5_batchnorm": 67.5,
    "strip5_batchnorm_keep75": 67.5,
    "strip5_batchnorm_keep85": 67.5,
    "strip5_batchnorm_tuned": 77.5,
    "strip5_deep_head": 62.2,
    "strip5_deep_head_dropout": 62.2,
    "strip5_deeper": 67.5,
    "strip5_double": 242,
    "strip5_gru": 57.5,
    "strip5_gru1024": 75.2,
    "strip5_gru256": 49.2,
    "strip5_gru_dropout": 57.5,
    "strip5_gru_dropout_30k": 57.5,
    "strip5_overlap": 39.8,
    "strip5_reshaped": 67,
    "strip5_reshaped_keep80": 67,
    "svhn_baseline": 962,
    "svhn_crop32": 44.9,
    "svhn_crop32_deep": 256,
    "svhn_crop32_deep5": 641,
    "svhn_crop32_wide": 310,
    "svhn_crop_resnet18": 784,
    "svhn_cropped_cnn": 78.6,
    "svhn_cropped_norm": 72.1,
    "svhn_extra_strided": 9240,
    "svhn_no_digit_weight": 9240,
    "svhn_paper_gru": 8300,
    "svhn_paper_heads": 8270,
    "svhn_transfer": 8280,
    "svhn_transfer_box": 8280,
    "svhn_transfer_l2": 8280,
}
"""Millions of floating-point operations of a training step per image: three times those of the network by XLA's cost analysis."""


def needs(name: str, config: ConfigDict) -> str:
    """Returns what an experiment of a name and a config needs, as text."""
    parts = []
    data = config.data
    if data.composition in PHOTO_COMPOSITIONS and data.photographs == "svhn":
        parts.append(f"all of SVHN ({', '.join((*data.parts, 'test'))})")
    hours = hours_on_two_cores(name, config.train.batch_size, config.train.steps)
    if hours is not None:
        about = f"about {hours:.0f} h" if hours >= 1.5 else f"about {max(1, round(60 * hours))} min"
        parts.append(f"{about} on two cores{', better on an accelerator' if hours > _LONG_HOURS else ''}")
    return "; ".join(parts)


def hours_on_two_cores(name: str, batch_size: int, steps: int) -> float | None:
    """Returns the estimated hours of training; None where the operations of the network were not counted.

    >>> round(hours_on_two_cores("strip5_batchnorm", 50, 30_000), 1)
    0.5
    """
    operations = MEGAFLOP_PER_IMAGE.get(name)
    return None if operations is None else operations * batch_size * steps / (GIGAFLOPS * 1000) / 3600
