"""Residual nets with few layers of many maps.

Source: Zagoruyko and Komodakis, "Wide residual networks", 2016.
"""

from jaxcnn.checking import expect_count, expect_rate
from jaxcnn.layers import Sequential
from jaxcnn.models.cifar_resnet import cifar_blocks
from jaxcnn.models.preact_resnet import preact_net
from jaxcnn.models.resnet import Plan, basic, convolution

__all__ = ["wide_resnet"]


def wide_resnet(
    depth: int, widening: int, num_classes: int = 10, *, width: int = 16, dropout: float = 0.0
) -> Sequential:
    """Return the paper's net WRN-depth-widening for 32x32 images (any size works).

    A 3x3 convolution, then three stages of (depth - 4) / 6 pre-activation blocks, the first with `width` times
    `widening` maps, each further one with twice as many on an image half as wide, then batch norm, ReLU, global
    average pooling and a dense layer. For the paper's wide nets for photographs see `models.resnet`, `widening=2`.

    Args:
        depth: layers with weights and shortcuts, 6 n + 4: 16, 22, 28, 40.
        widening: the paper's k: 1, 2, 4, 8, 10, 12.
        num_classes: outputs.
        width: maps of the stem.
        dropout: rate between the two convolutions of each block; the paper has 0.3 on CIFAR, 0.4 on SVHN.

    Returns:
        A `Sequential` from images to logits: stem, stage1, stage2, stage3, norm, act, pool, head; blocks as in
        `models.preact_resnet`.

    Raises:
        ValueError: a depth that is not 6 n + 4, a count that is not positive, a rate outside [0, 1].

    Source: table 1 and, for dropout, section 2.4; WRN-28-10 has 36,479,194 parameters (36.5 million in section 3).
    """
    blocks = cifar_blocks("wide_resnet", depth, 6, 4)
    width = expect_count("wide_resnet", "width", width)
    widening = expect_count("wide_resnet", "widening", widening)
    dropout = expect_rate("wide_resnet", "dropout", dropout)
    stem = Sequential(conv=convolution(width))
    return preact_net("wide_resnet", stem, Plan(blocks, basic, 1), num_classes, width * widening, dropout)
