"""Dense layers, maxout and flattening against Flax, PyTorch and figures worked out by hand."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxcnn import functional as F
from jaxcnn import initializers
from jaxcnn.layers import Maxout
from tests.functional.samples import draw

pytestmark = pytest.mark.usefixtures("quick_compilation")


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


def test_maxout_by_hand():
    kernel = jnp.array([[[1.0, 2.0], [3.0, 4.0]], [[0.0, 5.0], [3.0, 0.0]]])  # two pieces of two inputs, two outputs
    np.testing.assert_array_equal(F.maxout(jnp.array([1.0, 10.0]), kernel), [31, 42])
    bias = jnp.array([[0.0, -40.0], [2.0, 0.0]])
    np.testing.assert_array_equal(F.maxout(jnp.array([1.0, 10.0]), kernel, bias), [32, 5])


def piece_by_piece(x, kernel, bias):
    """Return the definition: each piece by itself, then the maximum."""
    return jnp.stack([F.dense(x, kernel[p], bias[p]) for p in range(kernel.shape[0])]).max(axis=0)


@given(st.integers(1, 4), st.sampled_from([(3,), (2, 3), (2, 1, 2, 3)]), st.integers(1, 3))
def test_maxout_follows_its_definition(agree, pieces, shape, features):
    agree(F.maxout, piece_by_piece, draw(0, *shape), draw(1, pieces, 3, features), draw(2, pieces, features))


def test_maxout_of_one_piece_is_dense_and_of_x_and_nothing_is_relu(agree):
    x, kernel, bias = draw(0, 5, 4), draw(1, 4, 3), draw(2, 3)
    agree(lambda *args: F.maxout(args[0], args[1][None], args[2][None]), F.dense, x, kernel, bias)
    agree(lambda x: F.maxout(x, jnp.stack([jnp.eye(4), jnp.zeros((4, 4))])), F.relu, x)


def test_maxout_agrees_with_torch(agree_with_torch):
    def theirs(x, kernel, bias):
        return (x @ kernel + bias[:, None]).amax(dim=0)

    agree_with_torch(
        F.maxout, theirs, draw(0, 6, 4), draw(1, 3, 4, 5), draw(2, 3, 5), axes=("as is",) * 3, output="as is"
    )


@pytest.mark.parametrize("equal", [(0, 1, 2), (1, 2)], ids=str)
def test_maxout_sends_the_gradient_to_the_first_maximum(equal):
    bias = jnp.zeros((3, 2)).at[jnp.array(equal)].set(1.0)
    gradient = jax.grad(lambda bias: F.maxout(jnp.ones(2), jnp.zeros((3, 2, 2)), bias).sum())(bias)
    np.testing.assert_array_equal(gradient, np.eye(3)[[equal[0], equal[0]]].T)


@pytest.mark.parametrize("place", range(3))
def test_maxout_does_not_hide_nan(place):
    bias = jnp.zeros((3, 2)).at[place, 1].set(jnp.nan)
    y = F.maxout(jnp.ones(2), jnp.zeros((3, 2, 2)), bias)
    np.testing.assert_array_equal(y, [0, np.nan])


def test_maxout_is_one_product():
    jaxpr = str(jax.make_jaxpr(F.maxout)(draw(0, 5, 4), draw(1, 6, 4, 3), draw(2, 6, 3)))
    assert jaxpr.count("dot_general") == 1


def test_maxout_computes_in_the_dtype_of_its_input():
    kernel, bias = draw(0, 2, 4, 3), draw(1, 2, 3)
    x = draw(2, 5, 4).astype(jnp.bfloat16)
    y, pullback = jax.vjp(lambda kernel, bias: F.maxout(x, kernel, bias), kernel, bias)
    assert y.dtype == jnp.bfloat16
    assert {gradient.dtype for gradient in pullback(y)} == {jnp.dtype(jnp.float32)}
    np.testing.assert_allclose(
        y.astype(jnp.float32), piece_by_piece(x.astype(jnp.float32), kernel, bias), atol=0.05, rtol=0.05
    )


def test_the_layer_maxout_draws_each_piece_as_a_dense_kernel():
    key, x = jax.random.key(0), jnp.zeros((2, 64))
    params, state = Maxout(32, 3, bias_init=initializers.ones).init(key, x)
    assert {name: leaf.shape for name, leaf in params.items()} == {"kernel": (3, 64, 32), "bias": (3, 32)}
    assert state == {}
    # He's variance, 2 / 64, whatever the number of pieces; and no two pieces are alike.
    np.testing.assert_allclose(params["kernel"].var(axis=(1, 2)), 3 * [2 / 64], rtol=0.1)
    assert len(np.unique(params["kernel"])) == 3 * 64 * 32
    x = draw(0, 2, 64)
    y, _ = Maxout(32, 3).apply(params, state, x, train=False)
    np.testing.assert_array_equal(y, F.maxout(x, params["kernel"], params["bias"]))
    assert set(Maxout(8, use_bias=False).init(key, x)[0]) == {"kernel"}
    assert (Maxout(8).init(key, x)[0]["bias"] == 0).all()


def test_the_layer_maxout_is_a_value_and_checks_its_options():
    assert Maxout(8) == Maxout(8, 2)
    assert repr(Maxout(8, 3)) == "Maxout(features=8, pieces=3)"
    for make, message in [
        (lambda: Maxout(0), r"features as a positive int, got 0\. "),
        (lambda: Maxout(8, 0), r"pieces as a positive int, got 0\. "),
        (lambda: Maxout(8, 2.0), r"pieces as a positive int, got 2\.0\. "),
        (lambda: Maxout(8).init(jax.random.key(0), jnp.float32(1)), r"an input of shape \(\.\.\., C\), got \(\)\. "),
    ]:
        with pytest.raises(ValueError, match=f"^Maxout: expected {message}"):
            make()
    for name in ("kernel_init", "bias_init"):
        with pytest.raises(TypeError, match=rf"^Maxout: expected {name} as a function .*, got 'ones'\. Pass one of"):
            Maxout(8, **{name: "ones"})
    params, state = Maxout(4).init(jax.random.key(0), X)
    with pytest.raises(ValueError, match=r"^Maxout: expected kernel of 5 features, got shape \(2, 4, 4\)\. Pass"):
        Maxout(5).apply(params, state, X, train=False)


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


PIECES = np.zeros((2, 4, 3), np.float32)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((X, KERNEL), r"a kernel of shape \(pieces, C_in, C_out\), got \(4, 3\)\. Give the kernel three axes"),
        ((X, PIECES[:0]), r"a kernel of shape \(pieces, C_in, C_out\), got \(0, 4, 3\)\. "),
        (
            (X[:, :3], PIECES),
            r"x of shape \(\.\.\., 4\) for a kernel of shape \(2, 4, 3\), got \(2, 3\)\. Flatten the images",
        ),
        ((X[0, 0], PIECES), r"x of shape \(\.\.\., 4\) for a kernel of shape \(2, 4, 3\), got \(\)\. "),
        ((X, PIECES, np.zeros(3)), r"bias of shape \(2, 3\), got \(3,\)\. Pass bias with that shape\."),
    ],
)
def test_maxout_bad_shapes(args, message):
    with pytest.raises(ValueError, match=f"^maxout: expected {message}"):
        F.maxout(*args)


@pytest.mark.parametrize(
    ("args", "name"),
    [((X.astype(np.uint8), PIECES), "x"), ((X, PIECES.astype(np.uint8)), "kernel")],
    ids=["x", "kernel"],
)
def test_maxout_bad_dtypes(args, name):
    with pytest.raises(TypeError, match=rf"^maxout: expected {name} of a floating dtype, got uint8\. "):
        F.maxout(*args)


def test_flatten_bad_input():
    with pytest.raises(
        ValueError, match=r"^flatten: expected images of shape \(\.\.\., H, W, C\), got \(2, 4\)\. Add the"
    ):
        F.flatten(X)
    with pytest.raises(TypeError, match=r"^flatten: expected x of a floating dtype, got uint8\. "):
        F.flatten(np.zeros((2, 2, 1), np.uint8))
