"""Averages of training, metrics of an evaluation, and their confidence."""
