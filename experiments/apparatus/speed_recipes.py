"""The published recipes of fast training on CIFAR-10, as numbers.

Losses are summed over the batch, so learning rates are those of sums. Recipes "94", "95" and "96" are Jordan's
airbench ("94% on CIFAR-10 in 3.29 seconds on a single GPU", 2024, and its code), "muon" is its faster form, and
"hiverge" the one found by Hiverge's search in 2025, which begins from that.
"""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import jax

from jaxcnn import functional as F
from jaxcnn import models
from jaxcnn.layers import MaxPool, Normalize, Sequential
from jaxcnn.surgery import replace
from jaxcnn.training.muon import COEFFICIENTS

UNIT = 1 / (1024 * (1 + 1 / (1 - 0.85)))  # airbench gives rates for so many examples' worth of momentum
DEVIATION = 0.25  # of CIFAR-10's pixels, about


@dataclass(frozen=True)
class SpeedRecipe:
    net: int  # which airbench
    epochs: float
    batch_size: int  # images
    rate: float  # of the kernels at the peak
    bias_rate: float  # of batch norm's biases
    head_rate: float  # of the last layer
    whitening_rate: float  # of the biases of the whitening convolution
    decay: float  # of what moves by plain momentum, in a step at the peak
    momentum: float = 0.85  # Nesterov's
    muon: float | None = None  # momentum of kernels whose steps are made orthogonal; None: they move as the others
    coefficients: tuple[float, float, float] = COEFFICIENTS  # of the iteration that does so
    renormalize: tuple[int, int] = (1, 0)  # steps between renormalized kernels, at first and by how many more at last
    warmup: float = 0.0  # part of the training in which rates rise,
    first: float = 1.0  # from this part of the peak,
    last: float = 0.0  # before they fall to this one
    whitening_epochs: float = 3.0  # after which those biases stay
    whitening_falls: bool = False  # whether their rate falls to 0 until then
    lookahead: bool = False  # whether every fifth step goes back to a running average
    label_smoothing: float = 0.2
    bn_decay: float | None = None  # of running statistics; None: that of the net
    silu: bool = False  # in the place of GELU
    logit_divisor: float = 9.0
    wide_head: bool = False  # whether the last kernel starts with standard deviation 1
    shift: int = 2  # pixels by which an image is moved, at most
    cutout: int = 0  # pixels of a square that is covered
    brightness: float = 0.0  # that is added, at most, in [0, 1]
    contrast: float = 0.0  # by which distances from the mean change, at most
    unsure: float = 1.0  # part of the test images, the least certain, that is looked at in moved views, too
    narrow: int = 1  # by what the numbers of maps are divided, to try things

    def steps(self, images: int) -> int:
        """Return the number of steps with so many training images."""
        return math.ceil(self.epochs * (images // self.batch_size))


_94 = SpeedRecipe(
    net=94,
    epochs=9.9,
    batch_size=1024,
    rate=11.5 * UNIT,
    bias_rate=64 * 11.5 * UNIT,
    head_rate=11.5 * UNIT,
    whitening_rate=11.5 * UNIT,
    decay=0.0153 * 1024 * UNIT,
    warmup=0.23,
    first=0.2,
    last=0.07,
    lookahead=True,
)


def _airbench(net: int, epochs: float, rate: float, **others: float) -> SpeedRecipe:
    rates = {"rate": rate, "bias_rate": 64 * rate, "head_rate": rate, "whitening_rate": rate}
    return dataclasses.replace(_94, net=net, epochs=epochs, **rates, **others)  # pyrefly: ignore


_MUON = SpeedRecipe(
    net=94,
    epochs=8,
    batch_size=2000,
    rate=0.24,
    muon=0.6,
    bias_rate=0.053,
    head_rate=0.67,
    whitening_rate=0.053,
    decay=2e-6 * 2000,
    whitening_falls=True,
    logit_divisor=256.0,
    wide_head=True,
)
RECIPES: dict[str, SpeedRecipe] = {
    "94": _94,
    "95": _airbench(95, 15, 10 * UNIT),
    "96": _airbench(96, 37, 9 * UNIT, decay=0.012 * 1024 * UNIT, warmup=0.1, last=0.0, shift=4, cutout=12),
    "muon": _MUON,
    "hiverge": dataclasses.replace(
        _MUON,
        epochs=7.59,
        batch_size=1536,
        rate=0.205,
        muon=0.655,
        coefficients=(3.4576, -4.7391, 2.0843),
        renormalize=(2, 15),
        momentum=0.825,
        bias_rate=0.0573,
        whitening_rate=0.0573,
        head_rate=0.5415,
        decay=1.0418e-6 * 1536,
        whitening_epochs=0.19,
        label_smoothing=0.09,
        bn_decay=0.5566,
        silu=True,
        brightness=0.14 * DEVIATION,  # taken to be of normalised images, as the other is
        contrast=0.131,
        unsure=0.25,
    ),
}


def speed_net(recipe: SpeedRecipe, classes: int, channels: int, *, tiled: bool) -> Sequential:
    """Return a recipe's net, for normalised images.

    Args:
        recipe: which.
        classes: outputs.
        channels: of an image.
        tiled: whether `halved` takes the place of `layers.MaxPool`, whose gradient is a scatter on accelerators.
    """
    net = models.create(f"airbench{recipe.net}", num_classes=classes, channels=channels)
    norm: Any = net["stage1"]["norm1"]
    swaps: dict[Any, Any] = {net["scale"]: Normalize(0, recipe.logit_divisor)}
    swaps |= {MaxPool(2): halved} if tiled else {}
    swaps |= {F.gelu: F.silu} if recipe.silu else {}
    swaps |= {norm: dataclasses.replace(norm, decay=recipe.bn_decay)} if recipe.bn_decay else {}
    if recipe.narrow > 1:
        convolutions: list[Any] = [net[f"stage{i}"]["conv1"] for i in (1, 2, 3)]
        swaps |= {conv: dataclasses.replace(conv, features=conv.features // recipe.narrow) for conv in convolutions}
    return replace(net, swaps)


def halved(x: jax.Array) -> jax.Array:
    """Return the maximum of each 2x2 pixels of images (..., H, W, C), without the row and column left over."""
    *lead, height, width, channels = x.shape
    height, width = height // 2, width // 2
    tiles = x[..., : 2 * height, : 2 * width, :].reshape(*lead, height, 2, width, 2, channels)
    return tiles.max((-4, -2))
