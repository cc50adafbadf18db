"""Convolution against its definition in NumPy, Flax, PyTorch and figures worked out by hand."""

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


def definition(x, kernel, *, stride, pads, dilation, groups):
    """Return the docstring's equation, one output pixel after another, in float64; x has one batch axis."""
    (sy, sx), (dy, dx) = stride, dilation
    kh, kw, per_group, features = kernel.shape
    x = np.pad(np.asarray(x, np.float64), ((0, 0), *pads, (0, 0)))
    height = (x.shape[1] - (kh - 1) * dy - 1) // sy + 1
    width = (x.shape[2] - (kw - 1) * dx - 1) // sx + 1
    y = np.zeros((len(x), height, width, features))
    for i, j, o in np.ndindex(height, width, features):
        first = o // (features // groups) * per_group
        for u, v, c in np.ndindex(kh, kw, per_group):
            y[:, i, j, o] += x[:, i * sy + u * dy, j * sx + v * dx, first + c] * kernel[u, v, c, o]
    return y


@st.composite
def convolutions(draw_from):
    """Return shapes and options under which the kernel fits into the image."""
    groups, per_group = draw_from(st.integers(1, 2)), draw_from(st.integers(1, 2))
    features = groups * draw_from(st.integers(1, 2))
    kernel_size, stride, dilation = (
        draw_from(sizes),
        draw_from(sizes),
        draw_from(st.sampled_from([(1, 1), (2, 1), (1, 3)])),
    )
    spans = [(k - 1) * d + 1 for k, d in zip(kernel_size, dilation, strict=True)]
    size = tuple(span + draw_from(st.integers(0, 3)) for span in spans)
    side = st.integers(0, 2)
    padding = draw_from(st.sampled_from(["SAME", "VALID"]) | side | st.tuples(*[st.tuples(side, side)] * 2))
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    return size, (*kernel_size, per_group, features), options, spans


@given(convolutions())
def test_value_and_gradients_follow_the_definition(case):
    size, kernel_shape, options, spans = case
    groups, features = options["groups"], kernel_shape[-1]
    x, kernel, bias = draw(1, 2, *size, groups * kernel_shape[2]), draw(2, *kernel_shape), draw(3, features)
    if isinstance(options["padding"], str):
        pads = lax.padtype_to_pads(size, spans, options["stride"], options["padding"])
    else:
        pads = np.broadcast_to(options["padding"], (2, 2))

    def reference(x, kernel):
        return definition(x, kernel, stride=options["stride"], pads=pads, dilation=options["dilation"], groups=groups)

    expected = reference(x, kernel) + np.asarray(bias)
    assert jax.eval_shape(lambda *args: F.conv(*args, **options), x, kernel, bias).shape == expected.shape
    cotangent = draw(4, *expected.shape)

    @jax.jit
    def run(x, kernel, bias, cotangent):
        y, pullback = jax.vjp(lambda *args: F.conv(*args, **options), x, kernel, bias)
        return y, pullback(cotangent)

    y, (to_x, to_kernel, to_bias) = run(x, kernel, bias, cotangent)
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)
    # Linear in each argument: the gradient along any direction is the cotangent times the function of the direction.
    toward_x, toward_kernel = draw(5, *x.shape), draw(6, *kernel.shape)
    close = np.testing.assert_allclose
    close(np.vdot(to_x, toward_x), np.vdot(cotangent, reference(toward_x, kernel)), rtol=1e-4, atol=1e-3)
    close(np.vdot(to_kernel, toward_kernel), np.vdot(cotangent, reference(x, toward_kernel)), rtol=1e-4, atol=1e-3)
    close(to_bias, np.sum(cotangent, axis=(0, 1, 2)), rtol=1e-4, atol=1e-5)


