"""The net of the digits in PyTorch, with the same weights, and foolbox and torchattacks where they are installed."""

import importlib
import warnings
from typing import Any

import jax
import jax.numpy as jnp
import pytest

from tests.attack.conftest import DIGITS_NET, Known
from tests.torch_twins import with_weights


def digits_twin(digits: Known) -> Any:
    """Return the net of the `digits` fixture as a `torch.nn.Module` in evaluation, or skip the test."""
    nn = pytest.importorskip("torch", reason="PyTorch is not installed").nn
    parts = {
        "conv1": nn.Conv2d(1, 8, 3, padding=1), "act1": nn.ReLU(), "pool1": nn.MaxPool2d(2),
        "conv2": nn.Conv2d(8, 16, 3, padding=1), "act2": nn.ReLU(), "pool2": nn.MaxPool2d(2),
        "flatten": nn.Flatten(), "head": nn.Linear(64, 10),
    }  # fmt: skip
    module = nn.Sequential()
    for name, part in parts.items():
        module.add_module(name, part)
    params, state = digits.logits_fn.args
    return with_weights(module, DIGITS_NET, params, state, jax.ShapeDtypeStruct((1, 8, 8, 1), jnp.float32))


def peer(name: str) -> Any:
    """Return a package of attacks ("foolbox", "torchattacks", "pyautoattack"), or skip the test."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return importlib.import_module(name)
        except ImportError as error:
            pytest.skip(f"{name} is not installed: {error}")
