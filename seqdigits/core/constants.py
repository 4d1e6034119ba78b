"""Constants of the contract, for modules that start without JAX too."""

NO_DIGIT = 10
"""The class that fills the positions after the last digit."""

SPLITS = ("train", "validation", "test")
