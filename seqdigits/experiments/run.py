"""One experiment of a series, and the names of its files."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any
from urllib.parse import quote

from seqdigits.experiments.published import PUBLISHED, Published
from seqdigits.experiments.results import UNNAMED_KEYS, Result


@dataclasses.dataclass
class Run:
    """One experiment of a series.

    Attributes:
      base: name of the config.
      settings: keys that differ from the config file.
      workdir: workdir of the run.
      path: path of its result.
      state: waiting | done | done before | partial | stopped | in use | failed.
      config: config of the complete schedule; None until it is loaded.
      planned: steps in the config file.
      steps: steps requested now.
      result: the content of `path`; None until it is done.
      problem: why it failed, or what it waits for.
    """

    base: str
    settings: dict[str, Any]
    workdir: Path
    path: Path
    state: str = "waiting"
    config: Any = None
    planned: int = 0
    steps: int = 0
    result: Result | None = None
    problem: str = ""

    @property
    def name(self) -> str:
        """Returns the name of the run, see name_of."""
        return name_of(self.base, self.settings)

    @property
    def unfinished(self) -> bool:
        """Returns whether steps are left to do that no failure prevents."""
        short = self.state == "partial" and self.result is not None and self.result.steps < self.steps
        return short or self.state in ("waiting", "stopped", "in use")

    @property
    def published(self) -> Published | None:
        """Returns the published row of the experiment; None where nothing was published."""
        return PUBLISHED.get(self.base)


def name_of(base: str, settings: dict[str, Any]) -> str:
    """Returns the name of a run, safe as a file name; it does not contain the settings of UNNAMED_KEYS.

    >>> name_of("strip5_gru", {"data.folder": "/data", "train.steps": 5})
    'strip5_gru+data.folder=%2Fdata+train.steps=5'
    >>> name_of("strip5_gru", {"train.steps_per_call": 50})
    'strip5_gru'
    """
    named = {key: value for key, value in settings.items() if key not in UNNAMED_KEYS}
    return base + "".join(f"+{key}={quote(str(value), safe='')}" for key, value in named.items())


def weights_of(run: Run) -> Path:
    """Returns the path of the weights, beside the result."""
    return run.path.with_name(f"{run.name}.npz")
