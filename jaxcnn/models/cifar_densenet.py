"""Dense nets for small images.

Source: Huang, Liu, van der Maaten, Weinberger, "Densely connected convolutional networks", 2017, section 3.
"""

from jaxcnn.checking import expect_count
from jaxcnn.layers import Conv, Sequential
from jaxcnn.models.cifar_resnet import cifar_blocks
from jaxcnn.models.densenet import dense_net

__all__ = ["cifar_densenet"]


def cifar_densenet(depth: int, num_classes: int = 10, *, growth: int = 12, dropout: float = 0.0) -> Sequential:
    """Return the paper's DenseNet-BC for 32x32 images (any size from 4x4 up works).

    A 3x3 convolution, then three blocks of (depth - 4) / 6 layers on images half as wide each; see `densenet`.

    Args:
        depth: layers with weights, 6 n + 4: 100, 190, 250 in the paper.
        num_classes: outputs.
        growth: the paper's growth rate k; the first convolution has twice as many maps. In the paper 12 at depth 100,
            24 at 250, 40 at 190.
        dropout: rate after each 3x3 convolution of the blocks, as in torchvision. The paper, where images are not
            augmented, has 0.2 after every convolution but the first.

    Returns:
        A `Sequential` from images to logits: stem, stage1, transition1, stage2, transition2, stage3, norm, act, pool,
        head; what a layer adds is `stage1/layer1/new`.

    Raises:
        ValueError: a depth that is not 6 n + 4, a count that is not positive, a rate outside [0, 1].

    Source: sections 3 and 4.1, table 2: 769,162 parameters at depth 100 ("0.8 M"), 15.3 M at 250, 25.6 M at 190.
    """
    where = "cifar_densenet"
    blocks = cifar_blocks(where, depth, 6, 4)
    growth = expect_count(where, "growth", growth)
    stem = Sequential(conv=Conv(2 * growth, use_bias=False))
    return dense_net(where, stem, blocks, growth, num_classes, dropout)
