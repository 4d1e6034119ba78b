"""Configs: keys and their defaults, the files in configs/, command-line flags, and upgrades of saved configs."""

from seqdigits.config.defaults import base_config

__all__ = ["base_config"]
