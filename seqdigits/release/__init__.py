"""Publishes weights with the package: measures them and writes their cards."""
