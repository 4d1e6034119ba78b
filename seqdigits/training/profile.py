"""A trace of some training steps, for TensorBoard's profiler and Perfetto."""

from __future__ import annotations

from pathlib import Path

import jax
from ml_collections import ConfigDict

from seqdigits.core.errors import UserError
from seqdigits.parallel.processes import is_main


class StepProfile:
    """Traces steps of a run, after the first call of the step, which compiles. Process 0 traces, the others do not.

    The trace is a folder of `W/tensorboard/plugins/profile/`, named by its time. It has `HOST.xplane.pb`, for TensorBoard, and
    `HOST.trace.json.gz`, events in the format of Chrome, for Perfetto.
    """

    def __init__(self, workdir: Path, steps: int):
        """Prepares the trace.

        Args:
          workdir: the folder of the run.
          steps: number of steps to trace; 0 = none.
        """
        self._folder, self._steps = workdir / "tensorboard", steps
        self._is_pending, self._first = steps > 0 and is_main(), -1

    def poll(self, step: int) -> None:
        """Starts the trace at the first call of this method, and ends it after the traced steps.

        Args:
          step: the number of steps done; all of their work is finished.
        """
        if self._is_pending:
            self._is_pending, self._first = False, step
            jax.profiler.start_trace(self._folder)
        elif 0 <= self._first <= step - self._steps:
            self.close(step)

    def close(self, step: int) -> None:
        """Ends the trace, if one has begun, writes it, and prints where it is and how to open it."""
        if self._first < 0:
            return
        first, self._first = self._first, -1
        jax.profiler.stop_trace()
        newest = max(self._folder.glob("plugins/profile/*"), key=lambda path: path.name)  # the name is the time
        print(
            f"trace of steps {first + 1:,} to {step:,}: {newest}\n"
            f"  Perfetto: open its *.trace.json.gz at https://ui.perfetto.dev\n"
            f"  TensorBoard: pip install tensorboard-plugin-profile; tensorboard --logdir {self._folder}",
            flush=True,
        )


def check_profile(profile: int, step: int, first_call: int, config: ConfigDict) -> None:
    """Raises a UserError if a run cannot trace `profile` steps.

    Args:
      profile: number of steps to trace; 0 = none.
      step: the number of steps done.
      first_call: the number of steps of the first call, which compiles.
      config: of the run.
    """
    steps = config.train.steps
    most = steps - step - first_call
    if profile <= max(0, most):
        return
    if step >= steps:
        raise UserError(f"--profile {profile}: all {steps:,} steps are done. Set a larger --config.train.steps.")
    left = f"{steps - step:,} step{'s' * (steps - step != 1)} left, and the first call, of {first_call}, compiles"
    if most == 0:
        raise UserError(
            f"--profile {profile}: the run has {left}; none can be traced. Set a larger --config.train.steps."
        )
    raise UserError(
        f"--profile {profile} is out of range: 1 to {most}. The run has {left}. Trace fewer, or set a larger "
        "--config.train.steps."
    )
