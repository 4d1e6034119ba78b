"""The process that writes shards. It is started by writer.py, and reads its task from standard input."""

from __future__ import annotations

import os
import pickle
import sys
import threading
import time

from seqdigits.core import interrupt
from seqdigits.data.builders.shards import write_job


def main(stop: interrupt.Stop) -> None:
    """Writes the shards of all jobs; exits early when `stop` is set or the parent process ends."""
    parent, folder, jobs, records = pickle.load(sys.stdin.buffer)

    def watch() -> None:
        while os.getppid() == parent and not stop.is_set():
            time.sleep(0.5)
        os._exit(1)  # the result is no longer needed

    threading.Thread(target=watch, daemon=True).start()
    for job in jobs:
        write_job(folder, job, records)
