"""A square of one size out of an image of any size, on the host."""

import math
from dataclasses import dataclass

import numpy as np

__all__ = ["Crop"]

ASPECTS = (3 / 4, 4 / 3)  # width by height
TRIES = 10
GAP = 2.0  # Pillow halves first where that leaves at least so many times the pixels that are asked for


@dataclass(frozen=True)
class Crop:
    """A function of uint8 (h, w, C) that returns uint8 (size, size, C), bilinear with antialiasing.

    Args:
        size: H and W of what comes back.
        scale: which part of the area a random crop has, (low, high).
    """

    size: int
    scale: tuple[float, float]

    def __call__(self, image: np.ndarray, random: np.random.Generator | None) -> np.ndarray:
        """Return a random crop, or without `random` the middle square."""
        from PIL import Image

        height, width, channels = image.shape
        box = middle(height, width) if random is None else self.draw(height, width, random)
        square = (self.size, self.size)
        if channels in (3, 4):
            return np.asarray(_resized(Image.fromarray(image), square, box))
        planes = [np.asarray(_resized(Image.fromarray(image[..., c]), square, box)) for c in range(channels)]
        return np.stack(planes, -1)

    def draw(self, height: int, width: int, random: np.random.Generator) -> tuple[float, float, float, float]:
        """Return a random (left, top, right, bottom): area uniform, log aspect uniform, place uniform.

        Of draws that do not fit ten are made; then it is the middle. Source: torchvision's RandomResizedCrop.
        """
        low, high = map(math.log, ASPECTS)
        for _ in range(TRIES):
            area = height * width * random.uniform(*self.scale)
            aspect = math.exp(random.uniform(low, high))
            w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
            if 0 < w <= width and 0 < h <= height:
                top, left = random.integers(0, height - h + 1), random.integers(0, width - w + 1)
                return float(left), float(top), float(left + w), float(top + h)
        return middle(height, width)


def middle(height: int, width: int) -> tuple[float, float, float, float]:
    """Return (left, top, right, bottom) of the middle square."""
    side = min(height, width)
    left, top = (width - side) / 2, (height - side) / 2
    return left, top, left + side, top + side


def _resized(image, size, box):
    from PIL import Image

    return image.resize(size, Image.Resampling.BILINEAR, box, GAP)
