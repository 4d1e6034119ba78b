"""The commands: `python -m seqdigits COMMAND`, a module each."""
