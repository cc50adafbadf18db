"""The fully convolutional net: a classifier's stages give classes for every pixel, coarse and fine ones summed.

Source: Long, Shelhamer, Darrell, "Fully convolutional networks for semantic segmentation", 2015.
"""

from jaxcnn import functional as F
from jaxcnn.checking import expect, expect_count
from jaxcnn.initializers import bilinear, lecun_normal
from jaxcnn.layers import Conv, ConvTranspose, Dropout, Residual, Sequential
from jaxcnn.models.backbone import cut_backbone, stride_of
from jaxcnn.models.vgg import vgg

__all__ = ["fcn"]


def fcn(
    num_classes: int = 21,
    *,
    backbone: Sequential | None = None,
    skips: int = 2,
    hidden: int = 4096,
    dropout: float = 0.5,
) -> Sequential:
    """Return the net of a backbone's stages, for images whose sides the backbone's stride divides.

    A 7x7 and a 1x1 convolution take the place of the classifier's dense layers, a further one makes logits of each
    pixel of the last stage. These are enlarged twice and added to logits made of the stage before, so many times as
    there are skips, and at last enlarged to the image's size. Enlarging is by transposed convolutions that start as
    bilinear interpolation.

    Args:
        num_classes: outputs for every pixel.
        backbone: a classifier with parts called "stage1", "stage2" and so on, the last `skips` of which halve the
            image, such as `models.resnet(50)`, of which what comes after them is left out; the paper's VGG of depth 16
            unless given.
        skips: 2 for the paper's FCN-8s, 1 for FCN-16s, 0 for FCN-32s.
        hidden: maps of the convolutions in the place of dense layers; 0 for none of them.
        dropout: rate after each of them.

    Returns:
        A `Sequential` from images to logits (..., H, W, num_classes): the backbone's parts up to the first skip, fuse,
        up. What is fused is `fuse/branch`, made alike of the next stage, fuse and up, in the end of hidden1, hidden2,
        head and up, and `fuse/shortcut`.

    Raises:
        ValueError: a count that is not positive, more skips than stages, a stride of the backbone that they do not
            divide.
        TypeError: the backbone is no Sequential.

    Source: figure 3, section 4.2, and the reference code: 134.5 M parameters for 21 classes ("134M" in its table 1). As
    is usual, convolutions are padded by half of their size, in the place of the paper's 100 pixels and cropping; skips
    and logits start as `lecun_normal`, in the place of 0.
    """
    where = "fcn"
    num_classes = expect_count(where, "num_classes", num_classes)
    backbone = vgg(16) if backbone is None else backbone
    body, ends = cut_backbone(where, backbone, "skips", skips, "2 are usual.")
    skips = int(skips)
    stride = stride_of(body)
    expect(
        stride % 2**skips == 0, where, f"a backbone of a stride that {2**skips} divides", stride, "Take fewer skips."
    )
    hidden = expect_count(where, "hidden", hidden, least=0)

    def score() -> Conv:
        return Conv(num_classes, 1, kernel_init=lecun_normal)

    def enlarged(factor: int) -> ConvTranspose:
        taps = 2 * factor - factor % 2
        return ConvTranspose(num_classes, taps, stride=factor, use_bias=False, kernel_init=bilinear)

    deep = {
        **body[ends[-2] if skips else 0 :].layers,
        **{f"hidden{i}": _convolution(hidden, 7 if i == 1 else 1, dropout) for i in (1, 2) if hidden},
        "head": score(),
    }
    for i in reversed(range(skips)):
        start = ends[i - 1] if i else 0
        fuse = Residual(Sequential(**deep, up=enlarged(2)), shortcut=score())
        deep = {**body[start : ends[i]].layers, "fuse": fuse}
    return Sequential(**deep, up=enlarged(stride // 2**skips))


def _convolution(features: int, size: int, dropout: float) -> Sequential:
    return Sequential(conv=Conv(features, size), act=F.relu, dropout=Dropout(dropout))
