"""From the outputs of a model to numbers."""
