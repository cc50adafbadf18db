"""Folders and archives that strangers made: nothing outside them is read."""

import os
import pickle
import zipfile

import pytest

from jaxcnn.data import tree
from jaxcnn.data.tree import Archive, Folder, contents, open_tree
from tests.data.files import write

FILES = {"a/1.png": b"one", "a/b/2.png": b"two", "3.txt": b"three"}


@pytest.fixture
def folder(tmp_path):
    return write(tmp_path / "root", FILES)


@pytest.fixture
def archive(tmp_path):
    path = tmp_path / "root.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.mkdir("a")
        for name, data in FILES.items():
            file.writestr(name, data)
    return path


@pytest.fixture(params=["folder", "archive"])
def path(request):
    return request.getfixturevalue(request.param)


def test_names_sizes_and_contents(path):
    opened = open_tree(path)
    assert opened.names() == sorted(FILES)
    assert {name: contents(opened, name) for name in opened.names()} == FILES
    assert {name: opened.size(name) for name in opened.names()} == {name: len(data) for name, data in FILES.items()}


def test_another_process_can_read_it(path):
    again = pickle.loads(pickle.dumps(open_tree(path)))
    assert contents(again, "a/b/2.png") == b"two"


def test_kinds(folder, archive):
    assert isinstance(open_tree(folder), Folder) and isinstance(open_tree(archive), Archive)


def test_files_larger_than_any_image(path, monkeypatch):
    monkeypatch.setattr(tree, "MOST_BYTES", 4)
    assert contents(open_tree(path), "a/1.png") == b"one"
    with pytest.raises(ValueError, match=r"^more than 4 bytes$"):
        contents(open_tree(path), "3.txt")


def test_links_out_of_the_root_are_refused(folder, tmp_path):
    (tmp_path / "secret.png").write_bytes(b"secret")
    (folder / "a" / "link.png").symlink_to(tmp_path / "secret.png")
    with pytest.raises(ValueError, match=r"^load: expected files inside .*root, got the link .*link\.png\. Copy what"):
        Folder(folder).names()


@pytest.mark.parametrize("target", ["a", "..", "nowhere"])
def test_links_to_folders_or_nothing_are_refused(folder, target):
    (folder / "link").symlink_to(folder / target)
    with pytest.raises(ValueError, match=r"got the link .*link\."):
        Folder(folder).names()


def test_links_inside_the_root_are_files(folder):
    (folder / "link.png").symlink_to(folder / "a" / "1.png")
    assert "link.png" in Folder(folder).names()
    assert contents(Folder(folder), "link.png") == b"one"


def test_pipes_are_no_files(folder):
    os.mkfifo(folder / "a" / "pipe.png")
    assert Folder(folder).names() == sorted(FILES)


def test_names_in_archives_are_never_paths(tmp_path):
    path = tmp_path / "evil.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("../outside.png", b"x")
    before = sorted(tmp_path.parent.rglob("*"))
    opened = open_tree(path)
    assert [contents(opened, name) for name in opened.names()] == [b"x"]
    assert sorted(tmp_path.parent.rglob("*")) == before


def test_what_cannot_be_read(folder, tmp_path, monkeypatch):
    with pytest.raises(
        FileNotFoundError, match=r"^load: expected a folder or a zip archive, got .*, which is not there"
    ):
        open_tree(tmp_path / "nothing")
    (tmp_path / "text").write_text("text")
    with pytest.raises(
        OSError, match=r"^load: expected a folder or a zip archive, got .*text \(File is not a zip file\)"
    ):
        open_tree(tmp_path / "text")

    def refused(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", refused)
    with pytest.raises(
        OSError, match=r"^load: expected a folder that can be read, got .*root \(Permission denied\)\. Ch"
    ):
        Folder(folder).names()
