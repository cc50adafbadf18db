"""GoogLeNet, the first Inception: convolutions of several sizes side by side, after 1x1 ones that save work.

Source: Szegedy et al., "Going deeper with convolutions", 2015; Ioffe and Szegedy, "Batch normalization: accelerating
deep network training by reducing internal covariate shift", 2015.
"""

from jaxcnn import functional as F
from jaxcnn.checking import expect_count, expect_flag
from jaxcnn.initializers import lecun_normal
from jaxcnn.layers import (
    AdaptiveAvgPool,
    Auxiliary,
    AvgPool,
    BatchNorm,
    Concat,
    Conv,
    Dense,
    Dropout,
    Flatten,
    GlobalAvgPool,
    LocalResponseNorm,
    MaxPool,
    Sequential,
)
from jaxcnn.layers.layer import Module

__all__ = ["googlenet"]

# Table 1: maps of the 1x1 convolution, before and of the 3x3 one, before and of the 5x5 one, and after pooling. A stage
# ends where the image halves or an auxiliary head begins.
STAGES = {
    "stage1": {"inception3a": (64, 96, 128, 16, 32, 32), "inception3b": (128, 128, 192, 32, 96, 64)},
    "stage2": {"inception4a": (192, 96, 208, 16, 48, 64)},
    "stage3": {
        "inception4b": (160, 112, 224, 24, 64, 64),
        "inception4c": (128, 128, 256, 24, 64, 64),
        "inception4d": (112, 144, 288, 32, 64, 64),
    },
    "stage4": {"inception4e": (256, 160, 320, 32, 128, 128)},
    "stage5": {"inception5a": (256, 160, 320, 32, 128, 128), "inception5b": (384, 192, 384, 48, 128, 128)},
}
POOL = MaxPool(3, stride=2, ceil_mode=True)


def googlenet(
    num_classes: int = 10,
    *,
    batch_norm: bool = False,
    auxiliary: bool = False,
    dropout: float = 0.4,
    auxiliary_dropout: float = 0.7,
    small_images: bool = False,
) -> Sequential | Auxiliary:
    """Return the paper's net, or torchvision's with batch norm, for images of 224 pixels (47 or more work).

    Three convolutions with max-pooling, then nine Inception modules: 1x1, 3x3 and 5x5 convolutions and max-pooling
    side by side, with 1x1 convolutions before the larger ones and after the pooling; then global average pooling and
    a dense layer.

    Args:
        num_classes: outputs.
        batch_norm: torchvision's net: batch norm in the place of biases and of normalisation by neighbouring maps, and
            3x3 convolutions in the place of the 5x5 ones, as its published weights ask for.
        auxiliary: with the two classifiers that the paper adds for training, on what stage2 and stage3 give: an
            `Auxiliary` net of outputs "logits", "aux1" and "aux2", whose losses count 0.3 times (with
            `losses.with_auxiliary`), for images of 79 pixels or more. `.main` is the net without them.
        dropout: rate before the last layer; torchvision has 0.2.
        auxiliary_dropout: rate before the last layer of the added classifiers.
        small_images: a 3x3 convolution without stride in front, and no pooling before the modules, for some 32 pixels
            (6 or more work).

    Returns:
        A `Sequential` from images to logits: stem, stage1 (the modules 3a, 3b), stage2 (4a), stage3 (4b, 4c, 4d),
        stage4 (4e), stage5 (5a, 5b), pool, dropout, head; a module is `stage1/inception3a` with branch1 to branch4.

    Raises:
        ValueError: a count that is not positive, a rate outside [0, 1].
        TypeError: batch_norm, auxiliary or small_images is no bool.

    Source: table 1 and section 5 of the first paper: 6,998,552 parameters and 1.58 G multiply-adds for 1000 classes
    ("1.5 billion" there). With batch norm it agrees with torchvision: 6,624,904 and 1.498 G, or 13,004,888 parameters
    with the added classifiers. Its `transform_input`, which only its published weights ask for, is left out: scale the
    images to [-1, 1] for them, `Normalize(0.5, 0.5)`.
    """
    where = "googlenet"
    num_classes = expect_count(where, "num_classes", num_classes)
    normed = expect_flag(where, "batch_norm", batch_norm)
    small = expect_flag(where, "small_images", small_images)
    stages: dict[str, dict[str, Module]] = {
        name: {module: _module(maps, normed) for module, maps in modules.items()} for name, modules in STAGES.items()
    }
    stages["stage1"] |= {"pool": POOL}
    stages["stage4"] |= {"pool": MaxPool(2, ceil_mode=True) if normed else POOL}  # torchvision's, of 14x14 maps too
    net = Sequential(
        stem=_stem(normed, small),
        **{name: Sequential(**parts) for name, parts in stages.items()},
        pool=GlobalAvgPool(),
        dropout=Dropout(dropout),
        head=Dense(num_classes, kernel_init=lecun_normal),
    )
    if not expect_flag(where, "auxiliary", auxiliary):
        return net
    classifier = Sequential(
        pool=AdaptiveAvgPool(4) if normed else AvgPool(5, stride=3),  # 4x4 of 14x14 maps
        **_convolution(128, 1, normed).layers,
        flatten=Flatten(),
        hidden=Sequential(dense=Dense(1024), act=F.relu),
        dropout=Dropout(auxiliary_dropout),
        head=Dense(num_classes, kernel_init=lecun_normal),
    )
    return Auxiliary({"aux1": "stage2", "aux2": "stage3"}, **net.layers, aux1=classifier, aux2=classifier)


def _stem(normed: bool, small: bool) -> Sequential:
    norm = None if normed else LocalResponseNorm(k=1.0)  # the paper gives no numbers; this keeps the scale
    pool = None if small else POOL
    parts = {
        "conv1": _convolution(64, 3, normed) if small else _convolution(64, 7, normed, stride=2),
        "pool1": pool,
        "norm1": norm,
        "conv2": _convolution(64, 1, normed),
        "conv3": _convolution(192, 3, normed),
        "norm2": norm,
        "pool2": pool,
    }
    return Sequential(**{name: layer for name, layer in parts.items() if layer is not None})


def _module(maps: tuple[int, ...], normed: bool) -> Concat:
    single, before3, three, before5, five, pooled = maps
    largest = 3 if normed else 5
    return Concat(
        branch1=_convolution(single, 1, normed),
        branch2=Sequential(reduce=_convolution(before3, 1, normed), expand=_convolution(three, 3, normed)),
        branch3=Sequential(reduce=_convolution(before5, 1, normed), expand=_convolution(five, largest, normed)),
        branch4=Sequential(pool=MaxPool(3, stride=1, padding=1), project=_convolution(pooled, 1, normed)),
    )


def _convolution(features: int, size: int, normed: bool, stride: int = 1) -> Sequential:
    conv = Conv(features, size, stride=stride, padding=size // 2, use_bias=not normed)
    return Sequential(conv=conv, **({"norm": BatchNorm(eps=1e-3)} if normed else {}), act=F.relu)
