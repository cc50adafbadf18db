"""The all-convolutional net: strided convolutions in the place of pooling, and no dense layer.

Source: Springenberg, Dosovitskiy, Brox, Riedmiller, "Striving for simplicity: the all convolutional net", 2015.
"""

from jaxcnn import functional as F
from jaxcnn.checking import expect_count
from jaxcnn.layers import Conv, Dropout, GlobalAvgPool, Sequential

__all__ = ["all_convolutional"]


def all_convolutional(
    num_classes: int = 10, *, width: int = 96, input_dropout: float = 0.2, dropout: float = 0.5
) -> Sequential:
    """Return the paper's All-CNN-C for CIFAR, images of 32 pixels (9 or more work).

    Two stages of three 3x3 convolutions, the third of stride 2, with `width` maps and then twice as many; one more 3x3
    convolution without padding, one of 1x1, and one of 1x1 with a map for each class, whose mean over the image is the
    logit.

    Args:
        num_classes: outputs.
        width: maps of the first stage.
        input_dropout: rate before the first stage.
        dropout: rate after each stride.

    Returns:
        A `Sequential` from images to logits: dropout, stage1, stage2, stage3, head (the last 1x1 convolution), act,
        pool. As in the paper the logits are means of rectified maps: none is below 0.

    Raises:
        ValueError: a count that is not positive, a rate outside [0, 1].

    Source: tables 1 and 2, net C, and section 3.1: 1,369,738 parameters for 10 classes, "1.4 M" in its table 3.
    """
    where = "all_convolutional"
    num_classes = expect_count(where, "num_classes", num_classes)
    width = expect_count(where, "width", width)

    def stage(features: int) -> Sequential:
        return Sequential(
            conv1=Conv(features),
            act1=F.relu,
            conv2=Conv(features),
            act2=F.relu,
            conv3=Conv(features, stride=2, padding=1),
            act3=F.relu,
            dropout=Dropout(dropout),
        )

    return Sequential(
        dropout=Dropout(input_dropout),
        stage1=stage(width),
        stage2=stage(2 * width),
        # Without padding: the paper's last mean is over 6x6 pixels.
        stage3=Sequential(conv1=Conv(2 * width, padding="VALID"), act1=F.relu, conv2=Conv(2 * width, 1), act2=F.relu),
        head=Conv(num_classes, 1),
        act=F.relu,
        pool=GlobalAvgPool(),
    )
