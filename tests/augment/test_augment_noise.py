"""Noise: its distribution."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxcnn import augment

KEY = jax.random.key(0)


def test_noise_is_normal_and_independent():
    z = (np.asarray(augment.noise(KEY, jnp.full((101, 99, 3), 0.5), std=0.1)) - 0.5) / 0.1
    assert stats.kstest(z.ravel(), "norm").pvalue > 0.01
    assert abs(z.std() - 1) < 0.01
    assert 3.5 < np.abs(z).max() < 4.3
    for neighbour in (np.roll(z, 1, 0), np.roll(z, 1, 1), np.roll(z, 1, 2), np.roll(z.ravel(), 1).reshape(z.shape)):
        assert abs((z * neighbour).mean()) < 0.02


def test_noise_is_clipped():
    out = augment.noise(KEY, jnp.ones((3, 3, 1)), std=1.0)
    assert out.max() == 1
    assert out.min() >= 0


@pytest.mark.parametrize("std", [-0.1, float("inf"), float("nan")])
def test_bad_std(std):
    with pytest.raises(ValueError, match=rf"^noise: expected std of at least 0, got {std}\. Pass.*\.$"):
        augment.noise(KEY, jnp.ones((3, 3, 1)), std=std)
