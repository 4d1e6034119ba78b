"""Decoding: turns the outputs of a model into predicted numbers."""
