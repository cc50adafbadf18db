"""Architectures: one paper, one file; each a function that returns a net as a value.

net = models.create("lenet5", num_classes=10)
"""

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from jaxcnn.checking import did_you_mean, expect, shown
from jaxcnn.models.airbench import airbench
from jaxcnn.models.alexnet import alexnet
from jaxcnn.models.all_convolutional import all_convolutional
from jaxcnn.models.centernet import centernet
from jaxcnn.models.cifar_densenet import cifar_densenet
from jaxcnn.models.cifar_resnet import cifar_resnet
from jaxcnn.models.cifar_vgg import cifar_vgg
from jaxcnn.models.convnext import convnext
from jaxcnn.models.deeplab import deeplab
from jaxcnn.models.densenet import densenet
from jaxcnn.models.efficientnet import efficientnet
from jaxcnn.models.fcn import fcn
from jaxcnn.models.googlenet import googlenet
from jaxcnn.models.inception_v3 import inception_v3
from jaxcnn.models.lenet5 import lenet5
from jaxcnn.models.mlp import mlp, perceptron
from jaxcnn.models.mobilenet_v1 import mobilenet_v1
from jaxcnn.models.mobilenet_v2 import mobilenet_v2
from jaxcnn.models.network_in_network import network_in_network
from jaxcnn.models.preact_resnet import cifar_preact_resnet, preact_resnet
from jaxcnn.models.resnet import resnet
from jaxcnn.models.resnext import resnext
from jaxcnn.models.se_resnet import se_resnet
from jaxcnn.models.shufflenet_v2 import shufflenet_v2
from jaxcnn.models.squeezenet import squeezenet
from jaxcnn.models.unet import unet
from jaxcnn.models.vgg import vgg
from jaxcnn.models.wide_resnet import wide_resnet

__all__ = [
    "airbench",
    "alexnet",
    "all_convolutional",
    "centernet",
    "cifar_densenet",
    "cifar_preact_resnet",
    "cifar_resnet",
    "cifar_vgg",
    "convnext",
    "create",
    "deeplab",
    "densenet",
    "efficientnet",
    "fcn",
    "googlenet",
    "inception_v3",
    "lenet5",
    "mlp",
    "mobilenet_v1",
    "mobilenet_v2",
    "names",
    "network_in_network",
    "perceptron",
    "preact_resnet",
    "resnet",
    "resnext",
    "se_resnet",
    "shufflenet_v2",
    "squeezenet",
    "unet",
    "vgg",
    "wide_resnet",
]

