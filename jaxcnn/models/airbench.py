"""The nets of the CIFAR-10 speed recipes: whitened patches, then three groups of two or three convolutions.

Source: Jordan, "94% on CIFAR-10 in 3.29 seconds on a single GPU", 2024, and its code, airbench.
"""

from typing import NamedTuple

from jaxcnn import functional as F
from jaxcnn.checking import expect_choice, expect_count
from jaxcnn.initializers import Dirac, VarianceScaling
from jaxcnn.layers import BatchNorm, Conv, Dense, GlobalMaxPool, MaxPool, Normalize, Residual, Sequential

__all__ = ["airbench"]

UNIFORM = VarianceScaling(1 / 3, "fan_in", "uniform")  # up to 1 / sqrt(fan_in), PyTorch's default


class Plan(NamedTuple):
    """The maps of each group, whether it has a third convolution, and how much running statistics keep."""

    widths: tuple[int, int, int]
    third: bool
    decay: float


RECIPES = {
    94: Plan((64, 256, 256), third=False, decay=0.6),
    95: Plan((128, 384, 384), third=False, decay=0.6),
    96: Plan((128, 384, 512), third=True, decay=0.9),
}


def airbench(recipe: int, num_classes: int = 10, *, channels: int = 3) -> Sequential:
    """Return the net that reaches 94, 95 or 96 % on CIFAR-10 in the paper, for images of 32 pixels (9 or more work).

    A 2x2 convolution for the whitening of patches; three groups of convolutions with batch norm that has no scale,
    max-pooling after the first of each; the maximum over the image; a dense layer without bias; logits times 1/9. The
    convolutions of the groups start as the identity in their first maps.

    The first kernel starts at random. Before training put the whitening of the (normalised) training images there, and
    freeze it: `params["stem"]["conv"]["kernel"] = initialization.patch_whitening(images[:5000])`.

    Args:
        recipe: 94, 95 or 96.
        num_classes: outputs.
        channels: of the images; the first layer has 8 times as many maps, a whitened patch and its negation.

    Returns:
        A `Sequential` from images to logits: stem, stage1, stage2, stage3, pool, head, scale.

    Raises:
        ValueError: another recipe, a count that is not positive.

    Source: sections 3.1 to 3.3; GELU by its tanh formula, where the reference has the exact one. For 3 channels and 10
    classes 1.97 M parameters and 0.118 G multiply-adds (94), 4.6 M and 0.302 G (95), 9.9 M and 0.452 G (96).
    """
    where = "airbench"
    expect_choice(where, f"recipe as one of {list(RECIPES)}", recipe, list(RECIPES))
    num_classes = expect_count(where, "num_classes", num_classes)
    channels = expect_count(where, "channels", channels)
    plan = RECIPES[int(recipe)]
    return Sequential(
        stem=Sequential(conv=Conv(8 * channels, 2, padding="VALID", kernel_init=UNIFORM), act=F.gelu),
        **{f"stage{i}": _group(width, plan) for i, width in enumerate(plan.widths, start=1)},
        pool=GlobalMaxPool(),  # over 3x3 pixels
        head=Dense(num_classes, use_bias=False, kernel_init=UNIFORM),
        scale=Normalize(0, 9),
    )


def _group(features: int, plan: Plan) -> Sequential:
    conv = Conv(features, use_bias=False, kernel_init=Dirac(rest=UNIFORM))
    norm = BatchNorm(decay=plan.decay, eps=1e-12, use_scale=False)
    first = {"conv1": conv, "pool": MaxPool(2), "norm1": norm, "act1": F.gelu}
    second = {"conv2": conv, "norm2": norm}
    if not plan.third:
        return Sequential(**first, **second, act2=F.gelu)
    branch = Sequential(**second, act2=F.gelu, conv3=conv, norm3=norm)
    return Sequential(**first, residual=Residual(branch), act3=F.gelu)
