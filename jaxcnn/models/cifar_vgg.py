"""VGG for small images: stacks of 3x3 convolutions with batch norm, max-pooling between them.

Source: Simonyan and Zisserman, "Very deep convolutional networks for large-scale image recognition", 2015; with the
batch norm of Ioffe and Szegedy 2015 and one dense layer, as is usual on CIFAR.
"""

from collections.abc import Sequence

from jaxcnn import functional as F
from jaxcnn.checking import expect, expect_count, expect_rate, shown
from jaxcnn.initializers import lecun_normal
from jaxcnn.layers import BatchNorm, Conv, Dense, Dropout, GlobalAvgPool, MaxPool, Sequential

__all__ = ["cifar_vgg"]

MOST = 100  # stages, and convolutions of a stage


def cifar_vgg(
    num_classes: int = 10, *, width: int = 64, convolutions: Sequence[int] = (2, 2, 2), dropout: float = 0.0
) -> Sequential:
    """Return a VGG for images of some 16 to 64 pixels.

    A stage for each entry of `convolutions`: so many 3x3 convolutions with batch norm and ReLU, of `width` maps in the
    first stage and twice as many in each that follows, a 2x2 max-pooling between stages; then global average pooling
    and a dense layer.

    Args:
        num_classes: outputs.
        width: maps of the first stage.
        convolutions: of each stage. On CPUs one in the first is enough: most of the time goes into large images.
        dropout: rate before the last layer.

    Returns:
        A `Sequential` from images to logits: stage1, stage2, ..., pool, head.

    Raises:
        ValueError: a count that is not positive, no stage, a rate outside [0, 1].

    Source: the paper's table 1: its nets A to E differ in the convolutions of their stages, (1, 1, 2, 2, 2) to
    (2, 2, 4, 4, 4); 1,148,874 parameters by default for three channels and 10 classes.
    """
    expect_count("cifar_vgg", "num_classes", num_classes)
    width = expect_count("cifar_vgg", "width", width)
    ok = isinstance(convolutions, Sequence) and 0 < len(convolutions) <= MOST
    fix = "Pass (2, 2, 2), say."
    expect(ok, "cifar_vgg", "convolutions as a number for each stage", shown(convolutions), fix)
    convolutions = [expect_count("cifar_vgg", "convolutions", count, most=MOST) for count in convolutions]
    dropout = expect_rate("cifar_vgg", "dropout", dropout)
    blocks = {}
    for stage, count in enumerate(convolutions):
        parts = {}
        for i in range(1, count + 1):
            # Batch norm's bias makes the convolution's redundant.
            parts |= {f"conv{i}": Conv(width << stage, use_bias=False), f"norm{i}": BatchNorm(), f"act{i}": F.relu}
        if stage < len(convolutions) - 1:
            parts["pool"] = MaxPool(2)
        blocks[f"stage{stage + 1}"] = Sequential(**parts)
    head = {"dropout": Dropout(dropout)} if dropout else {}
    return Sequential(**blocks, pool=GlobalAvgPool(), **head, head=Dense(num_classes, kernel_init=lecun_normal))
