"""Levels and histograms: PIL and torchvision, exactly."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxcnn import augment
from jaxcnn.augment.histogram import autocontrast, equalize

pytestmark = pytest.mark.usefixtures("quick_compilation")
KEY = jax.random.key(0)
RAMP = np.arange(256, dtype=np.float32).reshape(16, 16, 1) / 255
DARK = (np.random.default_rng(0).integers(0, 9, (40, 40, 3)) ** 2).astype(np.float32) / 255
IMAGES = [RAMP, DARK, DARK[:3, :3], np.full((20, 20, 1), 0.2, np.float32)]


def levels(image) -> np.ndarray:
    return np.round(255 * np.asarray(image, np.float64)).astype(int)


@pytest.mark.parametrize("bits", range(1, 9))
def test_posterize_is_pils(bits, by_pil):
    def theirs(image):
        from PIL import ImageOps

        return ImageOps.posterize(image, bits)

    ours = augment.posterize(KEY, RAMP, bits=bits)
    assert (levels(ours) == levels(by_pil(theirs, RAMP))).all()
    assert (levels(ours) == np.arange(256).reshape(RAMP.shape) // 2 ** (8 - bits) * 2 ** (8 - bits)).all()


def test_posterize_rounds_to_eight_bits_first():
    close_to_128 = jnp.full((1, 1, 1), 127.6 / 255)
    assert levels(augment.posterize(KEY, close_to_128, bits=1)) == 128


def test_posterize_draws_all_numbers_of_bits():
    keys = jax.random.split(KEY, 300)
    out = jax.vmap(partial(augment.posterize, bits=(2, 4)), (0, None))(keys, RAMP)
    counts = [len(np.unique(image)) for image in np.asarray(out)]
    assert set(counts) == {4, 8, 16}
    assert np.abs(np.bincount(counts)[[4, 8, 16]] / 300 - 1 / 3).max() < 0.08


@pytest.mark.parametrize("image", IMAGES)
def test_equalize_is_pils(image, by_pil):
    def theirs(image):
        from PIL import ImageOps

        return ImageOps.equalize(image)

    assert (levels(equalize(image)) == levels(by_pil(theirs, image))).all()


@pytest.mark.parametrize("image", IMAGES)
def test_equalize_is_torchvisions(image, by_torchvision):
    def theirs(tensor):
        from torchvision.transforms import functional

        return functional.equalize(tensor)

    assert (levels(equalize(image)) == by_torchvision(theirs, levels(image).astype(np.uint8))).all()


equalized = jax.jit(equalize)


@given(st.lists(st.integers(0, 255), min_size=1, max_size=600))
def test_equalize_keeps_the_order(values):
    before = np.sort(np.resize(values, 600))
    after = levels(equalized(before.reshape(-1, 1, 1).astype(np.float32) / 255)).ravel()
    assert (np.diff(after) >= 0).all()
    assert after.min() >= 0
    assert after.max() <= 255


def test_autocontrast_stretches_each_channel():
    image = jnp.array([[[0.2, 0.5, 0.0], [0.4, 0.5, 1.0], [0.3, 0.5, 0.25]]])
    expected = [[[0, 0.5, 0], [1, 0.5, 1], [0.5, 0.5, 0.25]]]
    np.testing.assert_allclose(autocontrast(image), expected, atol=1e-6)


def test_autocontrast_agrees_with_pil(by_pil):
    def theirs(image):
        from PIL import ImageOps

        return ImageOps.autocontrast(image)

    np.testing.assert_allclose(autocontrast(DARK), by_pil(theirs, DARK), atol=1.01 / 255)


def test_autocontrast_agrees_with_torchvision(by_torchvision):
    def theirs(tensor):
        from torchvision.transforms import functional

        return functional.autocontrast(tensor)

    np.testing.assert_allclose(autocontrast(DARK), by_torchvision(theirs, DARK), atol=1e-6)


@pytest.mark.parametrize("bits", [0, 9, (4, 2), (1, 9), 2.0, (1.0, 2)])
def test_bad_bits(bits):
    with pytest.raises(ValueError, match=r"^posterize: expected bits from 1 to 8, got .*\. Pass \(low, high\).*\.$"):
        augment.posterize(KEY, RAMP, bits=bits)
