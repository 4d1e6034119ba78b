"""Atomic writes of files."""

import os

import pytest

from seqdigits.core.errors import UserError
from seqdigits.core.files import expanded, write_atomically


def test_writers_of_one_file_at_the_same_time_leave_one_of_their_contents(tmp_path, monkeypatch):
    """The second one writes while the first one has not ended."""
    path, fsync = tmp_path / "a.json", os.fsync

    def interleaved(file):
        monkeypatch.setattr(os, "fsync", fsync)
        write_atomically(path, "second")
        assert path.read_text() == "second"
        fsync(file)

    monkeypatch.setattr(os, "fsync", interleaved)
    write_atomically(path, "first")
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {"a.json": "first"}


def test_the_longest_name_of_a_file_can_be_written(tmp_path):
    for name in ("a" * 255, "\u4e00" * 85):
        write_atomically(tmp_path / name, "text")
        assert (tmp_path / name).read_text() == "text"


def test_content_that_cannot_be_encoded_leaves_no_partial_file(tmp_path):
    with pytest.raises(UnicodeEncodeError):
        write_atomically(tmp_path / "a.txt", "\ud800")
    assert not list(tmp_path.iterdir())


def test_a_link_stays_and_a_pipe_is_written_to(tmp_path):
    (tmp_path / "link").symlink_to("file")
    write_atomically(tmp_path / "link", "text")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_text() == "text"
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write_atomically(pipe, "text")
    assert os.read(reader, 10) == b"text"
    os.close(reader)
    assert pipe.is_fifo()


def test_a_home_folder_that_is_not_there_is_an_error():
    with pytest.raises(UserError, match="~nobody-of-that-name/x: there is no home folder of that name"):
        expanded("~nobody-of-that-name/x")
