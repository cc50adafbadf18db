"""CIFAR-10 from the published archive, from its unpacked batches, or from sprites."""

import tarfile
from pathlib import Path

import numpy as np

from jaxcnn.checking import expect
from jaxcnn.data.checksum import verify

__all__ = ["ARCHIVE", "BATCHES", "SPRITES", "from_archive", "from_batches", "from_sprites"]

ARCHIVE = "cifar-10-binary.tar.gz"
BATCHES = (*(f"cifar-10-batches-bin/data_batch_{i}.bin" for i in range(1, 6)), "cifar-10-batches-bin/test_batch.bin")
SPRITES = ("labels.npz", *(f"train_{i:02}.webp" for i in range(50)), *(f"test_{i:02}.webp" for i in range(10)))

PER_BATCH = 10_000
SIDE = 32
RECORD = 1 + 3 * SIDE * SIDE  # a label; the red, the green and the blue plane
ROWS, COLUMNS = 40, 25  # of images in a sprite

ARCHIVE_SHA256 = "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"
# Of the six batches with the pixels of the images in FILLED set to zero, and of the arrays of the sprites.
BATCH_SHA256 = (
    "2ca2bba77464ac458e46c0207ea113f9e24b1c5ea735d5563eb2508e23562ad7",
    "62fab354dd8e48d4db1ca7d36dd046620b6808508420988230467d9e0e26b711",
    "e0faaaad10af81d5aa07083664da8305365302038faeaa6daaf5c1e7e1b75281",
    "8b9a3f12c6491bf9406be6f96f3acf72bf3eca61c708bdf2360cd0fc2020abcc",
    "9dc9a4a6301eaa1dc4f7e2d7d3b6df7d267ec49c32ab17bf5dec801a80a4e1d2",
    "84f4faa5482fcb0b0ef827825a37783f7ce60c8ce8b7db1209ca25ebdd5c6668",
)
SPRITE_SHA256 = {
    "train": "10d94edc57bf6b034670d5061cb6ac228cfc0fd07d5ba6ba4082883c4999a6d6",
    "test": "4674ac8c77f372061aaf9216c8857c99599d5df0bb9f6b16a3de613ef8eb348a",
}
LABEL_SHA256 = {
    "train": "2b7cd2f24487317614016b72ffd53071c3062f592f0eb300c18a770d41ae1253",
    "test": "cec8a24a1e92aa2ecaa0bbd3dbfa86bf6cd8759fbd209a832824c8cf0afca9d5",
}
# The images (test images from 50,000 on) that the sprites hold as decoded from JPEG. The hashes of the batches were
# made from the sprites, so they cannot cover these; the archive's is the published one and covers all.
FILLED = [
    *(4298, 5949, 7066, 7237, 7248, 7630, 8006, 8831, 8968, 9415, 11027, 12762, 12834, 13546, 21493, 25728, 26098),
    *(26927, 27621, 28435, 28670, 28728, 29694, 29747, 31066, 31367, 31462, 31625, 31663, 32777, 33446, 33641, 33661),
    *(34067, 34276, 34387, 34471, 34825, 35160, 35646, 36733, 37329, 37474, 37567, 38089, 38384, 38925, 39069, 39358),
    *(39385, 39613, 39840, 39888, 39971, 41761, 41779, 42004, 42389, 42611, 43357, 43883, 44420, 44882, 45168, 45240),
    *(46175, 46435, 46538, 46624, 47393, 47597, 48081, 48124, 48333, 48821, 48836, 49321, 49429, 49631, 49830, 49857),
    *(51259, 51369, 51422, 51556, 52245, 52737, 52935, 53630, 53695, 53718, 54085, 54496, 55791, 55896, 56286, 57580),
    *(57707, 57724, 57832, 58117, 58541, 58551, 59254),
]

Parts = dict[str, tuple[np.ndarray, np.ndarray]]


def from_archive(folder: Path) -> Parts:
    """Return images, uint8 (N, 32, 32, 3), and labels, uint8 (N,), of "train" and "test" from the published archive.

    Raises:
        ValueError: the archive differs from the published one.
    """
    path = folder / ARCHIVE
    verify(path, path.read_bytes(), ARCHIVE_SHA256, "Download the archive again.")
    with tarfile.open(path) as archive:  # its members are read where they are and never become files
        members = [archive.extractfile(name) for name in BATCHES]
        return _parts([_records(name, file.read()) for name, file in zip(BATCHES, members, strict=True) if file])


def from_batches(folder: Path) -> Parts:
    """Return the same from the unpacked batches.

    Raises:
        ValueError: a batch differs from the published one.
    """
    batches = [_records(folder / name, (folder / name).read_bytes()) for name in BATCHES]
    for number, (name, batch, sha256) in enumerate(zip(BATCHES, batches, BATCH_SHA256, strict=True)):
        known = batch.copy()
        known[[i - number * PER_BATCH for i in FILLED if i // PER_BATCH == number], 1:] = 0
        verify(folder / name, known, sha256, f"Unpack {ARCHIVE} again, or put it there.")
    return _parts(batches)


def from_sprites(folder: Path) -> Parts:
    """Return the same from WebP sprites of 1,000 images and `labels.npz`.

    Raises:
        ValueError: the images or labels differ from those that the hashes were made of.
    """
    parts = {}
    with np.load(folder / "labels.npz", allow_pickle=False) as labels:
        for split in ("train", "test"):
            names = [name for name in SPRITES if name.startswith(split)]
            image = np.concatenate([_sprite(folder / name) for name in names])
            label = np.ascontiguousarray(labels[split])
            verify(f"the images of {folder}/{split}_*.webp", image, SPRITE_SHA256[split], "Copy the files again.")
            verify(f"{split} of {folder / 'labels.npz'}", label, LABEL_SHA256[split], "Copy the file again.")
            parts[split] = (image, label)
    return parts


def _records(name: object, data: bytes) -> np.ndarray:
    """Return a batch as an array of one record a row."""
    whole = len(data) == PER_BATCH * RECORD
    expect(whole, "load", f"{name} of {PER_BATCH * RECORD:,} bytes", f"{len(data):,}", "Is the file whole?")
    return np.frombuffer(data, np.uint8).reshape(PER_BATCH, RECORD)


def _parts(batches: list[np.ndarray]) -> Parts:
    def part(records: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        planes = records[:, 1:].reshape(-1, 3, SIDE, SIDE)
        return planes.transpose(0, 2, 3, 1), records[:, 0]

    return {"train": part(np.concatenate(batches[:-1])), "test": part(batches[-1])}


def _sprite(path: Path) -> np.ndarray:
    """Return the 1,000 images of a sprite, row by row."""
    from PIL import Image

    with Image.open(path, formats=["WEBP"]) as image:
        grid = np.asarray(image.convert("RGB")).reshape(ROWS, SIDE, COLUMNS, SIDE, 3)
    return grid.swapaxes(1, 2).reshape(-1, SIDE, SIDE, 3)
