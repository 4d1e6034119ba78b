"""Compares the batches of several processes, which are simulated in one, with those of one process."""

from __future__ import annotations

import jax
import numpy as np


def as_processes(monkeypatch, process, count):
    monkeypatch.setattr(jax, "process_index", lambda: process)
    monkeypatch.setattr(jax, "process_count", lambda: count)


def joined(host_batches):
    """Returns the rows of one batch from the batches of all processes, without padding."""
    real = [host_batch["index"] >= 0 for host_batch in host_batches]
    return {
        name: np.concatenate([batch[name][rows] for batch, rows in zip(host_batches, real, strict=True)])
        for name in host_batches[0]
    }


def assert_processes_share(monkeypatch, count, batch_size, batches):
    """Checks that the slices of all processes add up to the batches of one process; returns these.

    Args:
      batches: a function that returns host batches, called as each process.
    """
    as_processes(monkeypatch, 0, 1)
    expected = batches()
    shares = []
    for process in range(count):
        as_processes(monkeypatch, process, count)
        shares.append(batches())
    assert {len(share) for share in shares} == {len(expected)}
    for whole, *parts in zip(expected, *shares, strict=True):
        assert {len(value) for part in parts for value in part.values()} == {-(-batch_size // count)}
        whole, together = joined([whole]), joined(parts)
        assert whole.keys() == together.keys()
        for name in whole:
            assert whole[name].dtype == together[name].dtype
            np.testing.assert_array_equal(whole[name], together[name], name)
    return expected
