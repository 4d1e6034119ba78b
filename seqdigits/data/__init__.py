"""Data sets, each a pure function of the index of an example."""
