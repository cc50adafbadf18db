"""The same function by PIL and by torchvision, on images as ours are."""

from collections.abc import Callable

import numpy as np
import pytest

from tests.torch_nets import torchvision


@pytest.fixture(scope="session")
def by_pil() -> Callable[..., np.ndarray]:
    """Return `call(fn, image)`: a function of PIL images on an image (H, W, C) in [0, 1] of 8 bits."""
    image_module = pytest.importorskip("PIL.Image", reason="PIL is not installed")

    def call(fn, image):
        levels = np.round(np.asarray(image) * 255).astype(np.uint8)
        out = fn(image_module.fromarray(levels[..., 0] if levels.shape[-1] == 1 else levels))
        return (np.asarray(out, np.float32) / 255).reshape(*levels.shape[:2], -1)

    return call


@pytest.fixture(scope="session")
def by_torchvision() -> Callable[..., np.ndarray]:
    """Return `call(fn, image)`: a function of tensors (C, H, W) on an image (H, W, C), floating or uint8."""
    torchvision()
    import torch

    def call(fn, image):
        return np.moveaxis(fn(torch.tensor(np.ascontiguousarray(np.moveaxis(image, -1, 0)))).numpy(), 0, -1)

    return call
