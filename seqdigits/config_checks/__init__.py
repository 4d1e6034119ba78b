"""What a config may be; refused before any work is done on a device."""
