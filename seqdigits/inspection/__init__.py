"""Inspects data sets: computes statistics, checks every example, and draws a page. See inspect.py."""
