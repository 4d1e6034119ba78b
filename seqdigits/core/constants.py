"""Constants shared by all packages, in a module that does not import JAX."""

NO_DIGIT = 10
"""The class of a position without a digit: it fills the positions after the last digit."""

SPLITS = ("train", "validation", "test")
