"""Transposed convolution against its definition, the convolution it transposes, Flax, PyTorch and figures by hand."""

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
sizes = st.tuples(st.integers(1, 4), st.integers(1, 4))


@st.composite
def cases(draw_from):
    """Return the size of the image, the shape of a kernel and options, a padding in pixels among them."""
    groups, per_group = draw_from(st.integers(1, 2)), draw_from(st.integers(1, 2))
    features = groups * draw_from(st.integers(1, 2))
    size, window, stride = draw_from(sizes), draw_from(sizes), draw_from(sizes)
    dilation = draw_from(st.sampled_from([(1, 1), (1, 1), (2, 1), (3, 2)]))
    pads, extra = [], []
    for n, k, s, d in zip(size, window, stride, dilation, strict=True):
        painted = (n - 1) * s + (k - 1) * d + 1
        before = draw_from(st.integers(0, min(3, painted - 1)))
        pads.append((before, draw_from(st.integers(0, min(3, painted - 1 - before)))))
        extra.append(draw_from(st.integers(0, max(s, d) - 1)))
    options = {"stride": stride, "padding": tuple(pads), "output_padding": tuple(extra)}
    return size, (*window, per_group, features), options | {"dilation": dilation, "groups": groups}


def definition(x, kernel, *, stride, padding, output_padding, dilation, groups):
    """Return the docstring's equation, one pixel of x painted after another, in float64; x has one batch axis."""
    (sy, sx), (dy, dx), ((top, bottom), (left, right)) = stride, dilation, padding
    kh, kw, per_group, features = kernel.shape
    count, height, width, _ = x.shape
    tall = (height - 1) * sy + (kh - 1) * dy + 1 + output_padding[0]
    wide = (width - 1) * sx + (kw - 1) * dx + 1 + output_padding[1]
    y = np.zeros((count, tall, wide, features))
    for i, j, u, v, c, o in np.ndindex(height, width, *kernel.shape):
        ins = o // (features // groups) * per_group + c
        y[:, i * sy + (kh - 1 - u) * dy, j * sx + (kw - 1 - v) * dx, o] += x[:, i, j, ins] * kernel[u, v, c, o]
    return y[:, top : tall - bottom, left : wide - right]


@given(cases())
def test_value_and_gradients_follow_the_definition(case):
    size, kernel_shape, options = case
    rng = np.random.default_rng(0)
    with jax.enable_x64(True):
        x = rng.normal(size=(2, *size, options["groups"] * kernel_shape[2]))
        kernel, bias = rng.normal(size=kernel_shape), rng.normal(size=kernel_shape[3:])
        expected = definition(x, kernel, **options)
        cotangent = rng.normal(size=expected.shape)

        @jax.jit
        def run(x, kernel, bias, cotangent):
            y, pullback = jax.vjp(lambda *args: F.conv_transpose(*args, **options), x, kernel, bias)
            return y, pullback(cotangent)

        y, (to_x, to_kernel, to_bias) = run(x, kernel, bias, cotangent)
        close = np.testing.assert_allclose
        close(y, expected + bias, rtol=1e-10, atol=1e-10)
        # Linear in each: the gradient along any direction is the cotangent times the function of the direction.
        toward_x, toward_kernel = rng.normal(size=x.shape), rng.normal(size=kernel_shape)
        close(np.vdot(to_x, toward_x), np.vdot(cotangent, definition(toward_x, kernel, **options)), atol=1e-9)
        close(np.vdot(to_kernel, toward_kernel), np.vdot(cotangent, definition(x, toward_kernel, **options)), atol=1e-9)
        close(to_bias, cotangent.sum((0, 1, 2)), atol=1e-10)


