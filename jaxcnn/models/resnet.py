"""Residual nets for photographs.

Source: He, Zhang, Ren, Sun, "Deep residual learning for image recognition", 2016.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from jaxcnn import functional as F
from jaxcnn.checking import expect_choice, expect_count, expect_flag
from jaxcnn.initializers import lecun_normal
from jaxcnn.layers import BatchNorm, Conv, Dense, GlobalAvgPool, Layer, MaxPool, Residual, Sequential

__all__ = ["resnet"]


def convolution(features: int, size: int = 3, stride: int = 1, groups: int = 1) -> Conv:
    """Return a convolution without the bias that batch norm makes redundant; stride 1 keeps the image's size."""
    # Padded alike on every side, as in PyTorch: SAME would pad a strided convolution of an even image on one side.
    return Conv(features, size, stride=stride, padding=size // 2, groups=groups, use_bias=False)


def basic(inner: int, outputs: int, stride: int) -> list[Conv]:
    """Return the convolutions of the paper's figure 5, left."""
    return [convolution(inner, 3, stride), convolution(outputs)]


def bottleneck(inner: int, outputs: int, stride: int, groups: int = 1) -> list[Conv]:
    """Return the convolutions of the paper's figure 5, right, the stride where torchvision has it."""
    return [convolution(inner, 1), convolution(inner, 3, stride, groups), convolution(outputs, 1)]


class Plan(NamedTuple):
    """The blocks of each stage, the convolutions of a block, and how many times the inner maps it gives."""

    blocks: tuple[int, ...]
    convolutions: Callable[[int, int, int], list[Conv]]
    expansion: int


DEPTHS = {
    10: Plan((1, 1, 1, 1), basic, 1),
    14: Plan((1, 1, 1, 1), bottleneck, 4),
    18: Plan((2, 2, 2, 2), basic, 1),
    26: Plan((2, 2, 2, 2), bottleneck, 4),
    34: Plan((3, 4, 6, 3), basic, 1),
    50: Plan((3, 4, 6, 3), bottleneck, 4),
    101: Plan((3, 4, 23, 3), bottleneck, 4),
    152: Plan((3, 8, 36, 3), bottleneck, 4),
}


def plan(where: str, depth: int) -> Plan:
    """Return the plan of that depth."""
    expect_choice(where, f"depth as one of {list(DEPTHS)}", depth, list(DEPTHS))
    return DEPTHS[int(depth)]


def resnet(
    depth: int, num_classes: int = 10, *, width: int = 64, widening: int = 1, small_images: bool = False
) -> Sequential:
    """Return the paper's residual net, for images of some 224 pixels (any size works).

    A 7x7 convolution and max-pooling, then four stages of blocks, the first with `width` inner maps and each further
    one with twice as many on an image half as wide, then global average pooling and a dense layer. From depth 50 on,
    and at 14 and 26, the blocks are bottlenecks, which give four times as many maps as they have inside.

    Args:
        depth: layers with weights: 18, 34, 50, 101, 152; and 10, 14, 26, which are no nets of the paper.
        num_classes: outputs.
        width: inner maps of the first stage.
        widening: inner maps of all blocks, times this; 2 makes of depth 50 the "wide ResNet-50-2" of Zagoruyko and
            Komodakis 2016, section 3.
        small_images: a 3x3 convolution without stride or pooling in front, for some 32 pixels.

    Returns:
        A `Sequential` from images to logits: stem, stage1, ..., stage4, pool, head; a block is
        `stage1/block1/residual` with `branch` and, where the shape changes, `shortcut`.

    Raises:
        ValueError: a depth that is none of these, a count that is not positive.
        TypeError: small_images is no bool.

    Source: table 1, with shortcut B (1x1 convolutions where the shape changes) and the stride of bottlenecks in their
    3x3 convolution, not the first 1x1: agrees with torchvision, whose figures for 1000 classes are 11,689,512
    parameters and 1.814 G multiply-adds at depth 18, 25,557,032 and 4.089 G at depth 50.
    """
    blocks, convolutions, expansion = plan("resnet", depth)
    widening = expect_count("resnet", "widening", widening)

    def block(inner: int, outputs: int, stride: int, same: bool) -> Sequential:
        branch = post_activated(convolutions(widening * inner, outputs, stride))
        return residual_block(branch, None if same else projection(outputs, stride))

    return residual_net("resnet", blocks, block, expansion, num_classes, width, small_images)


Block = Callable[[int, int, int, bool], Sequential]
"""From inner maps, outputs, stride, and whether the input has the shape of the output, to a block."""


def residual_net(
    where: str, blocks: Sequence[int], block: Block, expansion: int, num_classes: int, width: int, small_images: bool
) -> Sequential:
    """Return the net of such blocks."""
    num_classes = expect_count(where, "num_classes", num_classes)
    width = expect_count(where, "width", width)
    stem, pool = stem_parts(where, width, small_images)
    return Sequential(
        stem=Sequential(**stem, norm=BatchNorm(), act=F.relu, **pool),
        **residual_stages(blocks, block, width, width, expansion),
        pool=GlobalAvgPool(),
        head=Dense(num_classes, kernel_init=lecun_normal),
    )


def stem_parts(where: str, width: int, small_images: bool) -> tuple[dict[str, Layer], dict[str, Layer]]:
    """Return the first convolution, and the pooling that comes after it."""
    if expect_flag(where, "small_images", small_images):
        return {"conv": convolution(width)}, {}
    return {"conv": convolution(width, 7, 2)}, {"pool": MaxPool(3, stride=2, padding=1)}


def residual_stages(
    blocks: Sequence[int], block: Block, previous: int, width: int, expansion: int = 1
) -> dict[str, Sequential]:
    """Return stages of so many blocks after `previous` maps: inner maps double and the image halves between them."""
    stages = {}
    for stage, count in enumerate(blocks):
        inner, parts = width << stage, {}
        outputs = expansion * inner
        for i in range(count):
            stride = 2 if stage and not i else 1
            parts[f"block{i + 1}"] = block(inner, outputs, stride, stride == 1 and previous == outputs)
            previous = outputs
        stages[f"stage{stage + 1}"] = Sequential(**parts)
    return stages


def post_activated(convolutions: Sequence[Conv]) -> Sequential:
    """Return the branch of a block: batch norm after each convolution, and a ReLU after all but the last."""
    parts = {}
    for k, layer in enumerate(convolutions, start=1):
        parts |= {f"conv{k}": layer, f"norm{k}": BatchNorm(), f"act{k}": F.relu}
    return Sequential(**parts)[:-1]


def projection(outputs: int, stride: int) -> Sequential:
    """Return the paper's shortcut B."""
    return Sequential(conv=convolution(outputs, 1, stride), norm=BatchNorm())


def residual_block(branch: Sequential, shortcut: Layer | None) -> Sequential:
    """Return branch and shortcut, added, then a ReLU."""
    return Sequential(residual=Residual(branch, shortcut), act=F.relu)
