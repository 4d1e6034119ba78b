"""Basics that every other package may import."""
