"""Residual nets whose blocks weigh their maps by what the whole image holds.

Source: Hu, Shen, Sun, "Squeeze-and-excitation networks", 2018.
"""

from jaxcnn import functional as F
from jaxcnn.checking import expect_count
from jaxcnn.initializers import lecun_normal
from jaxcnn.layers import AdaptiveAvgPool, Conv, Gate, Sequential
from jaxcnn.layers.layer import Module
from jaxcnn.models.resnet import plan, post_activated, projection, residual_block, residual_net

__all__ = ["se_resnet", "squeeze_excite"]

LEAST = 8  # units that a squeezed image is described by


def squeeze_excite(features: int, reduced: int, *, act: Module = F.relu, gate: Module = F.sigmoid) -> Gate:
    """Return the paper's block: each map times a number in (0, 1) that the means of all maps decide.

    y = x * gate(W2 act(W1 mean(x) + b1) + b2), W1 of shape (features, reduced).

    Args:
        features: maps of the input.
        reduced: units between.
        act: the nonlinearity between.
        gate: from the second map's outputs to factors.

    Returns:
        A `Gate` whose branch is pool, reduce, act, expand, gate. `reduce` and `expand` are 1x1 convolutions of images
        of one pixel, as in torchvision and timm.

    Raises:
        ValueError: a count that is not positive.

    Source: section 3, equations 2 to 4; agrees with `torchvision.ops.SqueezeExcitation`.
    """
    features = expect_count("squeeze_excite", "features", features)
    reduced = expect_count("squeeze_excite", "reduced", reduced)
    return Gate(
        Sequential(
            pool=AdaptiveAvgPool(1),
            reduce=Conv(reduced, 1),
            act=act,
            expand=Conv(features, 1, kernel_init=lecun_normal),
            gate=gate,
        )
    )


def se_resnet(
    depth: int, num_classes: int = 10, *, reduction: int = 16, width: int = 64, small_images: bool = False
) -> Sequential:
    """Return a residual net whose branches end with `squeeze_excite`; otherwise `models.resnet`.

    Args:
        depth: layers with weights of the net without them: 50, 101, 152; and 10, 14, 18, 26, 34.
        num_classes: outputs.
        reduction: maps of a block for each unit that describes the squeezed image, which 8 do at least.
        width: inner maps of the first stage.
        small_images: a 3x3 convolution without stride or pooling in front, for some 32 pixels.

    Returns:
        A `Sequential` from images to logits: stem, stage1, ..., stage4, pool, head; a block is
        `stage1/block1/residual` with `branch`, whose last part is `se`, and, where the shape changes, `shortcut`.

    Raises:
        ValueError: a depth that is none of these, a count that is not positive.
        TypeError: small_images is no bool.

    Source: figure 3 and table 1, with the stride of bottlenecks in their 3x3 convolution: agrees with timm's
    `seresnet50`, 28,088,024 parameters for 1000 classes.
    """
    blocks, convolutions, expansion = plan("se_resnet", depth)
    reduction = expect_count("se_resnet", "reduction", reduction)

    def block(inner: int, outputs: int, stride: int, same: bool) -> Sequential:
        branch = post_activated(convolutions(inner, outputs, stride))
        se = squeeze_excite(outputs, max(LEAST, outputs // reduction))
        return residual_block(Sequential(**branch.layers, se=se), None if same else projection(outputs, stride))

    return residual_net("se_resnet", blocks, block, expansion, num_classes, width, small_images)
