"""Configs: defaults, the files in configs/, and flags."""

from seqdigits.config.defaults import base_config

__all__ = ["base_config"]
