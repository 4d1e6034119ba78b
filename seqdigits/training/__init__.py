"""Trains: the loop, the train step, the workdir, the writers."""
