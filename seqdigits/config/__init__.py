"""Configs: keys and defaults, the files in configs/, command-line flags, upgrades of saved configs."""

from seqdigits.config.defaults import base_config

__all__ = ["base_config"]
