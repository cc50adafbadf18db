"""What other libraries call the layers of a net, a file for each family of nets."""

from collections.abc import Mapping

from jaxcnn.interop.torch.names import (
    alexnet,
    convnext,
    deeplab,
    densenet,
    efficientnet,
    googlenet,
    inception_v3,
    mobilenet_v1,
    mobilenet_v2,
    preact_resnet,
    resnet,
    shufflenet_v2,
    squeezenet,
    vgg,
)
from jaxcnn.interop.torch.names.rules import Layout

__all__ = ["LAYOUTS"]

# A library's layout of one family knows every layer with weights of the family's nets.
LAYOUTS: Mapping[str, Mapping[str, Layout]] = {
    "torchvision": {
        "densenet": densenet.TORCHVISION,
        "googlenet": googlenet.TORCHVISION,
        "inception_v3": inception_v3.TORCHVISION,
        "alexnet": alexnet.TORCHVISION,
        "resnet": resnet.TORCHVISION,
        "deeplab": deeplab.TORCHVISION,
        "squeezenet": squeezenet.TORCHVISION,
        "vgg": vgg.TORCHVISION,
        "mobilenet_v2": mobilenet_v2.TORCHVISION,  # before efficientnet, whose table knows its layers too
        "efficientnet": efficientnet.TORCHVISION,
        "shufflenet_v2": shufflenet_v2.TORCHVISION,
        "convnext": convnext.TORCHVISION,
    },
    "timm": {
        "densenet": densenet.TORCHVISION,
        "inception_v3": inception_v3.TORCHVISION,
        "preact_resnet": preact_resnet.TIMM,
        "resnet": resnet.TIMM,
        "vgg": vgg.TIMM,
        "mobilenet_v1": mobilenet_v1.TIMM,
        "mobilenet_v2": mobilenet_v2.TIMM,
        "efficientnet": efficientnet.TIMM,
        "convnext": convnext.TIMM,
    },
    "akamaster": {"cifar_resnet": resnet.AKAMASTER},
}
