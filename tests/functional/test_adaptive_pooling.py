"""Pooling to a given size against its definition in NumPy, PyTorch and figures worked out by hand."""

import jax
import jax.numpy as jnp
import jax.test_util
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxcnn import functional as F
from tests.functional.samples import draw, value_and_gradient

pytestmark = pytest.mark.usefixtures("quick_compilation")
GLOBAL = {"global_avg_pool": F.global_avg_pool, "global_max_pool": F.global_max_pool}
ADAPTIVE = {"adaptive_avg_pool": F.adaptive_avg_pool, "adaptive_max_pool": F.adaptive_max_pool}
ALL = {**GLOBAL, **ADAPTIVE, "spatial_pyramid_pool": F.spatial_pyramid_pool}
DEFAULTS = {name: (3,) if name in ADAPTIVE else () for name in ALL}
sizes = st.tuples(st.integers(1, 7), st.integers(1, 7))


def windows(image, size):
    """Yield the output pixel (i, j) and the slices of the image that its window covers."""
    for at in np.ndindex(*size):
        bounds = zip(at, image, size, strict=True)
        yield at, tuple(slice(int(np.floor(i * n / s)), int(np.ceil((i + 1) * n / s))) for i, n, s in bounds)


@given(sizes, sizes)
def test_adaptive_avg_pool_follows_the_definition(image, size):
    x, cotangent = np.asarray(draw(0, *image, 2)), np.asarray(draw(1, *size, 2))
    y, gradient = np.zeros_like(cotangent), np.zeros_like(x)
    for at, seen in windows(image, size):
        y[at] = x[seen].mean(axis=(0, 1))
        gradient[seen] += cotangent[at] / x[seen][..., 0].size
    ours, our_gradient = jax.jit(value_and_gradient, static_argnums=0)(
        lambda x: F.adaptive_avg_pool(x, size), x, cotangent
    )
    np.testing.assert_allclose(ours, y, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(our_gradient, gradient, rtol=1e-5, atol=1e-6)


@given(sizes, sizes)
def test_adaptive_max_pool_follows_the_definition(image, size):
    # Three values on many pixels: most windows hold ties, and the gradient goes to the first of them.
    x, cotangent = np.random.default_rng(0).integers(-2, 1, (*image, 2)).astype(np.float32), draw(1, *size, 2)
    y, gradient = np.zeros((*size, 2), np.float32), np.zeros_like(x)
    for at, seen in windows(image, size):
        for c in range(2):
            pixels = x[(*seen, c)]
            first = np.unravel_index(np.argmax(pixels), pixels.shape)
            y[(*at, c)] = pixels[first]
            gradient[(*seen, c)][first] += cotangent[(*at, c)]
    ours, our_gradient = jax.jit(value_and_gradient, static_argnums=0)(
        lambda x: F.adaptive_max_pool(x, size), x, cotangent
    )
    np.testing.assert_array_equal(ours, y)
    np.testing.assert_allclose(our_gradient, gradient, rtol=1e-5, atol=1e-6)


@given(sizes, sizes, st.sampled_from(sorted(ADAPTIVE)))
def test_adaptive_pools_agree_with_torch(agree_with_torch, image, size, name):
    import torch

    theirs = getattr(torch.nn.functional, name.replace("pool", "pool2d"))
    agree_with_torch(
        lambda x: ADAPTIVE[name](x, size),
        lambda x: theirs(x, size),
        draw(0, 2, *image, 3),
        axes=("images",),
        output="images",
    )


def test_global_pools_agree_with_torch(agree_with_torch):
    x = draw(0, 2, 5, 4, 3).at[0, 1, 1].set(9).at[0, 3, 2].set(9)  # a maximum that two pixels share
    for ours, theirs in ((F.global_avg_pool, "mean"), (F.global_max_pool, "amax")):
        agree_with_torch(ours, lambda x, name=theirs: getattr(x, name)(dim=(2, 3)), x, axes=("images",), output="as is")


def test_by_hand():
    x = jnp.arange(15.0).reshape(3, 5, 1)
    np.testing.assert_array_equal(F.global_max_pool(x), [14])
    np.testing.assert_allclose(F.global_avg_pool(x), [7], rtol=1e-6)
    # Rows 0..1 and 1..2; columns 0..1, 1..3 and 3..4.
    np.testing.assert_array_equal(F.adaptive_max_pool(x, (2, 3))[..., 0], [[6, 8, 9], [11, 13, 14]])
    np.testing.assert_allclose(F.adaptive_avg_pool(x, (2, 3))[..., 0], [[3, 4.5, 6], [8, 9.5, 11]], rtol=1e-6)
    both = jnp.concatenate([x, -x], axis=-1)
    pyramid = [14, 0, 7, -0.0, 9, -2, 12, -5, 14, -7]  # l = 1, then l = 2 row by row, channels fastest
    np.testing.assert_allclose(F.spatial_pyramid_pool(both, (1, 2)), pyramid)


def test_the_gradient_of_a_shared_global_maximum_is_shared():
    x = jnp.array([[1.0, 3.0], [3.0, 0.0]])[..., None]
    gradient = jax.grad(lambda x: F.global_max_pool(x).sum())(x)
    np.testing.assert_array_equal(gradient[..., 0], [[0, 0.5], [0.5, 0]])


@pytest.mark.parametrize("average", [False, True])
def test_spatial_pyramid_pool_is_as_long_for_every_size(average):
    pool = F.adaptive_avg_pool if average else F.adaptive_max_pool
    for image in ((4, 4), (5, 9), (1, 3)):
        x = draw(0, 2, *image, 3)
        y = F.spatial_pyramid_pool(x, average=average)
        assert y.shape == (2, 21 * 3)
        np.testing.assert_array_equal(y[:, :3], pool(x, 1)[:, 0, 0])
        np.testing.assert_array_equal(y[:, 3:15], pool(x, 2).reshape(2, -1))
        np.testing.assert_array_equal(y[:, 15:], pool(x, 4).reshape(2, -1))


@pytest.mark.parametrize("name", ALL)
def test_any_number_of_leading_axes(name):
    pool, options = ALL[name], DEFAULTS[name]
    x = draw(0, 3, 2, 4, 5, 2)
    y = pool(x, *options)
    for index in np.ndindex(3, 2):
        np.testing.assert_allclose(y[index], pool(x[index], *options), rtol=1e-5, atol=1e-6)
    assert pool(x[:0], *options).shape == (0, *y.shape[1:])


@pytest.mark.parametrize("pool", [F.global_avg_pool, lambda x: F.adaptive_avg_pool(x, 2)], ids=["global", "adaptive"])
def test_sums_are_accumulated_in_float32(pool):
    # 65,504 is the largest float16: the sum of four is none. In bfloat16, 256 + 1 is 256.
    large = jnp.full((3, 3, 1), 60000.0, jnp.float16)
    assert (pool(large) == 60000).all()
    x = draw(0, 17, 63, 5).astype(jnp.bfloat16)
    y = pool(x)
    assert y.dtype == jnp.bfloat16
    np.testing.assert_allclose(y.astype(jnp.float32), pool(x.astype(jnp.float32)), rtol=2**-8)


def test_in_float64():
    with jax.enable_x64(True):
        x = jnp.asarray(np.random.default_rng(0).normal(size=(5, 7, 2)))
        y = F.adaptive_avg_pool(x, (1, 3))
        assert y.dtype == jnp.float64
        np.testing.assert_allclose(y[0, 1], np.asarray(x[:, 2:5]).mean(axis=(0, 1)), rtol=1e-14)
        jax.test_util.check_grads(lambda x: F.adaptive_avg_pool(x, 3), (x,), 1)


def test_extreme_values_stay_maxima():
    x = jnp.full((3, 3, 1), -jnp.inf)
    assert (F.adaptive_max_pool(x, 2) == -jnp.inf).all()
    assert (F.global_max_pool(x) == -jnp.inf).all()
    assert np.isnan(F.global_max_pool(x.at[0, 1].set(jnp.nan))).all()
    nan = F.adaptive_max_pool(x.at[0, 0].set(jnp.nan), 2)
    np.testing.assert_array_equal(np.isnan(nan[..., 0]), [[True, False], [False, False]])


X = np.zeros((2, 5, 4, 2), np.float32)


@pytest.mark.parametrize("name", ADAPTIVE)
@pytest.mark.parametrize("size", [0, -1, (2,), (2, 2, 2), 1.5, None, (0, 2)])
def test_bad_sizes(name, size):
    with pytest.raises(ValueError, match=rf"^{name}: expected size as a positive int or two of them, got .*\. Pass"):
        ADAPTIVE[name](X, size)


@pytest.mark.parametrize("name", ADAPTIVE)
def test_too_many_windows(name):
    message = r"expected at most 16,777,216 windows times pixels along an axis, got \(4000, 1\) over \(5000, 1\)\. "
    with pytest.raises(ValueError, match=f"^{name}: {message}"):
        ADAPTIVE[name](np.zeros((5000, 1, 1), np.float32), (4000, 1))


@pytest.mark.parametrize("levels", [(), 3, "12", None, (0,), (1, -2), (1, 2.5), ((1, 2),), (True,)])
def test_bad_levels(levels):
    with pytest.raises(ValueError, match=r"^spatial_pyramid_pool: expected levels as a sequence of positive ints, got"):
        F.spatial_pyramid_pool(X, levels)


@pytest.mark.parametrize("name", ALL)
def test_bad_dtypes_and_ranks(name):
    with pytest.raises(TypeError, match=rf"^{name}: expected x of a floating dtype, got uint8\. .*to_float"):
        ALL[name](X.astype(np.uint8), *DEFAULTS[name])
    with pytest.raises(ValueError, match=rf"^{name}: expected images of shape \(\.\.\., H, W, C\), got \(4, 2\)\. "):
        ALL[name](X[0, 0], *DEFAULTS[name])


@pytest.mark.parametrize("name", [name for name in ALL if name != "global_avg_pool"])
def test_images_without_pixels(name):
    with pytest.raises(
        ValueError, match=rf"^{name}: expected images of at least one pixel, got \(2, 0, 4, 2\)\. Leave"
    ):
        ALL[name](X[:, :0], *DEFAULTS[name])
