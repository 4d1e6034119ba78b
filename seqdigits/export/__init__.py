"""Networks as files for other runtimes."""
