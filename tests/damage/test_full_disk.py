"""A disk that is full, at any moment of a run, or read-only: an error with the fix; the last checkpoint stays; same bits."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import shutil
import subprocess
from pathlib import Path

import pytest
from damages import fingerprint

from seqdigits.checkpoint.layout import all_steps
from seqdigits.checkpoint.manifest import UnfinishedCheckpoint, verify
from seqdigits.core import files as core_files
from seqdigits.core.errors import UserError
from seqdigits.training.full_disk import explain_full_disk
from seqdigits.training.loop import train_and_evaluate


@pytest.fixture(scope="module")
def config(small_config):
    return small_config({"train.steps": 4, "evaluate.every": 2, "evaluate.splits": ()})


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, config):
    """The workdir of a run of four steps, which saved step 2, and the bits of its end."""
    workdir = tmp_path_factory.mktemp("undisturbed")
    end = train_and_evaluate(config, workdir)
    shutil.rmtree(workdir / "checkpoints" / "4")
    return workdir, fingerprint(end)


@pytest.fixture
def mounted(tmp_path):
    """`mounted(option)` mounts a file system of memory, or mounts it again with another option; needs root."""
    folder = tmp_path / "mounted"
    folder.mkdir()

    def mount(*options: str) -> Path:
        first = () if os.path.ismount(folder) else ("-t", "tmpfs", "tmpfs")
        again = () if first else ("remount",)
        command = ["mount", "-o", ",".join((*again, *options)), *first, str(folder)]
        if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
            pytest.skip("mounting needs root")
        return folder

    yield mount
    subprocess.run(["umount", "-l", str(folder)], capture_output=True)


def test_files_that_cannot_grow_end_the_run_with_the_fix(undisturbed, config, tmp_path, capsys):
    """The limit of the size of files fails where a full disk does, and needs no root."""
    workdir = tmp_path / "w"
    shutil.copytree(undisturbed[0], workdir)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    try:
        with pytest.raises(
            UserError,
            match=r"--workdir .*/w cannot be written: File too large\. The checkpoint of step 2 is complete\. Raise",
        ):
            train_and_evaluate(config, workdir)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    verify(workdir / "checkpoints" / "2")
    assert fingerprint(train_and_evaluate(config, workdir)) == undisturbed[1]


@pytest.mark.slow
@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnhandledThreadExceptionWarning"
)  # of TensorBoard, which keeps the exception
@pytest.mark.soak
def test_full_disk_at_several_moments_loses_nothing(mounted, undisturbed, config):
    """The disk is larger each time, so that the run gets further: the start, the logs, the first save, the next one.

    In small steps, because logs and the files of orbax vary in size: some disk has room for the first save only.
    """
    failed = []
    for kilobytes in (8, 40, *range(80, 400, 10)):
        workdir = mounted(f"size={kilobytes}k") / "w"
        try:
            end = train_and_evaluate(config, workdir)
        except UserError as e:
            failed.append(str(e))
            for step in all_steps(workdir / "checkpoints"):
                with contextlib.suppress(UnfinishedCheckpoint):  # if the disk was full when it was to be sealed
                    verify(workdir / "checkpoints" / str(step))
            mounted("size=20m")
            assert fingerprint(train_and_evaluate(config, workdir)) == undisturbed[1]
        else:
            break
        shutil.rmtree(workdir)
    assert len(failed) >= 3
    assert all(str(workdir) in message and "No space left on device" in message for message in failed), failed
    assert any("The checkpoint of step 2 is complete" in message for message in failed)
    assert any("No checkpoint was written yet" in message for message in failed)
    assert fingerprint(end) == undisturbed[1]


def test_full_disk_names_the_folders_and_what_to_delete(tmp_path):
    (tmp_path / "checkpoints-damaged").mkdir()
    (tmp_path / "checkpoints-damaged" / "file").write_bytes(bytes(2_000_000))
    with (
        pytest.raises(UserError, match=r"checkpoints-damaged 2\.0 MB.*checkpoints-damaged may be deleted"),
        explain_full_disk(tmp_path),
    ):
        raise OSError(errno.ENOSPC, "No space left on device")


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    "error",
    [
        ValueError("RESOURCE_EXHAUSTED: Error writing [os_error_code='28']"),
        caused(RuntimeError("thread"), OSError(errno.EDQUOT, "quota")),
    ],
)
def test_full_disk_is_known_in_what_libraries_raise(tmp_path, error):
    with pytest.raises(UserError, match="cannot be written"), explain_full_disk(tmp_path):
        raise error


def test_other_errors_pass(tmp_path):
    for error in (ValueError("another"), OSError(errno.EACCES, "no")):
        with pytest.raises(type(error)) as raised, explain_full_disk(tmp_path):
            raise error
        assert raised.value is error


def test_failed_write_leaves_no_partial_file(tmp_path, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    (tmp_path / "a.json").write_text("old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        core_files.write_atomically(tmp_path / "a.json", "new")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a.json": "old"}


def test_read_only_workdir_is_refused_before_training(mounted, config, tmp_path):
    if os.geteuid():
        folder = tmp_path / "read-only"
        folder.mkdir(mode=0o555)
        reason = "Permission denied"
    else:
        mounted("size=1m")
        folder, reason = mounted("ro"), "Read-only file system"
    for workdir in (folder, folder / "w"):
        with pytest.raises(
            UserError, match=rf"--workdir: {workdir} cannot be used: {reason}\. Name a folder that can be"
        ):
            train_and_evaluate(config, workdir)
