"""Pooling against its definition in NumPy, Flax, PyTorch and figures worked out by hand."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import jax.test_util
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jax import lax

from jaxcnn import functional as F
from tests.functional.samples import draw, value_and_gradient, windows

pytestmark = pytest.mark.usefixtures("quick_compilation")
POOLS = {"max_pool": F.max_pool, "avg_pool": F.avg_pool}
ALL = {**POOLS, "lp_pool": F.lp_pool}


def each_window(size, window, options):
    """Yield the output pixel (i, j), the slices of the image, without the padding, that its window covers, and how
    many pixels of image and padding these are."""
    stride = options["stride"] or window
    pads = options["padding"]
    if isinstance(pads, str):
        pads = lax.padtype_to_pads(size, window, stride, pads)
    axes = []
    for n, (before, after), w, s in zip(size, pads, window, stride, strict=True):
        starts = list(range(-before, n + after - w + 1, s))
        if options["ceil_mode"] and starts[-1] + w < n + after and starts[-1] + s < n:
            starts.append(starts[-1] + s)
        axes.append([(slice(max(a, 0), a + w), min(a + w, n + after) - a) for a in starts])
    for output in np.ndindex(*map(len, axes)):
        (rows, tall), (columns, wide) = (axis[at] for axis, at in zip(axes, output, strict=True))
        yield output, (rows, columns), tall * wide


@given(windows())
def test_max_pool_follows_the_definition(case):
    size, window, options = case
    # Three values on many pixels: most windows hold ties, and the gradient goes to the first of them.
    x = np.random.default_rng(0).integers(-2, 1, (*size, 2)).astype(np.float32)
    outputs = [at for at, _, _ in each_window(size, window, options)]
    cotangent = np.asarray(draw(1, *np.add(outputs[-1], 1), 2))
    y, gradient = np.zeros_like(cotangent), np.zeros_like(x)
    for at, seen, _ in each_window(size, window, options):
        for c in range(2):
            pixels = x[(*seen, c)]
            first = np.unravel_index(np.argmax(pixels), pixels.shape)
            y[(*at, c)] = pixels[first]
            gradient[(*seen, c)][first] += cotangent[(*at, c)]

    def pool(x):
        return F.max_pool(x, window, **options)

    assert jax.eval_shape(pool, x).shape == y.shape
    ours, our_gradient = jax.jit(value_and_gradient, static_argnums=0)(pool, x, cotangent)
    np.testing.assert_array_equal(ours, y)
    np.testing.assert_allclose(our_gradient, gradient, rtol=1e-5, atol=1e-6)


@given(windows(), st.booleans())
def test_avg_pool_follows_the_definition(case, count_include_pad):
    size, window, options = case
    x = np.asarray(draw(0, *size, 2))
    outputs = [at for at, _, _ in each_window(size, window, options)]
    cotangent = np.asarray(draw(1, *np.add(outputs[-1], 1), 2))
    y, gradient = np.zeros_like(cotangent), np.zeros_like(x)
    for at, seen, padded in each_window(size, window, options):
        n = padded if count_include_pad else x[seen][..., 0].size
        y[at] = x[seen].sum(axis=(0, 1)) / n
        gradient[seen] += cotangent[at] / n

    def pool(x):
        return F.avg_pool(x, window, **options, count_include_pad=count_include_pad)

    assert jax.eval_shape(pool, x).shape == y.shape
    ours, our_gradient = jax.jit(value_and_gradient, static_argnums=0)(pool, x, cotangent)
    np.testing.assert_allclose(ours, y, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(our_gradient, gradient, rtol=1e-5, atol=1e-6)


@given(windows(), st.sampled_from([1, 1.5, 2.0, 3, 40]))
def test_lp_pool_follows_the_definition(case, p):
    size, window, options = case
    x = np.array(draw(0, *size, 2))
    x[::2] *= x[::2] > 0  # zeros and whole windows of zeros
    outputs = [at for at, _, _ in each_window(size, window, options)]
    cotangent = np.asarray(draw(1, *np.add(outputs[-1], 1), 2))
    y, gradient = np.zeros_like(cotangent), np.zeros_like(x)
    for at, seen, _ in each_window(size, window, options):
        pixels = x[seen].astype(np.float64)
        y[at] = norm = np.sum(np.abs(pixels) ** p, axis=(0, 1)) ** (1 / p)
        ratio = np.abs(pixels) / np.where(norm > 0, norm, 1)
        sign = np.where(pixels >= 0, 1, -1)  # at p = 1 the derivative at 0 is 1, that of jnp.abs
        gradient[seen] += cotangent[at] * np.where(norm > 0, sign * ratio ** (p - 1), 0)

    def pool(x):
        return F.lp_pool(x, window, p=p, **options)

    assert jax.eval_shape(pool, x).shape == y.shape
    ours, our_gradient = jax.jit(value_and_gradient, static_argnums=0)(pool, x, cotangent)
    np.testing.assert_allclose(ours, y, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(our_gradient, gradient, rtol=1e-4, atol=1e-5)


def test_max_pool_forward_and_reverse_mode_agree_at_ties():
    x = jnp.asarray(np.random.default_rng(0).integers(0, 2, (1, 6, 6, 1)), jnp.float32)
    direction, cotangent = draw(1, 1, 6, 6, 1), draw(2, 1, 5, 5, 1)

    def pool(x):
        return F.max_pool(x, 2, stride=1)

    forward = jnp.vdot(cotangent, jax.jvp(pool, (x,), (direction,))[1])
    reverse = jnp.vdot(value_and_gradient(pool, x, cotangent)[1], direction)
    np.testing.assert_allclose(forward, reverse, rtol=1e-5, atol=1e-5)


CASES = {
    "tiles": (2, {}),
    "overlaps": ((3, 2), {"stride": (2, 1)}),
    "pads": (3, {"stride": 2, "padding": ((1, 1), (1, 1))}),
}


@pytest.mark.parametrize(("window", "options"), CASES.values(), ids=CASES)
@pytest.mark.parametrize("name", POOLS)
def test_agrees_with_flax(agree, name, window, options):
    size = (window, window) if isinstance(window, int) else window
    stride = options.get("stride", window)

    def flax(x):
        strides = (stride, stride) if isinstance(stride, int) else stride
        return getattr(nn, name)(x, size, strides=strides, padding=options.get("padding", "VALID"))

    agree(lambda x: POOLS[name](x, window, **options), flax, draw(0, 2, 7, 6, 3))


def test_avg_pool_of_real_pixels_agrees_with_flax(agree):
    agree(
        lambda x: F.avg_pool(x, 3, stride=2, padding="SAME", count_include_pad=False),
        lambda x: nn.avg_pool(x, (3, 3), (2, 2), padding="SAME", count_include_pad=False),
        draw(0, 2, 7, 6, 3),
    )


@pytest.mark.parametrize(("window", "options"), CASES.values(), ids=CASES)
@pytest.mark.parametrize("name", POOLS)
def test_agrees_with_torch(agree_with_torch, name, window, options):
    import torch

    theirs = getattr(torch.nn.functional, name.replace("pool", "pool2d"))
    padding = 1 if "padding" in options else 0
    agree_with_torch(
        lambda x: POOLS[name](x, window, **options),
        lambda x: theirs(x, window, stride=options.get("stride"), padding=padding),
        draw(0, 2, 7, 6, 3),
        axes=("images",),
        output="images",
    )


@st.composite
def torch_windows(draw_from):
    """Return an image size and options that PyTorch has too: the same padding on both sides, up to half a window."""
    window, stride = (draw_from(st.tuples(st.integers(1, 4), st.integers(1, 4))) for _ in range(2))
    padding = tuple(draw_from(st.integers(0, w // 2)) for w in window)
    size = tuple(w + draw_from(st.integers(0, 5)) for w in window)
    return size, window, {"stride": stride, "padding": padding, "ceil_mode": draw_from(st.booleans())}


@given(
    torch_windows(),
    st.sampled_from([("max_pool", {}), *(("avg_pool", {"count_include_pad": count}) for count in (False, True))]),
)
def test_options_agree_with_torch(agree_with_torch, case, pool):
    import torch

    (size, window, options), (name, more) = case, pool
    theirs = getattr(torch.nn.functional, name.replace("pool", "pool2d"))
    agree_with_torch(
        lambda x: POOLS[name](x, window, **options, **more),
        lambda x: theirs(x, window, **options, **more),
        draw(0, 1, *size, 2),
        axes=("images",),
        output="images",
    )


@pytest.mark.parametrize("p", [1, 2, 2.5, 3])
def test_lp_pool_agrees_with_torch(agree_with_torch, p):
    import torch

    x = draw(0, 2, 7, 6, 3)
    agree_with_torch(
        lambda x: F.lp_pool(x, (3, 2), p=p, stride=2),
        lambda x: torch.nn.functional.lp_pool2d(x, p, (3, 2), stride=2),
        x if p == 2 else abs(x),  # PyTorch sums x^p without the magnitude
        axes=("images",),
        output="images",
    )


def test_by_hand():
    x = jnp.array([[1.0, 2.0, 9.0], [4.0, 3.0, 9.0], [-5.0, -6.0, -7.0]])[..., None]
    np.testing.assert_array_equal(F.max_pool(x)[..., 0], [[4]])  # the ragged edge is dropped
    np.testing.assert_array_equal(F.max_pool(x, stride=1)[..., 0], [[4, 9], [4, 9]])
    np.testing.assert_array_equal(F.max_pool(x, padding="SAME")[..., 0], [[4, 9], [-5, -7]])  # padding never wins
    np.testing.assert_array_equal(F.max_pool(x, (1, 3))[..., 0], [[9], [9], [-5]])
    np.testing.assert_array_equal(F.avg_pool(x)[..., 0], [[2.5]])
    np.testing.assert_array_equal(F.avg_pool(x, padding="SAME")[..., 0], [[2.5, 4.5], [-2.75, -1.75]])
    real = F.avg_pool(x, padding="SAME", count_include_pad=False)
    np.testing.assert_array_equal(real[..., 0], [[2.5, 9], [-5.5, -7]])
    np.testing.assert_array_equal(F.max_pool(x, ceil_mode=True)[..., 0], [[4, 9], [-5, -7]])  # the ragged edge is kept
    np.testing.assert_array_equal(F.avg_pool(x, ceil_mode=True)[..., 0], [[2.5, 9], [-5.5, -7]])
    # Windows of rows -1..0 and 1..2: the next one would start in the padding below.
    padded = F.avg_pool(x, (2, 3), padding=(1, 0), ceil_mode=True)
    np.testing.assert_allclose(padded[..., 0], [[2], [-1 / 3]], rtol=1e-6)
    np.testing.assert_allclose(F.lp_pool(x[:2, :2])[..., 0], [[np.sqrt(1 + 4 + 16 + 9)]], rtol=1e-6)
    np.testing.assert_allclose(F.lp_pool(x, 3, p=1)[..., 0], [[46]], rtol=1e-6)


def test_same_has_no_ragged_edge():
    for n, window, stride in np.ndindex(7, 4, 5):
        x = jnp.zeros((n + 1, 1, 1))
        shapes = [
            jax.eval_shape(
                lambda x, ceil=ceil, w=window + 1, s=stride + 1: F.max_pool(
                    x, (w, 1), stride=(s, 1), padding="SAME", ceil_mode=ceil
                ),
                x,
            ).shape
            for ceil in (False, True)
        ]
        assert shapes[0] == shapes[1] == (-(-(n + 1) // (stride + 1)), 1, 1)


@pytest.mark.parametrize("magnitude", [0.0, 1e-30, 1.0, 2e37])
def test_lp_pool_at_any_magnitude(magnitude):
    x = magnitude * jnp.array([3.0, -4.0, 0.0, 1.0]).reshape(2, 2, 1)
    for p, expected in ((1, 8.0), (2, np.sqrt(26)), (1000, 4.0)):
        y, gradient = value_and_gradient(lambda x, p=p: F.lp_pool(x, p=p), x, jnp.ones((1, 1, 1)))
        np.testing.assert_allclose(y.squeeze(), magnitude * expected, rtol=1e-5)
        assert np.isfinite(gradient).all()
        assert (gradient == 0).all() == (magnitude == 0)
    half = F.lp_pool(jnp.full((2, 2, 1), 200.0, jnp.float16), p=4)
    np.testing.assert_allclose(half.squeeze(), 200 * 4**0.25, rtol=1e-3)
    assert float(F.lp_pool(x.at[0, 0].set(jnp.inf)).squeeze()) == np.inf
    assert np.isnan(F.lp_pool(x.at[0, 0].set(jnp.nan))).all()


def test_lp_pool_in_float64():
    with jax.enable_x64(True):
        x = jnp.asarray(np.random.default_rng(0).normal(size=(4, 4, 1)))
        y = F.lp_pool(x, 4, p=3)
        assert y.dtype == jnp.float64
        np.testing.assert_allclose(y.squeeze(), np.sum(np.abs(x) ** 3) ** (1 / 3), rtol=1e-13)
        jax.test_util.check_grads(jax.jit(lambda x: F.lp_pool(x, 3, p=3.5, stride=1)), (x,), 1)


def test_channels_do_not_mix():
    x = draw(0, 4, 4, 3)
    for pool in ALL.values():
        for c in range(3):
            np.testing.assert_array_equal(pool(x)[..., c : c + 1], pool(x[..., c : c + 1]))


@pytest.mark.parametrize("pool", ALL.values())
def test_any_number_of_leading_axes(pool):
    x = draw(0, 3, 2, 4, 5, 2)
    y = pool(x)
    for index in np.ndindex(3, 2):
        np.testing.assert_allclose(y[index], pool(x[index]), rtol=1e-6)
    assert pool(x[:0]).shape == (0, *y.shape[1:])


def test_sums_are_accumulated_in_float32():
    # 65,504 is the largest float16: the sum of four is none. In bfloat16, 256 + 1 is 256.
    large = jnp.full((2, 2, 1), 60000.0, jnp.float16)
    assert float(F.avg_pool(large).squeeze()) == 60000
    x = jnp.full((16, 32, 1), 1.0, jnp.bfloat16)
    y = F.avg_pool(x, (16, 32))
    assert y.dtype == jnp.bfloat16
    assert float(y.squeeze()) == 1


def test_max_pool_keeps_extreme_values():
    x = jnp.array([-jnp.inf, -3e38, 3e38, jnp.inf]).reshape(1, 4, 1)
    np.testing.assert_array_equal(F.max_pool(x, (1, 2)).ravel(), np.array([-3e38, np.inf], np.float32))
    assert np.isnan(F.max_pool(x.at[0, 1].set(jnp.nan), (1, 2)).ravel()[0])
    half = F.max_pool(jnp.full((2, 2, 1), -6e4, jnp.float16), padding=1)
    np.testing.assert_array_equal(half.ravel(), np.full(4, -6e4, np.float16))


X = np.zeros((2, 5, 4, 2), np.float32)


@pytest.mark.parametrize(
    ("x", "window", "options", "message"),
    [
        (X[0, 0], 2, {}, r"images of shape \(\.\.\., H, W, C\), got \(4, 2\)\. "),
        (X, 0, {}, r"window as a positive int or two of them, got 0\. Pass window=2 or window=\(2, 3\)\."),
        (X, (2, 2, 2), {}, r"window as a positive int or two of them, got \(2, 2, 2\)\. "),
        (X, 2, {"stride": -1}, r"stride as a positive int or two of them, got -1\. "),
        (X, 5, {}, r"an image of at least 5x5 pixels for a window .*padding='VALID', got 5x4\. Use a smaller window"),
        (X, 2, {"padding": "same size"}, r"padding as \"SAME\", \"VALID\", an int >= 0 or .*, got 'same size'\. "),
        (X, 2, {"padding": 2}, r"padding smaller than the window \(2, 2\), got padding=2\. .*padding alone"),
        (X, (3, 1), {"padding": (0, 1)}, r"padding smaller than the window \(3, 1\), got padding=\(0, 1\)\. "),
    ],
)
@pytest.mark.parametrize("name", ALL)
def test_bad_values(name, x, window, options, message):
    with pytest.raises(ValueError, match=f"^{name}: expected {message}"):
        ALL[name](x, window, **options)


@pytest.mark.parametrize("size", [2, 4])  # taken at once, and axis by axis
def test_the_second_derivative_goes_to_the_first_maximum_too(size):
    """Of equal pixels, as a ReLU and 8 bits leave them."""
    x = jnp.asarray(np.random.default_rng(0).integers(0, 2, (1, 4, 4, 1)), jnp.float32)
    found = jax.hessian(lambda x: jnp.sum(F.max_pool(x, size) ** 3))(x).reshape(16, 16)
    first = jax.grad(lambda x: jnp.sum(F.max_pool(x, size)))(x).ravel()
    np.testing.assert_array_equal(found, np.diag(6 * x.ravel() * first))


@pytest.mark.parametrize("p", [0.5, 0, -1, np.inf, np.nan, "2", True])
def test_bad_orders(p):
    with pytest.raises(ValueError, match=rf"^lp_pool: expected a finite p >= 1, got {p!r}\. For p = inf use max_pool"):
        F.lp_pool(X, p=p)


@pytest.mark.parametrize("name", ALL)
def test_bad_dtypes_and_ranks(name):
    with pytest.raises(TypeError, match=rf"^{name}: expected x of a floating dtype, got uint8\. .*to_float"):
        getattr(F, name)(X.astype(np.uint8))
    with pytest.raises(ValueError, match=rf"^{name}: expected images of shape \(\.\.\., H, W, C\), got \(4, 2\)\. "):
        getattr(F, name)(X[0, 0])


@pytest.mark.parametrize("name", ALL)
def test_float8_is_to_store(name):
    with pytest.raises(
        TypeError, match=rf"^{name}: expected x of a floating dtype of 16 bits or more, got float8_e4m3"
    ):
        getattr(F, name)(X.astype(jnp.float8_e4m3fn))
