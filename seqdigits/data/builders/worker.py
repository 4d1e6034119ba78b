"""A process that writes shards: `python -m seqdigits.data.builders.worker`, started by writing.py, told on its standard input what
to write."""

from __future__ import annotations

import os
import pickle
import sys
import threading
import time

from seqdigits import interrupt


def _main(stop: interrupt.Stop) -> None:
    from seqdigits.data.builders.writing import write_job

    parent, folder, jobs, records = pickle.load(sys.stdin.buffer)

    def watch() -> None:
        while os.getppid() == parent and not stop.is_set():
            time.sleep(0.5)
        os._exit(1)  # nobody waits for this any more

    threading.Thread(target=watch, daemon=True).start()
    for job in jobs:
        write_job(folder, job, records)


if __name__ == "__main__":
    interrupt.run(_main)