def in_float64(size, kernel_shape, options):
    """Check value and gradients against `lax`, in float64."""
    padding = options["padding"]
    pads = padding if isinstance(padding, str) else tuple(map(tuple, np.broadcast_to(padding, (2, 2)).tolist()))

    def library(x, kernel, bias):
        y = lax.conv_general_dilated(
            x,
            kernel,
            options["stride"],
            pads,
            rhs_dilation=options["dilation"],
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            feature_group_count=options["groups"],
        )
        return y + jnp.broadcast_to(bias, y.shape)

    def value_and_gradients(fn):
        @jax.jit
        def run(args, cotangent):
            y, pullback = jax.vjp(fn, *args)
            return y, *pullback(cotangent)

        return run(args, cotangent)

    rng = np.random.default_rng(1)
    with jax.enable_x64(True):
        shapes = [(2, *size, options["groups"] * kernel_shape[2]), kernel_shape, kernel_shape[3:]]
        args = [rng.normal(size=shape) for shape in shapes]
        cotangent = rng.normal(size=jax.eval_shape(library, *args).shape)
        ours = value_and_gradients(lambda *args: F.conv(*args, **options))
        for a, b in zip(ours, value_and_gradients(library), strict=True):
            assert a.dtype == np.float64
            np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10)


@given(convolutions())
def test_float64_agrees_with_lax(case):
    size, kernel_shape, options, _ = case
    in_float64(size, kernel_shape, options)


@given(convolutions())
def test_random_options_agree_with_torch(agree_with_torch, case):
    size, kernel_shape, options, _ = case
    with_torch(agree_with_torch, size, kernel_shape, options)


def with_torch(agree_with_torch, size, kernel_shape, options):
    import torch

    padding = options["padding"]
    if isinstance(padding, str):
        spans = [(k - 1) * d + 1 for k, d in zip(kernel_shape, options["dilation"], strict=False)]
        padding = lax.padtype_to_pads(size, spans, options["stride"], padding)
    (top, bottom), (left, right) = np.broadcast_to(padding, (2, 2)).tolist()
    rest = {name: value for name, value in options.items() if name != "padding"}
    agree_with_torch(
        lambda *args: F.conv(*args, **options),
        lambda x, *args: torch.nn.functional.conv2d(
            torch.nn.functional.pad(x, (left, right, top, bottom)), *args, **rest
        ),
        draw(1, 2, *size, options["groups"] * kernel_shape[2]),
        draw(2, *kernel_shape),
        draw(3, kernel_shape[3]),
        axes=("images", "kernel", "as is"),
        output="images",
    )


EDGES = {
    "1x1": ((5, 4), (1, 1, 3, 2), {}),
    "1x1 strided": ((5, 4), (1, 1, 3, 2), {"stride": (2, 3)}),
    "1x1 padded": ((5, 4), (1, 1, 3, 2), {"padding": ((1, 0), (0, 2)), "stride": 2}),
    "1x1 grouped": ((5, 4), (1, 1, 2, 4), {"groups": 2}),
    "even": ((6, 5), (2, 4, 2, 3), {"stride": (1, 2)}),
    "as large as the image": ((5, 4), (5, 4, 2, 3), {"padding": "VALID"}),
    "larger than the image": ((3, 4), (5, 5, 2, 3), {}),
    "stride beyond the kernel": ((9, 8), (2, 1, 2, 3), {"stride": (4, 3), "padding": "VALID"}),
    "stride beyond the image": ((3, 2), (2, 2, 2, 3), {"stride": 5}),
    "padding beyond the kernel": ((3, 2), (2, 2, 2, 3), {"padding": 3}),
    "one channel": ((5, 4), (3, 3, 1, 1), {}),
    "one pixel": ((1, 1), (3, 3, 2, 3), {"padding": 1}),
    "depthwise": ((5, 4), (3, 2, 1, 3), {"groups": 3, "stride": 2}),
    "depthwise, two for each": ((5, 4), (3, 2, 1, 6), {"groups": 3, "dilation": 2}),
}


@pytest.mark.parametrize("name", EDGES)
def test_edges_agree_with_lax_in_float64(name):
    size, kernel_shape, options = EDGES[name]
    in_float64(size, kernel_shape, all_options(options))


@pytest.mark.parametrize("name", EDGES)
def test_edges_agree_with_torch(agree_with_torch, name):
    size, kernel_shape, options = EDGES[name]
    with_torch(agree_with_torch, size, kernel_shape, all_options(options))


def all_options(options):
    pairs = {name: tuple(np.broadcast_to(options.get(name, 1), 2).tolist()) for name in ("stride", "dilation")}
    return {"padding": "SAME", "groups": 1} | options | pairs


