"""ConvNeXt: a convolutional net modernised step by step after vision transformers.

Source: Liu, Mao, Wu, Feichtenhofer, Darrell, Xie, "A ConvNet for the 2020s", 2022.
"""

from collections.abc import Sequence

import jax
import numpy as np

from jaxcnn import functional as F
from jaxcnn.checking import expect, expect_count, expect_flag, expect_rate, shown
from jaxcnn.initializers import Normal
from jaxcnn.layers import (
    Conv,
    Dense,
    DepthwiseConv,
    DropPath,
    GlobalAvgPool,
    LayerNorm,
    LayerScale,
    Residual,
    Sequential,
    register,
)

__all__ = ["convnext", "exact_gelu"]

MOST = 1000  # blocks of a stage
INIT = Normal(0.02)  # of all kernels: section A.1


@register
def exact_gelu(x: jax.Array) -> jax.Array:
    """Return x * Phi(x), Phi the distribution function of the standard normal, not its approximation by tanh.

    Source: `functional.gelu`.
    """
    return F.gelu(x, approximate=False)


def convnext(
    num_classes: int = 10,
    *,
    width: int = 96,
    blocks: Sequence[int] = (3, 3, 9, 3),
    drop_path: float = 0.1,
    small_images: bool = False,
) -> Sequential:
    """Return ConvNeXt-T, or a larger one, for images of at least 32 pixels.

    The image is cut into patches of 4x4, each of which becomes a pixel of `width` channels; then come a stage for each
    entry of `blocks`, the later ones after a 2x2 convolution of stride 2 that doubles the channels, global average
    pooling and a dense layer. A block is a depthwise 7x7 convolution, layer normalization, a dense layer to four times
    as many channels, GELU, and a dense layer back, weighed by a trained factor for each channel and added to its input.

    T is the default; S has `blocks=(3, 3, 27, 3), drop_path=0.4`; B has `width=128, blocks=(3, 3, 27, 3),
    drop_path=0.5`.

    Args:
        num_classes: outputs.
        width: channels of the first stage.
        blocks: of each stage.
        drop_path: rate at which the last branch is left out of training; it grows evenly with depth, from 0.
        small_images: for images of some 32 pixels, with a 3x3 convolution of stride 1 in the place of the patches.

    Returns:
        A `Sequential` from images to logits: stem, stage1, ..., stage4, pool, norm, head.

    Raises:
        ValueError: a count that is not positive, no stage, a rate outside [0, 1].
        TypeError: small_images is no bool.

    Source: the paper's section 2, table 9 and section A.1; agrees with torchvision's and timm's `convnext_tiny`:
    28,589,128 parameters and 4.456 G multiply-adds for 224x224 images and 1000 classes (the paper's table 1: 29 M and
    4.5 G).
    """
    where = "convnext"
    expect_count(where, "num_classes", num_classes)
    width = expect_count(where, "width", width)
    ok = isinstance(blocks, Sequence) and 0 < len(blocks) <= MOST
    expect(ok, where, "blocks as a number for each stage", shown(blocks), "Pass (3, 3, 9, 3), say.")
    blocks = [expect_count(where, "blocks", count, most=MOST) for count in blocks]
    drop_path = expect_rate(where, "drop_path", drop_path)
    stem = Conv(width, 4, stride=4, padding=0, kernel_init=INIT)
    if expect_flag(where, "small_images", small_images):
        stem = Conv(width, padding=1, kernel_init=INIT)
    rates = iter(np.linspace(0, drop_path, sum(blocks)).tolist())
    stages = {}
    for stage, count in enumerate(blocks):
        features = width << stage
        halve = Sequential(norm=LayerNorm(), conv=Conv(features, 2, stride=2, padding=0, kernel_init=INIT))
        stages[f"stage{stage + 1}"] = Sequential(
            **({"downsample": halve} if stage else {}),
            **{f"block{i}": _block(features, next(rates)) for i in range(1, count + 1)},
        )
    return Sequential(
        stem=Sequential(conv=stem, norm=LayerNorm()),
        **stages,
        pool=GlobalAvgPool(),
        norm=LayerNorm(),
        head=Dense(num_classes, kernel_init=INIT),
    )


def _block(features: int, drop_path: float) -> Residual:
    return Residual(
        Sequential(
            depthwise=DepthwiseConv(7, padding=3, kernel_init=INIT),
            norm=LayerNorm(),
            expand=Dense(4 * features, kernel_init=INIT),
            act=exact_gelu,
            project=Dense(features, kernel_init=INIT),
            scale=LayerScale(),
            drop=DropPath(drop_path),
        )
    )
