"""Bilinear enlarging by hand and against PyTorch."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn import functional as F

X = np.random.default_rng(0).normal(size=(2, 3, 5, 4)).astype(np.float32)


def test_by_hand():
    row = jnp.array([0.0, 4.0]).reshape(1, 2, 1)
    np.testing.assert_allclose(F.upsample(row, factor=(1, 2))[0, :, 0], [0, 1, 3, 4])
    np.testing.assert_allclose(F.upsample(row, factor=(3, 1))[:, :, 0], [[0, 4]] * 3)
    np.testing.assert_allclose(F.upsample(row)[:, :, 0], [[0, 1, 3, 4]] * 2)


def test_planes_stay_planes_inside():
    height, width = np.mgrid[:4, :6]
    plane = jnp.asarray(2.0 * height - width)[..., None]
    fine = F.upsample(plane, factor=4)[..., 0]
    at = lambda n: (np.arange(4 * n) + 0.5) / 4 - 0.5  # noqa: E731
    expected = 2 * at(4)[:, None] - at(6)
    np.testing.assert_allclose(fine[2:-2, 2:-2], expected[2:-2, 2:-2], atol=1e-5)


def test_of_bfloat16_it_is_that_of_float32_rounded():
    x = X.astype(jnp.bfloat16)
    expected = F.upsample(x.astype(jnp.float32), factor=4).astype(jnp.bfloat16)
    np.testing.assert_array_equal(F.upsample(x, factor=4), expected)


@pytest.mark.parametrize("factor", [1, (2, 3), 8])
def test_agrees_with_torch(factor, agree_with_torch):
    def theirs(x):
        from torch.nn.functional import interpolate

        factors = factor if isinstance(factor, tuple) else (factor, factor)
        return interpolate(x, scale_factor=factors, mode="bilinear", align_corners=False)

    agree_with_torch(lambda x: F.upsample(x, factor=factor), theirs, X, axes=("images",), output="images")


@pytest.mark.parametrize(
    ("x", "factor", "error", "message"),
    [
        (X, 0, ValueError, r"^upsample: expected factor as a positive int or two of them, got 0\."),
        (X, 1.5, ValueError, r"^upsample: expected factor as a positive int or two of them, got 1\.5\."),
        (X, 2**16, ValueError, r"^upsample: expected images of fewer than 2\^31 entries, .*\. Enlarge less\."),
        (X[0, 0], 2, ValueError, r"^upsample: expected images of shape \(\.\.\., H, W, C\), got \(5, 4\)\."),
        (X[:, :0], 2, ValueError, r"^upsample: expected images of at least one pixel"),
        (X.astype(int), 2, TypeError, r"^upsample: expected x of a floating dtype"),
    ],
)
def test_bad_arguments(x, factor, error, message):
    with pytest.raises(error, match=message):
        F.upsample(x, factor=factor)
