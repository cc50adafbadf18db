"""The idx format."""

import gzip
import hashlib
import re
import struct

import numpy as np
import pytest

from jaxcnn.data.idx import FILES, idx_array, read_idx


def idx(array):
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


IMAGE = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)


def test_values_in_order():
    np.testing.assert_array_equal(idx_array("x", idx(IMAGE), 3), IMAGE)
    # By hand: two zeros, type 8, one axis of length 258, big-endian.
    data = bytes([0, 0, 8, 1, 0, 0, 1, 2, *range(250), *range(8)])
    np.testing.assert_array_equal(idx_array("x", data, 1), [*range(250), *range(8)])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "load: expected x to begin with 0, 0, 8, 3, got []. It is no such idx file."),
        (idx(IMAGE[0]), "load: expected x to begin with 0, 0, 8, 3, got [0, 0, 8, 2]. "),
        (b"\0\0\x0d\3" + idx(IMAGE)[4:], "load: expected x to begin with 0, 0, 8, 3, got [0, 0, 13, 3]. "),
        (idx(IMAGE)[:-1], "load: expected x with values of shape [2, 3, 4], got 23 bytes. Is the file whole?"),
        (idx(IMAGE) + b"\0", "load: expected x with values of shape [2, 3, 4], got 25 bytes. "),
        (idx(IMAGE)[:12], "load: expected x with values of shape [2, 3], got -4 bytes. "),
    ],
)
def test_other_files(data, message):
    with pytest.raises(ValueError, match="^" + re.escape(message)):
        idx_array("x", data, 3)


@pytest.fixture
def folder(tmp_path):
    """Four tiny files and their hashes."""
    sha256 = {}
    for split, (image, label) in FILES.items():
        count = {"train": 5, "test": 2}[split]
        for name, array in (
            (image, np.arange(count * 6, dtype=np.uint8).reshape(count, 2, 3)),
            (label, np.arange(count, dtype=np.uint8)),
        ):
            (tmp_path / name).write_bytes(gzip.compress(idx(array)))
            sha256[name] = hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()
    return tmp_path, sha256


def test_the_four_files(folder):
    parts = read_idx(*folder)
    assert {split: (image.shape, label.tolist()) for split, (image, label) in parts.items()} == {
        "train": ((5, 2, 3, 1), [0, 1, 2, 3, 4]),
        "test": ((2, 2, 3, 1), [0, 1]),
    }
    np.testing.assert_array_equal(parts["train"][0].ravel(), np.arange(30))


@pytest.mark.parametrize("name", [name for names in FILES.values() for name in names])
def test_a_changed_file_is_named_with_both_hashes(folder, name):
    path, sha256 = folder
    data = bytearray((path / name).read_bytes())
    data[-1] ^= 1
    (path / name).write_bytes(data)
    got = hashlib.sha256(data).hexdigest()
    message = f"load: expected {path / name} with SHA-256 {sha256[name]}, got {got}. Download the file again. Nothing"
    with pytest.raises(ValueError, match="^" + re.escape(message)):
        read_idx(path, sha256)
