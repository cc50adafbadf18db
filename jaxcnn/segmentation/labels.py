"""What masks have to be: of the outputs' size, and of labels that are classes or marks of pixels that do not count."""

import math
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from jaxcnn.checking import expect, shown
from jaxcnn.data.masks import void_labels

__all__ = ["expect_labels", "expect_masks", "mask_in"]


def expect_labels(where: str, labels: Any, classes: int, void: Any = (), name: str = "labels") -> None:
    """Raise `ValueError` if labels that are known, not traced, are neither classes nor `void`, or void ones classes."""
    void = void_labels(where, void, classes)
    if isinstance(labels, jax.core.Tracer):
        return
    others = [label for label in np.unique(np.asarray(labels)).tolist() if not 0 <= label < classes]
    others = [label for label in others if label not in void]
    fix = "Number the classes from 0" + (", and name the labels that do not count: void=(255,)." if void else ".")
    expect(not others, where, f"{name} in 0..{classes - 1} for {classes} classes", shown(others), fix)


def mask_in(where: str, batch: Mapping[str, Any], outputs: Any, name: str) -> Any:
    """Return the masks (..., H, W) of a batch, which may have a channel axis of length 1."""
    fix = f"Pass the name of the masks, {where}(name=...)."
    expect(name in batch, where, f"a batch with {name!r}", list(batch), fix)
    masks = batch[name]
    return masks[..., 0] if masks.ndim == outputs.ndim and masks.shape[-1] == 1 else masks


def expect_masks(where: str, outputs: Any, arrays: Mapping[str, Any], name: str, void: Any) -> None:
    """Raise `ValueError` unless the masks of a set fit such outputs in size and in their labels."""
    shape = tuple(getattr(outputs, "shape", ()))
    expect(len(shape) == 4, where, "outputs (N, H, W, classes)", shape, "Take models.unet, say.")
    size, masks = shape[1:3], np.asarray(mask_in(where, arrays, outputs, name))
    image = np.shape(arrays["image"])[1:3] if "image" in arrays else size
    fits = masks.shape[1:] == size
    pairs = list(zip(size, image, strict=True))
    uneven = any(math.gcd(given, side) != min(given, side) for given, side in pairs)
    # Masks may be of fewer pixels, or of a part of the image; not of what reaches beyond it.
    beyond = uneven and any(given > side for given, side in pairs)
    fix = "Enlarge the outputs, or resize the masks to them, without interpolation."
    fix = "Pad or crop images and masks to sides that the net can halve, multiples of 32, say." if uneven else fix
    ok = size == image or (fits and not beyond)
    expect(ok, where, f"outputs of the images' size {image}", size, fix)
    expect(fits, where, f"masks (N, {size[0]}, {size[1]})", masks.shape, "Resize them, without interpolation.")
    expect_labels(where, masks, shape[-1], void)
