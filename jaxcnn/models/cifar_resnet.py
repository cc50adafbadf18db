"""Residual nets for small images.

Source: He, Zhang, Ren, Sun, "Deep residual learning for image recognition", 2016, section 4.2.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from jaxcnn import functional as F
from jaxcnn.checking import expect, expect_count, is_int, shown
from jaxcnn.functional.window import images
from jaxcnn.initializers import lecun_normal
from jaxcnn.layers import BatchNorm, Conv, Dense, GlobalAvgPool, Layer, Residual, Sequential, register
from jaxcnn.layers.convolution import settle_counts
from jaxcnn.layers.layer import Params, State

__all__ = ["PadShortcut", "cifar_resnet"]

DEEPEST = 10_000  # the paper's has 1202 layers


@register
@dataclass(frozen=True)
class PadShortcut(Layer):
    """The paper's shortcut A, without parameters: every `stride`-th pixel, and zeros for the channels that are new."""

    features: int
    stride: int = 2

    def __post_init__(self) -> None:
        """Check the counts."""
        settle_counts(self, "features", "stride")

    def apply(
        self, params: Params, state: State, x: jax.Array, *, train: bool, key: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        """Return (..., ceil(H / stride), ceil(W / stride), features), the new channels half before, half after."""
        x = images("PadShortcut", x)
        new = self.features - x.shape[-1]
        expect(new >= 0, "PadShortcut", f"at most {self.features} channels", x.shape, "It only adds channels.")
        x = x[..., :: self.stride, :: self.stride, :]
        return jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(new // 2, new - new // 2)]), state


def cifar_resnet(depth: int, num_classes: int = 10, *, width: int = 16) -> Sequential:
    """Return the paper's residual net for 32x32 images (any size from 4x4 up works).

    A 3x3 convolution, then three stages of (depth - 2) / 6 blocks with `width`, 2 and 4 times as many maps, halving
    the image between them, then global average pooling and a dense layer.

    Args:
        depth: layers with weights, 6 n + 2: 8, 14, 20, 32, 44, 56, 110.
        num_classes: outputs.
        width: maps of the first stage.

    Returns:
        A `Sequential` from images to logits: stem, stage1, stage2, stage3, pool, head.

    Raises:
        ValueError: a depth that is not 6 n + 2, a count that is not positive.

    Source: section 4.2, with shortcut A; depth 20 has 269,722 parameters (the paper's table 6 says 0.27 M).
    """
    expect(
        is_int(depth, 8) and (int(depth) - 2) % 6 == 0,
        "cifar_resnet",
        "a depth of 6 n + 2",
        shown(depth),
        "Try 8, 20, 32, 44, 56 or 110.",
    )
    depth = expect_count("cifar_resnet", "depth", depth, most=DEEPEST)
    expect_count("cifar_resnet", "num_classes", num_classes)
    width = expect_count("cifar_resnet", "width", width)
    blocks = (depth - 2) // 6
    stages = {}
    for number, features in enumerate((width, 2 * width, 4 * width), start=1):
        strides = (1 if number == 1 else 2, *(1,) * (blocks - 1))
        stages[f"stage{number}"] = Sequential(
            **{f"block{i}": _block(features, stride) for i, stride in enumerate(strides, start=1)}
        )
    return Sequential(
        stem=Sequential(conv=Conv(width, use_bias=False), norm=BatchNorm(), act=F.relu),
        **stages,
        pool=GlobalAvgPool(),
        head=Dense(num_classes, kernel_init=lecun_normal),
    )


def _block(features: int, stride: int) -> Sequential:
    branch = Sequential(
        # One pixel on every side, as in PyTorch: SAME would pad a strided convolution of an even image on one side.
        conv1=Conv(features, stride=stride, padding=1, use_bias=False),
        norm1=BatchNorm(),
        act1=F.relu,
        conv2=Conv(features, padding=1, use_bias=False),
        norm2=BatchNorm(),
    )
    shortcut = None if stride == 1 else PadShortcut(features, stride)
    return Sequential(residual=Residual(branch, shortcut), act=F.relu)
