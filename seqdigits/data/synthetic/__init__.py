"""Strips, canvases, rotated and centered digits, composed on the device inside the step."""
