"""VGG: stages of 3x3 convolutions, max-pooling after each, and three dense layers.

Source: Simonyan and Zisserman, "Very deep convolutional networks for large-scale image recognition", 2015.
"""

from jaxcnn import functional as F
from jaxcnn.checking import expect_choice, expect_count, expect_flag
from jaxcnn.initializers import lecun_normal
from jaxcnn.layers import AdaptiveAvgPool, BatchNorm, Conv, Dense, Dropout, Flatten, MaxPool, Sequential

__all__ = ["vgg"]

# Convolutions of each stage: the paper's nets A, B, D and E.
DEPTHS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}


def vgg(
    depth: int,
    num_classes: int = 10,
    *,
    batch_norm: bool = False,
    width: int = 64,
    hidden: int = 4096,
    dropout: float = 0.5,
) -> Sequential:
    """Return the paper's net for images of 224 pixels (32 or more work); for smaller ones there is `cifar_vgg`.

    Five stages of 3x3 convolutions, the first with `width` maps, the others with twice as many as the one before but
    at most 8 times `width`; each ends with max-pooling, which halves the image. Then pooling to 7x7 and three dense
    layers.

    Args:
        depth: layers with weights: 11, 13, 16 or 19.
        num_classes: outputs.
        batch_norm: whether the convolutions are followed by batch norm, as torchvision's "vgg16_bn".
        width: maps of the first stage.
        hidden: units of each of the two dense layers before the last.
        dropout: rate after each of them.

    Returns:
        A `Sequential` from images to logits: stage1, ..., stage5, pool, flatten, hidden1, hidden2, head.

    Raises:
        ValueError: a depth that is none of these, a count that is not positive, a rate outside [0, 1].
        TypeError: batch_norm is no bool.

    Source: table 1; agrees with torchvision, whose figures for 1000 classes are 138,357,544 parameters and 15.47 G
    multiply-adds at depth 16. Initial kernels have variance 2 / fan_in (He et al. 2015); torchvision's, 2 / fan_out,
    let the signal fade where maps double, and those of the paper are a shallower net's, trained before.
    """
    where = "vgg"
    expect_choice(where, f"depth as one of {list(DEPTHS)}", depth, list(DEPTHS))
    num_classes = expect_count(where, "num_classes", num_classes)
    width = expect_count(where, "width", width)
    hidden = expect_count(where, "hidden", hidden)
    batch_norm = expect_flag(where, "batch_norm", batch_norm)

    def stage(features: int, count: int) -> Sequential:
        parts = {}
        for i in range(1, count + 1):
            # The bias is redundant before batch norm, but published weights have one.
            parts[f"conv{i}"] = Conv(features)
            parts |= {f"norm{i}": BatchNorm()} if batch_norm else {}
            parts[f"act{i}"] = F.relu
        return Sequential(**parts, pool=MaxPool(2))

    def dense() -> Sequential:
        return Sequential(dense=Dense(hidden), act=F.relu, dropout=Dropout(dropout))

    counts = enumerate(DEPTHS[int(depth)])
    return Sequential(
        **{f"stage{i + 1}": stage(min(width << i, 8 * width), count) for i, count in counts},
        pool=AdaptiveAvgPool(7),  # changes nothing at 224 pixels, where there are 7x7 already
        flatten=Flatten(),
        hidden1=dense(),
        hidden2=dense(),
        head=Dense(num_classes, kernel_init=lecun_normal),
    )
