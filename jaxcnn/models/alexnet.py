"""AlexNet: five convolutions, the first of large kernels, and three dense layers.

Source: Krizhevsky, Sutskever, Hinton, "ImageNet classification with deep convolutional neural networks", 2012;
Krizhevsky, "One weird trick for parallelizing convolutional neural networks", 2014.
"""

from jaxcnn import functional as F
from jaxcnn.checking import expect_count, expect_flag
from jaxcnn.initializers import lecun_normal
from jaxcnn.layers import AdaptiveAvgPool, Conv, Dense, Dropout, Flatten, LocalResponseNorm, MaxPool, Sequential

__all__ = ["alexnet"]


def alexnet(
    num_classes: int = 10,
    *,
    one_tower: bool = False,
    hidden: int = 4096,
    dropout: float = 0.5,
    small_images: bool = False,
) -> Sequential:
    """Return the net of 2012 in its two towers, or that of 2014 in one, for images of 224 pixels (63 or more work).

    The towers, one for each of the two GPUs that it was trained on, are convolutions in two groups: the second, fourth
    and fifth see the maps of their own tower alone. Both towers are normalised by neighbouring maps after the first
    two convolutions. The net of 2014 has fewer maps, no groups and no normalization.

    Args:
        num_classes: outputs.
        one_tower: the net of 2014, whose published weights torchvision has.
        hidden: units of each of the two dense layers before the last.
        dropout: rate before each of them.
        small_images: a 3x3 convolution without stride or pooling in front, for 28 to 32 pixels (7 or more work).

    Returns:
        A `Sequential` from images to logits: stem, stage1 (the second convolution), stage2 (the third to the fifth),
        pool, flatten, hidden1, hidden2, head.

    Raises:
        ValueError: a count that is not positive, a rate outside [0, 1].
        TypeError: one_tower or small_images is no bool.

    Source: Krizhevsky et al. 2012, figure 2 and sections 3.3 to 3.5, whose 224 pixels need two of padding in front for
    its 55x55 maps: 60,965,224 parameters for 1000 classes, "60 million" in the paper. In one tower it agrees with
    torchvision: 61,100,840 parameters, 0.714 G multiply-adds. Initial kernels keep the variance (He et al. 2015); the
    paper draws them with a deviation of 0.01 and starts some biases at 1.
    """
    where = "alexnet"
    num_classes = expect_count(where, "num_classes", num_classes)
    hidden = expect_count(where, "hidden", hidden)
    one = expect_flag(where, "one_tower", one_tower)
    first, second, third, fourth, fifth = (64, 192, 384, 256, 256) if one else (96, 256, 384, 384, 256)
    towers = 1 if one else 2
    norm = {} if one else {"norm": LocalResponseNorm()}
    conv, pool = Conv(first, 11, stride=4, padding=2), {"pool": MaxPool(3, stride=2)}
    if expect_flag(where, "small_images", small_images):
        conv, pool = Conv(first), {}

    def dense() -> Sequential:
        return Sequential(dropout=Dropout(dropout), dense=Dense(hidden), act=F.relu)

    return Sequential(
        stem=Sequential(conv=conv, act=F.relu, **norm, **pool),
        stage1=Sequential(conv=Conv(second, 5, groups=towers), act=F.relu, **norm, pool=MaxPool(3, stride=2)),
        stage2=Sequential(
            conv1=Conv(third),
            act1=F.relu,
            conv2=Conv(fourth, groups=towers),
            act2=F.relu,
            conv3=Conv(fifth, groups=towers),
            act3=F.relu,
            pool=MaxPool(3, stride=2),
        ),
        pool=AdaptiveAvgPool(6),  # changes nothing at 224 pixels, where there are 6x6 already
        flatten=Flatten(),
        hidden1=dense(),
        hidden2=dense(),
        head=Dense(num_classes, kernel_init=lecun_normal),
    )
