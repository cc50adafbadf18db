"""Images with a mask each, the class of every pixel: the user's own as a data set, and marks of pixels without one."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxcnn.checking import expect, is_int, shown
from jaxcnn.data.dataset import Dataset, from_arrays
from jaxcnn.data.decoding import Decoder, class_numbers, expect_shape, require_pillow, stretched
from jaxcnn.data.tree import TESTS, TRAIN, Tree, contents, images_in, open_tree

__all__ = ["VOID", "load_masks", "void_labels"]

VOID = (-1, 255)
"""The usual marks of pixels without a class."""

LAYOUT = "Put images into train/ and test/, and masks of the same names beside them, into train_masks/ and test_masks/."
NAMED = 3  # files that a message names


def load_masks(
    path: str | os.PathLike[str],
    class_names: Sequence[str],
    *,
    void: Sequence[int] = VOID,
    shape: tuple[int, int] | None = None,
) -> tuple[Dataset, Dataset]:
    """Return the training and the test set of images with masks, in memory.

    Args:
        path: a folder, or a zip archive, with `train/` and `test/` (or `validation/`, `val/`: the first that is there)
            of images, and beside each a folder whose name begins alike, such as `train_masks/` or
            `trainannot/`, with a mask of the same name for each image: grey or with a palette, its values the numbers
            of the classes.
        class_names: in the order of their numbers, from 0.
        void: values of pixels that have no class; see `segmentation.pixel_loss`.
        shape: height and width that every image is resized to (bilinear, with antialiasing), and every mask (nearest
            pixels); None leaves both as they are.

    Returns:
        train, test: two `Dataset`s with `["image"]`, uint8 (N, H, W, 3), `["mask"]`, uint8 (N, H, W), and `.info`.

    Raises:
        ValueError: void values that are classes too, folders of another layout, an image without mask or a mask without
            image, a mask of another size than its image, images of several sizes without `shape`, masks with values
            that are neither classes nor void, training masks of one class alone, files that cannot be decoded; the
            message names them.
        TypeError: class_names that are no texts.
        FileNotFoundError: there is nothing at path.
        OSError: neither a folder nor a zip archive, or it cannot be read.
        ImportError: Pillow is not installed.
    """
    where = "load_masks"
    ok = isinstance(class_names, Sequence) and not isinstance(class_names, str) and len(class_names) > 0
    ok = ok and all(isinstance(name, str) for name in class_names)
    expect(ok, where, "class_names as a list of texts", shown(class_names), 'Pass ["road", "sky"], say.', TypeError)
    allowed = {*range(len(class_names)), *void_labels(where, void, len(class_names))}
    shape = expect_shape(where, shape)
    require_pillow()
    path = Path(path).expanduser()
    tree = open_tree(path)
    folders = _folders(tree.names())
    second = next((name for name in TESTS if name in folders), TESTS[0])
    ok = TRAIN in folders and second in folders
    expect(ok, where, f"folders of images in {path}", sorted(folders), LAYOUT)
    train_pairs, test_pairs = (_pairs(path, folders, split) for split in (TRAIN, second))
    image, mask = _read(tree, train_pairs + test_pairs, allowed, shape)
    values = np.unique(mask[: len(train_pairs)]).tolist()
    ok = len(class_names) == 1 or len(set(values) & set(range(len(class_names)))) > 1
    fix = "Write the number of a class where 255 stands for an object, or name other values as void."
    expect(ok, where, f"pixels of two classes or more in the masks of {TRAIN}", f"values {shown(values)}", fix)
    source = f"images and masks in {path.name}; folders {TRAIN} and {second}"

    def part(chosen: slice) -> Dataset:
        return from_arrays(
            image=image[chosen], class_names=class_names, name=path.stem, source=source, mask=mask[chosen]
        )

    train = part(slice(0, len(train_pairs)))
    return train, part(slice(len(train_pairs), None)).with_moments_of(train)


def void_labels(where: str, void: Any, classes: int = 0) -> tuple[int, ...]:
    """Return the marks of pixels that do not count as ints; raise `ValueError` unless they are some, and no classes.

    Args:
        where: the function whose option they are.
        void: the option.
        classes: how many there are, as far as it is known.
    """
    ok = isinstance(void, Sequence) and all(map(is_int, void))
    expect(ok, where, "void as a tuple of ints", shown(void), "Pass (255,), say.")
    inside = [label for label in void if 0 <= label < classes]
    fix = "Take numbers that no class has, void=(-1,), say."
    expect(not inside, where, f"void labels outside 0..{classes - 1}", shown(inside), fix)
    return tuple(int(label) for label in void)


def _folders(names: Sequence[str]) -> dict[str, dict[str, str]]:
    """Return the images of each folder: what their path below it is, without the suffix, and the whole name."""
    images = images_in(names)
    while images and len({parts[0] for parts in images.values()}) == 1:  # one folder with all else, as in archives
        images = {name: parts[1:] for name, parts in images.items() if len(parts) > 1}
    folders: dict[str, dict[str, str]] = {}
    for name, parts in images.items():
        if len(parts) > 1:
            folders.setdefault(parts[0], {})["/".join(parts[1:]).rpartition(".")[0]] = name
    return folders


def _pairs(path: Path, folders: dict[str, dict[str, str]], split: str) -> list[tuple[str, str]]:
    """Return the names of the images of a split, each with that of its mask."""
    beside = [name for name in folders if name.startswith(split) and name not in (TRAIN, *TESTS)]
    expect(len(beside) == 1, "load_masks", f"one folder of masks in {path} for {split}", sorted(beside), LAYOUT)
    images, masks = folders[split], folders[beside[0]]
    alone = sorted(images.get(key) or masks[key] for key in images.keys() ^ masks.keys())
    more = f" and {len(alone) - NAMED} more" if len(alone) > NAMED else ""
    got = f"{', '.join(alone[:NAMED])}{more} alone"
    expect(not alone, "load_masks", "an image and a mask of each name", got, "Give it the other, or leave it out.")
    return [(images[key], masks[key]) for key in sorted(images)]


def _read(
    tree: Tree, pairs: Sequence[tuple[str, str]], allowed: set[int], shape: tuple[int, int] | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return all images and all masks, checked."""
    images, masks = [], []
    size: tuple[int, ...] = ()
    for names in pairs:
        image, mask = _decoded(tree, names[0], Decoder(3)), _decoded(tree, names[1], class_numbers)
        sizes = dict(zip(names, (image.shape[:2], mask.shape), strict=True))
        fix = "Give each image a mask of its size, resized without interpolation."
        expect(image.shape[:2] == mask.shape, "load_masks", "an image and its mask of one size", sizes, fix)
        if shape is not None:
            image, mask = stretched(image, shape), stretched(mask, shape, numbers=True)
        size = size or mask.shape
        expect(mask.shape == size, "load_masks", f"images of one size {size}", sizes, "Pass shape=(height, width).")
        others = [label for label in np.unique(mask).tolist() if label not in allowed]
        fix = "Pass class_names for all classes, and as void the values of pixels that have none."
        expect(not others, "load_masks", f"masks of {sorted(allowed)}", f"{shown(others)} in {names[1]}", fix)
        images.append(image)
        masks.append(mask)
    return np.stack(images), np.stack(masks)


def _decoded(tree: Tree, name: str, decode: Callable[[bytes], np.ndarray]) -> np.ndarray:
    try:
        return decode(contents(tree, name))
    except Exception as error:  # Pillow and archives raise nearly everything when files are damaged or hostile
        raise ValueError(
            f"load_masks: expected images that can be decoded, got {name} ({error}). Repair it, or leave it out."
        ) from error
