"""Checkpoints, weights, and initialization from another run."""
