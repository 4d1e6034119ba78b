"""Metrics: averages during training, evaluation metrics and their confidence intervals."""
