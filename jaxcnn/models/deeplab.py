"""DeepLab v3: a classifier whose last stages are dilated, and a pyramid that looks at several scales side by side.

Source: Chen, Papandreou, Schroff, Adam, "Rethinking atrous convolution for semantic image segmentation", 2017.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from jaxcnn import functional as F
from jaxcnn.checking import expect, expect_count, is_int, shown
from jaxcnn.initializers import lecun_normal
from jaxcnn.layers import BatchNorm, Concat, Conv, Dropout, Layer, Sequential, Upsample, register
from jaxcnn.models.backbone import cut_backbone, stride_of
from jaxcnn.models.resnet import resnet
from jaxcnn.surgery import dilate

__all__ = ["deeplab", "image_mean"]


def deeplab(
    num_classes: int = 21,
    *,
    backbone: Sequential | None = None,
    dilated: int = 2,
    rates: Sequence[int] = (12, 24, 36),
    width: int = 256,
    dropout: float = 0.5,
) -> Sequential:
    """Return the net of a backbone's stages, for images whose sides the dilated backbone's stride divides.

    The last stages lose their strides and are dilated instead. On their maps a 1x1 convolution, a dilated 3x3 one for
    each of `rates`, and one of the image's mean stand side by side; a 1x1 and a 3x3 convolution follow, a further 1x1
    makes logits, and these are enlarged bilinearly.

    Args:
        num_classes: outputs for every pixel.
        backbone: a classifier with parts called "stage1", "stage2" and so on, such as `models.resnet(101)`, of which
            what comes after them is left out; `models.resnet(50)` unless given.
        dilated: how many of the last stages lose their strides (see `surgery.dilate`), with what lies between them.
        rates: dilations of the pyramid's 3x3 convolutions; the paper's are (6, 12, 18) for a stride of 16.
        width: maps of each part of the pyramid, and after it.
        dropout: rate after the pyramid.

    Returns:
        A `Sequential` from images to logits (..., H, W, num_classes): the backbone's parts, whose names and parameters
        stay the classifier's, pyramid, project, refine, head, up.

    Raises:
        ValueError: a count that is not positive, fewer stages than are to be dilated.
        TypeError: the backbone is no Sequential.

    Source: section 3.3, without the units of several dilations in one block (multi-grid). Agrees with torchvision's
    deeplabv3_resnet50, which has 42,004,074 parameters, 2,365,205 of them in a second classifier for training.
    """
    where = "deeplab"
    num_classes, width = expect_count(where, "num_classes", num_classes), expect_count(where, "width", width)
    ok, fix = isinstance(rates, Sequence) and len(rates) > 0 and all(is_int(r, 1) for r in rates), "Pass (6, 12, 18)."
    expect(ok, where, "rates as positive ints", shown(rates), fix)
    backbone = resnet(50) if backbone is None else backbone
    body, ends = cut_backbone(where, backbone, "dilated", dilated, "2 are usual.")
    body = dilate(body, list(body.layers)[ends[0] :])
    pyramid: dict[str, Layer] = {"point": _convolution(width, 1)}
    pyramid |= {f"dilated{i}": _convolution(width, 3, int(rate)) for i, rate in enumerate(rates, start=1)}
    pyramid["image"] = Sequential(mean=image_mean, **_convolution(width, 1).layers)
    return Sequential(
        **body.layers,
        pyramid=Concat(**pyramid),
        project=Sequential(**_convolution(width, 1).layers, dropout=Dropout(dropout)),
        refine=_convolution(width, 3),
        head=Conv(num_classes, 1, kernel_init=lecun_normal),
        up=Upsample(stride_of(body)),
    )


@register
def image_mean(x: jax.Array) -> jax.Array:
    """Return the mean of each channel over the image at every pixel, (..., H, W, C)."""
    return jnp.broadcast_to(F.global_avg_pool(x)[..., None, None, :], x.shape)


def _convolution(features: int, size: int, dilation: int = 1) -> Sequential:
    padding = dilation * (size // 2)
    conv = Conv(features, size, padding=padding, dilation=dilation, use_bias=False)
    return Sequential(conv=conv, norm=BatchNorm(), act=F.relu)
