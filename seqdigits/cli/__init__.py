"""The commands `python -m seqdigits COMMAND`, one module each."""
