"""A process that writes shards: started by writer.py, told on its standard input what
to write."""

from __future__ import annotations

import os
import pickle
import sys
import threading
import time

from seqdigits.core import interrupt
from seqdigits.data.builders.writer import write_job


def main(stop: interrupt.Stop) -> None:

    parent, folder, jobs, records = pickle.load(sys.stdin.buffer)

    def watch() -> None:
        while os.getppid() == parent and not stop.is_set():
            time.sleep(0.5)
        os._exit(1)  # nobody waits for this any more

    threading.Thread(target=watch, daemon=True).start()
    for job in jobs:
        write_job(folder, job, records)
