"""Images with boxes in Pascal VOC's form, in which many sets for detection are published: a folder or a zip archive."""

import os
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np

from jaxcnn.checking import expect, expect_count, shown
from jaxcnn.data.annotation import objects_in
from jaxcnn.data.box_slots import box_slots
from jaxcnn.data.dataset import Dataset, from_arrays
from jaxcnn.data.decoding import SUFFIXES, Decoder, expect_shape, require_pillow, stretched
from jaxcnn.data.tree import Tree, contents, open_tree

__all__ = ["load_voc"]

WHERE = "load_voc"
LISTS = "ImageSets/Main/"
SPLITS = (("trainval", "test"), ("train", "test"), ("train", "val"))  # the first whose lists are both there
LAYOUT = (
    "It holds JPEGImages/, Annotations/ and ImageSets/Main/ with trainval.txt or train.txt, and test.txt or val.txt."
)


class _Example(NamedTuple):
    image: np.ndarray
    boxes: np.ndarray  # (K, 4), in pixels of the image
    names: list[str]  # of the classes of the boxes


def load_voc(
    path: str | os.PathLike[str],
    *,
    shape: tuple[int, int] | None = None,
    slots: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Dataset, Dataset]:
    """Return the training and the test set of images with boxes in Pascal VOC's form.

    The sets are what the lists in ImageSets/Main say: trainval (or train) and test; train and val where nothing is
    published of the test set. Classes are all names that occur, sorted. Boxes are cut off at the frame.

    Args:
        path: a folder or a zip archive, which is read in memory and never extracted. All may lie in one folder more.
        shape: height and width that every image is resized to, boxes with it (bilinear, with antialiasing); None
            leaves images as they are.
        slots: boxes of a training image, the largest, see `box_slots`; as many as the image with most has, unless
            given. The test set keeps all boxes: finding one that it had lost would count as wrong.
        progress: is called with the numbers of images done and to do.

    Returns:
        train, test: `Dataset`s with "image", uint8 (N, H, W, 3); "boxes", float32 (N, K, 4), x0, y0, x1, y1 in pixels,
        pixel (i, j) covering [j, j + 1] x [i, i + 1]; "box_class", int32 (N, K), -1 for no box; K is `slots` of the
        training set, and the number of boxes of the image with most of the test set. `train.info.source` says how many
        boxes were left out for want of slots.

    Raises:
        FileNotFoundError: nothing is at `path`, or the image or annotation of a name in the lists is missing.
        ValueError: no such lists; an image that cannot be decoded; an annotation that is none, or has an inverted box,
            one outside the image, or numbers that are not finite; images of several sizes without `shape`.
        OSError: neither a folder nor a zip archive.

    Source: Everingham et al. 2010, "The Pascal visual object classes (VOC) challenge".
    """
    require_pillow()
    slots = None if slots is None else expect_count(WHERE, "slots", slots)
    shape = expect_shape(WHERE, shape)
    path = Path(path).expanduser()
    tree = open_tree(path)
    files = set(tree.names())
    root, splits = _splits(tree, path, files)
    pictures = {
        str(PurePosixPath(name).with_suffix("")): name for name in sorted(files) if name.lower().endswith(SUFFIXES)
    }
    total, done, parts = sum(map(len, splits.values())), 0, []
    for names in splits.values():
        examples = []
        for name in names:
            where = f"{root}Annotations/{name}.xml", pictures.get(f"{root}JPEGImages/{name}", "")
            ok = where[0] in files and bool(where[1])
            fix = "Add them, or take the name out of the lists."
            what = "annotation and image of each name in the lists"
            expect(ok, WHERE, what, f"none or one of {shown(name)} in {path}", fix, FileNotFoundError)
            examples.append(_example(tree, *where, shape))
            done += 1
            if progress is not None:
                progress(done, total)
        parts.append(examples)
    classes = sorted({kind for examples in parts for example in examples for kind in example.names})
    expect(bool(classes), WHERE, f"objects in the annotations of {path}", "none", LAYOUT)
    sizes = sorted({example.image.shape[:2] for examples in parts for example in examples})
    expect(len(sizes) == 1, WHERE, "images of one size", shown(sizes), "Pass shape=(height, width).")
    train, test = (
        _dataset(path, split, examples, classes, most)
        for split, examples, most in zip(splits, parts, (slots, None), strict=True)
    )
    return train, test.with_moments_of(train)


