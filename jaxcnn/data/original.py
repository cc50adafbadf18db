"""Data sets from the files that their authors published, prepared once for TFDS in a private cache."""

import functools
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jaxcnn.data import cifar10, idx
from jaxcnn.data.array_record import require_tfds, write_prepared
from jaxcnn.data.source import Progress

__all__ = ["ORIGINALS", "Edition", "Original", "cache_folder", "prepare"]

VERSION = "1.0.0"  # of what is written; another one makes the cache anew


@dataclass(frozen=True)
class Edition:
    """One form of a set's files: its name in the cache, the files, what reads them, what is not as published."""

    name: str
    files: tuple[str, ...]
    read: Callable[[Path], dict[str, tuple[np.ndarray, np.ndarray]]]
    note: str = ""


@dataclass(frozen=True)
class Original:
    """What is known of a published set; the first of `editions` whose files are all there is read."""

    class_names: tuple[str, ...]
    url: str
    source: str
    editions: tuple[Edition, ...]

    def edition(self, folder: Path) -> Edition | None:
        """Return the edition that lies in the folder, if any does."""
        whole = (e for e in self.editions if all((folder / name).is_file() for name in e.files))
        return next(whole, None)


def _idx(name: str, sha256: Mapping[str, str]) -> tuple[Edition, ...]:
    return (Edition(name, tuple(sha256), functools.partial(idx.read_idx, sha256=sha256)),)


# The hashes are those of the published files.
MNIST_SHA256 = {
    "train-images-idx3-ubyte.gz": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    "train-labels-idx1-ubyte.gz": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    "t10k-images-idx3-ubyte.gz": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    "t10k-labels-idx1-ubyte.gz": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
}
FASHION_MNIST_SHA256 = {
    "train-images-idx3-ubyte.gz": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
    "train-labels-idx1-ubyte.gz": "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
    "t10k-images-idx3-ubyte.gz": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
    "t10k-labels-idx1-ubyte.gz": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
}

ORIGINALS: Mapping[str, Original] = {
    "mnist": Original(
        tuple("0123456789"),
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
        "MNIST, handwritten digits (LeCun, Cortes and Burges 1998; usually given as CC BY-SA 3.0)",
        _idx("mnist", MNIST_SHA256),
    ),
    "fashion_mnist": Original(
        (
            *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
            *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
        ),
        "https://github.com/zalandoresearch/fashion-mnist",
        "Fashion-MNIST, articles of clothing (Xiao, Rasul and Vollgraf 2017; MIT)",
        _idx("fashion_mnist", FASHION_MNIST_SHA256),
    ),
    "cifar10": Original(
        ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
        "https://www.cs.toronto.edu/~kriz/cifar.html",
        "CIFAR-10, small photographs (Krizhevsky 2009; to be cited)",
        (
            Edition("cifar10", (cifar10.ARCHIVE,), cifar10.from_archive),
            Edition("cifar10", cifar10.BATCHES, cifar10.from_batches),
            Edition("cifar10_sprites", cifar10.SPRITES, cifar10.from_sprites, "; 104 images decoded from JPEG"),
        ),
    ),
}


def cache_folder() -> Path:
    """Return the folder for what jaxcnn makes from other files: `$JAXCNN_CACHE`, else that of the user's caches."""
    if given := os.environ.get("JAXCNN_CACHE"):
        return Path(given).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "jaxcnn"


def prepare(name: str, folder: Path, progress: Progress | None = None) -> tuple[Path, str]:
    """Return the folder of the set prepared for TFDS, written from its original files unless it was before.

    Args:
        name: one of ORIGINALS.
        folder: where the original files lie.
        progress: is called with the numbers of images written and to write.

    Returns:
        the folder of this version, and where its images are from.

    Raises:
        FileNotFoundError: no edition's files are all there.
        ValueError: a file differs from the published one; nothing is written.
        OSError: the cache cannot be written.
        ImportError: TFDS is not installed.
    """
    original = ORIGINALS[name]
    edition = original.edition(folder)
    if edition is None:
        wanted = " or ".join(_abridged(e.files) for e in original.editions)
        raise FileNotFoundError(
            f"load: expected {name} prepared by TFDS, or its original files, in {folder}, got neither. Put {wanted} "
            f"there, from {original.url}, or say where they are: JAXCNN_DATA=FOLDER, or data_dir."
        )
    require_tfds()
    source = f"{original.source}, from {_abridged(edition.files)}{edition.note}"
    home = cache_folder() / "tfds" / edition.name / VERSION
    if not home.is_dir():
        parts = edition.read(folder)
        _publish(
            home,
            lambda unfinished: write_prepared(
                unfinished,
                edition.name,
                parts,
                version=VERSION,
                class_names=original.class_names,
                description=source,
                homepage=original.url,
                progress=progress,
            ),
        )
    return home, source


def _publish(home: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a folder and give it its name when it is whole; another process may do the same meanwhile."""
    try:
        cache_folder().mkdir(mode=0o700, parents=True, exist_ok=True)
        home.parent.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(prefix="unfinished-", dir=home.parent))
    except OSError as error:
        raise OSError(
            f"load: expected a cache folder that can be written, got {cache_folder()} ({error}). Set JAXCNN_CACHE to "
            "another."
        ) from error
    try:
        write(unfinished)
        unfinished.rename(home)
    except OSError:
        if not home.is_dir():  # else the other process was first
            raise
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _abridged(files: tuple[str, ...]) -> str:
    """Return the names, or of many the first, the last and their number."""
    return ", ".join(files) if len(files) <= 6 else f"{files[0]}, {files[1]} ... {files[-1]} ({len(files)} files)"
