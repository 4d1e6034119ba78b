"""Synthetic scenes: numbers in handwriting and type on a background with other objects, as in photographs."""

NAME = "scene"
"""The value of `data.composition` that selects synthetic scenes."""
