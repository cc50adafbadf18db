"""Nets that several experiments train, and how large they are."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxcnn import data, initializers, layers, models, surgery
from jaxcnn import functional as F

STAGES = 4  # of the small VGG


def one_hidden_layer(info: data.DatasetInfo, width: int) -> layers.Sequential:
    """Return a net with one hidden layer.

    Its head begins at zero, so that what a net begins with has nothing to do with how many units it has.
    """
    return layers.Sequential(
        normalize=layers.Normalize(info.mean, info.std),
        flatten=layers.Flatten(),
        hidden=layers.Dense(width, kernel_init=initializers.lecun_normal),
        act=F.tanh,
        head=layers.Dense(len(info.class_names), kernel_init=initializers.zeros),
    )


def masked(net: Callable[[int], layers.Sequential], most: int) -> Callable[..., layers.Sequential]:
    """Return the net as a function of a width that may be traced: of `most` units, the others are zero and stay so."""

    def make(width: Any) -> Any:
        return surgery.edit(net(most), {"act": lambda y: y * (jnp.arange(most) < width)})

    return make


def small_vgg(info: data.DatasetInfo, width: int) -> layers.Sequential:
    """Return the net: four stages of one convolution, then a dense layer that sees 3 x 3 places of the last maps."""
    stages = models.create("cifar_vgg", width=width, convolutions=(1,) * STAGES)[:STAGES]
    return layers.Sequential(
        normalize=layers.Normalize(info.mean, info.std),
        **stages.layers,
        pool=layers.AdaptiveAvgPool(3),
        flatten=layers.Flatten(),
        head=head(info),
    )


def three_stages(info: data.DatasetInfo, width: int) -> layers.Sequential:
    """Return the net: three stages of one convolution, and the mean of the last maps."""
    net = models.create("cifar_vgg", num_classes=len(info.class_names), width=width, convolutions=(1, 1, 1))
    return layers.Sequential(normalize=layers.Normalize(info.mean, info.std), **net.layers)


def head(info: data.DatasetInfo) -> layers.Dense:
    """Return the last layer for the classes of a set."""
    return layers.Dense(len(info.class_names), kernel_init=initializers.lecun_normal)


def size(net: layers.Sequential, spec: jax.ShapeDtypeStruct) -> int:
    """Return how many parameters a net has."""
    params, _ = jax.eval_shape(net.init, jax.random.key(0), spec)
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def widest(make: Callable[[int], layers.Sequential], spec: jax.ShapeDtypeStruct, most: int) -> tuple[int, int]:
    """Return the largest width whose net has at most so many parameters, 1 at least, and how many it has."""
    low, high = 1, 2
    while size(make(high), spec) <= most:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if size(make(middle), spec) <= most else (low, middle)
    return low, size(make(low), spec)
