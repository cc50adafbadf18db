"""CIFAR-10 in its three forms: the layout of the published batches, the hashes, the sprites."""

import hashlib
import re
import tarfile

import numpy as np
import pytest

from jaxcnn.data import cifar10
from jaxcnn.data.original import ORIGINALS

RNG = np.random.default_rng(0)
PER_BATCH = 4


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Six batches of four images, with their hashes in place of the published ones."""
    records = RNG.integers(0, 256, (6, PER_BATCH, 3073), np.uint8)
    records[..., 0] %= 10
    (tmp_path / "cifar-10-batches-bin").mkdir()
    for name, batch in zip(cifar10.BATCHES, records, strict=True):
        (tmp_path / name).write_bytes(batch.tobytes())
    filled = [1, 5 * PER_BATCH + 2]
    known = records.copy()
    known[0, 1, 1:] = 0
    known[5, 2, 1:] = 0
    monkeypatch.setattr(cifar10, "PER_BATCH", PER_BATCH)
    monkeypatch.setattr(cifar10, "FILLED", filled)
    monkeypatch.setattr(cifar10, "BATCH_SHA256", tuple(hashlib.sha256(batch).hexdigest() for batch in known))
    return tmp_path, records


def check(parts, records):
    """Compare every pixel with its place in the record: a label, then red, green and blue planes row by row."""
    for split, part in (("train", records[:5].reshape(-1, 3073)), ("test", records[5])):
        image, label = parts[split]
        assert (image.shape, image.dtype) == ((len(part), 32, 32, 3), np.uint8)
        np.testing.assert_array_equal(label, part[:, 0])
        for channel in range(3):
            for row in (0, 1, 31):
                start = 1 + channel * 1024 + row * 32
                np.testing.assert_array_equal(image[:, row, :, channel], part[:, start : start + 32])


def test_batches(folder):
    path, records = folder
    check(cifar10.from_batches(path), records)


def test_archive(folder, monkeypatch):
    path, records = folder
    archive = path / cifar10.ARCHIVE
    with tarfile.open(archive, "w:gz") as tar:
        for name in reversed(cifar10.BATCHES):
            tar.add(path / name, name)
    monkeypatch.setattr(cifar10, "ARCHIVE_SHA256", hashlib.sha256(archive.read_bytes()).hexdigest())
    before = sorted(path.rglob("*"))
    check(cifar10.from_archive(path), records)
    assert sorted(path.rglob("*")) == before
    archive.write_bytes(archive.read_bytes() + b"\0")
    with pytest.raises(
        ValueError, match=r"cifar-10-binary\.tar\.gz with SHA-256 \w{64}, got \w{64}\. Download the arch"
    ):
        cifar10.from_archive(path)


@pytest.mark.parametrize(("batch", "offset"), [(0, 0), (0, 5), (3, 3073 * 4 - 1), (5, 3073)])
def test_a_changed_batch_is_named(folder, batch, offset):
    path, _ = folder
    file = path / cifar10.BATCHES[batch]
    data = bytearray(file.read_bytes())
    data[offset] ^= 1
    file.write_bytes(data)
    sha256 = cifar10.BATCH_SHA256[batch]
    message = rf"^load: expected {re.escape(str(file))} with SHA-256 {sha256}, got \w{{64}}\. Unpack cifar-10-bin"
    with pytest.raises(ValueError, match=message):
        cifar10.from_batches(path)


def test_the_pixels_that_the_hashes_cannot_know(folder):
    path, records = folder
    file = path / cifar10.BATCHES[5]
    records[5, 2, 1:] ^= 1
    file.write_bytes(records[5].tobytes())
    check(cifar10.from_batches(path), records)
    records[5, 2, 0] ^= 1  # but its label
    file.write_bytes(records[5].tobytes())
    with pytest.raises(ValueError, match=r"test_batch\.bin with SHA-256"):
        cifar10.from_batches(path)


def test_a_batch_that_is_not_whole(folder):
    path, _ = folder
    file = path / cifar10.BATCHES[2]
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"data_batch_3\.bin of 12,292 bytes, got 12,291\. Is the file whole\?"):
        cifar10.from_batches(path)


@pytest.fixture
def sprites(tmp_path, monkeypatch):
    """A sprite of 1,000 for each split, image i in row i // 25 and column i % 25."""
    Image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")  # noqa: N806
    image = RNG.integers(0, 256, (1000, 1, 1, 3), np.uint8) + np.zeros((1, 32, 32, 1), np.uint8)
    image[:, 3, 5] = 255 - image[:, 3, 5]
    label = RNG.integers(0, 10, 1000).astype(np.uint8)
    for split in ("train", "test"):
        picture = np.zeros((40 * 32, 25 * 32, 3), np.uint8)
        for i in range(1000):
            row, column = divmod(i, 25)
            picture[row * 32 : row * 32 + 32, column * 32 : column * 32 + 32] = image[i]
        Image.fromarray(picture).save(tmp_path / f"{split}_00.webp", lossless=True, method=0, quality=0)
    np.savez(tmp_path / "labels.npz", train=label, test=label)
    monkeypatch.setattr(cifar10, "SPRITES", ("labels.npz", "train_00.webp", "test_00.webp"))
    monkeypatch.setattr(cifar10, "SPRITE_SHA256", dict.fromkeys(("train", "test"), hashlib.sha256(image).hexdigest()))
    monkeypatch.setattr(cifar10, "LABEL_SHA256", dict.fromkeys(("train", "test"), hashlib.sha256(label).hexdigest()))
    return tmp_path, image, label


def test_sprites(sprites, monkeypatch):
    path, image, label = sprites
    for part in cifar10.from_sprites(path).values():
        np.testing.assert_array_equal(part[0], image)
        np.testing.assert_array_equal(part[1], label)
    monkeypatch.setitem(cifar10.SPRITE_SHA256, "test", "0" * 64)
    with pytest.raises(
        ValueError, match=r"^load: expected the images of .*/test_\*\.webp with SHA-256 0{64}, got \w{64}"
    ):
        cifar10.from_sprites(path)


def test_labels_of_sprites(sprites, monkeypatch):
    path, _, label = sprites
    np.savez(path / "labels.npz", train=label, test=label[::-1])
    with pytest.raises(
        ValueError, match=r"^load: expected test of .*labels\.npz with SHA-256 \w{64}, got \w{64}\. Copy"
    ):
        cifar10.from_sprites(path)


def test_labels_are_never_unpickled(sprites):
    path, _, label = sprites
    np.savez(path / "labels.npz", train=label.astype(object), test=label)
    with pytest.raises(ValueError, match="allow_pickle=False"):
        cifar10.from_sprites(path)


@pytest.mark.slow
def test_the_real_sprites(shared):
    """The hashes of batches and sprites belong together: the real set, written as batches, is accepted."""
    folder = shared / "cifar10"
    if ORIGINALS["cifar10"].edition(folder) is None:
        pytest.skip(f"no CIFAR-10 in {folder}")
    parts = cifar10.from_sprites(folder)
    for number in range(6):
        image, label = parts["train" if number < 5 else "test"]
        rows = slice(number % 5 * 10_000, number % 5 * 10_000 + 10_000)
        planes = image[rows].transpose(0, 3, 1, 2).reshape(10_000, -1)
        records = np.concatenate([label[rows, None], planes], axis=1)
        filled = [i - number * 10_000 for i in cifar10.FILLED if i // 10_000 == number]
        records[filled, 1:] = 0
        assert hashlib.sha256(records).hexdigest() == cifar10.BATCH_SHA256[number]
