"""A file is there whole or not at all, whoever else writes it, and through links."""

import os
import stat
from concurrent.futures import ThreadPoolExecutor

import pytest

from jaxcnn.whole_file import write_whole


def test_threads_that_write_one_path_leave_what_one_of_them_wrote(tmp_path):
    path, contents = tmp_path / "file", [bytes([number]) * 100_000 for number in range(64)]
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda data: write_whole("test", path, data), contents))
    assert path.read_bytes() in contents
    assert os.listdir(tmp_path) == ["file"]


def test_a_link_stays_one_and_its_target_is_written(tmp_path):
    (tmp_path / "there").mkdir()
    link, target = tmp_path / "link", tmp_path / "there" / "file"
    link.symlink_to("there/file")
    for data in (b"new", b"newer"):
        write_whole("test", link, data)
        assert link.is_symlink() and target.read_bytes() == data
    assert os.listdir(target.parent) == ["file"]


def test_a_file_may_be_read_by_whom_an_ordinary_new_one_may(tmp_path):
    before = os.umask(0o027)
    try:
        write_whole("test", tmp_path / "file", b"")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640


def test_a_place_that_cannot_be_written(tmp_path):
    with pytest.raises(OSError, match=r"^test: expected a file that can be written, got .*missing/file \(No such file"):
        write_whole("test", tmp_path / "missing" / "file", b"")
