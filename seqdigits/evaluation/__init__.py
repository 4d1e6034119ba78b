"""Evaluates checkpoints: metrics of whole splits, calibration, upper bounds."""
