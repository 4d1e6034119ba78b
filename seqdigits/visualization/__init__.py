"""Draws predictions, charts and reliability diagrams."""