OPTIONS = {
    "plain": (4, 3, {}),
    "strided": (4, 3, {"stride": 2, "padding": 1}),
    "asymmetric": (4, 3, {"stride": (1, 2), "padding": ((2, 0), (1, 1))}),
    "dilated": (4, 3, {"dilation": (2, 1), "padding": "VALID"}),
    "grouped": (4, 6, {"groups": 2}),
    "depthwise": (4, 8, {"groups": 4, "padding": "VALID"}),
}


@pytest.mark.parametrize(("channels", "features", "options"), OPTIONS.values(), ids=OPTIONS)
def test_agrees_with_flax(agree, channels, features, options):
    flax = nn.Conv(
        features,
        (3, 3),
        strides=options.get("stride", 1),
        padding=options.get("padding", "SAME"),
        kernel_dilation=options.get("dilation", 1),
        feature_group_count=options.get("groups", 1),
    )
    agree(
        lambda x, kernel, bias: F.conv(x, kernel, bias, **options),
        lambda x, kernel, bias: flax.apply({"params": {"kernel": kernel, "bias": bias}}, x),
        draw(1, 2, 7, 6, channels),
        draw(2, 3, 3, channels // options.get("groups", 1), features),
        draw(3, features),
    )


@pytest.mark.parametrize(("channels", "features", "options"), OPTIONS.values(), ids=OPTIONS)
def test_agrees_with_torch(agree_with_torch, channels, features, options):
    kernel_shape = (3, 3, channels // options.get("groups", 1), features)
    with_torch(agree_with_torch, (7, 6), kernel_shape, all_options(options))


RANKS = {
    "signals": ((9,), (3, 2, 4), {"stride": 2}),
    "signals, padded": ((9,), (4, 2, 4), {"padding": ((3, 1),), "dilation": (2,)}),
    "signals, depthwise": ((9,), (3, 1, 4), {"groups": 4}),
    "volumes": ((4, 5, 3), (2, 3, 2, 2, 4), {"stride": (1, 2, 1)}),
    "volumes, grouped": ((4, 5, 3), (3, 1, 2, 1, 4), {"groups": 2, "padding": "VALID"}),
    "volumes, 1x1x1": ((4, 5, 3), (1, 1, 1, 2, 4), {"padding": "VALID"}),
}


@pytest.mark.parametrize(("size", "kernel_shape", "options"), RANKS.values(), ids=RANKS)
def test_signals_and_volumes_agree_with_flax(agree, size, kernel_shape, options):
    rank = len(size)
    flax = nn.Conv(
        kernel_shape[-1],
        kernel_shape[:rank],
        strides=options.get("stride", 1),
        padding=options.get("padding", "SAME"),
        kernel_dilation=options.get("dilation", 1),
        feature_group_count=options.get("groups", 1),
    )
    agree(
        lambda x, kernel, bias: F.conv(x, kernel, bias, **options),
        lambda x, kernel, bias: flax.apply({"params": {"kernel": kernel, "bias": bias}}, x),
        draw(1, 2, *size, kernel_shape[-2] * options.get("groups", 1)),
        draw(2, *kernel_shape),
        draw(3, kernel_shape[-1]),
    )
    one = F.conv(draw(1, *size, kernel_shape[-2] * options.get("groups", 1)), draw(2, *kernel_shape), **options)
    assert one.ndim == rank + 1


def counting(height: int, width: int) -> jax.Array:
    """Return the grey image of 1, 2, 3, ... in rows."""
    return jnp.arange(1.0, height * width + 1).reshape(height, width, 1)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        # 37 = 1*1 + 2*2 + 3*4 + 4*5: the kernel is not turned round, as it is in mathematics.
        ({"padding": "VALID"}, [[37, 47], [67, 77]]),
        # SAME puts the odd pixel after: below and to the right.
        ({"padding": "SAME"}, [[37, 47, 21], [67, 77, 33], [23, 26, 9]]),
        ({"padding": ((1, 0), (0, 0))}, [[11, 18], [37, 47], [67, 77]]),
        ({"padding": "VALID", "dilation": 2}, [[1 + 2 * 3 + 3 * 7 + 4 * 9]]),
        ({"padding": "SAME", "stride": 2}, [[37, 21], [23, 9]]),
        ({"padding": 1, "stride": (2, 3)}, [[4 * 1, 3 * 3], [2 * 4 + 4 * 7, 1 * 6 + 3 * 9]]),
    ],
)
def test_by_hand(options, expected):
    kernel = jnp.array([[1.0, 2.0], [3.0, 4.0]]).reshape(2, 2, 1, 1)
    y = F.conv(counting(3, 3), kernel, **options)
    np.testing.assert_array_equal(y[..., 0], expected)


