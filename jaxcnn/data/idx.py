"""Images and labels in the idx format of MNIST and the sets made after it."""

import gzip
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from jaxcnn.checking import expect
from jaxcnn.data.checksum import verify

__all__ = ["FILES", "idx_array", "read_idx"]

# Of each split the images and the labels.
FILES = {
    "train": ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"),
    "test": ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"),
}
UBYTE = 8


def read_idx(folder: Path, sha256: Mapping[str, str]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return images, uint8 (N, H, W, 1), and labels, uint8 (N,), of each split in the original order.

    Args:
        folder: where the four files lie.
        sha256: of each file, by name; in hex.

    Raises:
        ValueError: a file differs from the published one.
    """

    def array(name: str, rank: int) -> np.ndarray:
        data = (folder / name).read_bytes()
        verify(folder / name, data, sha256[name], "Download the file again.")
        return idx_array(name, gzip.decompress(data), rank)

    return {split: (array(images, 3)[..., None], array(labels, 1)) for split, (images, labels) in FILES.items()}


def idx_array(name: str, data: bytes, rank: int) -> np.ndarray:
    """Return the uint8 array of `rank` axes in an idx file.

    The file is two zero bytes, the type (8 for uint8), the number of axes, each axis's length as four bytes (the most
    significant first), and the values.

    Raises:
        ValueError: another type or rank, or another number of values.
    """
    ubyte = data[:4] == bytes([0, 0, UBYTE, rank])
    expect(ubyte, "load", f"{name} to begin with 0, 0, {UBYTE}, {rank}", list(data[:4]), "It is no such idx file.")
    start = 4 + 4 * rank
    shape = np.frombuffer(data[4:start], ">u4").tolist()
    whole = len(shape) == rank and len(data) == start + math.prod(shape)
    expect(whole, "load", f"{name} with values of shape {shape}", f"{len(data) - start} bytes", "Is the file whole?")
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape)
