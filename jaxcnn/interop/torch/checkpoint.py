"""Checkpoints read as data: what `torch.save` wrote, since 1.6 a zip and before that pickles, and safetensors.

Neither PyTorch nor Python's pickle takes part: `unpickled` makes numbers, texts, lists, dicts and arrays and nothing
else, whatever the file says. Source: torch/serialization.py (`_save`, `_legacy_save`).
"""

import sys
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxcnn.checking import shown
from jaxcnn.interop.safetensors_format import read_arrays
from jaxcnn.interop.source import AGAIN, Source, opened
from jaxcnn.interop.torch.archive import LOCAL, Member, members
from jaxcnn.interop.torch.known import NAMES, settable
from jaxcnn.interop.torch.machine import WEIGHTS_ALONE
from jaxcnn.interop.torch.opcodes import unpickled
from jaxcnn.interop.torch.storages import Storages

__all__ = ["read"]

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001  # what a file before 1.6 begins with
TAR_AT = 257  # where a tar says "ustar"
LONGEST = 80  # characters of a name in a message


def read(path: Path | str) -> dict[str, Any]:
    """Return what a checkpoint holds: arrays, numbers and texts by name, in dicts and lists as they lie there.

    Its first bytes say which format it has, not its name. Nothing in it is executed or imported, and the memory taken
    is at most twice the file's size and 64 MB. Tensors that share numbers there share them here.

    Args:
        path: of a file that `torch.save` wrote, `.pt`, `.pth`, `.th` or `.bin`, or of one in safetensors.

    Returns:
        nested dicts; arrays have the dtypes of the file, bfloat16 included.

    Raises:
        OSError: the file cannot be read, or is none.
        TypeError: path is none.
        ValueError: a damaged file, or one that holds more than dense tensors and plain values: a whole model, or code.
    """
    with opened("read", path) as source:
        first = source.take(min(4, source.left))
        if first == LOCAL:
            found = _zip(source)
        elif first[:1] == b"\x80":
            found = _pickles(source)
        else:
            found = _safetensors(source)
    known = isinstance(found, dict)
    source.expect(known, "a dict of tensors by name", f"a {type(found).__name__}", WEIGHTS_ALONE)
    return found


def _zip(source: Source) -> Any:
    """Return the object of data.pkl, whose storages are members of their own."""
    found = members(source)
    order = _bytes(source, found, "byteorder").tobytes() if "byteorder" in found else b"little"
    source.expect(order in (b"little", b"big"), "little or big as the byte order", shown(order[:20]))
    size = _bytes(source, found, "data.pkl").size
    source.go(found["data.pkl"].start, size)
    storages = Storages(source)
    value = unpickled(source, NAMES, storages, settable)
    source.expect(source.left == 0, "one pickle as data.pkl", f"{source.left} bytes behind it")
    for name, storage in storages.arrays.items():
        _bytes(source, found, f"data/{name}", storage)
        if order.decode() != sys.byteorder:
            storage.byteswap(inplace=True)
    return value


def _bytes(source: Source, found: Mapping[str, Member], name: str, array: np.ndarray | None = None) -> np.ndarray:
    """Return the bytes of a member, read into `array` if there is one, having checked that they are those written."""
    said = shown(name[:LONGEST])
    source.expect(name in found, f"a zip with {said}", "one without")
    member = found[name]
    array = np.empty(member.size, np.uint8) if array is None else array.view(np.uint8)
    source.expect(member.size == array.size, f"{array.size} bytes of {said}", f"{member.size} bytes")
    source.go(member.start, member.size)
    source.fill(array)
    same = member.crc in (zlib.crc32(array), 0)  # 0 where PyTorch was told to compute none
    source.expect(same, f"the bytes of {said} that were written", "others")
    return array


def _pickles(source: Source) -> Any:
    """Return the object of a file from before 1.6: five pickles, then each storage behind its size."""
    source.go(0, source.size)
    what = "a file that torch.save wrote"
    source.expect(unpickled(source) == MAGIC, what, "a pickle that something else wrote", WEIGHTS_ALONE)
    source.expect(unpickled(source) == PROTOCOL, what, "one of another version")
    unpickled(source)  # sizes of C's types where it was written; numbers are little-endian everywhere
    storages = Storages(source)
    value = unpickled(source, NAMES, storages, settable)
    names = unpickled(source)
    ok = type(names) is list and all(type(name) is str for name in names)
    source.expect(ok and sorted(names) == sorted(storages.arrays), "a list of the storages", "another")
    for name in names:
        storage, count = storages.arrays[name], source.number("q")
        source.expect(count == storage.size, f"{storage.size} numbers in storage {shown(name[:LONGEST])}", str(count))
        source.fill(storage.view(np.uint8))
        if sys.byteorder != "little":
            storage.byteswap(inplace=True)
    source.expect(source.left == 0, "the end behind the last storage", f"{source.left} bytes")
    return value


def _safetensors(source: Source) -> Any:
    """Return the arrays of a file in safetensors, or say what it is if it is none."""
    source.go(0, source.size)
    start = source.take(min(TAR_AT + 5, source.left))
    what = "a file of torch.save, 0.1.10 or newer"
    source.expect(start[TAR_AT:] != b"ustar", what, "a tar of an older one", "Load it with PyTorch and save it again.")
    source.expect(start[8:9] == b"{", "a file of torch.save or safetensors", "one of neither", AGAIN)
    return read_arrays(source)[0]
