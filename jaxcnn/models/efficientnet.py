"""EfficientNet: inverted residuals that weigh their maps, in a net scaled in depth, width and image size together.

Source: Tan and Le, "EfficientNet: rethinking model scaling for convolutional neural networks", 2019.
"""

import math

from jaxcnn import functional as F
from jaxcnn.checking import expect_count, expect_flag, expect_rate, number
from jaxcnn.initializers import lecun_normal
from jaxcnn.layers import Conv, Dense, DepthwiseConv, Dropout, DropPath, GlobalAvgPool, Layer, Residual, Sequential
from jaxcnn.models.mobilenet_v1 import expect_width, normed, round_channels
from jaxcnn.models.se_resnet import squeeze_excite

__all__ = ["efficientnet"]

STAGES = (  # expansion, kernel, maps, blocks, stride of the first block
    (1, 3, 16, 1, 1),
    (6, 3, 24, 2, 2),
    (6, 5, 40, 2, 2),
    (6, 3, 80, 3, 2),
    (6, 5, 112, 3, 1),
    (6, 5, 192, 4, 2),
    (6, 3, 320, 1, 1),
)
DEEPEST = 100  # multiplier of the blocks


def efficientnet(
    num_classes: int = 10,
    *,
    width: float = 1.0,
    depth: float = 1.0,
    dropout: float = 0.2,
    drop_path: float = 0.2,
    small_images: bool = False,
) -> Sequential:
    """Return EfficientNet B0, or a scaled one, for images of any size.

    A 3x3 convolution of stride 2, then sixteen inverted residuals in seven stages, a 1x1 convolution, global average
    pooling and a dense layer. An inverted residual is MobileNet v2's with 3x3 or 5x5 kernels, SiLU, and squeeze and
    excitation after its depthwise convolution.

    The paper's scaling, for images of so many pixels: B1 `depth=1.1` (240); B2 `width=1.1, depth=1.2, dropout=0.3`
    (260); B3 `width=1.2, depth=1.4, dropout=0.3` (300); B4 `width=1.4, depth=1.8, dropout=0.4` (380).

    Args:
        num_classes: outputs.
        width: multiplier of the channels, (0, 100]; they are rounded to multiples of 8.
        depth: multiplier of the blocks of each stage, (0, 100]; they are rounded up.
        dropout: rate before the last layer.
        drop_path: block i of n is left out of training at the rate drop_path i / n, i from 0, where it is a residual
            branch.
        small_images: for images of some 32 pixels, with a first convolution of stride 1.

    Returns:
        A `Sequential` from images to logits: stem, stage1, ..., stage7, last, pool, dropout, head.

    Raises:
        ValueError: a count that is not positive, a multiplier or rate outside its range.
        TypeError: small_images is no bool.

    Source: the paper's table 1 and sections 3.3 and 5.2; agrees with torchvision's and timm's `efficientnet_b0` to
    `efficientnet_b3`, with their batch norm (the paper's has eps 0.001). B0 has 5,288,548 parameters and 0.386 G
    multiply-adds for 224x224 images and 1000 classes (the paper's table 2: 5.3 M and 0.39 G).
    """
    where = "efficientnet"
    expect_count(where, "num_classes", num_classes)
    width = expect_width(where, width)
    fix = "1.0 is B0's, 2.0 twice as many blocks."
    depth = number(where, f"depth in (0, {DEEPEST}]", depth, lambda d: 0 < d <= DEEPEST, fix)
    drop_path = expect_rate(where, "drop_path", drop_path)
    stride = 1 if expect_flag(where, "small_images", small_images) else 2
    inputs = round_channels(32 * width)
    stem = normed(Conv(inputs, stride=stride, padding=1, use_bias=False), F.silu)
    counts = [math.ceil(count * depth) for *_, count, _ in STAGES]
    rates = (drop_path * i / sum(counts) for i in range(sum(counts)))
    stages = {}
    for stage, ((expansion, kernel, features, _, first), count) in enumerate(zip(STAGES, counts, strict=True), start=1):
        blocks, outputs = {}, round_channels(features * width)
        for i in range(count):
            blocks[f"block{i + 1}"] = _block(expansion, kernel, inputs, outputs, 1 if i else first, next(rates))
            inputs = outputs
        stages[f"stage{stage}"] = Sequential(**blocks)
    return Sequential(
        stem=stem,
        **stages,
        last=normed(Conv(round_channels(1280 * width), 1, use_bias=False), F.silu),
        pool=GlobalAvgPool(),
        dropout=Dropout(dropout),
        head=Dense(num_classes, kernel_init=lecun_normal),
    )


def _block(expansion: int, kernel: int, inputs: int, outputs: int, stride: int, drop_path: float) -> Layer:
    inner = expansion * inputs
    expand = {} if expansion == 1 else {"expand": normed(Conv(inner, 1, use_bias=False), F.silu)}
    branch = Sequential(
        **expand,
        depthwise=normed(DepthwiseConv(kernel, stride=stride, padding=kernel // 2, use_bias=False), F.silu),
        se=squeeze_excite(inner, inputs // 4, act=F.silu),  # a quarter of the block's inputs, not of the maps inside
        project=normed(Conv(outputs, 1, use_bias=False)),
    )
    if stride != 1 or inputs != outputs:
        return branch
    return Residual(Sequential(**branch.layers, drop=DropPath(drop_path)))