def test_groups_do_not_see_each_other():
    x = jnp.stack([counting(3, 3)[..., 0], 100 * counting(3, 3)[..., 0]], axis=-1)
    y = F.conv(x, jnp.ones((1, 1, 1, 2)), groups=2)
    np.testing.assert_array_equal(y, x)


def test_the_bias_is_added_once():
    y = F.conv(counting(3, 3), jnp.zeros((3, 3, 1, 2)), jnp.array([5.0, -1.0]))
    np.testing.assert_array_equal(y, np.broadcast_to([5.0, -1.0], (3, 3, 2)))


def test_any_number_of_leading_axes():
    x, kernel = draw(1, 3, 2, 5, 4, 2), draw(2, 3, 3, 2, 3)
    y = F.conv(x, kernel)
    assert y.shape == (3, 2, 5, 4, 3)
    for index in np.ndindex(3, 2):
        np.testing.assert_allclose(y[index], F.conv(x[index], kernel), rtol=1e-5, atol=1e-5)
    assert F.conv(x[:0], kernel).shape == (0, 2, 5, 4, 3)


def test_computes_in_the_dtype_of_the_images():
    x, kernel, bias = draw(1, 5, 4, 2).astype(jnp.bfloat16), draw(2, 3, 3, 2, 3), draw(3, 3)
    y, gradient = jax.value_and_grad(lambda k: F.conv(x, k, bias).sum().astype(jnp.float32))(kernel)
    assert F.conv(x, kernel, bias).dtype == jnp.bfloat16
    assert (y.dtype, gradient.dtype) == (jnp.float32, jnp.float32)
    np.testing.assert_allclose(F.conv(x, kernel, bias).astype(float), F.conv(x.astype(float), kernel, bias), atol=0.1)


X, KERNEL = np.zeros((2, 5, 4, 2), np.float32), np.zeros((3, 3, 2, 4), np.float32)


