"""VGG for small images: stacks of 3x3 convolutions with batch norm, max-pooling between them.

Source: Simonyan and Zisserman, "Very deep convolutional networks for large-scale image recognition", 2015; with the
batch norm of Ioffe and Szegedy 2015 and one dense layer, as is usual on CIFAR.
"""

from jaxcnn import functional as F
from jaxcnn.checking import expect_count
from jaxcnn.initializers import lecun_normal
from jaxcnn.layers import BatchNorm, Conv, Dense, Dropout, GlobalAvgPool, MaxPool, Sequential

__all__ = ["cifar_vgg"]


def cifar_vgg(
    num_classes: int = 10, *, width: int = 64, stages: int = 3, convolutions: int = 2, dropout: float = 0.0
) -> Sequential:
    """Return a VGG for images of some 16 to 64 pixels.

    `stages` stacks of `convolutions` 3x3 convolutions with batch norm and ReLU: `width` maps in the first stage and
    twice as many in each that follows, a 2x2 max-pooling between them; then global average pooling and a dense layer.

    Args:
        num_classes: outputs.
        width: maps of the first stage.
        stages: each halves the image but the last.
        convolutions: of each stage.
        dropout: rate before the last layer.

    Returns:
        A `Sequential` from images to logits: stage1, stage2, ..., pool, head.

    Raises:
        ValueError: a count that is not positive, a rate outside [0, 1].

    Source: the paper's table 1 begins with two stages of two convolutions of 64 and 128 maps; 1,148,874 parameters by
    default for three channels and 10 classes.
    """
    for name, value in (("width", width), ("stages", stages), ("convolutions", convolutions)):
        expect_count("cifar_vgg", name, value)
    expect_count("cifar_vgg", "num_classes", num_classes)
    blocks = {}
    for number in range(stages):
        parts = {}
        for i in range(1, convolutions + 1):
            # Batch norm's bias makes the convolution's redundant.
            parts |= {f"conv{i}": Conv(width << number, use_bias=False), f"norm{i}": BatchNorm(), f"act{i}": F.relu}
        if number < stages - 1:
            parts["pool"] = MaxPool(2)
        blocks[f"stage{number + 1}"] = Sequential(**parts)
    head = {"dropout": Dropout(dropout)} if dropout else {}
    return Sequential(**blocks, pool=GlobalAvgPool(), **head, head=Dense(num_classes, kernel_init=lecun_normal))
