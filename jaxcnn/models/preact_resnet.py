"""Residual nets with batch norm and ReLU before each convolution, so that shortcuts are identities from end to end.

Source: He, Zhang, Ren, Sun, "Identity mappings in deep residual networks", 2016.
"""

from collections.abc import Sequence

from jaxcnn import functional as F
from jaxcnn.checking import expect_count, expect_flag
from jaxcnn.initializers import lecun_normal
from jaxcnn.layers import BatchNorm, Conv, Dense, Dropout, GlobalAvgPool, Residual, Sequential
from jaxcnn.layers.layer import Module
from jaxcnn.models.cifar_resnet import cifar_blocks
from jaxcnn.models.resnet import Plan, basic, bottleneck, convolution, plan, residual_stages, stem_parts

__all__ = ["cifar_preact_resnet", "preact_resnet"]


def preact_resnet(depth: int, num_classes: int = 10, *, width: int = 64, small_images: bool = False) -> Sequential:
    """Return the pre-activation form of `models.resnet`, for images of some 224 pixels (any size works).

    Args:
        depth: layers with weights: 18, 34, 50, 101, 152; and 10, 14, 26.
        num_classes: outputs.
        width: inner maps of the first stage.
        small_images: a 3x3 convolution without stride or pooling in front, for some 32 pixels.

    Returns:
        A `Sequential` from images to logits: stem, stage1, ..., stage4, norm, act, pool, head. A block is
        `stage1/block1/residual`; where its shape changes, norm1 and act1 come before both branch and shortcut.

    Raises:
        ValueError: a depth that is none of these, a count that is not positive.
        TypeError: small_images is no bool.

    Source: figure 1 (b) and the appendix, with the stride of bottlenecks in their 3x3 convolution: agrees with timm's
    `resnetv2_18`, `resnetv2_50` and so on, 25,549,352 parameters at depth 50 for 1000 classes.
    """
    width = expect_count("preact_resnet", "width", width)
    stem, pool = stem_parts("preact_resnet", width, small_images)
    found = plan("preact_resnet", depth)
    return preact_net("preact_resnet", Sequential(**stem, **pool), found, num_classes, width, 0.0)


def cifar_preact_resnet(
    depth: int, num_classes: int = 10, *, width: int = 16, with_bottlenecks: bool = False
) -> Sequential:
    """Return the paper's pre-activation net for 32x32 images (any size works).

    A 3x3 convolution, then three stages with `width`, 2 and 4 times as many inner maps, halving the image between
    them, then batch norm, ReLU, global average pooling and a dense layer.

    Args:
        depth: layers with weights, 6 n + 2: 20, 56, 110; with bottlenecks 9 n + 2: 164, 1001.
        num_classes: outputs.
        width: maps of the stem, and inner maps of the first stage.
        with_bottlenecks: blocks of three convolutions, which give four times as many maps as they have inside.

    Returns:
        A `Sequential` from images to logits: stem, stage1, stage2, stage3, norm, act, pool, head; blocks as in
        `preact_resnet`.

    Raises:
        ValueError: a depth that is not 6 n + 2 or 9 n + 2, a count that is not positive.
        TypeError: with_bottlenecks is no bool.

    Source: section 4 and the appendix; depths 110 and 164 have 1.7 million parameters, 1001 has 10.2 (Zagoruyko and
    Komodakis 2016, section 3). Shortcuts are 1x1 convolutions where the shape changes; the stride of bottlenecks is in
    their 3x3 convolution.
    """
    layers = 9 if expect_flag("cifar_preact_resnet", "with_bottlenecks", with_bottlenecks) else 6
    blocks = cifar_blocks("cifar_preact_resnet", depth, layers, 2)
    width = expect_count("cifar_preact_resnet", "width", width)
    found = Plan(blocks, bottleneck, 4) if layers == 9 else Plan(blocks, basic, 1)
    return preact_net("cifar_preact_resnet", Sequential(conv=convolution(width)), found, num_classes, width, 0.0)


def preact_net(where: str, stem: Sequential, plan: Plan, num_classes: int, width: int, dropout: float) -> Sequential:
    """Return the net of such blocks after the stem."""
    num_classes = expect_count(where, "num_classes", num_classes)

    def block(inner: int, outputs: int, stride: int, same: bool) -> Sequential:
        parts = preactivated(plan.convolutions(inner, outputs, stride), dropout)
        if same:
            return Sequential(residual=Residual(Sequential(**parts)))
        # What changes the shape starts from activations too: the first norm and ReLU come before branch and shortcut.
        first = {name: parts.pop(name) for name in ("norm1", "act1")}
        shortcut = Sequential(conv=convolution(outputs, 1, stride))
        return Sequential(**first, residual=Residual(Sequential(**parts), shortcut))

    return Sequential(
        stem=stem,
        **residual_stages(plan.blocks, block, stem["conv"].features, width, plan.expansion),
        norm=BatchNorm(),
        act=F.relu,
        pool=GlobalAvgPool(),
        head=Dense(num_classes, kernel_init=lecun_normal),
    )


def preactivated(convolutions: Sequence[Conv], dropout: float) -> dict[str, Module]:
    """Return the convolutions, batch norm and a ReLU before each, and dropout before all but the first."""
    parts: dict[str, Module] = {}
    for k, layer in enumerate(convolutions, start=1):
        parts |= {f"norm{k}": BatchNorm(), f"act{k}": F.relu}
        if k > 1 and dropout:
            parts[f"dropout{k}"] = Dropout(dropout)
        parts[f"conv{k}"] = layer
    return parts
