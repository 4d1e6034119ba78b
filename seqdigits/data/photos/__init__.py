"""Photographs: SVHN, single digits of SVHN, and custom photos."""