_MODELS: Mapping[str, Callable[..., Any]] = {
    **{f"airbench{recipe}": functools.partial(airbench, recipe) for recipe in (94, 95, 96)},
    "alexnet": alexnet,
    "all_convolutional": all_convolutional,
    "cifar_densenet100": functools.partial(cifar_densenet, 100),
    "cifar_densenet190": functools.partial(cifar_densenet, 190, growth=40),
    "cifar_densenet250": functools.partial(cifar_densenet, 250, growth=24),
    **{f"cifar_preact_resnet{depth}": functools.partial(cifar_preact_resnet, depth) for depth in (20, 56, 110)},
    "cifar_preact_resnet164": functools.partial(cifar_preact_resnet, 164, with_bottlenecks=True),
    **{f"cifar_resnet{depth}": functools.partial(cifar_resnet, depth) for depth in (8, 20, 32, 44, 56, 110)},
    "cifar_vgg": cifar_vgg,
    "convnext_base": functools.partial(convnext, width=128, blocks=(3, 3, 27, 3), drop_path=0.5),
    "convnext_small": functools.partial(convnext, blocks=(3, 3, 27, 3), drop_path=0.4),
    "convnext_tiny": convnext,
    **{f"densenet{depth}": functools.partial(densenet, depth) for depth in (121, 161, 169, 201)},
    "efficientnet_b0": efficientnet,
    "efficientnet_b1": functools.partial(efficientnet, depth=1.1),
    "efficientnet_b2": functools.partial(efficientnet, width=1.1, depth=1.2, dropout=0.3),
    "efficientnet_b3": functools.partial(efficientnet, width=1.2, depth=1.4, dropout=0.3),
    "googlenet": googlenet,
    "googlenet_bn": functools.partial(googlenet, batch_norm=True),
    "inception_v3": inception_v3,
    "lenet5": lenet5,
    "mlp": mlp,
    "mobilenet_v1": mobilenet_v1,
    "mobilenet_v2": mobilenet_v2,
    "network_in_network": network_in_network,
    "perceptron": perceptron,
    **{f"preact_resnet{depth}": functools.partial(preact_resnet, depth) for depth in (18, 50)},
    **{f"resnet{depth}": functools.partial(resnet, depth) for depth in (18, 34, 50, 101, 152)},
    "resnext29_8x64d": functools.partial(resnext, 29, cardinality=8, group_width=64, small_images=True),
    "resnext50_32x4d": functools.partial(resnext, 50),
    "resnext101_32x8d": functools.partial(resnext, 101, group_width=8),
    "resnext101_64x4d": functools.partial(resnext, 101, cardinality=64),
    **{f"se_resnet{depth}": functools.partial(se_resnet, depth) for depth in (18, 50)},
    "shufflenet_v2_x0_5": functools.partial(shufflenet_v2, width=0.5),
    "shufflenet_v2_x1_0": shufflenet_v2,
    "shufflenet_v2_x1_5": functools.partial(shufflenet_v2, width=1.5),
    "shufflenet_v2_x2_0": functools.partial(shufflenet_v2, width=2.0),
    "squeezenet1_0": functools.partial(squeezenet, "1.0"),
    "squeezenet1_1": functools.partial(squeezenet, "1.1"),
    **{f"vgg{depth}": functools.partial(vgg, depth) for depth in (11, 13, 16, 19)},
    **{f"vgg{depth}_bn": functools.partial(vgg, depth, batch_norm=True) for depth in (11, 13, 16, 19)},
    **{
        f"wide_resnet{depth}_{k}": functools.partial(wide_resnet, depth, k) for depth, k in ((16, 4), (28, 10), (40, 4))
    },
    **{f"wide_resnet{depth}_2": functools.partial(resnet, depth, widening=2) for depth in (50, 101)},
}

_NO_CLASSIFIERS = ("centernet", "deeplab", "fcn", "unet")  # they return maps, and are called by themselves


def names() -> list[str]:
    """Return the names that `create` knows."""
    return sorted(_MODELS)


def create(name: str, num_classes: int = 10, **options: Any) -> Any:
    """Return the net called `name`, from images in [0, 1] (or normalised by a layer put before) to logits.

    Args:
        name: one of `names()`.
        num_classes: outputs.
        options: as of the model's own function, for example `classic=True` for "lenet5".

    Returns:
        A `Sequential`; with heads beside it, of `create("googlenet", auxiliary=True)` say, a `layers.Auxiliary`.

    Raises:
        ValueError: an unknown name (the message has near ones) or option, an option out of its range.
        TypeError: what should be a bool is none.
    """
    fix = did_you_mean(name, names(), "See models.names().")
    fix = f"That is no classifier: call models.{name}(...) itself." if str(name) in _NO_CLASSIFIERS else fix
    expect(isinstance(name, str) and name in _MODELS, "create", "the name of a model", shown(name), fix)
    try:
        inspect.signature(_MODELS[name]).bind(num_classes=num_classes, **options)
    except TypeError as error:
        taken = list(inspect.signature(_MODELS[name]).parameters)
        raise ValueError(f"create: expected options of {name}, {taken}, got {shown(options)}. Use these.") from error
    return _MODELS[name](num_classes=num_classes, **options)
