"""TensorFlow Datasets builders.

Beside export/tflite.py, only this package and data/tfdata import TensorFlow. It is used to write and to read records, and never uses an
accelerator. Importing `digit_sequences` or `svhn_numbers` registers the data set with TFDS.
"""

import os

from seqdigits.core.errors import UserError

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # errors only
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # not needed here, and it would log a notice on every import
try:
    import tensorflow as tf
    import tensorflow_datasets as tfds
except ImportError as e:
    raise UserError(
        f"records on disk need TensorFlow and tensorflow-datasets ({e}). Install them: make stream, or "
        "pip install 'seqdigits[stream]'. To do without them, set --config.data.source=device."
    ) from e

__all__ = ["tf", "tfds"]  # imported from here only, so that the settings above take effect
try:
    for _kind in ("GPU", "TPU"):
        tf.config.set_visible_devices([], _kind)
except RuntimeError as e:
    raise UserError(
        f"seqdigits.data.tfdata.source and .builders must be imported before TensorFlow is used ({e})."
    ) from e
