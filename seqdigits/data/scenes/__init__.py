"""Synthetic scenes: numbers in handwriting and type on a ground, among other things, as a camera might see them."""

NAME = "scene"
"""In data.composition."""
