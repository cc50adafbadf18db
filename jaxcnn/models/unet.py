"""U-Net: down to small maps and up again, each size given what was seen of it on the way down.

Source: Ronneberger, Fischer, Brox, "U-Net: convolutional networks for biomedical image segmentation", 2015.
"""

from jaxcnn import functional as F
from jaxcnn.checking import expect_count, expect_flag
from jaxcnn.initializers import lecun_normal
from jaxcnn.layers import BatchNorm, Concat, Conv, ConvTranspose, Dropout, Layer, MaxPool, Sequential

__all__ = ["unet"]

DEEPEST = 16  # halvings of the image


def unet(
    num_classes: int = 2, *, width: int = 64, depth: int = 4, batch_norm: bool = False, dropout: float = 0.5
) -> Sequential:
    """Return the paper's net, padded, for images whose sides 2^depth divides.

    Two 3x3 convolutions with `width` maps; a max-pooling and two with twice as many, `depth` times; then as many times
    a transposed convolution to half of the maps of an image twice as wide, which are put beside those that were
    there on the way down, and two convolutions more. A 1x1 convolution makes the logits.

    Args:
        num_classes: outputs for every pixel.
        width: maps at the image's own size.
        depth: how many times the image is halved, at most 16.
        batch_norm: whether the 3x3 convolutions are followed by batch norm, which came into use later.
        dropout: rate where the maps are smallest.

    Returns:
        A `Sequential` from images to logits (..., H, W, num_classes): encode, join, decode, head. `join/deep` is pool,
        encode, join, decode, up of the next size; of the smallest one pool, encode, dropout, up.

    Raises:
        ValueError: a count that is not positive, a rate outside [0, 1].
        TypeError: batch_norm is no bool.

    Source: figure 1 and section 2, 23 convolutions, of grey images 31,030,658 parameters. Convolutions are padded by
    half of their size, so that maps need not be cropped.
    """
    where = "unet"
    num_classes = expect_count(where, "num_classes", num_classes)
    width = expect_count(where, "width", width)
    depth = expect_count(where, "depth", depth, most=DEEPEST)
    normed = expect_flag(where, "batch_norm", batch_norm)
    parts: dict[str, Layer] = {"encode": _convolutions(width << depth, normed), "dropout": Dropout(dropout)}
    for features in (width << i for i in reversed(range(depth))):
        up = ConvTranspose(features, 2, stride=2)
        deep = Sequential(pool=MaxPool(2), **parts, up=up)
        parts = {
            "encode": _convolutions(features, normed),
            "join": Concat(skip=Sequential(), deep=deep),
            "decode": _convolutions(features, normed),
        }
    return Sequential(**parts, head=Conv(num_classes, 1, kernel_init=lecun_normal))


def _convolutions(features: int, normed: bool) -> Sequential:
    parts = {}
    for i in (1, 2):
        parts[f"conv{i}"] = Conv(features, use_bias=not normed)
        parts |= {f"norm{i}": BatchNorm()} if normed else {}
        parts[f"act{i}"] = F.relu
    return Sequential(**parts)
