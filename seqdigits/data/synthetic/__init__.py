"""Strips, canvases, rotated and centered digits, composed inside the step."""
