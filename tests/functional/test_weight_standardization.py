"""Weight standardization against PyTorch, Flax, its definition and figures worked out by hand."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxcnn import functional as F
from tests.functional.samples import draw

pytestmark = pytest.mark.usefixtures("quick_compilation")
KERNEL = 0.5 + 0.1 * draw(0, 3, 2, 4, 5)


def test_by_hand():
    kernel = jnp.array([[1.0, 5.0], [3.0, 5.0]])  # means 2 and 5, variances 1 and 0
    np.testing.assert_allclose(F.weight_standardization(kernel, eps=3.0), [[-0.5, 0], [0.5, 0]])
    np.testing.assert_allclose(F.weight_standardization(kernel), [[-1, 0], [1, 0]], rtol=1e-5)


def test_agrees_with_torch(agree_with_torch):
    """As in timm's `StdConv2d`: batch normalization with the output channels as channels."""
    import torch

    def theirs(kernel):
        rows = kernel.reshape(1, len(kernel), -1)
        return torch.nn.functional.batch_norm(rows, None, None, training=True, eps=1e-5).reshape(kernel.shape)

    def by_formula(kernel):
        var, mean = torch.var_mean(kernel, dim=(1, 2, 3), keepdim=True, correction=0)
        return (kernel - mean) / torch.sqrt(var + 1e-5)

    for reference in (theirs, by_formula):
        agree_with_torch(
            F.weight_standardization, reference, KERNEL, axes=("kernel",), output="kernel", rtol=1e-4, atol=1e-4
        )


def test_agrees_with_flax(agree):
    layer = nn.LayerNorm(
        epsilon=1e-5, use_scale=False, use_bias=False, reduction_axes=(0, 1, 2), use_fast_variance=False
    )
    agree(F.weight_standardization, lambda kernel: layer.apply({}, kernel), KERNEL, rtol=1e-4, atol=1e-4)


@given(st.sampled_from([(7, 3), (3, 3, 2, 4), (3, 3, 1, 6), (1, 1, 8, 2)]), st.floats(-5, 5), st.floats(0.1, 10))
def test_mean_zero_and_variance_one_whatever_the_kernel(shape, shift, scale):
    kernel = np.asarray(draw(1, *shape))
    axes = tuple(range(len(shape) - 1))
    w = np.asarray(F.weight_standardization(shift + scale * kernel, eps=1e-12))
    np.testing.assert_allclose(w.mean(axis=axes), 0, atol=1e-4)
    np.testing.assert_allclose(w.var(axis=axes), 1, rtol=1e-4)
    np.testing.assert_allclose(w, F.weight_standardization(kernel, eps=1e-12), rtol=1e-2, atol=1e-3)


def test_gradient_has_no_part_that_shifts_or_scales():
    gradient = jax.grad(lambda k: jnp.sum(draw(2, *k.shape) * F.weight_standardization(k, eps=1e-12)))(KERNEL)
    np.testing.assert_allclose(gradient.sum(axis=(0, 1, 2)), np.zeros(5), atol=1e-3)
    np.testing.assert_allclose((gradient * KERNEL).sum(axis=(0, 1, 2)), np.zeros(5), atol=1e-3)
    assert abs(gradient).max() > 1


def test_keeps_the_dtype_and_computes_in_float32():
    kernel = (100 + draw(3, 8, 8, 64, 2)).astype(jnp.bfloat16)
    w = F.weight_standardization(kernel)
    assert w.dtype == jnp.bfloat16
    expected = F.weight_standardization(kernel.astype(jnp.float32))
    np.testing.assert_allclose(w.astype(jnp.float32), expected, rtol=0.01, atol=0.01)
    with jax.enable_x64(True):
        w = F.weight_standardization(np.random.default_rng(0).normal(1e4, 1e-3, (9, 2)), eps=0.0)
        assert w.dtype == jnp.float64
        np.testing.assert_allclose(np.var(w, axis=0), [1, 1], rtol=1e-6)


def test_bad_kernels():
    with pytest.raises(
        ValueError,
        match=r"^weight_standardization: expected a kernel of shape \(\.\.\., C_in, C_out\), got \(5,\)\. Put",
    ):
        F.weight_standardization(KERNEL[0, 0, 0])
    with pytest.raises(ValueError, match=r"^weight_standardization: expected eps >= 0, got -1\. "):
        F.weight_standardization(KERNEL, eps=-1)
    with pytest.raises(TypeError, match=r"^weight_standardization: expected kernel of a floating dtype, got int32\. "):
        F.weight_standardization(np.ones((3, 3), np.int32))
