"""Searches for better values of config keys: the space, its trials, the workers, and what they write."""
