"""Residual nets of bottlenecks with grouped convolutions.

Source: Xie, Girshick, Dollár, Tu, He, "Aggregated residual transformations for deep neural networks", 2017.
"""

from jaxcnn.checking import expect_choice, expect_count
from jaxcnn.layers import Sequential
from jaxcnn.models.resnet import DEPTHS, bottleneck, post_activated, projection, residual_block, residual_net

__all__ = ["resnext"]

BLOCKS = {depth: plan.blocks for depth, plan in DEPTHS.items() if plan.convolutions is bottleneck} | {29: (3, 3, 3)}


def resnext(
    depth: int,
    num_classes: int = 10,
    *,
    cardinality: int = 32,
    group_width: int = 4,
    width: int = 64,
    small_images: bool = False,
) -> Sequential:
    """Return the paper's residual net of bottlenecks whose 3x3 convolution works in groups.

    Args:
        depth: layers with weights: 50, 101, 152 with four stages, 29 with three (the paper's for CIFAR, which is of
            small images); and 14, 26.
        num_classes: outputs.
        cardinality: groups of the 3x3 convolutions.
        group_width: maps of each group in the first stage, doubled from stage to stage.
        width: maps of the stem, and a quarter of what the first stage gives.
        small_images: a 3x3 convolution without stride or pooling in front, for some 32 pixels.

    Returns:
        A `Sequential` from images to logits: stem, stage1, ..., pool, head; a block is `stage1/block1/residual` with
        `branch` and, where the shape changes, `shortcut`.

    Raises:
        ValueError: a depth that is none of these, a count that is not positive.
        TypeError: small_images is no bool.

    Source: table 1 and, for CIFAR, section 5.3 (34.4 million parameters with 8 groups of 64); agrees with
    torchvision, whose figures for 1000 classes are 25,028,904 parameters and 4.23 G multiply-adds at depth 50.
    """
    expect_choice("resnext", f"depth as one of {sorted(BLOCKS)}", depth, list(BLOCKS))
    cardinality = expect_count("resnext", "cardinality", cardinality)
    group_width = expect_count("resnext", "group_width", group_width)
    width = expect_count("resnext", "width", width)

    def block(inner: int, outputs: int, stride: int, same: bool) -> Sequential:
        maps = cardinality * group_width * (inner // width)
        branch = post_activated(bottleneck(maps, outputs, stride, cardinality))
        return residual_block(branch, None if same else projection(outputs, stride))

    return residual_net("resnext", BLOCKS[int(depth)], block, 4, num_classes, width, small_images)
