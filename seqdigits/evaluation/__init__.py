"""Evaluates checkpoints: the metrics of complete splits, calibration, and upper bounds."""
