"""One experiment of a series, and the name of its files."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any
from urllib.parse import quote

from seqdigits.experiments.published import PUBLISHED, Published
from seqdigits.experiments.results import UNNAMED_KEYS, Result


@dataclasses.dataclass
class Run:
    """One experiment of the series.

    Attributes:
      base: the config's name.
      settings: keys that differ from its file.
      workdir: of the run.
      path: of its result.
      state: waiting | done | done before | partial | stopped | failed.
      config: as planned, for all of its steps; None until it is loaded.
      planned: the steps that its file has.
      steps: how many are asked for now.
      result: what stands in `path`; None until it is done.
      problem: why it failed.
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
        return name_of(self.base, self.settings)

    @property
    def published(self) -> Published | None:
        return PUBLISHED.get(self.base)


def name_of(base: str, settings: dict[str, Any]) -> str:
    """Returns what a run is called, fit for a file; settings of UNNAMED_KEYS are not in it.

    >>> name_of("strip5_gru", {"data.folder": "/data", "train.steps": 5})
    'strip5_gru+data.folder=%2Fdata+train.steps=5'
    >>> name_of("strip5_gru", {"train.steps_per_call": 50})
    'strip5_gru'
    """
    named = {key: value for key, value in settings.items() if key not in UNNAMED_KEYS}
    return base + "".join(f"+{key}={quote(str(value), safe='')}" for key, value in named.items())


def weights_of(run: Run) -> Path:
    return run.path.with_name(f"{run.name}.npz")