@given(cases(), st.sampled_from(["SAME", "VALID", "pixels"]))
def test_is_the_transpose_of_the_convolution_that_leads_back(case, padding):
    size, (*window, per_group, features), options = case
    groups, stride = options["groups"], options["stride"]
    options |= {"output_padding": tuple(min(e, s - 1) for e, s in zip(options["output_padding"], stride, strict=True))}
    if padding != "pixels":
        options |= {"padding": padding, "output_padding": 0}
    rng = np.random.default_rng(0)
    with jax.enable_x64(True):
        x = rng.normal(size=(2, *size, groups * per_group))
        back = rng.normal(size=(*window, features // groups, groups * per_group))
        ours = jax.jit(lambda x, kernel: F.conv_transpose(x, kernel, transpose_kernel=True, **options))
        y = ours(x, back)
        options.pop("output_padding")

        @jax.jit
        def theirs(x, kernel):
            returned, pullback = jax.vjp(lambda image: F.conv(image, kernel, **options), jnp.zeros(y.shape))
            assert returned.shape == x.shape
            return pullback(x)[0]

        np.testing.assert_allclose(y, theirs(x, back), rtol=1e-10, atol=1e-10)


# Kernel size, options; the images are 4x3.
OPTIONS = {
    "plain": ((3, 3), {}),
    "twice as large": ((3, 3), {"stride": 2}),
    "even kernel": ((4, 4), {"stride": 2}),
    "tiles": ((2, 2), {"stride": 2}),
    "odd ratio": ((5, 4), {"stride": (3, 2)}),
    "gaps": ((2, 1), {"stride": 3}),
    "dilated": ((3, 2), {"stride": 2, "dilation": (2, 3)}),
    "dilated only": ((3, 3), {"dilation": 2}),
}


@pytest.mark.parametrize("transpose_kernel", [False, True])
@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize("name", OPTIONS)
def test_agrees_with_flax(agree, name, padding, transpose_kernel):
    window, options = OPTIONS[name]
    twice = {key: (value, value) if isinstance(value, int) else value for key, value in options.items()}
    flax = nn.ConvTranspose(
        5,
        window,
        strides=twice.get("stride", (1, 1)),
        padding=padding,
        kernel_dilation=twice.get("dilation", (1, 1)),
        transpose_kernel=transpose_kernel,
    )
    agree(
        lambda *args: F.conv_transpose(*args, padding=padding, transpose_kernel=transpose_kernel, **options),
        lambda x, kernel, bias: flax.apply({"params": {"kernel": kernel, "bias": bias}}, x),
        draw(1, 2, 4, 3, 2),
        draw(2, *window, *((5, 2) if transpose_kernel else (2, 5))),
        draw(3, 5),
    )


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("padding", [0, 1, (0, 2)], ids=str)
@pytest.mark.parametrize("name", OPTIONS)
def test_agrees_with_torch(agree_with_torch, name, padding, groups):
    import torch

    window, options = OPTIONS[name]
    # All that PyTorch allows.
    stride, dilation = options.get("stride", 1), options.get("dilation", 1)
    extra = tuple(int(n) - 1 for n in np.maximum(np.broadcast_to(stride, 2), np.broadcast_to(dilation, 2)))
    options = options | {"padding": padding, "output_padding": extra, "groups": groups}
    agree_with_torch(
        lambda *args: F.conv_transpose(*args, transpose_kernel=True, **options),
        lambda *args: torch.nn.functional.conv_transpose2d(*args, **options),
        draw(1, 2, 4, 3, 4),
        draw(2, *window, 6 // groups, 4),
        draw(3, 6),
        axes=("images", "kernel", "as is"),
        output="images",
    )


ROW = jnp.array([1.0, 2.0]).reshape(1, 2, 1)
KERNEL = jnp.array([1.0, 2.0, 3.0]).reshape(1, 3, 1, 1)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        # 3 2 1 for the first pixel, 6 4 2 for the second, two pixels on.
        ({"stride": (1, 2), "padding": "VALID"}, [3, 2, 1 + 6, 4, 2]),
        ({"stride": (1, 2), "padding": "VALID", "transpose_kernel": True}, [1, 2, 3 + 2, 4, 6]),
        ({"stride": (1, 2), "padding": "SAME"}, [3, 2, 7, 4]),
        ({"stride": (1, 2), "padding": (0, 1)}, [2, 7, 4]),
        ({"stride": (1, 2), "padding": (0, 1), "output_padding": (0, 1)}, [2, 7, 4, 2]),
        ({"stride": (1, 2), "padding": 0, "output_padding": (0, 1)}, [3, 2, 7, 4, 2, 0]),
        ({"stride": (1, 4), "padding": "VALID"}, [3, 2, 1, 0, 6, 4, 2, 0]),
        ({"stride": (1, 4), "padding": 0}, [3, 2, 1, 0, 6, 4, 2]),
        # What is left may be more than what is painted.
        ({"stride": (1, 5), "padding": ((0, 0), (8, 0)), "output_padding": (0, 4)}, [0, 0, 0, 0]),
        ({"stride": (1, 5), "padding": ((0, 0), (7, 1)), "output_padding": (0, 4)}, [2, 0, 0, 0]),
        ({"padding": "SAME"}, [2 + 6, 1 + 4]),
        ({"padding": 0}, [3, 2 + 6, 1 + 4, 2]),
        ({"padding": 0, "dilation": (1, 2)}, [3, 6, 2, 4, 1, 2]),
    ],
)
def test_by_hand(options, expected):
    y = F.conv_transpose(ROW, KERNEL, jnp.array([10.0]), **options)
    np.testing.assert_array_equal(y.ravel(), np.add(expected, 10))


def test_groups_do_not_see_each_other():
    x, kernel = draw(1, 4, 3, 4), draw(2, 3, 3, 2, 6)
    y = jax.jit(lambda *args: F.conv_transpose(*args, stride=2, groups=2))(x, kernel)
    alone = jax.jit(lambda *args: F.conv_transpose(*args, stride=2))
    parts = [alone(x[..., :2], kernel[..., :3]), alone(x[..., 2:], kernel[..., 3:])]
    np.testing.assert_allclose(y, jnp.concatenate(parts, -1), rtol=1e-5, atol=1e-5)


twice_as_large = jax.jit(lambda *args: F.conv_transpose(*args, stride=2))


def test_any_number_of_leading_axes():
    x, kernel = draw(1, 3, 2, 4, 3, 2), draw(2, 3, 3, 2, 3)
    y = twice_as_large(x, kernel)
    assert y.shape == (3, 2, 8, 6, 3)
    for index in np.ndindex(3, 2):
        np.testing.assert_allclose(y[index], twice_as_large(x[index], kernel), rtol=1e-5, atol=1e-5)
    assert F.conv_transpose(x[:0], kernel).shape == (0, 2, 4, 3, 3)


def test_computes_in_the_dtype_of_the_images():
    x, kernel, bias = draw(1, 5, 4, 2).astype(jnp.bfloat16), draw(2, 3, 3, 2, 3), draw(3, 3)
    y, pullback = jax.vjp(lambda kernel: twice_as_large(x, kernel, bias), kernel)
    assert y.dtype == jnp.bfloat16
    assert pullback(y)[0].dtype == jnp.float32
    full = twice_as_large(x.astype(jnp.float32), kernel, bias)
    np.testing.assert_allclose(y.astype(jnp.float32), full, atol=0.1)


def test_works_under_vmap_over_kernels_and_in_a_loop():
    x, kernels = draw(1, 2, 4, 3, 2), draw(2, 3, 3, 3, 2, 5)
    one_by_one = jnp.stack([twice_as_large(x, kernel) for kernel in kernels])
    mapped = jax.jit(jax.vmap(lambda kernel: twice_as_large(x, kernel)))(kernels)
    looped = lax.map(lambda kernel: twice_as_large(x, kernel), kernels)
    np.testing.assert_allclose(mapped, one_by_one, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(looped, one_by_one, rtol=1e-5, atol=1e-5)


def test_options_that_mean_the_same():
    x, kernel = draw(1, 4, 3, 2), draw(2, 3, 3, 2, 3)
    plain = F.conv_transpose(x, kernel, stride=2, padding=1, output_padding=1)
    for extra in [(1, 1), [1, 1], np.int64(1)]:
        again = F.conv_transpose(x, kernel, stride=(2, 2), padding=((1, 1), (1, 1)), output_padding=extra)
        np.testing.assert_array_equal(again, plain)


X, K = np.zeros((2, 5, 4, 2), np.float32), np.zeros((3, 3, 2, 4), np.float32)


@pytest.mark.parametrize(
    ("x", "kernel", "options", "message"),
    [
        (X[0, 0], K, {}, r"images of shape \(\.\.\., H, W, C\), got \(4, 2\)\. "),
        (X, K[0], {}, r"a kernel of shape \(kh, kw, C_in / groups, C_out\), got \(3, 2, 4\)\. "),
        (X[..., :1], K, {}, r"images of 2 channels for a kernel .* and groups=1, got x of shape \(2, 5, 4, 1\)\. "),
        (X, K, {"groups": 2}, r"images of 4 channels for a kernel .* and groups=2, got x of shape"),
        (X, K, {"groups": 3}, r"groups that divide the 4 output channels, got 3\. Choose a divisor"),
        (
            X,
            K,
            {"transpose_kernel": True},
            r"a kernel of shape \(kh, kw, C_out / groups, 2\) under transpose_kernel for x of shape \(2, 5, 4, 2\), "
            r"got \(3, 3, 2, 4\)\. Pass the kernel of the conv",
        ),
        (X, K[0], {"transpose_kernel": True}, r"a kernel of shape .* under transpose_kernel .*, got \(3, 2, 4\)\. "),
        (X, K[..., :2], {"transpose_kernel": True, "groups": 3}, r"groups that divide the 2 input channels, got 3\. "),
        (X, K[..., :2], {"transpose_kernel": True, "groups": 0}, r"groups that divide the 2 input channels, got 0\. "),
        (X, K[..., :2], {"transpose_kernel": True, "groups": "1"}, r"groups that divide .*, got '1'\. "),
        (X, K, {"bias": np.zeros(3)}, r"bias of shape \(4,\), got \(3,\)\. "),
        (X, K, {"stride": 0}, r"stride as a positive int or two of them, got 0\. "),
        (X, K, {"dilation": 1.5}, r"dilation as a positive int or two of them, got 1\.5\. "),
        (X, K, {"padding": "FULL"}, r"padding as \"SAME\", \"VALID\", an int >= 0 or .*, got 'FULL'\. "),
        (
            X,
            K,
            {"padding": (4, 0)},
            r"an image, and a padding that leaves a pixel .* and padding=\(4, 0\)\. Use",
        ),
        (
            X,
            K,
            {"padding": ((0, 7), (0, 0))},
            r"an image, and a padding that .* and padding=\(\(0, 7\)",
        ),
        (X[:, :0], K, {}, r"an image, and a padding .*, got x of shape \(2, 0, 4, 2\) and padding='SAME'\. "),
        (
            X[:, :0],
            K,
            {"padding": "VALID"},
            r"an image, and a padding .*, got x of shape \(2, 0, 4, 2\) and .*VALID",
        ),
        (
            X,
            K,
            {"padding": 1, "output_padding": 1},
            r"output_padding less than the larger of stride and dilation, got 1\. ",
        ),
        (
            X,
            K,
            {"padding": 0, "output_padding": (1, 2), "stride": 2},
            r"output_padding less than .*, got \(1, 2\)\. Pass",
        ),
        (X, K, {"output_padding": 1, "stride": 2}, r"output_padding 0 for 'SAME', got 1\. Pass a padding in"),
        (X, K, {"output_padding": -1}, r"output_padding as an int >= 0 or two of them, got -1\. "),
        (X, K, {"output_padding": (0, 1, 0)}, r"output_padding as an int >= 0 or two of them, got \(0, 1, 0\)\. "),
        (X, K, {"output_padding": True}, r"output_padding as an int >= 0 or two of them, got True\. "),
        (X, K, {"output_padding": 0.5}, r"output_padding as an int >= 0 or two of them, got 0\.5\. "),
        (X, K, {"output_padding": "1"}, r"output_padding as an int >= 0 or two of them, got '1'\. "),
    ],
)
def test_bad_values(x, kernel, options, message):
    with pytest.raises(ValueError, match=f"^conv_transpose: expected {message}"):
        F.conv_transpose(x, kernel, **options)


@pytest.mark.parametrize(
    ("x", "kernel", "message"),
    [
        (X.astype(np.uint8), K, r"x of a floating dtype, got uint8\. .*jaxcnn\.data\.to_float\."),
        (X, K.astype(np.int32), r"kernel of a floating dtype, got int32\. "),
        (X, None, r"kernel to be an array, got NoneType\. "),
    ],
)
def test_bad_dtypes(x, kernel, message):
    with pytest.raises(TypeError, match=f"^conv_transpose: expected {message}"):
        F.conv_transpose(x, kernel)
