"""LeNet-5: convolution, pooling, convolution, pooling, dense layers.

Source: LeCun, Bottou, Bengio, Haffner, "Gradient-based learning applied to document recognition", 1998, section II.B.
"""

from collections.abc import Sequence

from jaxcnn import functional as F
from jaxcnn.checking import expect, expect_count, expect_flag, shown
from jaxcnn.initializers import lecun_uniform
from jaxcnn.layers import AvgPool, BatchNorm, Conv, Dense, Dropout, Flatten, MaxPool, Sequential

__all__ = ["lenet5"]


def lenet5(
    num_classes: int = 10,
    *,
    classic: bool = False,
    features: tuple[int, ...] = (32, 64, 128),
    dropout: float = 0.3,
) -> Sequential:
    """Return LeNet-5, in its modern form or the paper's.

    The modern form keeps the plan (convolution and pooling twice, then dense) with SAME padding, ReLU, max-pooling,
    batch normalization, dropout and two 3x3 convolutions in the place of one 5x5; it takes any image from 4x4 up.
    The classic form is the paper's for 32x32 images: 6, 16 and 120 maps of 5x5, average pooling, tanh, 84 units.

    Args:
        num_classes: outputs.
        classic: the paper's net.
        features: maps of the two stages and units of the hidden layer, of the modern form.
        dropout: rate before the last layer, of the modern form.

    Returns:
        A `Sequential` from images to logits: stage1, stage2, flatten, dense1, norm1, act1, dropout, head; in the
        classic form conv1, act1, pool1, conv2, act2, pool2, conv3, act3, flatten, dense1, act4, head.

    Raises:
        ValueError: a count that is not positive, a rate outside [0, 1].
        TypeError: classic is no bool.

    Source: the paper's subsampling has a trained gain and bias, its second convolution a partial connection table and
    its output radial basis functions, it squashes by 1.7159 tanh(2 x / 3) and draws weights from +-2.4 / fan_in; here,
    as everywhere since, plain pooling, full connection, a dense layer, tanh, and weights of variance 1 / fan_in: 61,706
    parameters for one input channel and 10 classes, against the paper's 60,000.
    """
    expect_count("lenet5", "num_classes", num_classes)
    if expect_flag("lenet5", "classic", classic):
        options = {"padding": "VALID", "kernel_init": lecun_uniform}
        return Sequential(
            conv1=Conv(6, 5, **options),
            act1=F.tanh,
            pool1=AvgPool(2),
            conv2=Conv(16, 5, **options),
            act2=F.tanh,
            pool2=AvgPool(2),
            conv3=Conv(120, 5, **options),
            act3=F.tanh,
            flatten=Flatten(),
            dense1=Dense(84, kernel_init=lecun_uniform),
            act4=F.tanh,
            head=Dense(num_classes, kernel_init=lecun_uniform),
        )
    expect(
        isinstance(features, Sequence) and len(features) == 3,
        "lenet5",
        "three features: two stages and the hidden layer",
        shown(features),
        "Pass three ints.",
    )
    first, second, hidden = features
    return Sequential(
        stage1=_stage(first),
        stage2=_stage(second),
        flatten=Flatten(),
        dense1=Dense(hidden, use_bias=False),
        norm1=BatchNorm(),
        act1=F.relu,
        dropout=Dropout(dropout),
        head=Dense(num_classes, kernel_init=lecun_uniform),
    )


def _stage(features: int) -> Sequential:
    # Batch norm's bias makes the convolution's redundant.
    return Sequential(
        conv1=Conv(features, use_bias=False),
        norm1=BatchNorm(),
        act1=F.relu,
        conv2=Conv(features, use_bias=False),
        norm2=BatchNorm(),
        act2=F.relu,
        pool=MaxPool(2),
    )
