"""How each data set is trained unless the options say otherwise: what `experiments.train` takes for what is not given.

A figure beside a recipe was measured by the command of its set, seed 0, with what the line says.
"""

from dataclasses import asdict, dataclass
from typing import Any, Literal

__all__ = ["Flip", "Recipe", "Views", "has_own", "recipe"]

Flip = Literal["no", "random", "alternating"]
Views = Literal["one", "mirrored", "moved"]


@dataclass(frozen=True)
class Recipe:
    """Options of `experiments.train`, which says what each is."""

    model: str = "cifar_vgg"
    width: int | None = None
    convolutions: tuple[int, ...] | None = None
    epochs: int = 20
    batch_size: int = 128
    learning_rate: float = 0.1
    weight_decay: float = 5e-4
    label_smoothing: float = 0.1
    validation: float = 0.1
    rotation: float = 0.0
    zoom: float = 0.0
    shift: float = 0.0
    crop: int = 2
    flip: Flip = "random"
    cutout: int = 0
    brightness: float = 0.0
    contrast: float = 0.0
    views: Views = "one"


SMALL = 64  # pixels a side: what a set without a recipe of its own has beyond that are photographs
_DIGITS = Recipe(model="lenet5", epochs=60, batch_size=64, rotation=12.0, zoom=0.15, shift=1.0, crop=0, flip="no")
_MNIST = Recipe(width=32, epochs=8, validation=0.05, rotation=10.0, zoom=0.1, shift=2.0, crop=0, flip="no")
_PHOTOGRAPHS = Recipe(model="resnet18", width=32, batch_size=32, learning_rate=0.05, crop=8)
_RECIPES: dict[tuple[str, str], Recipe] = {
    ("digits", "cpu"): _DIGITS,
    ("mnist", "cpu"): _MNIST,
    # Enough to look into: 500 steps, some 2 min on 2 cores.
    ("scenes", "cpu"): Recipe(width=16, convolutions=(1, 1, 1, 1), epochs=4, batch_size=64, crop=4),
    ("fashion_mnist", "cpu"): Recipe(
        width=32, convolutions=(1, 2, 2, 2), epochs=14, validation=0.05, flip="alternating", views="moved"
    ),
    ("fashion_mnist", "gpu"): Recipe(
        width=128, epochs=60, batch_size=512, learning_rate=0.4, validation=0.05, cutout=8, views="moved"
    ),
    ("cifar10", "cpu"): Recipe(
        width=32, convolutions=(1, 2, 2, 2), epochs=12, validation=0.05, crop=4, flip="alternating", views="moved"
    ),
    ("cifar10", "gpu"): Recipe(
        width=128,
        epochs=60,
        batch_size=512,
        learning_rate=0.4,
        validation=0.05,
        crop=4,
        flip="alternating",
        cutout=12,
        views="moved",
    ),
}


def recipe(dataset: str, platform: str, side: int = SMALL) -> dict[str, Any]:
    """Return the options for a data set on a platform, "cpu", "gpu" or "tpu"; those for a CPU where it has no own.

    Of a set without a recipe `side` decides, the pixels of an image's shorter one.
    """
    kind = "cpu" if platform == "cpu" else "gpu"
    other = Recipe() if side <= SMALL else _PHOTOGRAPHS
    return asdict(_RECIPES.get((dataset, kind)) or _RECIPES.get((dataset, "cpu")) or other)


def has_own(dataset: str) -> bool:
    """Return whether there is a recipe for this very set."""
    return (dataset, "cpu") in _RECIPES
