"""Residual nets for small images.

Source: He, Zhang, Ren, Sun, "Deep residual learning for image recognition", 2016, section 4.2.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from jaxcnn import functional as F
from jaxcnn.checking import expect, expect_choice, expect_count, is_int, shown
from jaxcnn.functional.window import images
from jaxcnn.initializers import lecun_normal
from jaxcnn.layers import BatchNorm, Conv, Dense, GlobalAvgPool, Layer, Sequential, register
from jaxcnn.layers.fields import settle_counts
from jaxcnn.layers.layer import Params, State
from jaxcnn.models.resnet import basic, post_activated, projection, residual_block, residual_stages

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


def cifar_resnet(depth: int, num_classes: int = 10, *, width: int = 16, shortcut: str = "A") -> Sequential:
    """Return the paper's residual net for 32x32 images (any size works).

    A 3x3 convolution, then three stages of (depth - 2) / 6 blocks with `width`, 2 and 4 times as many maps, halving
    the image between them, then global average pooling and a dense layer.

    Args:
        depth: layers with weights, 6 n + 2: 8, 14, 20, 32, 44, 56, 110.
        num_classes: outputs.
        width: maps of the first stage.
        shortcut: where the shape changes: "A", which has no parameters, or "B", a 1x1 convolution with batch norm.

    Returns:
        A `Sequential` from images to logits: stem, stage1, stage2, stage3, pool, head.

    Raises:
        ValueError: a depth that is not 6 n + 2, a count that is not positive, another shortcut.

    Source: section 4.2, with shortcut A; depth 20 has 269,722 parameters (the paper's table 6 says 0.27 M).
    """
    blocks = cifar_blocks("cifar_resnet", depth, 6, 2)
    num_classes = expect_count("cifar_resnet", "num_classes", num_classes)
    width = expect_count("cifar_resnet", "width", width)
    expect_choice("cifar_resnet", 'shortcut as "A" or "B"', shortcut, ["A", "B"])

    def block(inner: int, outputs: int, stride: int, same: bool) -> Sequential:
        branch = post_activated(basic(inner, outputs, stride))
        around = PadShortcut(outputs, stride) if shortcut == "A" else projection(outputs, stride)
        return residual_block(branch, None if same else around)

    return Sequential(
        stem=Sequential(conv=Conv(width, use_bias=False), norm=BatchNorm(), act=F.relu),
        **residual_stages(blocks, block, width, width),
        pool=GlobalAvgPool(),
        head=Dense(num_classes, kernel_init=lecun_normal),
    )


def cifar_blocks(where: str, depth: int, layers: int, others: int) -> tuple[int, int, int]:
    """Return the blocks of three stages that make depth = layers n + others."""
    ok = is_int(depth, layers + others) and (int(depth) - others) % layers == 0
    fix = f"Try {', '.join(str(layers * n + others) for n in (1, 3, 5, 9))} or {layers * 18 + others}."
    expect(ok, where, f"a depth of {layers} n + {others}", shown(depth), fix)
    depth = expect_count(where, "depth", depth, most=DEEPEST)
    return ((depth - others) // layers,) * 3
