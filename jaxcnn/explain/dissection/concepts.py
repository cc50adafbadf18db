"""Concepts: what may be seen at a pixel, of several categories, each of them a map of labels or masks with names."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn.checking import expect, shown
from jaxcnn.data.scenes import CLASSES, PARTS, TEXTURES
from jaxcnn.data.scenes.palette import COLOURS

__all__ = ["Concepts", "concepts", "planes", "scene_concepts"]

Layout = tuple[tuple[str, tuple[int, ...]], ...]
"""Of each category, the labels that are concepts (or the places of their masks)."""


class Concepts(NamedTuple):
    """Masks by category, and of each concept, in order, its name and its category."""

    masks: Mapping[str, np.ndarray]
    names: tuple[str, ...]
    categories: tuple[str, ...]
    layout: Layout


def scene_concepts(
    examples: Mapping[str, Any], classes: Sequence[str] | None = None
) -> tuple[dict[str, np.ndarray], dict[str, tuple[str | None, ...]]]:
    """Return the masks and names of `data.Scenes`, as `dissect` takes them: objects, parts, textures, colours.

    The ground is no object and no part, but has a texture and a colour.

    Args:
        examples: a set of scenes, or what `Scenes.batch` returns.
        classes: the names of the classes, in the order of the labels; those of the set, else all, unless given.

    Returns:
        masks: {"object": (N, S, S), "part": ..., "texture": ..., "colour": ...}, integers.
        names: of each category a name for each label, None for the ground.

    Raises:
        ValueError: examples that are no scenes.
    """
    missing = [name for name in _OF_SCENES.values() if not (isinstance(examples, Mapping) and name in examples)]
    fix = 'Pass data.load("scenes")[1], or what Scenes().batch(key, range(128)) returns.'
    expect(not missing, "scene_concepts", "examples with the masks of scenes", f"none called {missing}", fix)
    if classes is None:
        classes = getattr(getattr(examples, "info", None), "class_names", CLASSES)
    names: dict[str, tuple[str | None, ...]] = {"object": (None, *classes), "part": (None, *PARTS[1:])}
    names |= {"texture": TEXTURES, "colour": COLOURS}
    return {category: np.asarray(examples[name]) for category, name in _OF_SCENES.items()}, names


def concepts(where: str, masks: Any, names: Any, images: tuple[int, ...]) -> Concepts:
    """Return the concepts; raise an error unless masks and names fit one another and images (N, H, W, C)."""
    ok = isinstance(masks, Mapping) and len(masks) > 0 and all(isinstance(category, str) for category in masks)
    fix = 'Pass masks={"colour": label_maps}, names={"colour": ("red", "blue")}, say.'
    expect(ok, where, "masks as a dict from categories to arrays", shown(masks), fix, TypeError)
    arrays = {category: np.asarray(mask) for category, mask in masks.items()}
    ok = isinstance(names, Mapping) and set(names) == set(arrays)
    expect(ok, where, f"names of the categories {list(arrays)}", shown(names), fix)
    of_images, size = images[0], None
    for category, mask in arrays.items():
        ok = (mask.dtype == bool and mask.ndim == 4) or (mask.dtype.kind in "iu" and mask.ndim == 3)
        what = f"masks of {category!r} as integers (N, H, W) or bools (N, H, W, K)"
        expect(ok, where, what, shown(mask), "A pixel has one label, or a bool for each concept.", TypeError)
        fix = "Pass one for each image, of the images' size or a whole fraction of it."
        expect(len(mask) == of_images, where, f"masks of {of_images} images", f"{len(mask)} of {category!r}", fix)
        size = mask.shape[1:3] if size is None else size
        expect(mask.shape[1:3] == size, where, f"masks of one size, {size}", f"{mask.shape[1:3]} of {category!r}", fix)
        _expect_names(where, category, names[category], mask)
    high, wide = size  # pyrefly: ignore
    ok = min(high, wide) > 0 and images[1] % high == images[2] % wide == 0 and images[1] // high == images[2] // wide
    fix = "Resize them, labels by the nearest one."
    expect(ok, where, f"masks of the images' size {images[1:3]}, or a whole fraction of it", size, fix)
    layout = tuple((c, tuple(k for k, name in enumerate(names[c]) if name is not None)) for c in arrays)
    every = [(category, names[category][k]) for category, numbers in layout for k in numbers]
    return Concepts(arrays, tuple(name for _, name in every), tuple(category for category, _ in every), layout)


def planes(layout: Layout, masks: Mapping[str, jax.Array]) -> jax.Array:
    """Return which concepts are at each pixel, bool (..., H, W, concepts)."""
    parts = []
    for category, numbers in layout:
        mask, numbers = masks[category], np.asarray(numbers, np.int32)
        parts.append(mask[..., numbers] if mask.dtype == bool else mask[..., None].astype(jnp.int32) == numbers)
    return jnp.concatenate(parts, axis=-1)


def _expect_names(where: str, category: str, names: Any, mask: np.ndarray) -> None:
    ok = isinstance(names, Sequence) and not isinstance(names, str)
    ok = ok and all(name is None or isinstance(name, str) for name in names)
    fix = 'Pass ("red", "blue"), say, with None for a label that is no concept.'
    expect(ok, where, f"names of {category!r} as texts or None", shown(names), fix, TypeError)
    known = [name for name in names if name is not None]
    expect(0 < len(known) == len(set(known)), where, f"different names of {category!r}", shown(names), fix)
    if mask.dtype == bool:
        expect(mask.shape[3] == len(names), where, f"{len(names)} masks of {category!r}", mask.shape[3], "One a name.")
        return
    highest = int(mask.max()) if mask.size else -1
    fix = "Name every label; those that are no concept None, or make them negative."
    expect(highest < len(names), where, f"labels of {category!r} up to {len(names) - 1}, as named", highest, fix)


_OF_SCENES = {"object": "object_mask", "part": "part_mask", "texture": "texture_mask", "colour": "colour_mask"}
