"""A set that is quickly learned, and a net that has everything and is quickly compiled."""

import jax
import numpy as np
import pytest

from jaxcnn import data
from jaxcnn import functional as F
from jaxcnn.layers import BatchNorm, Dense, Dropout, Flatten, Sequential


@pytest.fixture(scope="session")
def easy():
    """60 grey images of 4x4 pixels in three classes: the brightest column is the label's. `number` tells them apart."""
    rng = np.random.default_rng(0)
    label = np.arange(60) % 3
    image = rng.uniform(0, 0.4, (60, 4, 4, 1))
    image[np.arange(60), :, label] += 0.5
    return data.from_arrays((image * 255).astype(np.uint8), label, number=np.arange(60))


@pytest.fixture(scope="session")
def net():
    """A net with kernels, biases, batch-norm state and dropout."""
    return Sequential(
        flatten=Flatten(),
        hidden=Dense(8, use_bias=False),
        norm=BatchNorm(),
        act=F.relu,
        drop=Dropout(0.2),
        head=Dense(3),
    )


@pytest.fixture(scope="session")
def weights(net, easy):
    params, state = net.init(jax.random.key(0), easy.spec)
    rng = np.random.default_rng(1)
    return jax.tree.map(lambda leaf: leaf + rng.uniform(0.1, 0.5, leaf.shape).astype(np.float32), (params, state))
