"""Shuffled channels against PyTorch and by hand."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn import functional as F


def test_by_hand():
    x = jnp.arange(6.0)  # three groups of two: 0 1, 2 3, 4 5
    np.testing.assert_array_equal(F.channel_shuffle(x, groups=3), [0, 2, 4, 1, 3, 5])
    np.testing.assert_array_equal(F.channel_shuffle(x), [0, 3, 1, 4, 2, 5])
    np.testing.assert_array_equal(F.channel_shuffle(x, groups=1), x)
    assert F.channel_shuffle(x.astype(jnp.bfloat16)).dtype == jnp.bfloat16


@pytest.mark.parametrize("groups", [2, 3, 4])
def test_agrees_with_torch(groups, agree_with_torch):
    x = np.random.default_rng(0).normal(size=(2, 3, 5, 12)).astype(np.float32)

    def theirs(x):
        from torch.nn.functional import channel_shuffle

        return channel_shuffle(x, groups)

    agree_with_torch(lambda x: F.channel_shuffle(x, groups=groups), theirs, x, axes=("images",), output="images")


@pytest.mark.parametrize(
    ("x", "groups", "error", "message"),
    [
        (jnp.zeros((2, 6)), 4, ValueError, r"^channel_shuffle: expected channels that 4 groups divide, got 6\. Change"),
        (jnp.zeros((2, 6)), 0, ValueError, r"^channel_shuffle: expected groups as a positive int, got 0\."),
        (jnp.zeros(()), 2, ValueError, r"^channel_shuffle: expected an input of shape \(\.\.\., C\), got \(\)\. Add"),
        (jnp.zeros((2, 6), jnp.int32), 2, TypeError, r"^channel_shuffle: expected x of a floating dtype, got int32\."),
    ],
)
def test_bad_arguments(x, groups, error, message):
    with pytest.raises(error, match=message):
        F.channel_shuffle(x, groups=groups)