@pytest.mark.parametrize(
    ("x", "kernel", "options", "message"),
    [
        (X[0, 0], KERNEL, {}, r"images of shape \(\.\.\., H, W, C\), got \(4, 2\)\. .*grey image has C = 1"),
        (
            X,
            KERNEL[0, 0],
            {},
            r"a kernel of shape \(kh, kw, C_in / groups, C_out\), or .*, got \(2, 4\)\. Put the input",
        ),
        (X[0, 0], KERNEL[None], {}, r"images of shape \(\.\.\., D, H, W, C\), got \(4, 2\)\. "),
        (X, KERNEL[0], {"stride": (1, 2)}, r"stride as a positive int or one in a tuple, got \(1, 2\)\. "),
        (X, KERNEL[None], {"dilation": (1, 2)}, r"dilation as a positive int or three of them, got \(1, 2\)\. "),
        (X, KERNEL[0], {"padding": (1, 1)}, r"padding as .* or \(\(before, after\),\), got \(1, 1\)\. "),
        (
            X[..., :1],
            KERNEL,
            {},
            r"images of 2 channels for a kernel .* and groups=1, got x of shape \(2, 5, 4, 1\)\. ",
        ),
        (
            np.moveaxis(X, -1, -3),
            KERNEL,
            {},
            r"images of 2 channels .*\(2, 2, 5, 4\)\. Channels come last: jax\.numpy\.moveaxis\(x, -3, -1\)",
        ),
        (X, KERNEL, {"groups": 2}, r"images of 4 channels for a kernel .* and groups=2, got x of shape"),
        (X, KERNEL, {"groups": 3}, r"groups that divide the 4 output channels, got 3\. Choose a divisor"),
        (X, KERNEL, {"groups": 0}, r"groups that divide the 4 output channels, got 0\. "),
        (X, KERNEL, {"groups": "2"}, r"groups that divide the 4 output channels, got '2'\. "),
        (X, KERNEL, {"bias": np.zeros(3)}, r"bias of shape \(4,\), got \(3,\)\. "),
        (
            X[:, :2],
            KERNEL,
            {"padding": "VALID"},
            r"an image of at least 3x3 pixels .*padding='VALID', got 2x4\. Use a smaller",
        ),
        (X, KERNEL, {"padding": ((0, 0), (1, 0)), "dilation": 3}, r"an image of at least 7x7 pixels .*, got 5x5\. "),
        (X, KERNEL, {"padding": "FULL"}, r"padding as \"SAME\", \"VALID\", an int .*, got 'FULL'\. Pass padding="),
        (X, KERNEL, {"padding": -1}, r"padding .*, got -1\. "),
        (X, KERNEL, {"padding": (1, 1, 1)}, r"padding .*, got \(1, 1, 1\)\. "),
        (X, KERNEL, {"padding": ((1, 1), (1, 1.5))}, r"padding .*, got \(\(1, 1\), \(1, 1\.5\)\)\. "),
        (X, KERNEL, {"padding": None}, r"padding .*, got None\. "),
        (
            X,
            KERNEL,
            {"stride": 0},
            r"stride as a positive int or two of them, got 0\. Pass stride=2 or stride=\(2, 3\)\.",
        ),
        (X, KERNEL, {"stride": (1, 2, 3)}, r"stride as a positive int or two of them, got \(1, 2, 3\)\. "),
        (X, KERNEL, {"stride": True}, r"stride as a positive int or two of them, got True\. "),
        (X, KERNEL, {"stride": np.array([1, 2])}, r"stride as a positive int or two of them, got an array of shape"),
        (X, KERNEL, {"dilation": 1.5}, r"dilation as a positive int or two of them, got 1\.5\. "),
    ],
)
def test_bad_values(x, kernel, options, message):
    with pytest.raises(ValueError, match=f"^conv: expected {message}"):
        F.conv(x, kernel, **options)


@pytest.mark.parametrize(
    ("x", "kernel", "message"),
    [
        (
            X.astype(np.uint8),
            KERNEL,
            r"x of a floating dtype, got uint8\. .*uint8 images with jaxcnn\.data\.to_float\.",
        ),
        (X.astype(bool), KERNEL, r"x of a floating dtype, got bool\. "),
        (X.astype(np.complex64), KERNEL, r"x of a floating dtype, got complex64\. "),
        (X, KERNEL.astype(np.int32), r"kernel of a floating dtype, got int32\. "),
        ("image.png", KERNEL, r"x to be an array, got str\. Pass a JAX or NumPy array\."),
        (X, None, r"kernel to be an array, got NoneType\. "),
    ],
)
def test_bad_dtypes(x, kernel, message):
    with pytest.raises(TypeError, match=f"^conv: expected {message}"):
        F.conv(x, kernel)


def test_errors_come_before_any_array_work():
    with pytest.raises(ValueError, match=r"^conv: expected images of 2 channels"):
        jax.eval_shape(F.conv, jax.ShapeDtypeStruct((5, 4, 1), jnp.float32), KERNEL)
    with pytest.raises(ValueError, match=r"^conv: expected stride as a positive int"):
        jax.jit(lambda stride: F.conv(X, KERNEL, stride=stride))(2)


def test_options_that_mean_the_same():
    x, kernel = draw(1, 5, 4, 2), draw(2, 3, 3, 2, 3)
    plain = F.conv(x, kernel, padding=1)
    for padding in [(1, 1), [1, (1, 1)], np.int64(1), ((1, 1), (1, 1)), "same", "SAME"]:
        np.testing.assert_array_equal(F.conv(x, kernel, padding=padding), plain)
    np.testing.assert_array_equal(
        F.conv(x, kernel, stride=2, dilation=np.int32(1)), F.conv(x, kernel, stride=[2, 2], dilation=(1, 1))
    )
