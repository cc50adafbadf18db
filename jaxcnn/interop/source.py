"""A file that may be damaged or hostile: never read past its end, and never making more in memory than it holds."""

import contextlib
import io
import os
import stat
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from jaxcnn.checking import expect

__all__ = ["AGAIN", "LARGEST", "MOST_AXES", "Source", "opened"]

AGAIN = "Use another copy, or save the weights again."
MOST_AXES = 8  # of an array
LARGEST = 2**60  # bytes of an array that has none, were its axes of length 0 of length 1
SLACK = 2**26  # bytes that may be made in memory of a file, besides its own size


class Source:
    """A file of known size, read from front to back within a window, which is the whole of it at first."""

    def __init__(self, where: str, file: io.BufferedReader, size: int) -> None:
        self.where, self.size = where, size
        self._file = file
        self._at, self._end = 0, size
        self._room = size + SLACK

    @property
    def at(self) -> int:
        """The byte that is read next."""
        return self._at

    @property
    def left(self) -> int:
        """How many bytes are left in the window."""
        return self._end - self._at

    def go(self, start: int, size: int) -> None:
        """Make the `size` bytes at `start` the window."""
        ok = start >= 0 and size >= 0 and start + size <= self.size
        self.expect(ok, "a whole file", f"one of {self.size} bytes that promises {size} at byte {start}")
        self._file.seek(start)
        self._at, self._end = start, start + size

    def take(self, count: int) -> bytes:
        """Return the next `count` bytes."""
        data = self._file.read(count) if count <= self.left else b""
        if len(data) != count:
            self._short(count)
        self._at += count
        return data

    def number(self, form: str) -> Any:
        """Return the next number, or numbers, of a form of the module `struct`, little-endian."""
        values = struct.unpack(f"<{form}", self.take(struct.calcsize(f"<{form}")))
        return values[0] if len(values) == 1 else values

    def array(self, count: int) -> np.ndarray:
        """Return the next `count` bytes as an array, which is aligned."""
        if count > self.left:
            self._short(count)
        array = np.empty(count, np.uint8)
        self.fill(array)
        return array

    def fill(self, array: np.ndarray) -> None:
        """Read the next bytes into an array of bytes."""
        if array.size > self.left or self._file.readinto(array.data) != array.size:
            self._short(array.size)
        self._at += array.size

    def charge(self, cost: int) -> None:
        """Refuse a file that makes much more in memory, so many bytes now among it, than it has itself."""
        self._room -= cost
        if self._room < 0:
            what = f"a file that takes its {self.size} bytes and {SLACK >> 20} MB of memory"
            self.expect(False, what, "one that would take more")

    def expect(self, ok: bool, what: str, got: str, fix: str = AGAIN) -> None:
        """Raise `ValueError` in the one form of message unless `ok`."""
        expect(ok, self.where, what, got, fix)

    def _short(self, count: int) -> None:
        got = f"one that promises {count} bytes at byte {self._at}, where {self.left} are left"
        self.expect(False, "a whole file", got)


@contextlib.contextmanager
def opened(where: str, path: Path | str) -> Iterator[Source]:
    """Give a regular file, or one to which a link leads, as a source.

    Raises:
        OSError: no such file, or a folder, a pipe or a device.
        TypeError: no path.
    """
    ok, fix = isinstance(path, str | os.PathLike), "Pass one that is there."
    expect(ok, where, "the path of a file", path, "Pass a str or a pathlib.Path.", TypeError)
    try:
        file = open(path, "rb", opener=_without_waiting)  # noqa: SIM115
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise OSError(f"{where}: expected a file, got {path} ({reason}). {fix}") from error
    with file:
        status = os.fstat(file.fileno())
        got = f"{path} (a pipe or a device)"
        expect(stat.S_ISREG(status.st_mode), where, "a file", got, fix, OSError)
        yield Source(where, file, status.st_size)


def _without_waiting(path: str, flags: int) -> int:
    """Open a file; a pipe, too, without waiting for somebody to write into it."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
