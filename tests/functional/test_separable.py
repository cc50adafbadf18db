"""Depthwise and separable convolution against Flax, PyTorch and figures worked out by hand."""

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
sizes = st.tuples(st.integers(1, 3), st.integers(1, 3))


# Kernels for each channel, options; the images are 7x6 with 3 channels, the kernels 3x3.
OPTIONS = {
    "plain": (1, {}),
    "two kernels each": (2, {}),
    "strided": (1, {"stride": 2, "padding": 1}),
    "asymmetric": (2, {"stride": (1, 2), "padding": ((2, 0), (1, 1))}),
    "dilated": (2, {"dilation": (2, 1), "padding": "VALID"}),
}
each = pytest.mark.parametrize(("multiplier", "options"), OPTIONS.values(), ids=OPTIONS)


def flax_depthwise(x, kernel, bias=None, *, stride=1, padding="SAME", dilation=1):
    layer = nn.Conv(
        kernel.shape[-1],
        kernel.shape[:2],
        strides=stride,
        padding=padding,
        kernel_dilation=dilation,
        feature_group_count=x.shape[-1],
        use_bias=bias is not None,
    )
    return layer.apply({"params": {"kernel": kernel} | ({} if bias is None else {"bias": bias})}, x)


def torch_depthwise(x, kernel, bias=None, *, padding="SAME", **options):
    import torch

    same = {"SAME": ((1, 1), (1, 1)), "VALID": ((0, 0), (0, 0)), 1: ((1, 1), (1, 1))}
    (top, bottom), (left, right) = same.get(padding, padding)
    padded = torch.nn.functional.pad(x, (left, right, top, bottom))
    return torch.nn.functional.conv2d(padded, kernel, bias, groups=x.shape[1], **options)


@each
def test_depthwise_agrees_with_flax(agree, multiplier, options):
    agree(
        lambda *args: F.depthwise_conv(*args, **options),
        lambda *args: flax_depthwise(*args, **options),
        draw(1, 2, 7, 6, 3),
        draw(2, 3, 3, 1, 3 * multiplier),
        draw(3, 3 * multiplier),
    )


@each
def test_depthwise_agrees_with_torch(agree_with_torch, multiplier, options):
    agree_with_torch(
        lambda *args: F.depthwise_conv(*args, **options),
        lambda *args: torch_depthwise(*args, **options),
        draw(1, 2, 7, 6, 3),
        draw(2, 3, 3, 1, 3 * multiplier),
        draw(3, 3 * multiplier),
        axes=("images", "kernel", "as is"),
        output="images",
    )


@each
def test_separable_agrees_with_flax(agree, multiplier, options):
    def theirs(x, deep, point, bias):
        layer = nn.Conv(4, (1, 1))
        return layer.apply({"params": {"kernel": point, "bias": bias}}, flax_depthwise(x, deep, **options))

    agree(
        lambda *args: F.separable_conv(*args, **options),
        theirs,
        draw(1, 2, 7, 6, 3),
        draw(2, 3, 3, 1, 3 * multiplier),
        draw(3, 1, 1, 3 * multiplier, 4),
        draw(4, 4),
    )


@each
def test_separable_agrees_with_torch(agree_with_torch, multiplier, options):
    import torch

    agree_with_torch(
        lambda *args: F.separable_conv(*args, **options),
        lambda x, deep, point, bias: torch.nn.functional.conv2d(torch_depthwise(x, deep, **options), point, bias),
        draw(1, 2, 7, 6, 3),
        draw(2, 3, 3, 1, 3 * multiplier),
        draw(3, 1, 1, 3 * multiplier, 4),
        draw(4, 4),
        axes=("images", "kernel", "kernel", "as is"),
        output="images",
    )


@given(st.integers(1, 3), st.integers(1, 2), sizes, sizes, sizes, st.integers(0, 2))
def test_each_channel_is_a_convolution_by_itself(channels, multiplier, window, stride, dilation, padding):
    options = {"stride": stride, "dilation": dilation, "padding": padding}
    rng = np.random.default_rng(0)
    with jax.enable_x64(True):
        x, kernel = rng.normal(size=(2, 7, 8, channels)), rng.normal(size=(*window, 1, channels * multiplier))

        def alone(x, kernel):
            groups = [
                F.conv(x[..., c : c + 1], kernel[..., c * multiplier : (c + 1) * multiplier], **options)
                for c in range(channels)
            ]
            return jnp.concatenate(groups, -1)

        @jax.jit
        def both(x, kernel):
            y, pullback = jax.vjp(lambda *args: F.depthwise_conv(*args, **options), x, kernel)
            expected, reference = jax.vjp(alone, x, kernel)
            return (y, pullback(expected)), (expected, reference(expected))

        ours, theirs = both(x, kernel)
        for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10)


def test_depthwise_by_hand():
    x = jnp.array([[1.0, 10.0], [2.0, 20.0]]).reshape(1, 2, 2)
    # Two kernels of 1x2 for each channel: the sum and the difference of neighbours.
    kernel = jnp.array([[1.0, -1.0, 1.0, -1.0], [1.0, 1.0, 1.0, 1.0]]).reshape(1, 2, 1, 4)
    y = F.depthwise_conv(x, kernel, jnp.array([0.0, 0.5, 0.0, 0.5]), padding="VALID")
    np.testing.assert_array_equal(y[0, 0], [3, 1.5, 30, 10.5])


