"""Network in network: a small net at every pixel in the place of a linear filter, and no dense layer.

Source: Lin, Chen, Yan, "Network in network", 2014.
"""

from jaxcnn import functional as F
from jaxcnn.checking import expect_count
from jaxcnn.layers import AvgPool, Conv, Dropout, GlobalAvgPool, MaxPool, Sequential

__all__ = ["network_in_network"]


def network_in_network(num_classes: int = 10, *, dropout: float = 0.5) -> Sequential:
    """Return the paper's net for CIFAR, images of 32 pixels (6 or more work).

    Three stages, each a convolution followed by two of 1x1 ("mlpconv"), with pooling and dropout between them. The
    last has a map for each class, whose mean over the image is the logit.

    Args:
        num_classes: outputs.
        dropout: rate after the first two stages.

    Returns:
        A `Sequential` from images to logits: stage1, stage2, stage3, head (the last 1x1 convolution), act, pool. As in
        the paper the logits are means of rectified maps: none is below 0.

    Raises:
        ValueError: a count that is not positive, a rate outside [0, 1].

    Source: figure 2 and equation 2, with the maps, kernels and poolings that the authors published for CIFAR-10:
    966,986 parameters for 10 classes, about 1 M in table 4 of Springenberg et al. 2015. Initial kernels keep the
    variance (He et al. 2015); the authors drew all of them with a deviation of 0.05.
    """
    num_classes = expect_count("network_in_network", "num_classes", num_classes)
    return Sequential(
        stage1=Sequential(
            **_mlpconv(192, 160, 96, size=5), pool=MaxPool(3, stride=2, ceil_mode=True), dropout=Dropout(dropout)
        ),
        stage2=Sequential(
            **_mlpconv(192, 192, 192, size=5), pool=AvgPool(3, stride=2, ceil_mode=True), dropout=Dropout(dropout)
        ),
        stage3=Sequential(**_mlpconv(192, 192, size=3)),
        head=Conv(num_classes, 1),
        act=F.relu,
        pool=GlobalAvgPool(),
    )


def _mlpconv(*features: int, size: int) -> dict:
    """Return a convolution of that size and one of 1x1 for each further number of maps, with ReLUs."""
    parts = {}
    for i, maps in enumerate(features, start=1):
        parts |= {f"conv{i}": Conv(maps, size if i == 1 else 1), f"act{i}": F.relu}
    return parts
