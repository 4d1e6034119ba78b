"""What data are: counted on the device, checked, and drawn as a page. See data/inspect.py."""
