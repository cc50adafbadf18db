"""Folders and zip archives of files that strangers made: what is in them, and nothing outside."""

import os
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, Protocol

from jaxcnn.checking import expect
from jaxcnn.data.decoding import SUFFIXES

__all__ = ["TESTS", "TRAIN", "Archive", "Folder", "Tree", "contents", "images_in", "open_tree"]

TRAIN, TESTS = "train", ("test", "validation", "val")  # folders of a split; of several tests the first counts

MOST_BYTES = 2**29  # of one file; a few kilobytes of zip can hold more than the memory


class Tree(Protocol):
    """Files by name: paths below a root, with slashes."""

    def names(self) -> list[str]:
        """Return the names of all files, sorted."""
        ...

    def open(self, name: str) -> BinaryIO:
        """Open a file for reading."""
        ...

    def size(self, name: str) -> int:
        """Return how many bytes a file has."""
        ...


class Folder:
    """The regular files below a folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def names(self) -> list[str]:
        """Return the names of all files, sorted.

        Raises:
            OSError: a folder cannot be read.
            ValueError: a link leads out of the root, or to a folder.
        """
        found = []
        for folder, folders, files in os.walk(self.root, onerror=self._unreadable):
            for path in (Path(folder, name) for name in (*folders, *files)):
                if path.is_symlink():
                    inside = path.is_file() and path.resolve().is_relative_to(self.root.resolve())
                    fix = "Copy what it leads to, or pass that folder."
                    expect(inside, "load", f"files inside {self.root}", f"the link {path}", fix)
                if path.is_file():  # no pipes: opening one would wait for ever
                    found.append(path.relative_to(self.root).as_posix())
        return sorted(found)

    def open(self, name: str) -> BinaryIO:
        """Open a file for reading."""
        return (self.root / name).open("rb")

    def size(self, name: str) -> int:
        """Return how many bytes a file has."""
        return (self.root / name).stat().st_size

    def _unreadable(self, error: OSError) -> None:
        raise OSError(
            f"load: expected a folder that can be read, got {error.filename} ({error.strerror}). Change its mode."
        ) from error


class Archive:
    """The files in a zip archive, which are read in memory and never extracted."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.zip = zipfile.ZipFile(path)
        except (OSError, zipfile.BadZipFile) as error:
            raise OSError(
                f"load: expected a folder or a zip archive, got {path} ({error}). Pass the folder that holds a folder "
                "for each class, or such a folder zipped."
            ) from error

    def names(self) -> list[str]:
        """Return the names of all files, sorted."""
        return sorted({info.filename for info in self.zip.infolist() if not info.is_dir()})

    def open(self, name: str) -> BinaryIO:
        """Open a file for reading."""
        return self.zip.open(name)  # type: ignore[return-value]

    def size(self, name: str) -> int:
        """Return how many bytes a file has."""
        return self.zip.getinfo(name).file_size

    def __reduce__(self) -> tuple[type["Archive"], tuple[Path]]:
        """Open the archive anew in another process."""
        return Archive, (self.path,)


def open_tree(path: Path) -> Tree:
    """Return the files below a folder or in a zip archive.

    Raises:
        FileNotFoundError: there is nothing.
        OSError: there is neither a folder nor a zip archive, or it cannot be read.
    """
    expect(
        path.exists(),
        "load",
        "a folder or a zip archive",
        f"{path}, which is not there",
        "Check path.",
        FileNotFoundError,
    )
    return Folder(path) if path.is_dir() else Archive(path)


def images_in(names: Sequence[str]) -> dict[str, list[str]]:
    """Return those of the names that are images', each with the parts of its path; what is hidden is none."""
    images = {name: name.split("/") for name in names if name.lower().endswith(SUFFIXES)}
    return {name: parts for name, parts in images.items() if not any(part.startswith(".") for part in parts)}


def contents(tree: Tree, name: str) -> bytes:
    """Return what is in a file.

    Raises:
        ValueError: it is larger than any image.
    """
    # Asked first, as `read` would take all the memory that it is allowed. Archives hold no more than they say.
    if tree.size(name) > MOST_BYTES:
        raise ValueError(f"more than {MOST_BYTES:,} bytes")
    with tree.open(name) as file:
        return file.read()
