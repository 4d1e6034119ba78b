"""Data sets that are read by tf.data or by TFDS."""
