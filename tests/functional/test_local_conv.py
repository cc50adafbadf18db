"""Unshared convolution against its definition, Flax, the convolution that shares and figures worked out by hand."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jax import lax

from jaxcnn import functional as F
from tests.functional.samples import draw

pytestmark = pytest.mark.usefixtures("quick_compilation")
sizes = st.tuples(st.integers(1, 3), st.integers(1, 3))


def definition(x, kernel, *, stride, pads, dilation):
    """Return the docstring's equation, one output pixel after another; x has one batch axis."""
    (sy, sx), (dy, dx) = stride, dilation
    height, width, kh, kw, _, features = kernel.shape
    x = np.pad(x, ((0, 0), *pads, (0, 0)))
    y = np.zeros((len(x), height, width, features))
    for i, j in np.ndindex(height, width):
        seen = x[:, i * sy : i * sy + (kh - 1) * dy + 1 : dy, j * sx : j * sx + (kw - 1) * dx + 1 : dx]
        y[:, i, j] = np.einsum("nuvc,uvco->no", seen, kernel[i, j])
    return y


@given(sizes, sizes, sizes, st.integers(1, 2), st.sampled_from(["SAME", "VALID", 0, 2, ((1, 0), (0, 2))]))
def test_value_and_gradients_follow_the_definition(window, stride, dilation, channels, padding):
    spans = [(k - 1) * d + 1 for k, d in zip(window, dilation, strict=True)]
    size = (spans[0] + 2, spans[1] + 3)
    if isinstance(padding, str):
        pads = lax.padtype_to_pads(size, spans, stride, padding)
    else:
        pads = np.broadcast_to(padding, (2, 2)).tolist()
    axes = zip(size, pads, spans, stride, strict=True)
    places = [(n + before + after - span) // s + 1 for n, (before, after), span, s in axes]
    rng = np.random.default_rng(0)
    options = {"stride": stride, "dilation": dilation}
    with jax.enable_x64(True):
        x, kernel = rng.normal(size=(2, *size, channels)), rng.normal(size=(*places, *window, channels, 3))
        bias, cotangent = rng.normal(size=(*places, 3)), rng.normal(size=(2, *places, 3))

        @jax.jit
        def run(x, kernel, bias, cotangent):
            y, pullback = jax.vjp(lambda *args: F.local_conv(*args, padding=padding, **options), x, kernel, bias)
            return y, pullback(cotangent)

        y, (to_x, to_kernel, to_bias) = run(x, kernel, bias, cotangent)
        options["pads"] = pads
        close = np.testing.assert_allclose
        close(y, definition(x, kernel, **options) + bias, rtol=1e-10, atol=1e-10)
        # Linear in each: the gradient along any direction is the cotangent times the function of the direction.
        toward_x, toward_kernel = rng.normal(size=x.shape), rng.normal(size=kernel.shape)
        close(np.vdot(to_x, toward_x), np.vdot(cotangent, definition(toward_x, kernel, **options)), atol=1e-9)
        close(np.vdot(to_kernel, toward_kernel), np.vdot(cotangent, definition(x, toward_kernel, **options)), atol=1e-9)
        close(to_bias, cotangent.sum(0), atol=1e-10)


OPTIONS = {
    "plain": ((5, 4), {}),
    "same": ((7, 6), {"padding": "SAME"}),
    "strided": ((4, 3), {"stride": 2, "padding": 1}),
    "asymmetric": ((7, 3), {"stride": (1, 2), "padding": ((2, 0), (1, 1))}),
    "dilated": ((3, 4), {"dilation": (2, 1)}),
}


@pytest.mark.parametrize(("places", "options"), OPTIONS.values(), ids=OPTIONS)
def test_agrees_with_flax(agree, places, options):
    flax = nn.ConvLocal(
        5,
        (3, 3),
        strides=options.get("stride", 1),
        padding=options.get("padding", "VALID"),
        kernel_dilation=options.get("dilation", 1),
    )

    def theirs(x, kernel, bias):
        kernel = kernel.transpose(0, 1, 4, 2, 3, 5).reshape(*places, -1, 5)
        return flax.apply({"params": {"kernel": kernel, "bias": bias}}, x)

    agree(
        lambda *args: F.local_conv(*args, **options),
        theirs,
        draw(1, 2, 7, 6, 2),
        draw(2, *places, 3, 3, 2, 5),
        draw(3, *places, 5),
        atol=1e-4,
    )


def test_the_same_kernel_everywhere_is_a_convolution():
    x, kernel = draw(1, 2, 7, 6, 2), draw(2, 3, 2, 2, 4)
    y = F.conv(x, kernel, stride=2, padding="SAME")
    everywhere = jnp.broadcast_to(kernel, (*y.shape[1:3], *kernel.shape))
    np.testing.assert_allclose(F.local_conv(x, everywhere, stride=2, padding="SAME"), y, rtol=1e-5, atol=1e-5)


def test_by_hand():
    x = jnp.array([1.0, 2.0, 3.0]).reshape(1, 3, 1)
    kernel = jnp.array([[1.0, 10.0], [5.0, 7.0]]).reshape(1, 2, 1, 2, 1, 1)
    y = F.local_conv(x, kernel, jnp.array([0.5, 0.25]).reshape(1, 2, 1))
    np.testing.assert_array_equal(y.ravel(), [1 + 20 + 0.5, 10 + 21 + 0.25])


def test_any_number_of_leading_axes_in_the_dtype_of_the_images():
    x, kernel, bias = draw(1, 3, 2, 5, 4, 2), draw(2, 3, 2, 3, 3, 2, 3), draw(3, 3, 2, 3)
    ours = jax.jit(F.local_conv)
    y = ours(x, kernel, bias)
    assert y.shape == (3, 2, 3, 2, 3)
    np.testing.assert_allclose(y[1, 0], ours(x[1, 0], kernel, bias), rtol=1e-5, atol=1e-5)
    assert jax.eval_shape(ours, x[:0], kernel).shape == (0, 2, 3, 2, 3)
    half = ours(x.astype(jnp.bfloat16), kernel, bias)
    assert half.dtype == jnp.bfloat16
    np.testing.assert_allclose(half.astype(jnp.float32), y, atol=0.2)


X, KERNEL = np.zeros((2, 5, 4, 2), np.float32), np.zeros((3, 2, 3, 3, 2, 4), np.float32)


@pytest.mark.parametrize(
    ("x", "kernel", "options", "message"),
    [
        (X[0, 0], KERNEL, {}, r"images of shape \(\.\.\., H, W, C\), got \(4, 2\)\. "),
        (
            X,
            KERNEL[0],
            {},
            r"a kernel of shape \(H', W', kh, kw, 2, C_out\) for x of shape .*, got \(2, 3, 3, 2, 4\)\. Put",
        ),
        (X[..., :1], KERNEL, {}, r"a kernel of shape \(H', W', kh, kw, 1, C_out\) .*, got \(3, 2, 3, 3, 2, 4\)\. "),
        (
            X,
            KERNEL,
            {"padding": "SAME"},
            r"a kernel for 5x4 outputs, as x of shape \(2, 5, 4, 2\) has, got a kernel of shape \(3, 2, 3, 3, 2, 4\)\. "
            r"Match the kernel's first two axes",
        ),
        (X, KERNEL, {"stride": 2}, r"a kernel for 2x1 outputs"),
        (X, KERNEL, {"bias": np.zeros(4)}, r"bias of shape \(3, 2, 4\), got \(4,\)\. "),
        (X, KERNEL, {"stride": 0}, r"stride as a positive int or two of them, got 0\. "),
        (X, KERNEL, {"dilation": "2"}, r"dilation as a positive int or two of them, got '2'\. "),
        (X, KERNEL, {"padding": -1}, r"padding .*, got -1\. "),
        (X[:, :2], KERNEL, {}, r"an image of at least 3x3 pixels .*, got 2x4\. "),
    ],
)
def test_bad_values(x, kernel, options, message):
    with pytest.raises(ValueError, match=f"^local_conv: expected {message}"):
        F.local_conv(x, kernel, **options)


def test_bad_dtypes():
    with pytest.raises(TypeError, match=r"^local_conv: expected x of a floating dtype, got uint8\. .*to_float"):
        F.local_conv(X.astype(np.uint8), KERNEL)
    with pytest.raises(TypeError, match=r"^local_conv: expected kernel of a floating dtype, got int32\. "):
        F.local_conv(X, KERNEL.astype(np.int32))
