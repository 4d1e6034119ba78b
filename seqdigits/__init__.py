"""Reads sequences of digits in images and localizes them."""

__version__ = "0.1.0"
