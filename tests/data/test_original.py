"""Published files, prepared once: whole or not at all."""

import gzip
import hashlib
import json
import re
import struct
import threading

import numpy as np
import pytest

from jaxcnn import data
from jaxcnn.data import idx, original
from jaxcnn.data.original import ORIGINALS, Edition, Original, cache_folder, prepare

pytest.importorskip("tensorflow_datasets", reason="tensorflow_datasets is not installed")

IMAGE = {"train": np.random.default_rng(0).integers(0, 256, (20, 4, 5), np.uint8)}
IMAGE["test"] = IMAGE["train"][:6] // 2
LABEL = {split: (np.arange(len(image)) % 10).astype(np.uint8) for split, image in IMAGE.items()}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Tiny MNIST files, whose hashes stand in for the published ones, in a folder of sets."""
    (tmp_path / "sets" / "mnist").mkdir(parents=True)
    sha256 = {}
    for split, names in idx.FILES.items():
        for name, array in zip(names, (IMAGE[split], LABEL[split]), strict=True):
            header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
            file = tmp_path / "sets" / "mnist" / name
            file.write_bytes(gzip.compress(header + array.tobytes()))
            sha256[name] = hashlib.sha256(file.read_bytes()).hexdigest()
    tiny = Original(tuple("0123456789"), "https://example.org", "Tiny digits", original._idx("mnist", sha256))
    monkeypatch.setitem(ORIGINALS, "mnist", tiny)
    return tmp_path / "sets"


def test_they_are_prepared_once_and_read_from_the_cache(folder, cache):
    calls = []
    parts = data.load("mnist", data_dir=folder, progress=lambda *call: calls.append(call))
    for split, part in zip(("train", "test"), parts, strict=True):
        np.testing.assert_array_equal(part["image"], IMAGE[split][..., None])
        np.testing.assert_array_equal(part["label"], LABEL[split])
        assert part.info.class_names == tuple("0123456789")
        assert part.info.source.startswith("Tiny digits, from train-images-idx3-ubyte.gz, train-labels")
        assert part.info.source.endswith("t10k-labels-idx1-ubyte.gz; splits train and test")
        assert part.info.name == "mnist"
    assert calls == [(26, 26), (20, 26), (26, 26)]  # written, then read
    home = cache / "tfds" / "mnist" / "1.0.0"
    assert json.loads((home / "dataset_info.json").read_text())["fileFormat"] == "array_record"
    before = {path: path.stat().st_mtime_ns for path in cache.rglob("*")}
    again = data.load("mnist", data_dir=folder)
    assert again[0].info == parts[0].info
    assert {path: path.stat().st_mtime_ns for path in cache.rglob("*")} == before


def test_tfds_reads_the_cache(folder, cache):
    import tensorflow_datasets as tfds

    prepare("mnist", folder / "mnist")
    source = tfds.data_source("mnist:1.0.0", split="test", data_dir=cache / "tfds")
    np.testing.assert_array_equal([example["image"][..., 0] for example in source], IMAGE["test"])
    np.testing.assert_array_equal([example["label"] for example in source], LABEL["test"])


def test_the_cache_is_private(folder, cache):
    prepare("mnist", folder / "mnist")
    assert cache.stat().st_mode & 0o777 == 0o700


def test_a_prepared_set_goes_before_the_files(folder, cache, prepared):
    part = (IMAGE["test"][..., None], LABEL["test"])
    prepared("mnist", {"train": part, "test": part}, "0123456789", folder=folder)
    assert data.load("mnist", data_dir=folder)[0].size == 6
    assert not cache.exists()


def test_a_changed_file_writes_nothing(folder, cache):
    file = folder / "mnist" / "t10k-labels-idx1-ubyte.gz"
    file.write_bytes(file.read_bytes() + b"\0")
    message = (
        rf"^load: expected {re.escape(str(file))} with SHA-256 \w{{64}}, got \w{{64}}\. Download the file again\. Noth"
    )
    with pytest.raises(ValueError, match=message):
        data.load("mnist", data_dir=folder)
    assert not cache.exists()


def test_an_interrupted_writing_leaves_nothing(folder, cache, monkeypatch):
    def interrupted(folder, *args, **options):
        (folder / "half").write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(original, "write_prepared", interrupted)
    with pytest.raises(KeyboardInterrupt):
        prepare("mnist", folder / "mnist")
    assert [path.name for path in cache.rglob("*")] == ["tfds", "mnist"]
    monkeypatch.undo()


def test_a_full_disk_is_reported(folder, cache, monkeypatch):
    def full(*args, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(original, "write_prepared", full)
    with pytest.raises(OSError, match="No space left"):
        prepare("mnist", folder / "mnist")


def test_two_at_once_do_not_break_each_other(folder, cache, monkeypatch):
    both, write = threading.Barrier(2), original.write_prepared

    def at_once(*args, **options):
        both.wait(30)
        write(*args, **options)
        both.wait(30)

    monkeypatch.setattr(original, "write_prepared", at_once)
    homes, errors = [], []

    def run():
        try:
            homes.append(prepare("mnist", folder / "mnist"))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not errors
    assert homes[0] == homes[1]
    assert [path.name for path in (cache / "tfds" / "mnist").iterdir()] == ["1.0.0"]
    assert data.load("mnist", data_dir=folder)[0].size == 20


def test_a_cache_that_cannot_be_written(folder, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("JAXCNN_CACHE", str(tmp_path / "file"))
    with pytest.raises(
        OSError, match=r"^load: expected a cache folder that can be written, got .*file \(.*\)\. Set JAXCNN"
    ):
        prepare("mnist", folder / "mnist")


def test_a_damaged_cache_says_how_to_mend_it(folder, cache):
    home, _ = prepare("mnist", folder / "mnist")
    (home / "dataset_info.json").write_text("{")
    with pytest.raises(ValueError, match=r"damaged files \(.*\)\. Remove that folder: it is then prepared again\."):
        data.load("mnist", data_dir=folder)


def test_where_the_cache_is(monkeypatch):
    for name in ("JAXCNN_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/home/me")
    assert str(cache_folder()) == "/home/me/.cache/jaxcnn"
    monkeypatch.setenv("XDG_CACHE_HOME", "/caches")
    assert str(cache_folder()) == "/caches/jaxcnn"
    monkeypatch.setenv("JAXCNN_CACHE", "~/mine")
    assert str(cache_folder()) == "/home/me/mine"


@pytest.mark.parametrize(
    ("name", "files"),
    [
        (
            "mnist",
            "train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz, "
            "t10k-images-idx3-ubyte.gz, t10k-labels-idx1-ubyte.gz",
        ),
        (
            "cifar10",
            "cifar-10-binary.tar.gz or cifar-10-batches-bin/data_batch_1.bin, cifar-10-batches-bin/data_batch_2.bin, "
            "cifar-10-batches-bin/data_batch_3.bin, cifar-10-batches-bin/data_batch_4.bin, "
            "cifar-10-batches-bin/data_batch_5.bin, cifar-10-batches-bin/test_batch.bin or labels.npz, "
            "train_00.webp ... test_09.webp (61 files)",
        ),
    ],
)
@pytest.mark.parametrize("there", [False, True])
def test_missing_files_are_listed(tmp_path, cache, name, files, there):
    if there:
        (tmp_path / name).mkdir()
        (tmp_path / name / "train-images-idx3-ubyte.gz").write_bytes(b"")
    message = (
        f"load: expected {name} prepared by TFDS, or its original files, in {tmp_path / name}, got neither. "
        f"Put {files} there, from {ORIGINALS[name].url}, or say where they are: JAXCNN_DATA=FOLDER, or data_dir."
    )
    with pytest.raises(FileNotFoundError, match="^" + re.escape(message)):
        data.load(name, data_dir=tmp_path)
    assert not cache.exists()


def test_the_first_edition_that_is_whole_is_read(tmp_path):
    editions = tuple(Edition(name, files, lambda folder: {}) for name, files in (("x", ("1", "2")), ("y", ("3",))))
    some = Original(("a",), "", "", editions)
    assert some.edition(tmp_path) is None
    for file, name in (("1", None), ("3", "y"), ("2", "x")):
        (tmp_path / file).touch()
        assert getattr(some.edition(tmp_path), "name", None) == name


# --- the real files


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "mean", "std"),
    [
        ("mnist", (0.1307,), (0.3081,)),  # as everybody's code has them
        ("fashion_mnist", (0.2860,), (0.3530,)),
        ("cifar10", (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    ],
)
def test_real_sets(shared, cache, name, mean, std):
    if ORIGINALS[name].edition(shared / name) is None:
        pytest.skip(f"no {name} in {shared}")
    train, test = data.load(name, data_dir=shared)
    shape = (32, 32, 3) if name == "cifar10" else (28, 28, 1)
    assert (train["image"].shape, test["image"].shape) == (
        (50_000 if name == "cifar10" else 60_000, *shape),
        (10_000, *shape),
    )
    if name != "mnist":
        np.testing.assert_array_equal(np.bincount(train["label"]), [train.size // 10] * 10)
    np.testing.assert_allclose(train.info.mean, mean, atol=6e-5)
    np.testing.assert_allclose(train.info.std, std, atol=6e-5)
    assert ("104 images decoded from JPEG" in train.info.source) == (name == "cifar10")
    for split, part in original.ORIGINALS[name].edition(shared / name).read(shared / name).items():
        loaded = {"train": train, "test": test}[split]
        np.testing.assert_array_equal(loaded["image"], part[0])
        np.testing.assert_array_equal(loaded["label"], part[1])
