"""Blur and sharpness: closed forms, SciPy, PIL and torchvision, and the distribution of what is drawn."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from jaxcnn import augment

pytestmark = pytest.mark.usefixtures("quick_compilation")
IMAGE = np.random.default_rng(0).integers(0, 256, (9, 8, 3)).astype(np.float32) / 255
KEY = jax.random.key(1)
KEYS = jax.random.split(KEY, 300)
SMOOTH = np.array([[1, 1, 1], [1, 5, 1], [1, 1, 1]]) / 13


def close(a, b, atol=1e-5):
    np.testing.assert_allclose(a, b, atol=atol, rtol=0)


@pytest.mark.slow
@given(st.floats(0.1, 3), st.integers(1, 4), st.tuples(st.integers(1, 6), st.integers(1, 6)))
def test_blur_is_scipys(sigma, radius, size):
    image = np.asarray(jax.random.uniform(jax.random.key(2), (*size, 2)))
    expected = ndimage.gaussian_filter(image, (sigma, sigma, 0), mode="mirror", radius=(radius, radius, 0))
    blur = jax.jit(partial(augment.blur, sigma=(sigma, sigma), size=2 * radius + 1))
    close(blur(KEY, image), expected)


@pytest.mark.parametrize("size", [3, 7])
def test_blur_agrees_with_torchvision(size, by_torchvision):
    def theirs(tensor):
        from torchvision.transforms import functional

        return functional.gaussian_blur(tensor, [size, size], [1.3, 1.3])

    close(augment.blur(KEY, IMAGE, sigma=(1.3, 1.3), size=size), by_torchvision(theirs, IMAGE))


@pytest.mark.slow
def test_blur_reaches_three_deviations():
    close(augment.blur(KEY, IMAGE, sigma=(0.8, 1.2)), augment.blur(KEY, IMAGE, sigma=(0.8, 1.2), size=9), 0)


def test_blur_draws_fill_their_interval():
    step = jnp.zeros((1, 11, 1)).at[0, 5].set(1)
    out = jax.vmap(partial(augment.blur, sigma=(0.5, 1.5), size=3), (0, None))(KEYS, step)
    sigma = np.sqrt(0.5 / np.log(out[:, 0, 5, 0] / out[:, 0, 4, 0]))
    assert 0.5 - 1e-4 < sigma.min() < 0.53
    assert 1.47 < sigma.max() < 1.5 + 1e-4
    assert abs(sigma.mean() - 1) < 0.05


def test_sharpen_multiplies_differences_from_the_smoother_image():
    smooth = np.stack([ndimage.correlate(channel, SMOOTH) for channel in np.moveaxis(IMAGE, -1, 0)], -1)
    smooth[[0, -1]], smooth[:, [0, -1]] = IMAGE[[0, -1]], IMAGE[:, [0, -1]]
    close(augment.sharpen(KEY, IMAGE, factor=(0, 0)), smooth)
    close(augment.sharpen(KEY, IMAGE, factor=(2.5, 2.5)), np.clip(smooth + 2.5 * (IMAGE - smooth), 0, 1))


def test_sharpen_draws_fill_their_interval():
    dot = jnp.full((3, 3, 1), 0.5).at[1, 1].set(0.6)
    out = jax.vmap(partial(augment.sharpen, factor=(0.5, 1.5)), (0, None))(KEYS, dot)
    smooth = 0.5 + 0.1 * 5 / 13
    factor = (out[:, 1, 1, 0] - smooth) / (0.6 - smooth)
    assert 0.5 - 1e-4 < factor.min() < 0.53
    assert 1.47 < factor.max() < 1.5 + 1e-4


@pytest.mark.parametrize("factor", [0.0, 0.4, 1.9])
@pytest.mark.parametrize("channels", [1, 3])
def test_sharpen_agrees_with_pil(factor, channels, by_pil):
    def theirs(image):
        from PIL import ImageEnhance

        return ImageEnhance.Sharpness(image).enhance(factor)

    ours = augment.sharpen(KEY, IMAGE[..., :channels], factor=(factor, factor))
    close(ours, by_pil(theirs, IMAGE[..., :channels]), 2.1 / 255)  # the smoother image is rounded too


@pytest.mark.parametrize("factor", [0.0, 0.4, 1.9])
def test_sharpen_agrees_with_torchvision(factor, by_torchvision):
    def theirs(tensor):
        from torchvision.transforms import functional

        return functional.adjust_sharpness(tensor, factor)

    close(augment.sharpen(KEY, IMAGE, factor=(factor, factor)), by_torchvision(theirs, IMAGE))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (partial(augment.blur, sigma=(0, 1)), r"^blur: expected sigma above 0, got \(0, 1\)\. Pass"),
        (partial(augment.blur, sigma=(2, 1)), r"^blur: expected sigma \(low, high\) .*, got \(2, 1\)\."),
        (partial(augment.blur, size=4), r"^blur: expected size as an odd number of pixels, got 4\. Pass"),
        (partial(augment.blur, size=-1), r"^blur: expected size as an odd number of pixels, got -1\."),
        (partial(augment.blur, size=3.0), r"^blur: expected size as an odd number of pixels, got 3\.0\."),
        (partial(augment.sharpen, factor=(-1, 1)), r"^sharpen: expected factor of at least 0, got \(-1, 1\)\."),
        (partial(augment.sharpen, factor=(2, 1)), r"^sharpen: expected factor \(low, high\) .*, got \(2, 1\)\."),
    ],
)
def test_bad_options(call, message):
    with pytest.raises(ValueError, match=message + r".*\.$"):
        call(KEY, IMAGE)
