"""Models: layer specifications, encoders, heads, targets and losses."""
