"""Inspects data sets: computes statistics on the device, checks every example, and draws a page. See inspect.py."""
