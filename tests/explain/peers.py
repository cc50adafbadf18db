"""Captum, pytorch-grad-cam and zennit, where they are installed."""

import functools
import importlib
import warnings
from typing import Any

import pytest

from tests.torch_nets import torchvision


@functools.cache
def _installed(name: str, *parts: str) -> Any:
    """Return a package with some of its parts, or skip the test."""
    torchvision()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = pytest.importorskip(name, reason=f"{name} is not installed")
        for part in parts:
            importlib.import_module(f"{name}.{part}")
    return found


def captum() -> Any:
    """Return captum with its `attr` and `metrics`."""
    return _installed("captum", "attr", "metrics")


def grad_cam() -> Any:
    """Return pytorch-grad-cam with its measures."""
    return _installed("pytorch_grad_cam", "metrics.road")


def zennit() -> Any:
    """Return zennit with its composites and layers."""
    return _installed("zennit", "attribution", "canonizers", "composites", "layer", "rules", "types")
