"""Captum and pytorch-grad-cam, where they are installed."""

import functools
import warnings
from typing import Any

import pytest

from tests.torch_nets import torchvision


@functools.cache
def captum() -> Any:
    """Return captum with its `attr` and `metrics`, or skip the test."""
    torchvision()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = pytest.importorskip("captum", reason="captum is not installed")
        for part in ("attr", "metrics"):
            pytest.importorskip(f"captum.{part}", reason="captum is not installed")
    return found


@functools.cache
def grad_cam_metrics() -> Any:
    """Return the measures of pytorch-grad-cam, or skip the test."""
    torchvision()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("pytorch_grad_cam.metrics.road", reason="pytorch_grad_cam is not installed")
