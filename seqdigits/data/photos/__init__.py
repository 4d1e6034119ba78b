"""Photographs: SVHN, single digits of SVHN, and folders of your own."""
