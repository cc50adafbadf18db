"""Images and labels, read-only, with what is known of them: in memory, or as streams if they do not fit.

train, test = data.load("digits")
train["image"], train["label"], train.info.class_names
"""

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jaxcnn.checking import did_you_mean, expect, expect_count, expect_flag, is_int, shown
from jaxcnn.data.box_slots import BoxSlots, box_slots
from jaxcnn.data.dataset import Dataset, DatasetInfo, from_arrays, to_float
from jaxcnn.data.digits import load_digits
from jaxcnn.data.folder import load_folder
from jaxcnn.data.masks import load_masks
from jaxcnn.data.original import ORIGINALS, prepare
from jaxcnn.data.scenes import Scenes, load_scenes
from jaxcnn.data.source import Pair
from jaxcnn.data.splitting import folds, per_class, split
from jaxcnn.data.stream import Stream
from jaxcnn.data.tfds import command, data_folder, find_prepared, load_prepared
from jaxcnn.data.voc import load_voc

__all__ = [
    "BoxSlots",
    "Dataset",
    "DatasetInfo",
    "Scenes",
    "Stream",
    "box_slots",
    "folds",
    "from_arrays",
    "load",
    "load_masks",
    "load_voc",
    "names",
    "per_class",
    "split",
    "to_float",
]

_EMBEDDED: Mapping[str, Callable[[int], tuple[Dataset, Dataset]]] = {"digits": load_digits, "scenes": load_scenes}
FOLDER = "folder"


def names() -> list[str]:
    """Return the names that `load` knows; it also takes "folder", and every set that TFDS prepared."""
    return [*_EMBEDDED, *ORIGINALS]


def load(
    name: str,
    *,
    data_dir: str | os.PathLike[str] | None = None,
    split_seed: int = 0,
    memory_limit: int = 4 * 2**30,
    image_size: int | None = None,
    path: str | os.PathLike[str] | None = None,
    skip_corrupt: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Pair:
    """Return the training and the test set called `name`.

    The test set is the official one, or the official validation set of sets that publish no test labels; where there
    is neither it is a random fifth of the training set, and `.info.source` says so.

    Args:
        name: one of `names()`; or the name of an image classification set that TFDS prepared as array_record in
            `data_dir`, such as "cats_vs_dogs", "emnist/letters" or "mnist:3.0.1"; or "folder", for images of one's own.
        data_dir: where sets on disk lie; `$JAXCNN_DATA` unless given, else TFDS's folder. The embedded ones need none.
            "mnist", "fashion_mnist" and "cifar10" may also lie there as published, in a folder of that name; they are
            then checked and prepared once into `$JAXCNN_CACHE`, else the user's cache folder.
        split_seed: for sets without an official test set: which random (stratified) fifth it is.
        memory_limit: in bytes of both sets' pixels, at least 1; larger sets, and those with images of several sizes,
            are streams.
        image_size: resize the short side of every image of a set on disk to so many pixels, with antialiasing, and
            keep the middle square; None leaves the images as they are.
        path: for "folder": a folder, or a zip archive, with one folder of images for each class; or with `train/` and
            `test/` (or `validation/`, `val/`: the first that is there) of such folders. Several formats; grey only if
            all images are.
        skip_corrupt: for "folder": leave out images that cannot be decoded, and name them in `.info.source`.
        progress: is called with the numbers of images done and to do, while they are prepared and while they are read.

    Returns:
        train, test: two `Dataset`s with `["image"]`, uint8 (N, H, W, C) in 0..255, `["label"]`, int32 (N,), and
        `.info`; or two `Stream`s with the same `.info`, `.size` and `.spec`.

    Raises:
        ValueError: an unknown name, with the nearest known one; options that do not go together; a set without classes;
            original files that differ from the published ones; images that cannot be decoded.
        FileNotFoundError: a set that is not there, with what to do.
        OSError: a folder that cannot be read, or a cache that cannot be written.
        ImportError: the extra that the set needs is not installed.
    """
    memory_limit = expect_count("load", "memory_limit", memory_limit)
    image_size = None if image_size is None else expect_count("load", "image_size", image_size)
    ok = is_int(split_seed, -(2**63), 2**63 - 1)
    expect(ok, "load", "split_seed as an int of 64 bits", shown(split_seed), "Pass split_seed=0, say.")
    skip_corrupt = expect_flag("load", "skip_corrupt", skip_corrupt)
    expect(isinstance(name, str), "load", f"one of {names()}", shown(name), "Pass the name of a set.", TypeError)
    own = name == FOLDER
    expect(not own or path is not None, "load", "the path of the folder of images", "none", "Pass path, too.")
    expect(own or path is None, "load", f"no path for {name}", path, 'Leave it out, or load "folder".')
    expect(own or not skip_corrupt, "load", 'skip_corrupt with "folder" alone', name, "Other sets have none.")
    if name in _EMBEDDED:
        expect(image_size is None, "load", f"no image_size for {name}", image_size, "Resize with jax.image.resize.")
        return _EMBEDDED[name](split_seed)
    options: Any = {
        "image_size": image_size,
        "split_seed": split_seed,
        "memory_limit": memory_limit,
        "progress": progress,
    }
    if path is not None:
        return load_folder(path, skip_corrupt=skip_corrupt, **options)
    folder = data_folder(data_dir)
    if home := find_prepared(name, folder):
        return load_prepared(name, home, again=f"Prepare it again: {command(name, folder)}.", **options)
    if name in ORIGINALS:
        home, source = prepare(name, folder / name, progress)
        again = "Remove that folder: it is then prepared again."
        return load_prepared(name, home, again=again, source=source, **options)
    raise _missing(name, folder)


def _missing(name: str, folder: Path) -> Exception:
    """Return the error for a set that is neither known nor in the folder, though TFDS may know how to make it."""
    try:
        import tensorflow_datasets as tfds

        builders, install = tfds.list_builders(with_community_datasets=False), ""
    except ImportError:
        builders, install = [], ' For a set of TFDS: pip install "jaxcnn[data]".'
    if re.split("[/:]", name)[0] in builders:
        return FileNotFoundError(
            f"load: expected {name} prepared as array_record in {folder}, got none. Pass the data_dir where it is, or "
            f"let TFDS prepare it, once, with TensorFlow: {command(name, folder)}."
        )
    fix = "Choose one of them, or make your own with data.from_arrays."
    fix = did_you_mean(name, [*names(), FOLDER, *builders], fix)
    return ValueError(
        f'load: expected one of {names()}, "{FOLDER}", or a set that TFDS prepared, got {name!r}. {fix}{install}'
    )
