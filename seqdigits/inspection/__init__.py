"""What data are: counted on the device, checked, and drawn as a page. See inspection/inspect.py."""
