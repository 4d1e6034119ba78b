"""TensorFlow Datasets builders. With data/tfdata/source.py the only room that imports TensorFlow, which computes nothing here: it writes
records and reads them, and never touches an accelerator.

Importing `digit_sequences` or `svhn_numbers` registers the data set with TFDS.
"""

import os

from seqdigits.core.errors import UserError

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # errors alone
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # nothing is computed here, and it would say so each time
try:
    import tensorflow as tf
    import tensorflow_datasets as tfds
except ImportError as e:
    raise UserError(
        f"records on disk need TensorFlow and tensorflow-datasets ({e}). Install them: make stream, or "
        "pip install -e '.[stream]'. Without them: --config.data.source=device."
    ) from e

__all__ = ["tf", "tfds"]  # everybody takes them from here, so that what is above comes first
try:
    for _kind in ("GPU", "TPU"):
        tf.config.set_visible_devices([], _kind)
except RuntimeError as e:
    raise UserError(
        f"import seqdigits.data.tfdata.source or .builders before TensorFlow is used, not after ({e})."
    ) from e
