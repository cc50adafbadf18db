"""Images in a folder for each class: the user's own photographs as a data set."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jaxcnn.checking import expect
from jaxcnn.data.dataset import DatasetInfo
from jaxcnn.data.decoding import Decoder, Header, require_pillow
from jaxcnn.data.source import ImageSource, Pair, Progress, deliver, undecodable
from jaxcnn.data.tree import TESTS, TRAIN, Tree, contents, images_in, open_tree

__all__ = ["load_folder"]

LAYOUT = "Make one folder of images for each class, or train/ and test/ with such folders."
NAMED = 10  # corrupt files that `source` names


def load_folder(
    path: str | os.PathLike[str],
    *,
    image_size: int | None,
    split_seed: int,
    skip_corrupt: bool,
    memory_limit: int,
    progress: Progress | None,
) -> Pair:
    """Return the training and the test set of images in class folders; see `data.load`."""
    require_pillow()
    path = Path(path).expanduser()
    tree = open_tree(path)
    splits = _splits(tree.names())
    expect(TRAIN in splits, "load", f"folders of images in {path}", "none", LAYOUT)
    class_names = sorted({kind for kind, _ in splits[TRAIN]})
    expect(len(class_names) >= 2, "load", f"at least two classes in {path}", class_names, LAYOUT)
    taken = sorted({TRAIN, *TESTS} & set(class_names))
    expect(not taken, "load", f"a folder for each class in {path}", f"images in {taken} itself", LAYOUT)
    test_name = next((split for split in TESTS if split in splits), "")
    tests = splits.get(test_name, [])
    new = sorted({kind for kind, _ in tests} - set(class_names))
    expect(not new, "load", f"in {path}/{test_name} the classes of {TRAIN}", new, "Give each class a folder in both.")

    headers, corrupt = _inspect(tree, [*splits[TRAIN], *tests], skip_corrupt)
    # Grey only if all are grey; else every image becomes RGB.
    decoder = Decoder(1 if all(header.grey for header in headers.values()) else 3, image_size)

    number = {kind: i for i, kind in enumerate(class_names)}

    def source(files: Sequence[tuple[str, str]]) -> ImageSource:
        labelled = [(number[kind], name) for kind, name in files if name in headers]
        return ImageSource.of(_Records(tree, labelled), decoder)

    train = source(splits[TRAIN])
    if tests:
        test, parts = source(tests), f"folders {TRAIN} and {test_name}"
    else:
        train, test = train.split(split_seed)
        parts = f"80 % training, 20 % test, stratified, split_seed {split_seed}"
    left = len(train) > 0 and len(test) > 0
    expect(left, "load", f"images to train on and to test on in {path}", f"none{_left_out(corrupt)}", "Repair them.")
    sizes = {(image_size, image_size)} if image_size else {(h.height, h.width) for h in headers.values()}
    return deliver(
        train,
        test,
        DatasetInfo(path.stem, tuple(class_names), (), (), f"images in {path.name}; {parts}{_left_out(corrupt)}", ""),
        shape=(*sizes.pop(), decoder.channels) if len(sizes) == 1 else None,
        memory_limit=memory_limit,
        progress=progress,
    )


class _Records:
    """Files of a tree with the numbers of their classes."""

    def __init__(self, tree: Tree, files: Sequence[tuple[int, str]]) -> None:
        self.tree = tree
        self.files = files

    def __len__(self) -> int:
        return len(self.files)

    def read(self, indices: Sequence[int]) -> list[tuple[bytes, int]]:
        return [(self._file(name), label) for label, name in (self.files[i] for i in indices)]

    def name(self, index: int) -> str:
        return self.files[index][1]

    def labels(self) -> np.ndarray:
        return np.asarray([label for label, _ in self.files], np.int32)

    def listing(self) -> str:
        return "\n".join(f"{label} {name} {self.tree.size(name)}" for label, name in self.files)

    def _file(self, name: str) -> bytes:
        try:
            return contents(self.tree, name)
        except Exception as error:  # archives too are damaged in many ways
            raise undecodable(name, error) from error


def _splits(names: Sequence[str]) -> dict[str, list[tuple[str, str]]]:
    """Return (class, name) of the images of each split; all are "train" where there are no split folders."""
    images = images_in(names)
    while images and all(len(parts) > 2 for parts in images.values()):  # archives often hold one folder with all else
        if len({parts[0] for parts in images.values()}) > 1:
            break
        images = {name: parts[1:] for name, parts in images.items()}
    if not any(parts[0] == TRAIN and len(parts) > 2 for parts in images.values()):
        images = {name: [TRAIN, *parts] for name, parts in images.items()}
    splits: dict[str, list[tuple[str, str]]] = {}
    for name, (split, *below) in images.items():
        if split in (TRAIN, *TESTS) and len(below) > 1:
            splits.setdefault(split, []).append((below[0], name))
    return splits


def _inspect(tree: Tree, files: Sequence[tuple[str, str]], skip: bool) -> tuple[dict[str, Header], list[str]]:
    """Return the header of each image, and the names of those that are left out because they cannot be decoded.

    The pixels are decoded only if such files are to be skipped: else the one that is damaged behind its header is named
    when it is read.
    """
    headers, corrupt = {}, []
    for _, name in files:
        try:
            with tree.open(name) as file:
                headers[name] = Header.read(file)
            if skip:
                Decoder(3)(contents(tree, name))
        except Exception as error:  # Pillow raises nearly everything when it is given damaged or hostile files
            headers.pop(name, None)
            corrupt.append(name)
            if not skip:
                raise undecodable(name, error) from error
    return headers, corrupt


def _left_out(corrupt: Sequence[str]) -> str:
    more = f" and {len(corrupt) - NAMED} more" if len(corrupt) > NAMED else ""
    files = "1 file" if len(corrupt) == 1 else f"{len(corrupt)} files"
    return f"; {files} that cannot be decoded left out: {', '.join(corrupt[:NAMED])}{more}" * bool(corrupt)
