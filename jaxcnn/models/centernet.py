"""CenterNet: a detector without anchors, of a heat map of centres, and size and offset at each of its cells.

Source: Zhou, Wang, Kraehenbuehl, "Objects as points", 2019.
"""

import math

from jaxcnn import functional as F
from jaxcnn.checking import expect_count
from jaxcnn.initializers import Constant, Normal, bilinear
from jaxcnn.layers import BatchNorm, Concat, Conv, ConvTranspose, Residual, Sequential
from jaxcnn.models.backbone import cut_backbone
from jaxcnn.models.resnet import resnet

__all__ = ["centernet"]

PRIOR = 0.1  # the heat of every cell at the start
BESIDE = 4  # width, height, and offset of the centre to the right and down


def centernet(
    num_classes: int = 80, *, backbone: Sequential | None = None, skips: int = 3, width: int = 64
) -> Sequential:
    """Return the net of a backbone's stages, for images whose sides the backbone's stride divides.

    The last stage's maps are enlarged twice, and `width` maps that a 1x1 convolution makes of the stage before are
    added, as many times as there are skips. Two heads of a 3x3 and a 1x1 convolution give logits of the heat maps,
    and four maps beside them: see `detection.centre_loss`.

    Args:
        num_classes: heat maps.
        backbone: a classifier with parts called "stage1", "stage2" and so on, the last `skips` of which halve the
            image, of which what comes after them is left out; `models.resnet(18)` unless given.
        skips: how many times the last maps are enlarged; 3 of a ResNet gives cells of 4 pixels, as in the paper.
        width: maps that are added up, and of the heads.

    Returns:
        A `Sequential` from images to (..., h, w, num_classes + 4): the backbone's parts up to the first skip, fuse,
        head, a `Concat` of heat and beside.

    Raises:
        ValueError: a count that is not positive, more skips than stages.
        TypeError: the backbone is no Sequential.

    Source: section 5 and its reference code: transposed convolutions that start as bilinear interpolation, heads of
    64 maps, a bias of the heat maps for 0.1. The paper's ResNets have deformable convolutions in the place of what is
    added here, as in the feature pyramids of Lin et al. 2017.
    """
    where = "centernet"
    num_classes, width = expect_count(where, "num_classes", num_classes), expect_count(where, "width", width)
    backbone = resnet(18) if backbone is None else backbone
    body, ends = cut_backbone(where, backbone, "skips", skips, "3 is the paper's.")
    skips = int(skips)
    deep = {**body[ends[-2] if skips else 0 :].layers, "lateral": Conv(width, 1)}
    for i in reversed(range(skips)):
        start = ends[i - 1] if i else 0
        up = ConvTranspose(width, 4, stride=2, use_bias=False, kernel_init=bilinear)
        larger = Sequential(**deep, act=F.relu, up=up, norm=BatchNorm())
        deep = {**body[start : ends[i]].layers, "fuse": Residual(larger, shortcut=Conv(width, 1))}
    bias = Constant(-math.log(1 / PRIOR - 1))
    heat = Sequential(conv=Conv(width), act=F.relu, out=Conv(num_classes, 1, kernel_init=Normal(0.01), bias_init=bias))
    beside = Sequential(conv=Conv(width), act=F.relu, out=Conv(BESIDE, 1, kernel_init=Normal(0.01)))
    return Sequential(**deep, head=Concat(heat=heat, beside=beside))
