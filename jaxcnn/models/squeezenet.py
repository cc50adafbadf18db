"""SqueezeNet: modules that squeeze to few maps and expand them again, and no dense layer.

Source: Iandola, Han, Moskewicz, Ashraf, Dally, Keutzer, "SqueezeNet: AlexNet-level accuracy with 50x fewer parameters
and < 0.5 MB model size", 2016.
"""

from jaxcnn import functional as F
from jaxcnn.checking import expect_choice, expect_count, expect_flag
from jaxcnn.initializers import Normal, he_uniform
from jaxcnn.layers import Concat, Conv, Dropout, GlobalAvgPool, MaxPool, Sequential

__all__ = ["squeezenet"]

# Maps and kernel size of the stem; maps that each fire module squeezes to, stage by stage.
VERSIONS = {
    "1.0": ((96, 7), ((16, 16, 32), (32, 48, 48, 64), (64,))),
    "1.1": ((64, 3), ((16, 16), (32, 32), (48, 48, 64, 64))),
}
POOL = MaxPool(3, stride=2, ceil_mode=True)


def squeezenet(version: str, num_classes: int = 10, *, dropout: float = 0.5, small_images: bool = False) -> Sequential:
    """Return the paper's net, or its successor of 2.4 times less work, for images of 224 pixels (29 or more work).

    A convolution of stride 2, then eight fire modules in three stages with max-pooling between them: a 1x1 convolution
    to few maps, and 1x1 and 3x3 convolutions side by side that make four times as many of them each. The last
    convolution has a map for each class, whose mean over the image is the logit.

    Args:
        version: "1.0", the paper's, or "1.1".
        num_classes: outputs.
        dropout: rate before the last convolution.
        small_images: a 3x3 convolution without stride or pooling in front, for 28 to 32 pixels (6 or more work).

    Returns:
        A `Sequential` from images to logits: stem, stage1, stage2, stage3, dropout, head, act, pool. As in the paper
        the logits are means of rectified maps: none is below 0.

    Raises:
        ValueError: another version, a count that is not positive, a rate outside [0, 1].
        TypeError: small_images is no bool.

    Source: table 1, without shortcuts ("simple bypass") and compression; agrees with torchvision, whose figures for
    1000 classes are 1,248,424 parameters and 0.819 G multiply-adds (1.0), 1,235,496 and 0.349 G (1.1), and with its
    initial kernels.
    """
    where = "squeezenet"
    expect_choice(where, f"version as one of {list(VERSIONS)}", version, list(VERSIONS))
    num_classes = expect_count(where, "num_classes", num_classes)
    (width, size), stages = VERSIONS[version]
    stem = {"conv": _conv(width, size, stride=2, padding="VALID"), "act": F.relu, "pool": POOL}
    if expect_flag(where, "small_images", small_images):
        stem = {"conv": _conv(width, 3), "act": F.relu}
    blocks = {}
    for i, squeezes in enumerate(stages, start=1):
        fires = {f"fire{j}": _fire(squeeze) for j, squeeze in enumerate(squeezes, start=1)}
        blocks[f"stage{i}"] = Sequential(**fires, **({"pool": POOL} if i < len(stages) else {}))
    return Sequential(
        stem=Sequential(**stem),
        **blocks,
        dropout=Dropout(dropout),
        head=Conv(num_classes, 1, kernel_init=Normal(0.01)),
        act=F.relu,
        pool=GlobalAvgPool(),
    )


def _fire(squeeze: int) -> Sequential:
    return Sequential(
        squeeze=Sequential(conv=_conv(squeeze, 1), act=F.relu),
        expand=Concat(
            expand1x1=Sequential(conv=_conv(4 * squeeze, 1), act=F.relu),
            expand3x3=Sequential(conv=_conv(4 * squeeze, 3), act=F.relu),
        ),
    )


def _conv(features: int, size: int, **options) -> Conv:
    return Conv(features, size, kernel_init=he_uniform, **options)
