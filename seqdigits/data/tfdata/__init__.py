"""Data sets that are read by tf.data or by TFDS. Only this package and data/builders import TensorFlow."""
