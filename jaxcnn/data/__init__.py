"""Images and labels in memory, read-only, with what is known of them.

train, test = data.load("digits")
train["image"], train["label"], train.info.class_names
"""

import difflib
import os
from collections.abc import Callable, Mapping

from jaxcnn.checking import expect
from jaxcnn.data.dataset import Dataset, DatasetInfo, from_arrays, to_float
from jaxcnn.data.digits import load_digits
from jaxcnn.data.splitting import split

__all__ = ["Dataset", "DatasetInfo", "from_arrays", "load", "names", "split", "to_float"]

_EMBEDDED: Mapping[str, Callable[[int], tuple[Dataset, Dataset]]] = {"digits": load_digits}


def names() -> list[str]:
    """Return the names that `load` knows."""
    return list(_EMBEDDED)


def load(name: str, *, data_dir: str | os.PathLike[str] | None = None, split_seed: int = 0) -> tuple[Dataset, Dataset]:
    """Return the training and the test set called `name`.

    Args:
        name: one of `names()`.
        data_dir: where sets on disk lie; `$JAXCNN_DATA` unless given. The embedded ones need none.
        split_seed: for sets without an official test set: which random (stratified) fifth it is.

    Returns:
        train, test: two `Dataset`s with `["image"]`, uint8 (N, H, W, C) in 0..255, `["label"]`, int32 (N,), and
        `.info`.

    Raises:
        ValueError: an unknown name; the message lists the known ones.
        ImportError: the extra that the set needs is not installed.
    """
    near = difflib.get_close_matches(str(name), names(), n=1)
    fix = f"Did you mean {near[0]!r}?" if near else "Choose one of them, or make your own with data.from_arrays."
    expect(name in _EMBEDDED, "load", f"one of {names()}", repr(name), fix)
    return _EMBEDDED[name](split_seed)
