"""Networks: layers as text, encoders, heads, losses and targets."""
