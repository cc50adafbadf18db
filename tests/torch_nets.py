"""PyTorch's libraries of nets for comparison, where they are installed."""

import functools
import warnings

import pytest


@functools.cache
def torchvision():
    """Return torchvision, or skip the test. Nets and transforms need none of its compiled operators, boxes do."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    # A wheel made for another build of PyTorch cannot load its operators, and wants at least the names of two.
    operators = torch.library.Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
        operators.define(f"{name}(Tensor boxes) -> Tensor")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = pytest.importorskip("torchvision", reason="torchvision is not installed", exc_type=ImportError)
    found.operators_kept = operators  # which are forgotten with it
    return found


@functools.cache
def transforms():
    """Return the second version of torchvision's transforms, or skip the test."""
    torchvision()
    from torchvision.transforms import v2

    return v2


@functools.cache
def timm():
    """Return timm, or skip the test."""
    torchvision()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("timm", reason="timm is not installed", exc_type=ImportError)
