"""Validation of configs, before any work is done on a device."""