def test_separable_by_hand():
    x = jnp.array([[1.0, 10.0], [2.0, 20.0]]).reshape(1, 2, 2)
    deep = jnp.ones((1, 2, 1, 2))
    point = jnp.array([[1.0, 2.0, 3.0], [1.0, 0.0, -1.0]]).reshape(1, 1, 2, 3)
    y = F.separable_conv(x, deep, point, jnp.array([0.0, 1.0, 2.0]), padding="VALID")
    np.testing.assert_array_equal(y[0, 0], [3 + 30, 6 + 1, 9 - 30 + 2])


def test_any_number_of_leading_axes_in_the_dtype_of_the_images():
    x, deep, point = draw(1, 3, 2, 5, 4, 2), draw(2, 3, 3, 1, 4), draw(3, 1, 1, 4, 3)
    for ours in (lambda x: F.depthwise_conv(x, deep), lambda x: F.separable_conv(x, deep, point)):
        y = ours(x)
        assert y.shape[:-1] == x.shape[:-1]
        np.testing.assert_allclose(y[1, 0], ours(x[1, 0]), rtol=1e-5, atol=1e-5)
        half = ours(x.astype(jnp.bfloat16))
        assert half.dtype == jnp.bfloat16
        np.testing.assert_allclose(half.astype(jnp.float32), y, atol=0.4)


X = np.zeros((2, 5, 4, 2), np.float32)
DEEP, POINT = np.zeros((3, 3, 1, 4), np.float32), np.zeros((1, 1, 4, 3), np.float32)


@pytest.mark.parametrize(
    ("x", "kernel", "options", "message"),
    [
        (X[0, 0], DEEP, {}, r"images of shape \(\.\.\., H, W, C\), got \(4, 2\)\. "),
        (X[..., :0], DEEP, {}, r"images of at least one channel, got \(2, 5, 4, 0\)\. "),
        (
            X,
            DEEP[0],
            {},
            r"a kernel of shape \(kh, kw, 1, 2 \* m\) for images of 2 channels, got \(3, 1, 4\)\. Give each",
        ),
        (X, np.zeros((3, 3, 2, 4)), {}, r"a kernel of shape \(kh, kw, 1, 2 \* m\) .*, got \(3, 3, 2, 4\)\. "),
        (X, DEEP[..., :3], {}, r"a kernel of shape \(kh, kw, 1, 2 \* m\) .*, got \(3, 3, 1, 3\)\. "),
        (X, DEEP[..., :0], {}, r"a kernel of shape \(kh, kw, 1, 2 \* m\) .*, got \(3, 3, 1, 0\)\. "),
        (X, DEEP, {"bias": np.zeros(2)}, r"bias of shape \(4,\), got \(2,\)\. "),
        (X, DEEP, {"stride": 0}, r"stride as a positive int or two of them, got 0\. "),
        (X, DEEP, {"dilation": (1, 0)}, r"dilation as a positive int or two of them, got \(1, 0\)\. "),
        (X, DEEP, {"padding": -1}, r"padding .*, got -1\. "),
        (X[:, :2], DEEP, {"padding": "VALID"}, r"an image of at least 3x3 pixels .*, got 2x4\. "),
    ],
)
def test_bad_values_of_depthwise(x, kernel, options, message):
    with pytest.raises(ValueError, match=f"^depthwise_conv: expected {message}"):
        F.depthwise_conv(x, kernel, **options)


@pytest.mark.parametrize(
    ("x", "deep", "point", "options", "message"),
    [
        (X[0, 0], DEEP, POINT, {}, r"images of shape \(\.\.\., H, W, C\), got \(4, 2\)\. "),
        (X, DEEP[..., :3], POINT, {}, r"a depthwise_kernel of shape \(kh, kw, 1, 2 \* m\) .*, got \(3, 3, 1, 3\)\. "),
        (X, DEEP, POINT[0], {}, r"a pointwise_kernel of shape \(1, 1, 4, C_out\), got \(1, 4, 3\)\. Match its third"),
        (X, DEEP, POINT[..., :3, :], {}, r"a pointwise_kernel of shape \(1, 1, 4, C_out\), got \(1, 1, 3, 3\)\. "),
        (X, DEEP, np.zeros((1, 2, 4, 3)), {}, r"a pointwise_kernel of shape \(1, 1, 4, C_out\), got \(1, 2, 4, 3\)\. "),
        (X, DEEP, POINT, {"bias": np.zeros(4)}, r"bias of shape \(3,\), got \(4,\)\. "),
        (X, DEEP, POINT, {"stride": 0}, r"stride as a positive int or two of them, got 0\. "),
        (X[:, :2], DEEP, POINT, {"padding": "VALID"}, r"an image of at least 3x3 pixels .*, got 2x4\. "),
    ],
)
def test_bad_values_of_separable(x, deep, point, options, message):
    with pytest.raises(ValueError, match=f"^separable_conv: expected {message}"):
        F.separable_conv(x, deep, point, **options)


def test_bad_dtypes():
    with pytest.raises(TypeError, match=r"^depthwise_conv: expected x of a floating dtype, got uint8\. .*to_float"):
        F.depthwise_conv(X.astype(np.uint8), DEEP)
    with pytest.raises(TypeError, match=r"^depthwise_conv: expected kernel of a floating dtype, got int32\. "):
        F.depthwise_conv(X, DEEP.astype(np.int32))
    with pytest.raises(TypeError, match=r"^separable_conv: expected x of a floating dtype, got uint8\. "):
        F.separable_conv(X.astype(np.uint8), DEEP, POINT)
    with pytest.raises(TypeError, match=r"^separable_conv: expected depthwise_kernel of a floating dtype, got int32"):
        F.separable_conv(X, DEEP.astype(np.int32), POINT)
    with pytest.raises(TypeError, match=r"^separable_conv: expected pointwise_kernel to be an array, got NoneType"):
        F.separable_conv(X, DEEP, None)
