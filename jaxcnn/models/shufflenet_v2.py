"""ShuffleNet v2: blocks that convolve half of their channels and then shuffle both halves together.

Source: Ma, Zhang, Zheng, Sun, "ShuffleNet V2: practical guidelines for efficient CNN architecture design", 2018.
"""

from jaxcnn import functional as F
from jaxcnn.checking import expect, expect_count, expect_flag, is_number, plain, shown
from jaxcnn.initializers import lecun_normal
from jaxcnn.layers import (
    ChannelChunk,
    ChannelShuffle,
    Concat,
    Conv,
    Dense,
    DepthwiseConv,
    GlobalAvgPool,
    MaxPool,
    Sequential,
)
from jaxcnn.models.mobilenet_v1 import normed

__all__ = ["shufflenet_v2"]

BLOCKS = (4, 8, 4)
FEATURES = {  # width: maps of the stages and of the last convolution
    0.5: (48, 96, 192, 1024),
    1.0: (116, 232, 464, 1024),
    1.5: (176, 352, 704, 1024),
    2.0: (244, 488, 976, 2048),
}


def shufflenet_v2(num_classes: int = 10, *, width: float = 1.0, small_images: bool = False) -> Sequential:
    """Return ShuffleNet v2, for images of any size.

    A 3x3 convolution of stride 2 and max-pooling, then three stages of 4, 8 and 4 blocks, a 1x1 convolution, global
    average pooling and a dense layer. A block hands half of its channels on as they are, puts the others through a 1x1,
    a depthwise 3x3 and another 1x1 convolution, and shuffles the two halves together; the first block of a stage
    convolves all channels in both branches, with stride 2. All convolutions have batch norm, the 1x1 ones ReLU.

    Args:
        num_classes: outputs.
        width: 0.5, 1.0, 1.5 or 2.0, the nets of the paper.
        small_images: for images of some 32 pixels, with a first convolution of stride 1 and no max-pooling.

    Returns:
        A `Sequential` from images to logits: stem, stage1, stage2, stage3 (the paper's Stage2 to Stage4), last, pool,
        head.

    Raises:
        ValueError: a count that is not positive, another width.
        TypeError: small_images is no bool.

    Source: the paper's table 5 and figure 3; agrees with torchvision's `shufflenet_v2_x0_5` to `_x2_0`. Width 1 has
    2,278,604 parameters and 0.145 G multiply-adds for 224x224 images and 1000 classes (the table: 2.3 M and 146 M).
    """
    where = "shufflenet_v2"
    expect_count(where, "num_classes", num_classes)
    known = is_number(width) and plain(width) in FEATURES
    expect(known, where, f"a width of {list(FEATURES)}", shown(width), "Choose one of them.")
    small = expect_flag(where, "small_images", small_images)
    *stage_features, last = FEATURES[float(width)]
    stem = normed(Conv(24, stride=1 if small else 2, padding=1, use_bias=False), F.relu)
    pool = {} if small else {"pool": MaxPool(3, stride=2, padding=1)}
    stages = {}
    for stage, (features, count) in enumerate(zip(stage_features, BLOCKS, strict=True), start=1):
        rest = {f"block{i}": _block(features // 2) for i in range(2, count + 1)}
        stages[f"stage{stage}"] = Sequential(block1=_halving_block(features // 2), **rest)
    return Sequential(
        stem=Sequential(**stem.layers, **pool),
        **stages,
        last=_pointwise(last),
        pool=GlobalAvgPool(),
        head=Dense(num_classes, kernel_init=lecun_normal),
    )


def _block(half: int) -> Sequential:
    convolved = Sequential(part=ChannelChunk(1), **_convolutions(half, 1).layers)
    return Sequential(branches=Concat(left=ChannelChunk(0), right=convolved), shuffle=ChannelShuffle())


def _halving_block(half: int) -> Sequential:
    left = Sequential(depthwise=_depthwise(2), pointwise=_pointwise(half))
    return Sequential(branches=Concat(left=left, right=_convolutions(half, 2)), shuffle=ChannelShuffle())


def _convolutions(features: int, stride: int) -> Sequential:
    return Sequential(pointwise1=_pointwise(features), depthwise=_depthwise(stride), pointwise2=_pointwise(features))


def _pointwise(features: int) -> Sequential:
    return normed(Conv(features, 1, use_bias=False), F.relu)


def _depthwise(stride: int) -> Sequential:
    return normed(DepthwiseConv(stride=stride, padding=1, use_bias=False))  # no activation, as in Xception
