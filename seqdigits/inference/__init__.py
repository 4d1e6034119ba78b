"""From images to predictions."""
