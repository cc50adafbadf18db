"""MobileNet v2: residual blocks the wrong way round, narrow between blocks and wide inside, where they are depthwise.

Source: Sandler, Howard, Zhu, Zhmoginov, Chen, "MobileNetV2: inverted residuals and linear bottlenecks", 2018.
"""

from jaxcnn import functional as F
from jaxcnn.checking import expect_count, expect_flag
from jaxcnn.initializers import Normal
from jaxcnn.layers import Conv, Dense, DepthwiseConv, Dropout, GlobalAvgPool, Layer, Residual, Sequential
from jaxcnn.models.mobilenet_v1 import expect_width, normed, round_channels

__all__ = ["mobilenet_v2"]

STAGES = (  # expansion, maps, blocks, stride of the first block
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


def mobilenet_v2(
    num_classes: int = 10, *, width: float = 1.0, dropout: float = 0.2, small_images: bool = False
) -> Sequential:
    """Return MobileNet v2, for images of any size.

    A 3x3 convolution of stride 2, then seventeen inverted residuals in seven stages, a 1x1 convolution, global average
    pooling and a dense layer. An inverted residual makes its maps six times as many with a 1x1 convolution, convolves
    each with 3x3, and makes them few again with a 1x1 convolution that no activation follows (a linear bottleneck); all
    have batch norm and the others ReLU6. Its input is added where the shapes agree.

    Args:
        num_classes: outputs.
        width: the paper's width multiplier, (0, 100]; channels are rounded to multiples of 8, and the last convolution
            is not made narrower than 1280.
        dropout: rate before the last layer.
        small_images: for images of some 32 pixels, with a first convolution of stride 1.

    Returns:
        A `Sequential` from images to logits: stem, stage1, ..., stage7, last, pool, dropout, head.

    Raises:
        ValueError: a count that is not positive, a width or rate outside its range.
        TypeError: small_images is no bool.

    Source: the paper's table 2; agrees with torchvision's `mobilenet_v2` and timm's `mobilenetv2_100`: 3,504,872
    parameters and 300,774,272 multiply-adds for 224x224 images and 1000 classes (the paper's table 4: 3.4 M and 300 M).
    """
    where = "mobilenet_v2"
    expect_count(where, "num_classes", num_classes)
    width = expect_width(where, width)
    stride = 1 if expect_flag(where, "small_images", small_images) else 2
    inputs = round_channels(32 * width)
    stem = normed(Conv(inputs, stride=stride, padding=1, use_bias=False), F.relu6)
    stages = {}
    for stage, (expansion, features, count, first) in enumerate(STAGES, start=1):
        blocks = {}
        for i in range(1, count + 1):
            outputs = round_channels(features * width)
            blocks[f"block{i}"] = _block(expansion, inputs, outputs, first if i == 1 else 1)
            inputs = outputs
        stages[f"stage{stage}"] = Sequential(**blocks)
    return Sequential(
        stem=stem,
        **stages,
        last=normed(Conv(round_channels(1280 * max(1.0, width)), 1, use_bias=False), F.relu6),
        pool=GlobalAvgPool(),
        dropout=Dropout(dropout),
        head=Dense(num_classes, kernel_init=Normal(0.01)),
    )


def _block(expansion: int, inputs: int, outputs: int, stride: int) -> Layer:
    expand = {} if expansion == 1 else {"expand": normed(Conv(expansion * inputs, 1, use_bias=False), F.relu6)}
    branch = Sequential(
        **expand,
        depthwise=normed(DepthwiseConv(stride=stride, padding=1, use_bias=False), F.relu6),
        project=normed(Conv(outputs, 1, use_bias=False)),
    )
    return Residual(branch) if stride == 1 and inputs == outputs else branch
