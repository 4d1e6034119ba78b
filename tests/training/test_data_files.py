"""A run is not resumed with other data files, and says which weights may have seen its validation photographs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ml_collections import ConfigDict
from photo_folders import make, write

from seqdigits.core.errors import UserError
from seqdigits.training import data_files, initial_state


def test_changed_photographs_are_refused(tmp_path: Path, small_config: Callable[..., ConfigDict]) -> None:
    folder, workdir = make(tmp_path, 30), tmp_path / "run"
    workdir.mkdir()
    keys = {"data.composition": "photograph", "data.photographs": "folder", "data.folder": str(folder)}
    config = small_config(keys)
    data_files.check(config, workdir, resumes=False)
    data_files.check(config, workdir, resumes=True)
    lines = (folder / "labels.csv").read_text().splitlines()
    write(folder, lines[:-1])
    with pytest.raises(
        UserError, match=rf"data.folder = {folder}: its content is not that with which the run in {workdir}"
    ):
        data_files.check(config, workdir, resumes=True)
    data_files.check(config, workdir, resumes=False)  # a run without a checkpoint starts over
    data_files.check(config, workdir, resumes=True)


def test_changed_backgrounds_are_refused(tmp_path: Path, small_config: Callable[..., ConfigDict]) -> None:
    file = tmp_path / "b.jpg"
    file.write_bytes(b"1")
    config = small_config()
    config.data.backgrounds = config.data.misread = str(file)
    data_files.check(config, tmp_path, resumes=False)
    file.write_bytes(b"2")
    with pytest.raises(UserError, match=rf"data.backgrounds = {file}, data.misread = {file}: its content"):
        data_files.check(config, tmp_path, resumes=True)
    file.unlink()
    data_files.check(config, tmp_path, resumes=True)  # loading refuses it


def test_runs_of_before_and_damaged_records(tmp_path: Path, small_config: Callable[..., ConfigDict]) -> None:
    config = small_config()
    data_files.check(config, tmp_path, resumes=True)
    assert not (tmp_path / data_files.NAME).exists()  # the run reads no such files
    (tmp_path / data_files.NAME).write_text("[")
    with pytest.raises(UserError, match=r"data_files.json is damaged .* Delete it to resume"):
        data_files.check(config, tmp_path, resumes=True)


@pytest.mark.parametrize(
    ("earlier", "note"),
    [
        ({"photographs": "svhn_2000", "max_length": 6}, ""),
        ({"photographs": "svhn_2000", "max_length": 5}, "was trained with data.max_length = 5, so it may have seen"),
        ({"photographs": "svhn", "max_length": 6}, "was trained with data.photographs = svhn, so it may have seen"),
        ({"photographs": "folder", "max_length": 5}, ""),
    ],
)
def test_weights_that_may_have_seen_the_validation_photographs_are_noted(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    small_config: Callable[..., ConfigDict],
    earlier: dict[str, Any],
    note: str,
) -> None:
    keys = {"data.composition": "photograph", "data.photographs": "svhn_2000", "data.max_length": 6}
    config = small_config(keys | {"init.path": "runs/other"})
    meta = {"step": 1, "config": {"data": {"composition": "crop"} | earlier}}
    monkeypatch.setattr(initial_state, "load_variables", lambda _: ({}, meta))
    initial_state.initial_variables(config)
    assert (note or "nothing") in (capsys.readouterr().out or "nothing")
