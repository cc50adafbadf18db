"""A square of one size out of an image of any size, on the host."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = ["Box", "Choose", "draw", "middle", "reduction", "resized"]

ASPECTS = (3 / 4, 4 / 3)  # width by height
TRIES = 10
GAP = 2.0  # an image is reduced first where that leaves at least so many times the pixels that are asked for
REDUCTIONS = (8, 4, 2)  # those of which JPEG decoders are capable

Box = tuple[float, float, float, float]
"""Left, top, right and bottom, in pixels."""
Choose = Callable[[int, int], Box]
"""Which part of an image of some height and width."""


def middle(height: int, width: int) -> Box:
    """Return the middle square."""
    side = min(height, width)
    left, top = (width - side) / 2, (height - side) / 2
    return left, top, left + side, top + side


def draw(height: int, width: int, *, random: np.random.Generator, scale: tuple[float, float]) -> Box:
    """Return a random part: area uniform, log aspect uniform, place uniform.

    Of draws that do not fit ten are made; then it is the largest part in the middle of an aspect that is allowed.
    Source: torchvision's RandomResizedCrop.

    Args:
        height, width: of the image, in pixels.
        random: is drawn from.
        scale: which part of the area it has, (low, high).
    """
    low, high = map(math.log, ASPECTS)
    for _ in range(TRIES):
        area = height * width * random.uniform(*scale)
        aspect = math.exp(random.uniform(low, high))
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            top, left = random.integers(0, height - h + 1), random.integers(0, width - w + 1)
            return float(left), float(top), float(left + w), float(top + h)
    shape = min(max(width / height, ASPECTS[0]), ASPECTS[1])
    w, h = max(1, min(width, round(height * shape))), max(1, min(height, round(width / shape)))
    left, top = (width - w) // 2, (height - h) // 2
    return float(left), float(top), float(left + w), float(top + h)


def reduction(box: Box, size: int) -> int:
    """Return by what the image may be reduced while it is decoded (1, 2, 4 or 8) if `box` is then resized to `size`."""
    left, top, right, bottom = box
    most = min(right - left, bottom - top) / (size * GAP)
    return next((factor for factor in REDUCTIONS if factor <= most), 1)


def resized(image: Any, box: Box, size: int) -> np.ndarray:
    """Return a part of an image resized to uint8 (size, size, C), bilinear with antialiasing.

    Args:
        image: uint8 (h, w, C), or a Pillow image of mode L, RGB or RGBA, which saves the way through an array.
        box: the part.
        size: H and W of what comes back.
    """
    from PIL import Image

    def of(picture: Any) -> np.ndarray:
        return np.asarray(picture.resize((size, size), Image.Resampling.BILINEAR, box, GAP))

    if not isinstance(image, np.ndarray):
        y = of(image)
        return y.reshape(size, size, -1)
    if image.shape[-1] in (3, 4):
        return of(Image.fromarray(image))
    return np.stack([of(Image.fromarray(image[..., c])) for c in range(image.shape[-1])], -1)
