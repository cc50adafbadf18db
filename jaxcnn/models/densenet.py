"""Dense nets for photographs: every layer sees the maps of all layers before it in its block, and adds a few.

Source: Huang, Liu, van der Maaten, Weinberger, "Densely connected convolutional networks", 2017.
"""

from collections.abc import Sequence
from typing import NamedTuple

from jaxcnn import functional as F
from jaxcnn.checking import expect_choice, expect_count, expect_flag, expect_rate
from jaxcnn.initializers import lecun_normal
from jaxcnn.layers import (
    AvgPool,
    BatchNorm,
    Concat,
    Conv,
    Dense,
    Dropout,
    GlobalAvgPool,
    MaxPool,
    Sequential,
)
from jaxcnn.layers.layer import Module

__all__ = ["densenet"]

BOTTLENECK = 4  # maps inside of a layer, for each that it adds


class Plan(NamedTuple):
    """The layers of each block, and the maps that a layer adds."""

    layers: tuple[int, int, int, int]
    growth: int


DEPTHS = {
    121: Plan((6, 12, 24, 16), 32),
    161: Plan((6, 12, 36, 24), 48),
    169: Plan((6, 12, 32, 32), 32),
    201: Plan((6, 12, 48, 32), 32),
}


def densenet(
    depth: int, num_classes: int = 10, *, growth: int | None = None, dropout: float = 0.0, small_images: bool = False
) -> Sequential:
    """Return the paper's DenseNet-BC, for images of some 224 pixels (29 or more work).

    A 7x7 convolution and max-pooling, then four blocks whose layers each add `growth` maps to what they are given, by
    a 1x1 convolution to four times as many and a 3x3 one, each after batch norm and ReLU; between blocks a 1x1
    convolution to half of the maps and 2x2 averages; then batch norm, ReLU, global average pooling and a dense layer.

    Args:
        depth: layers with weights: 121, 161, 169 or 201.
        num_classes: outputs.
        growth: the paper's growth rate k, 32 unless given, and 48 at depth 161; the stem has twice as many maps.
        dropout: rate after each 3x3 convolution of the blocks.
        small_images: a 3x3 convolution without stride or pooling in front, for some 32 pixels.

    Returns:
        A `Sequential` from images to logits: stem, stage1, transition1, stage2, transition2, stage3, transition3,
        stage4, norm, act, pool, head; what a layer adds is `stage1/layer1/new`.

    Raises:
        ValueError: a depth that is none of these, a count that is not positive, a rate outside [0, 1].
        TypeError: small_images is no bool.

    Source: table 1, with compression 0.5; agrees with torchvision, whose figures for 1000 classes are 7,978,856
    parameters and 2.834 G multiply-adds at depth 121.
    """
    where = "densenet"
    expect_choice(where, f"depth as one of {list(DEPTHS)}", depth, list(DEPTHS))
    layers, usual = DEPTHS[int(depth)]
    growth = expect_count(where, "growth", usual if growth is None else growth)
    width = 2 * growth
    if expect_flag(where, "small_images", small_images):
        stem = {"conv": Conv(width, use_bias=False), "norm": BatchNorm(), "act": F.relu}
    else:
        conv = Conv(width, 7, stride=2, padding=3, use_bias=False)
        stem = {"conv": conv, "norm": BatchNorm(), "act": F.relu, "pool": MaxPool(3, stride=2, padding=1)}
    return dense_net(where, Sequential(**stem), layers, growth, num_classes, dropout)


def dense_net(
    where: str, stem: Sequential, layers: Sequence[int], growth: int, num_classes: int, dropout: float
) -> Sequential:
    """Return the net of blocks of so many layers after the stem."""
    num_classes = expect_count(where, "num_classes", num_classes)
    drop = Dropout(expect_rate(where, "dropout", dropout))
    features, parts = stem["conv"].features, {}
    for stage, count in enumerate(layers, start=1):
        parts[f"stage{stage}"] = Sequential(**{f"layer{i}": _layer(growth, drop) for i in range(1, count + 1)})
        features += count * growth
        if stage < len(layers):
            features //= 2
            parts[f"transition{stage}"] = Sequential(
                norm=BatchNorm(), act=F.relu, conv=Conv(features, 1, use_bias=False), pool=AvgPool(2)
            )
    return Sequential(
        stem=stem,
        **parts,
        norm=BatchNorm(),
        act=F.relu,
        pool=GlobalAvgPool(),
        head=Dense(num_classes, kernel_init=lecun_normal),
    )


def _layer(growth: int, dropout: Dropout) -> Concat:
    new: dict[str, Module] = {
        "norm1": BatchNorm(),
        "act1": F.relu,
        "conv1": Conv(BOTTLENECK * growth, 1, use_bias=False),
        "norm2": BatchNorm(),
        "act2": F.relu,
        "conv2": Conv(growth, use_bias=False),
    }
    if dropout.rate:
        new["dropout"] = dropout
    return Concat(input=Sequential(), new=Sequential(**new))
