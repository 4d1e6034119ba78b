"""Reads sequences of digits in images, and says where they stand."""

__version__ = "0.1.0"