def _splits(tree: Tree, path: Path, files: set[str]) -> tuple[str, dict[str, list[str]]]:
    """Return the folder that holds all, and the names of each of the two sets."""
    for pair in SPLITS:
        end = f"{LISTS}{pair[0]}.txt"
        for root in sorted(name.removesuffix(end) for name in files if name == end or name.endswith(f"/{end}")):
            lists = {split: f"{root}{LISTS}{split}.txt" for split in pair}
            if set(lists.values()) <= files:
                # Lists of one class have more columns.
                rows = {split: _read(tree, name).decode(errors="replace").split("\n") for split, name in lists.items()}
                found = {split: [row.split()[0] for row in lines if row.split()] for split, lines in rows.items()}
                both = sorted(set(found[pair[0]]) & set(found[pair[1]]))
                expect(not both, WHERE, f"lists {pair} without a common name", shown(both), "Correct them.")
                empty = [split for split, names in found.items() if not names]
                expect(not empty, WHERE, f"names in the lists {pair}", f"none in {empty}", "Add some.")
                return root, found
    expect(False, WHERE, f"lists of images in {path}", "none", LAYOUT)
    raise AssertionError


def _example(tree: Tree, annotation: str, picture: str, shape: tuple[int, int] | None) -> _Example:
    image = _tried(picture, lambda: Decoder(3)(contents(tree, picture)))
    height, width, _ = image.shape  # what the annotation says of it may be wrong
    objects = _tried(annotation, lambda: objects_in(contents(tree, annotation)))
    boxes = np.array([box for _, box in objects], np.float64).reshape(-1, 4)
    cut = np.clip(boxes, 0, [width, height, width, height])
    outside = boxes[(cut[:, :2] >= cut[:, 2:]).any(1)]
    fix = "Correct them or take them out."
    what = f"boxes of {annotation} within its image, {width}x{height} pixels"
    expect(not len(outside), WHERE, what, shown(outside.tolist()), fix)
    if shape is not None:
        image = stretched(image, shape)
        cut = cut * (np.array([shape[1], shape[0]] * 2) / [width, height, width, height])
    return _Example(image, cut, [name for name, _ in objects])


def _dataset(path: Path, split: str, examples: list[_Example], classes: list[str], slots: int | None) -> Dataset:
    number = {name: i for i, name in enumerate(classes)}
    kinds = [[number[name] for name in example.names] for example in examples]
    found = box_slots([example.boxes for example in examples], kinds, slots)
    total = sum(map(len, kinds))
    said = f"; {found.left_out:,} of its {total:,} boxes left out, beyond {slots} of an image" * bool(found.left_out)
    image = np.stack([example.image for example in examples])
    source = f"images in {path.name}, list {split}{said}"
    return from_arrays(
        image, class_names=classes, name=path.stem, source=source, boxes=found.boxes, box_class=found.box_class
    )


def _read(tree: Tree, name: str) -> bytes:
    return _tried(name, lambda: contents(tree, name))


def _tried(name: str, read: Callable[[], Any]) -> Any:
    """Return what `read` does; whatever is wrong with a file is an error that names it."""
    try:
        return read()
    except Exception as error:  # archives and Pillow raise nearly everything when they are given damaged files
        raise ValueError(
            f"{WHERE}: expected images and annotations that can be read, got {name} ({error}). Repair or remove it."
        ) from error
