"""Inception v3: large convolutions in two or more steps, 5x5 as two of 3x3 and 7x7 as 1x7 and 7x1.

Source: Szegedy, Vanhoucke, Ioffe, Shlens, Wojna, "Rethinking the Inception architecture for computer vision", 2016.
"""

from jaxcnn import functional as F
from jaxcnn.checking import expect_count, expect_flag
from jaxcnn.functional.window import Padding, Size
from jaxcnn.initializers import lecun_normal
from jaxcnn.layers import (
    AdaptiveAvgPool,
    Auxiliary,
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

__all__ = ["inception_v3"]


def inception_v3(
    num_classes: int = 10, *, auxiliary: bool = False, dropout: float = 0.5, small_images: bool = False
) -> Sequential | Auxiliary:
    """Return the net as torchvision has it, for images of 299 pixels (75 or more work).

    Five convolutions with max-pooling, then eleven Inception modules in three stages, on maps of 35, 17 and 8 pixels,
    then global average pooling and a dense layer. All convolutions have batch norm.

    Args:
        num_classes: outputs.
        auxiliary: with the classifier that the paper adds for training, on what stage2 gives: an `Auxiliary` net of
            outputs "logits" and "aux", whose loss torchvision counts 0.4 times (with `losses.with_auxiliary`), for
            images of 299 pixels or more. `.main` is the net without it.
        dropout: rate before the last layer.
        small_images: a stem without stride and pooling, for some 32 pixels (7 or more work).

    Returns:
        A `Sequential` from images to logits: stem, stage1 (the modules 5b to 5d, figure 5 of the paper), stage2 (6a,
        which halves the image, then 6b to 6e, figure 6), stage3 (7a, which halves it again, then 7b, 7c, figure 7),
        pool, dropout, head.

    Raises:
        ValueError: a count that is not positive, a rate outside [0, 1].
        TypeError: auxiliary or small_images is no bool.

    Source: table 1 and figures 5 to 8, and for what they leave open torchvision, with which this agrees: 27,161,264
    parameters with the added classifier for 1000 classes, 23,834,568 and 5.713 G multiply-adds without it. Its
    `transform_input`, which only its published weights ask for, is left out: scale the images to [-1, 1] for them,
    `Normalize(0.5, 0.5)`. Initial kernels keep the variance (He et al. 2015), where torchvision's have deviation 0.1.
    """
    where = "inception_v3"
    num_classes = expect_count(where, "num_classes", num_classes)
    small = expect_flag(where, "small_images", small_images)
    net = Sequential(
        stem=_stem(small),
        stage1=Sequential(mixed5b=_fives(32), mixed5c=_fives(64), mixed5d=_fives(64)),
        stage2=Sequential(
            mixed6a=_first_halving(),
            mixed6b=_sevens(128),
            mixed6c=_sevens(160),
            mixed6d=_sevens(160),
            mixed6e=_sevens(192),
        ),
        stage3=Sequential(mixed7a=_second_halving(), mixed7b=_wide(), mixed7c=_wide()),
        pool=GlobalAvgPool(),
        dropout=Dropout(dropout),
        head=Dense(num_classes, kernel_init=lecun_normal),
    )
    if not expect_flag(where, "auxiliary", auxiliary):
        return net
    classifier = Sequential(
        pool=AdaptiveAvgPool(5) if small else AvgPool(5, stride=3),  # 5x5 of 17x17 maps
        conv1=_convolution(128, 1),
        conv2=_convolution(768, 5, padding="VALID"),
        mean=GlobalAvgPool(),  # of one pixel, or a few of larger images
        head=Dense(num_classes, kernel_init=lecun_normal),
    )
    return Auxiliary({"aux": "stage2"}, **net.layers, aux=classifier)


def _stem(small: bool) -> Sequential:
    if small:
        sizes = zip((32, 32, 64, 80, 192), (3, 3, 3, 1, 3), strict=True)
        return Sequential(**{f"conv{i}": _convolution(*size) for i, size in enumerate(sizes, start=1)})
    return Sequential(
        conv1=_convolution(32, 3, stride=2, padding="VALID"),
        conv2=_convolution(32, 3, padding="VALID"),
        conv3=_convolution(64, 3),
        pool1=MaxPool(3, stride=2),
        conv4=_convolution(80, 1),
        conv5=_convolution(192, 3, padding="VALID"),
        pool2=MaxPool(3, stride=2),
    )


def _fives(pooled: int) -> Concat:
    """Return a module of figure 5, one of its 5x5 convolutions left as it is."""
    return Concat(
        branch1x1=_convolution(64, 1),
        branch5x5=Sequential(conv1=_convolution(48, 1), conv2=_convolution(64, 5)),
        branch3x3dbl=Sequential(conv1=_convolution(64, 1), conv2=_convolution(96, 3), conv3=_convolution(96, 3)),
        branch_pool=_pooled(pooled),
    )


def _first_halving() -> Concat:
    return Concat(
        branch3x3=_convolution(384, 3, stride=2, padding="VALID"),
        branch3x3dbl=Sequential(
            conv1=_convolution(64, 1), conv2=_convolution(96, 3), conv3=_convolution(96, 3, stride=2, padding="VALID")
        ),
        branch_pool=MaxPool(3, stride=2),
    )


def _sevens(inner: int) -> Concat:
    """Return a module of figure 6."""
    wide, tall = (1, 7), (7, 1)
    return Concat(
        branch1x1=_convolution(192, 1),
        branch7x7=Sequential(
            conv1=_convolution(inner, 1), conv2=_convolution(inner, wide), conv3=_convolution(192, tall)
        ),
        branch7x7dbl=Sequential(
            conv1=_convolution(inner, 1),
            conv2=_convolution(inner, tall),
            conv3=_convolution(inner, wide),
            conv4=_convolution(inner, tall),
            conv5=_convolution(192, wide),
        ),
        branch_pool=_pooled(192),
    )


def _second_halving() -> Concat:
    return Concat(
        branch3x3=Sequential(conv1=_convolution(192, 1), conv2=_convolution(320, 3, stride=2, padding="VALID")),
        branch7x7x3=Sequential(
            conv1=_convolution(192, 1),
            conv2=_convolution(192, (1, 7)),
            conv3=_convolution(192, (7, 1)),
            conv4=_convolution(192, 3, stride=2, padding="VALID"),
        ),
        branch_pool=MaxPool(3, stride=2),
    )


def _wide() -> Concat:
    """Return a module of figure 7."""

    def both() -> Concat:
        return Concat(a=_convolution(384, (1, 3)), b=_convolution(384, (3, 1)))

    return Concat(
        branch1x1=_convolution(320, 1),
        branch3x3=Sequential(conv1=_convolution(384, 1), conv2=both()),
        branch3x3dbl=Sequential(conv1=_convolution(448, 1), conv2=_convolution(384, 3), conv3=both()),
        branch_pool=_pooled(192),
    )


def _pooled(features: int) -> Sequential:
    return Sequential(pool=AvgPool(3, stride=1, padding=1), **_convolution(features, 1).layers)


def _convolution(features: int, size: Size, *, stride: int = 1, padding: Padding = "SAME") -> Sequential:
    # At stride 1 SAME pads alike on every side.
    conv = Conv(features, size, stride=stride, padding=padding, use_bias=False)
    return Sequential(conv=conv, norm=BatchNorm(eps=1e-3), act=F.relu)
