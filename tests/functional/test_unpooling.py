"""Pooling with switches and back, against max pooling and its gradient, PyTorch and figures worked out by hand."""

import jax
import jax.numpy as jnp
import jax.test_util
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxcnn import functional as F
from tests.functional.samples import draw, windows

pytestmark = pytest.mark.usefixtures("quick_compilation")


@pytest.mark.slow
@given(windows())
def test_is_max_pool_and_its_transpose(case):
    size, window, options = case
    # Three values on many pixels: most windows hold ties, and the switch is at the first of them.
    x = jnp.asarray(np.random.default_rng(0).integers(-2, 1, (2, *size, 3)), jnp.float32)

    def pool(x):
        return F.max_pool(x, window, **options)

    @jax.jit
    def both_ways(x, cotangent):
        y, pullback = jax.vjp(pool, x)
        ours, our_pullback, switches = jax.vjp(
            lambda x: F.max_pool_with_switches(x, window, **options), x, has_aux=True
        )
        unpooled = F.max_unpool(cotangent, switches, size)
        return (y, *pullback(cotangent)), (ours, *our_pullback(cotangent)), unpooled, switches

    cotangent = draw(1, *jax.eval_shape(pool, x).shape)
    (y, gradient), (ours, our_gradient), unpooled, switches = both_ways(x, cotangent)
    np.testing.assert_array_equal(ours, y)
    np.testing.assert_allclose(unpooled, gradient, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(our_gradient, gradient, rtol=1e-5, atol=1e-6)
    assert switches.dtype == jnp.int32
    there = jnp.take_along_axis(x.reshape(2, -1, 3), switches.reshape(2, -1, 3), axis=1)
    np.testing.assert_array_equal(there.reshape(y.shape), y)


@pytest.mark.slow
@given(st.tuples(st.integers(1, 3), st.integers(1, 3)), st.integers(0, 3), st.booleans())
def test_knowing_the_tiles_gives_the_same(window, more, ceil_mode):
    size = tuple(2 * w + more for w in window)

    @jax.jit
    def run(x, cotangent):
        y, switches = F.max_pool_with_switches(x, window, ceil_mode=ceil_mode)
        plain, plain_pullback = jax.vjp(lambda y: F.max_unpool(y, switches, size), y)
        tiled, tiled_pullback = jax.vjp(lambda y: F.max_unpool(y, switches, size, window), y)
        return (plain, *plain_pullback(cotangent)), (tiled, *tiled_pullback(cotangent))

    plain, tiled = run(draw(0, 2, *size, 3), draw(1, 2, *size, 3))
    for a, b in zip(plain, tiled, strict=True):
        np.testing.assert_array_equal(a, b)


@st.composite
def torch_windows(draw_from):
    """Return an image size and options that PyTorch has too: the same padding on both sides, up to half a window."""
    window = draw_from(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    stride = draw_from(st.none() | st.tuples(st.integers(1, 4), st.integers(1, 4)))
    padding = tuple(draw_from(st.integers(0, w // 2)) for w in window)
    size = tuple(w + draw_from(st.integers(0, 5)) for w in window)
    return size, window, {"stride": stride, "padding": padding, "ceil_mode": draw_from(st.booleans())}


@given(torch_windows())
def test_switches_are_those_of_torch(case):
    torch = pytest.importorskip("torch")
    size, window, options = case
    x = np.array(np.random.default_rng(0).integers(-2, 1, (2, *size, 3)), np.float32)
    x[1, :, :, 1] = -np.inf  # where padding must not win
    x[0, size[0] // 2, :, 2] = np.nan
    y, switches = jax.jit(lambda x: F.max_pool_with_switches(x, window, **options))(x)
    theirs, indices = torch.nn.functional.max_pool2d(
        torch.tensor(x.transpose(0, 3, 1, 2)), window, **options, return_indices=True
    )
    np.testing.assert_array_equal(y, theirs.numpy().transpose(0, 2, 3, 1))
    np.testing.assert_array_equal(switches, indices.numpy().transpose(0, 2, 3, 1))


@pytest.mark.parametrize("size", [(6, 4), (7, 5)])
def test_max_unpool_agrees_with_torch(agree_with_torch, size):
    import torch

    x = draw(0, 2, *size, 3)
    _, switches = F.max_pool_with_switches(x, 2)
    indices = torch.tensor(np.asarray(switches).transpose(0, 3, 1, 2), dtype=torch.int64)
    agree_with_torch(
        lambda y: F.max_unpool(y, switches, size),
        lambda y: torch.nn.functional.max_unpool2d(y, indices, 2, output_size=size),
        draw(1, *switches.shape),
        axes=("images",),
        output="images",
    )


def test_by_hand():
    x = jnp.array([[1.0, 2.0, 9.0], [4.0, 3.0, 9.0], [-5.0, -6.0, -7.0]])[..., None]
    y, switches = F.max_pool_with_switches(x)
    assert (y.item(), switches.item()) == (4, 3)
    y, switches = F.max_pool_with_switches(x, stride=1)
    np.testing.assert_array_equal(y[..., 0], [[4, 9], [4, 9]])
    np.testing.assert_array_equal(switches[..., 0], [[3, 2], [3, 5]])
    np.testing.assert_array_equal(
        F.max_unpool(jnp.array([[1.0, 10.0], [100.0, 1000.0]])[..., None], switches, 3)[..., 0],
        [[0, 0, 10], [101, 0, 1000], [0, 0, 0]],  # what meets at one pixel is added
    )


def test_padding_never_wins():
    x = jnp.full((2, 3, 1), -jnp.inf)
    y, pullback, switches = jax.vjp(lambda x: F.max_pool_with_switches(x, 2, padding=1), x, has_aux=True)
    np.testing.assert_array_equal(switches[..., 0], [[0, 1], [3, 4]])
    np.testing.assert_array_equal(pullback(jnp.ones_like(y))[0][..., 0], [[1, 1, 0], [1, 1, 0]])


def test_channels_and_images_do_not_mix():
    x = draw(0, 2, 4, 4, 3)
    y, switches = F.max_pool_with_switches(x, 3, stride=1)
    back = F.max_unpool(y, switches, 4)
    for image, c in np.ndindex(2, 3):
        one, its_switches = F.max_pool_with_switches(x[image, :, :, c : c + 1], 3, stride=1)
        np.testing.assert_array_equal(switches[image, :, :, c : c + 1], its_switches)
        np.testing.assert_allclose(back[image, :, :, c : c + 1], F.max_unpool(one, its_switches, 4), rtol=1e-6)


@pytest.mark.parametrize("window", [None, 2])
def test_any_number_of_leading_axes(window):
    x = draw(0, 3, 2, 4, 5, 2)
    y, switches = F.max_pool_with_switches(x)
    back = F.max_unpool(y, switches, (4, 5), window)
    assert back.shape == x.shape
    for index in np.ndindex(3, 2):
        one, its_switches = F.max_pool_with_switches(x[index])
        np.testing.assert_array_equal(y[index], one)
        np.testing.assert_array_equal(switches[index], its_switches)
        np.testing.assert_array_equal(back[index], F.max_unpool(one, its_switches, (4, 5), window))
    assert F.max_pool_with_switches(x[:0])[1].shape == (0, 2, 2, 2, 2)
    assert F.max_unpool(y[:0], switches[:0], (4, 5), window).shape == (0, 2, 4, 5, 2)
    mapped = jax.vmap(lambda y, s: F.max_unpool(y, s, (4, 5), window))(y, switches)
    np.testing.assert_array_equal(mapped, back)


@pytest.mark.parametrize("window", [None, 2])
def test_what_lies_outside_the_image_is_dropped(window):
    y = jnp.array([1.0, 10.0, 100.0, 1000.0]).reshape(1, 2, 2)
    switches = jnp.array([1, -1, 8, 2]).reshape(1, 2, 2)
    back = F.max_unpool(y, switches, (2, 4), window)
    np.testing.assert_array_equal(back[..., 0], [[0, 1, 0, 0], [0, 0, 0, 0]])
    np.testing.assert_array_equal(back[..., 1], [[0, 0, 1000, 0], [0, 0, 0, 0]])


@pytest.mark.parametrize("far", [-(2**31), -(2**30), 2**30, 2**31 - 1])
def test_what_lies_far_outside_is_dropped(far):
    """The product with the channels wraps around, to pixel 0 for one."""
    back = F.max_unpool(jnp.ones((1, 1, 4)), jnp.full((1, 1, 4), far, jnp.int32), (2, 4))
    np.testing.assert_array_equal(back, jnp.zeros((2, 4, 4)))


def test_gradients_of_both_modes():
    x = draw(0, 4, 5, 2)
    y, switches = F.max_pool_with_switches(x, 3, stride=1)
    for window in (None, 2):
        if window:
            y, switches = F.max_pool_with_switches(x, window)
        jax.test_util.check_grads(lambda y, s=switches, w=window: F.max_unpool(y, s, (4, 5), w), (y,), 1)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float32])
def test_keeps_the_dtype(dtype):
    x = jax.ShapeDtypeStruct((2, 4, 4, 3), dtype)
    y, switches = jax.eval_shape(F.max_pool_with_switches, x)
    assert (y.dtype, switches.dtype) == (dtype, jnp.int32)
    for window in (None, 2):
        back = jax.eval_shape(lambda y, s, w=window: F.max_unpool(y, s, 4, w), y, switches)
        assert (back.shape, back.dtype) == ((2, 4, 4, 3), dtype)


Y, SWITCHES = np.zeros((2, 2, 2, 3), np.float32), np.zeros((2, 2, 2, 3), np.int32)


@pytest.mark.parametrize(
    ("y", "switches", "size", "window", "error", "message"),
    [
        (Y.astype(int), SWITCHES, 4, None, TypeError, r"y of a floating dtype, got int64\. "),
        (Y, Y, 4, None, TypeError, r"switches of an integer dtype, got float32\. Pass those of max_pool_with_switches"),
        (Y, SWITCHES > 0, 4, None, TypeError, r"switches of an integer dtype, got bool\. "),
        (Y[0, 0], SWITCHES[0, 0], 4, None, ValueError, r"images of shape \(\.\.\., H, W, C\), got \(2, 3\)\. "),
        (Y, SWITCHES[0], 4, None, ValueError, r"switches of shape \(2, 2, 2, 3\), got \(2, 2, 3\)\. "),
        (Y, SWITCHES, 0, None, ValueError, r"size as a positive int or two of them, got 0\. "),
        (Y, SWITCHES, (4, 4, 3), None, ValueError, r"size as a positive int or two of them, got \(4, 4, 3\)\. "),
        (Y, SWITCHES, 4, (2, 0), ValueError, r"window as a positive int or two of them, got \(2, 0\)\. "),
        (
            Y,
            SWITCHES,
            4,
            1,
            ValueError,
            r"values of the windows \(1, 1\) that tile .*\(4, 4\), got y .*\. Leave window",
        ),
        (Y, SWITCHES, (4, 2), 2, ValueError, r"values of the windows \(2, 2\) that tile .* of size \(4, 2\), got y of"),
    ],
)
def test_bad_arguments(y, switches, size, window, error, message):
    with jax.enable_x64(True), pytest.raises(error, match=f"^max_unpool: expected {message}"):
        F.max_unpool(y, switches, size, window)


@pytest.mark.parametrize(
    ("x", "window", "options", "error", "message"),
    [
        (Y.astype(np.uint8), 2, {}, TypeError, r"x of a floating dtype, got uint8\. .*to_float"),
        (Y[0, 0], 2, {}, ValueError, r"images of shape \(\.\.\., H, W, C\), got \(2, 3\)\. "),
        (Y, 0, {}, ValueError, r"window as a positive int or two of them, got 0\. "),
        (Y, 2, {"stride": 0}, ValueError, r"stride as a positive int or two of them, got 0\. "),
        (Y, 3, {}, ValueError, r"an image of at least 3x3 pixels .*, got 2x2\. "),
        (Y, 2, {"padding": 2}, ValueError, r"padding smaller than the window \(2, 2\), got padding=2\. "),
    ],
)
def test_bad_pools(x, window, options, error, message):
    with pytest.raises(error, match=f"^max_pool_with_switches: expected {message}"):
        F.max_pool_with_switches(x, window, **options)


@pytest.mark.parametrize(("window", "options"), [(2, {}), (4, {}), (3, {"stride": 2, "padding": 1})])
def test_the_gradient_of_both_poolings_goes_to_the_same_nan(window, options):
    x = np.random.default_rng(0).integers(-2, 3, (2, 8, 8, 3)).astype(np.float32)
    x[np.random.default_rng(1).random(x.shape) < 0.2] = np.nan
    gradients = [
        jax.jit(jax.grad(lambda x, pool=pool: jnp.sum(pool(x))))(x)
        for pool in (
            lambda x: F.max_pool(x, window, **options),
            lambda x: F.max_pool_with_switches(x, window, **options)[0],
        )
    ]
    np.testing.assert_array_equal(*gradients)


def test_no_pixels_have_no_switches():
    with pytest.raises(ValueError, match=r"max_pool_with_switches: expected images of at least one pixel, got "):
        F.max_pool_with_switches(jnp.zeros((1, 0, 4, 2)), padding="SAME")
