"""The nets of `small_nets.py` in PyTorch, with the same weights, each ReLU and pooling a module of its own."""

import functools
from typing import Any

import numpy as np
import pytest

from jaxcnn import interop
from tests.small_nets import CASES, CLASSES, SPEC


@functools.cache
def twin(name: str) -> Any:
    """Return the net as a `torch.nn.Module` in evaluation, or skip the test."""
    pytest.importorskip("torch", reason="PyTorch is not installed")
    case = CASES[name]
    return with_weights(_net(name), case.net, case.params, case.state, SPEC)


def with_weights(module: Any, net: Any, params: Any, state: Any, spec: Any) -> Any:
    """Return a `torch.nn.Module` whose parts have the paths of the net's layers, with its weights, in evaluation."""
    import torch

    weights = interop.torch.state_dict(net, params, state, layout="paths", spec=spec)
    told = module.load_state_dict({n: torch.tensor(np.asarray(value)) for n, value in weights.items()}, strict=False)
    assert not told.unexpected_keys
    assert all(name.endswith("num_batches_tracked") for name in told.missing_keys)
    return module.eval()


def tensor(images: Any) -> Any:
    """Return images (N, H, W, C) as PyTorch has them, (N, C, H, W)."""
    import torch

    return torch.tensor(np.ascontiguousarray(np.moveaxis(np.asarray(images), -1, 1)))


def array(maps: Any) -> np.ndarray:
    """Return maps (N, C, H, W) of PyTorch as we have them, (N, H, W, C)."""
    return np.moveaxis(maps.detach().numpy(), 1, -1)


def _net(name: str) -> Any:
    from torch import nn

    class Block(nn.Module):
        def __init__(self, features: int) -> None:
            super().__init__()
            self.branch = nn.Sequential()
            self.branch.add_module("conv1", nn.Conv2d(features, features, 3, padding=1, bias=False))
            self.branch.add_module("bn1", nn.BatchNorm2d(features))
            self.branch.add_module("act", nn.ReLU())
            self.branch.add_module("conv2", nn.Conv2d(features, features, 3, padding=1, bias=False))
            self.branch.add_module("bn2", nn.BatchNorm2d(features))

        def forward(self, x):
            return self.branch(x) + x

    parts = {
        "plain": {
            "conv1": nn.Conv2d(3, 8, 3, padding=1), "act1": nn.ReLU(), "pool1": nn.MaxPool2d(2),
            "conv2": nn.Conv2d(8, 12, 3, padding=1), "act2": nn.ReLU(), "pool2": nn.MaxPool2d(2),
            "flatten": nn.Flatten(), "fc1": nn.Linear(108, 16), "act3": nn.ReLU(), "fc2": nn.Linear(16, CLASSES),
        },
        "batchnorm": {
            "conv1": nn.Conv2d(3, 8, 3, padding=1), "bn1": nn.BatchNorm2d(8), "act1": nn.ReLU(),
            "pool1": nn.MaxPool2d(2),
            "conv2": nn.Conv2d(8, 12, 3, padding=1), "bn2": nn.BatchNorm2d(12), "act2": nn.ReLU(),
            "pool": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten(), "head": nn.Linear(12, CLASSES),
        },
        "residual": {
            "conv1": nn.Conv2d(3, 8, 3, padding=1), "act1": nn.ReLU(), "block1": Block(8), "act2": nn.ReLU(),
            "block2": Block(8), "act3": nn.ReLU(),
            "pool": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten(), "head": nn.Linear(8, CLASSES),
        },
    }[name]  # fmt: skip
    net = nn.Sequential()
    for part, module in parts.items():
        net.add_module(part, module)
    return net
