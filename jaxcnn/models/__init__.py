"""Architectures: one paper, one file; each a function that returns a net as a value.

net = models.create("lenet5", num_classes=10)
"""

import difflib
import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from jaxcnn.checking import expect, shown
from jaxcnn.layers import Sequential
from jaxcnn.models.cifar_resnet import cifar_resnet
from jaxcnn.models.cifar_vgg import cifar_vgg
from jaxcnn.models.lenet5 import lenet5

__all__ = ["cifar_resnet", "cifar_vgg", "create", "lenet5", "names"]

_MODELS: Mapping[str, Callable[..., Sequential]] = {
    "cifar_resnet8": functools.partial(cifar_resnet, 8),
    "cifar_resnet20": functools.partial(cifar_resnet, 20),
    "cifar_vgg": cifar_vgg,
    "lenet5": lenet5,
}


def names() -> list[str]:
    """Return the names that `create` knows."""
    return list(_MODELS)


def create(name: str, num_classes: int = 10, **options: Any) -> Sequential:
    """Return the net called `name`, from images in [0, 1] (or normalised by a layer put before) to logits.

    Args:
        name: one of `names()`.
        num_classes: outputs.
        options: as of the model's own function, for example `classic=True` for "lenet5".

    Raises:
        ValueError: an unknown name (the message lists the known ones) or option.
    """
    near = difflib.get_close_matches(str(name), names(), n=1)
    fix = f"Did you mean {near[0]!r}?" if near else "See models.names()."
    expect(isinstance(name, str) and name in _MODELS, "create", f"one of {names()}", shown(name), fix)
    try:
        inspect.signature(_MODELS[name]).bind(num_classes=num_classes, **options)
    except TypeError as error:
        taken = list(inspect.signature(_MODELS[name]).parameters)
        raise ValueError(f"create: expected options of {name}, {taken}, got {shown(options)}. Use these.") from error
    return _MODELS[name](num_classes=num_classes, **options)
