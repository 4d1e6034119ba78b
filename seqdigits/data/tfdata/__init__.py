"""Data sets that are read by tf.data or by TFDS. With data/builders the only package that imports TensorFlow."""
