"""Dense layers and flattening against Flax, PyTorch and figures worked out by hand."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn import functional as F

pytestmark = pytest.mark.usefixtures("quick_compilation")


def draw(seed: int, *shape: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def test_dense_agrees_with_flax(agree):
    agree(
        F.dense,
        lambda x, kernel, bias: nn.Dense(3).apply({"params": {"kernel": kernel, "bias": bias}}, x),
        draw(0, 2, 5, 4),
        draw(1, 4, 3),
        draw(2, 3),
    )


def test_dense_agrees_with_torch(agree_with_torch):
    import torch

    agree_with_torch(
        F.dense,
        torch.nn.functional.linear,
        draw(0, 6, 4),
        draw(1, 4, 3),
        draw(2, 3),
        axes=("as is", "matrix", "as is"),
        output="as is",
    )


def test_dense_by_hand():
    kernel = jnp.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    np.testing.assert_array_equal(F.dense(jnp.array([1.0, 10.0]), kernel), [41, 52, 63])
    np.testing.assert_array_equal(F.dense(jnp.array([1.0, 10.0]), kernel, jnp.array([0.0, -52, 1])), [41, 0, 64])


def test_dense_takes_any_number_of_leading_axes():
    x, kernel = draw(0, 3, 2, 4), draw(1, 4, 5)
    y = F.dense(x, kernel)
    for index in np.ndindex(3, 2):
        np.testing.assert_allclose(y[index], F.dense(x[index], kernel), rtol=1e-5, atol=1e-6)
    assert F.dense(x[:0], kernel).shape == (0, 2, 5)


def test_dense_computes_in_the_dtype_of_its_input():
    kernel, bias = draw(0, 4, 3), draw(1, 3)
    x = draw(2, 5, 4).astype(jnp.bfloat16)
    y, pullback = jax.vjp(lambda kernel, bias: F.dense(x, kernel, bias), kernel, bias)
    assert y.dtype == jnp.bfloat16
    assert {gradient.dtype for gradient in pullback(y)} == {jnp.dtype(jnp.float32)}


def test_flatten_runs_through_channels_fastest():
    x = jnp.arange(24.0).reshape(2, 3, 4)
    np.testing.assert_array_equal(F.flatten(x), np.arange(24))
    batch = jnp.stack([x, x + 100])[None]
    assert F.flatten(batch).shape == (1, 2, 24)
    np.testing.assert_array_equal(F.flatten(batch)[0, 1], np.arange(24) + 100)


def test_a_kernel_after_flatten_is_pytorchs_permuted():
    """The recipe for weights from PyTorch, which flattens (C, H, W)."""
    x, theirs = draw(0, 2, 3, 4), draw(1, 4 * 2 * 3, 5)
    channels_first = x.transpose(2, 0, 1).ravel() @ theirs
    ours = theirs.reshape(4, 2, 3, 5).transpose(1, 2, 0, 3).reshape(24, 5)
    np.testing.assert_allclose(F.dense(F.flatten(x), ours), channels_first, rtol=1e-5, atol=1e-5)


X, KERNEL = np.zeros((2, 4), np.float32), np.zeros((4, 3), np.float32)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((X, KERNEL[0]), r"a kernel of shape \(C_in, C_out\), got \(3,\)\. Give the kernel two axes"),
        (
            (X[:, :3], KERNEL),
            r"x of shape \(\.\.\., 4\) for a kernel of shape \(4, 3\), got \(2, 3\)\. Flatten the images",
        ),
        ((X[0, 0], KERNEL), r"x of shape \(\.\.\., 4\) for a kernel of shape \(4, 3\), got \(\)\. "),
        ((X, KERNEL, np.zeros(4)), r"bias of shape \(3,\), got \(4,\)\. Pass bias with that shape\."),
    ],
)
def test_dense_bad_shapes(args, message):
    with pytest.raises(ValueError, match=f"^dense: expected {message}"):
        F.dense(*args)


@pytest.mark.parametrize(
    ("args", "name"),
    [((X.astype(np.uint8), KERNEL), "x"), ((X, KERNEL.astype(np.uint8)), "kernel")],
    ids=["x", "kernel"],
)
def test_dense_bad_dtypes(args, name):
    with pytest.raises(TypeError, match=rf"^dense: expected {name} of a floating dtype, got uint8\. "):
        F.dense(*args)


def test_flatten_bad_input():
    with pytest.raises(
        ValueError, match=r"^flatten: expected images of shape \(\.\.\., H, W, C\), got \(2, 4\)\. Add the"
    ):
        F.flatten(X)
    with pytest.raises(TypeError, match=r"^flatten: expected x of a floating dtype, got uint8\. "):
        F.flatten(np.zeros((2, 2, 1), np.uint8))
