"""Trains a model: the loop, the train step, the initial state, the workdir and the log writers."""
