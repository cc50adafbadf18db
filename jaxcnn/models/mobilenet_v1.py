"""MobileNet: every convolution but the first in two steps, each channel by itself, then the channels of each pixel.

Source: Howard et al., "MobileNets: efficient convolutional neural networks for mobile vision applications", 2017.
"""

from collections.abc import Callable
from typing import Any

from jaxcnn import functional as F
from jaxcnn.checking import expect_count, expect_flag, number
from jaxcnn.initializers import lecun_normal
from jaxcnn.layers import BatchNorm, Conv, Dense, DepthwiseConv, Dropout, GlobalAvgPool, Sequential

__all__ = ["mobilenet_v1"]

STAGES = ((64, 1, 1), (128, 2, 2), (256, 2, 2), (512, 6, 2), (1024, 2, 2))  # maps, blocks, stride of the first block
WIDEST = 100  # multiplier of the channels


def mobilenet_v1(
    num_classes: int = 10, *, width: float = 1.0, dropout: float = 0.0, small_images: bool = False
) -> Sequential:
    """Return MobileNet, for images of any size.

    A 3x3 convolution of stride 2, then thirteen blocks of a depthwise 3x3 and a 1x1 convolution, both with batch norm
    and ReLU6, in five stages, the last four of which halve the image; then global average pooling and a dense layer.

    Args:
        num_classes: outputs.
        width: the paper's width multiplier, (0, 100]: 1, 0.75, 0.5 and 0.25 in the paper; channels are rounded to
            multiples of 8.
        dropout: rate before the last layer.
        small_images: for images of some 32 pixels, with a first convolution of stride 1.

    Returns:
        A `Sequential` from images to logits: stem, stage1, ..., stage5, pool, dropout, head.

    Raises:
        ValueError: a count that is not positive, a width or rate outside its range.
        TypeError: small_images is no bool.

    Source: the paper's table 1, with the last block's stride 1, as its output sizes ask for. 4,231,976 parameters and
    568,740,352 multiply-adds for 224x224 images and 1000 classes (its table 6: 4.2 M and 569 M). The paper writes ReLU;
    the authors' nets and timm's `mobilenetv1_100`, with which this agrees, have ReLU6.
    """
    where = "mobilenet_v1"
    expect_count(where, "num_classes", num_classes)
    width = expect_width(where, width)
    stride = 1 if expect_flag(where, "small_images", small_images) else 2
    stages = {}
    for stage, (features, blocks, first) in enumerate(STAGES, start=1):
        strides = (first, *(1,) * (blocks - 1))
        stages[f"stage{stage}"] = Sequential(
            **{f"block{i}": _block(round_channels(features * width), s) for i, s in enumerate(strides, start=1)}
        )
    return Sequential(
        stem=normed(Conv(round_channels(32 * width), stride=stride, padding=1, use_bias=False), F.relu6),
        **stages,
        pool=GlobalAvgPool(),
        dropout=Dropout(dropout),
        head=Dense(num_classes, kernel_init=lecun_normal),
    )


def _block(features: int, stride: int) -> Sequential:
    return Sequential(
        depthwise=normed(DepthwiseConv(stride=stride, padding=1, use_bias=False), F.relu6),
        pointwise=normed(Conv(features, 1, use_bias=False), F.relu6),
    )


def normed(conv: Conv | DepthwiseConv, act: Callable[..., Any] | None = None) -> Sequential:
    """Return the convolution, whose bias batch norm makes redundant, with batch norm and perhaps an activation."""
    parts = {"conv": conv, "norm": BatchNorm()}
    return Sequential(**parts) if act is None else Sequential(**parts, act=act)


def expect_width(where: str, width: Any) -> float:
    """Return the multiplier of the channels as a float; raise `ValueError` unless it is in (0, 100]."""
    fix = "1.0 is the paper's net, 0.5 has half its channels."
    return number(where, f"width in (0, {WIDEST}]", width, lambda w: 0 < w <= WIDEST, fix)


def round_channels(channels: float) -> int:
    """Return the multiple of 8 next to `channels`, at least 8 and no less than nine tenths of it.

    Source: the reference code of Sandler et al. 2018, and torchvision's and timm's.
    """
    near = max(8, int(channels + 4) // 8 * 8)
    return near if near >= 0.9 * channels else near + 8
