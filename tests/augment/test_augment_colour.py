"""Colours: closed forms, colorsys, PIL and torchvision, and the distribution of what is drawn."""

import colorsys
import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxcnn import augment

pytestmark = pytest.mark.usefixtures("quick_compilation")
IMAGE = np.random.default_rng(0).integers(0, 256, (9, 8, 3)).astype(np.float32) / 255
LUMA = np.array([0.299, 0.587, 0.114])
KEY = jax.random.key(1)
KEYS = jax.random.split(KEY, 400)


def close(a, b, atol=2e-6):
    np.testing.assert_allclose(a, b, atol=atol, rtol=0)


def turned(image, turns) -> np.ndarray:
    """Return the image with its hues turned, pixel by pixel."""
    pixels = [colorsys.rgb_to_hsv(*pixel) for pixel in np.asarray(image, np.float64).reshape(-1, 3)]
    return np.reshape([colorsys.hsv_to_rgb((h + turns) % 1, s, v) for h, s, v in pixels], image.shape)


def test_saturation_multiplies_differences_from_grey():
    grey = (IMAGE @ LUMA)[..., None]
    close(augment.saturation(KEY, IMAGE, factor=(2.5, 2.5)), np.clip(grey + 2.5 * (IMAGE - grey), 0, 1))
    close(augment.saturation(KEY, IMAGE, factor=(0, 0)), np.broadcast_to(grey, IMAGE.shape))


def test_saturation_draws_fill_their_interval():
    pixel = jnp.array([0.5, 0.5, 0.6]).reshape(1, 1, 3)
    out = jax.vmap(partial(augment.saturation, factor=(0.5, 1.5)), (0, None))(KEYS, pixel)
    unit = (out[:, 0, 0, 2] - out[:, 0, 0, 0]) / 0.1 - 0.5
    assert -1e-4 < unit.min() < 0.03
    assert 0.97 < unit.max() < 1 + 1e-4
    assert abs(unit.mean() - 0.5) < 0.06


@pytest.mark.parametrize("factor", [0.0, 0.4, 1.7])
def test_saturation_agrees_with_pil(factor, by_pil):
    def theirs(image):
        from PIL import ImageEnhance

        return ImageEnhance.Color(image).enhance(factor)

    ours = augment.saturation(KEY, IMAGE, factor=(factor, factor))
    close(ours, by_pil(theirs, IMAGE), 2.1 / 255)  # the grey image is rounded too


@pytest.mark.parametrize("factor", [0.0, 0.4, 1.7])
def test_saturation_agrees_with_torchvision(factor, by_torchvision):
    def theirs(tensor):
        from torchvision.transforms import functional

        return functional.adjust_saturation(tensor, factor)

    close(augment.saturation(KEY, IMAGE, factor=(factor, factor)), by_torchvision(theirs, IMAGE), 1e-3)


@pytest.mark.slow
@given(st.floats(-0.5, 0.5), st.lists(st.integers(0, 4), min_size=12, max_size=12))
def test_hue_is_that_of_colorsys(turns, values):
    image = np.reshape(values, (2, 2, 3)).astype(np.float32) / 4
    close(augment.hue(KEY, image, delta=(turns, turns)), turned(image, turns), 5e-6)


def test_hue_agrees_with_torchvision(by_torchvision):
    for turns in (-0.5, -0.13, 0.0, 0.31, 0.5):

        def theirs(tensor, turns=turns):
            from torchvision.transforms import functional

            return functional.adjust_hue(tensor, turns)

        close(augment.hue(KEY, IMAGE, delta=(turns, turns)), by_torchvision(theirs, IMAGE), 1e-5)


@pytest.mark.slow
def test_hue_draws_fill_their_interval():
    red = jnp.array([1.0, 0, 0]).reshape(1, 1, 3)
    out = jax.vmap(partial(augment.hue, delta=0.15), (0, None))(KEYS, red)[:, 0, 0]
    turns = (out[:, 1] - out[:, 2]) / 6
    assert -0.15 <= turns.min() < -0.14
    assert 0.14 < turns.max() <= 0.1501
    assert abs(turns.mean()) < 0.01


def test_grayscale_is_the_luma_with_probability_p():
    out = jax.vmap(partial(augment.grayscale, p=0.3), (0, None))(KEYS, IMAGE)
    grey = np.broadcast_to((IMAGE @ LUMA)[..., None], IMAGE.shape)
    is_grey = np.abs(out - grey[None]).max((1, 2, 3)) < 2e-6
    assert (np.asarray(out)[~is_grey] == IMAGE).all()
    assert abs(is_grey.mean() - 0.3) < 0.06


def test_grayscale_agrees_with_pil(by_pil):
    ours = augment.grayscale(KEY, IMAGE, p=1)
    close(ours[..., :1], by_pil(lambda image: image.convert("L"), IMAGE), 0.51 / 255)


def test_grayscale_agrees_with_torchvision(by_torchvision):
    def theirs(tensor):
        from torchvision.transforms import functional

        return functional.rgb_to_grayscale(tensor, 3)

    close(augment.grayscale(KEY, IMAGE, p=1), by_torchvision(theirs, IMAGE), 2e-4)


def test_channels_come_in_all_orders_equally_often():
    out = jax.vmap(augment.channel_shuffle, (0, None))(KEYS, IMAGE)
    orders = list(itertools.permutations(range(3)))
    found = [(np.asarray(out) == IMAGE[..., order]).all((1, 2, 3)) for order in orders]
    assert (np.sum(found, 0) == 1).all()
    assert np.abs(np.mean(found, 1) - 1 / 6).max() < 0.05


@pytest.mark.parametrize(
    "fn",
    [partial(augment.saturation, factor=(0, 0)), partial(augment.hue, delta=0.5), partial(augment.grayscale, p=1)],
)
def test_a_grey_image_has_no_colour_to_change(fn):
    grey = IMAGE[..., :1]
    close(fn(KEY, grey), grey)
    same = np.repeat(grey, 3, -1)
    close(fn(KEY, same), same)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            partial(augment.saturation, factor=(-1, 1)),
            r"^saturation: expected factor of at least 0, got \(-1, 1\)\. Pass",
        ),
        (
            partial(augment.saturation, factor=(2, 1)),
            r"^saturation: expected factor \(low, high\) .*, got \(2, 1\)\.",
        ),
        (
            partial(augment.hue, delta=0.6),
            r"^hue: expected delta within \[-0\.5, 0\.5\], got \(-0\.6, 0\.6\)\. Pass turns",
        ),
        (partial(augment.hue, delta=(0.2, 0.1)), r"^hue: expected delta \(low, high\) .*, got \(0\.2, 0\.1\)\."),
        (partial(augment.grayscale, p=1.5), r"^grayscale: expected p in \[0, 1\], got 1\.5\. Pass"),
    ],
)
def test_bad_options(call, message):
    with pytest.raises(ValueError, match=message + r".*\.$"):
        call(KEY, IMAGE)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("saturation", {"factor": (1, 1)}),
        ("hue", {"delta": 0.1}),
        ("grayscale", {}),
        ("jpeg", {"quality": 50}),
        ("rand_augment", {}),
        ("trivial_augment", {}),
        ("augmix", {}),
    ],
)
def test_colours_are_one_or_three_channels(name, options):
    message = rf"^{name}: expected an image of 1 or 3 channels, got \(4, 4, 2\)\. Pass grey .*\.$"
    with pytest.raises(ValueError, match=message):
        getattr(augment, name)(KEY, jnp.zeros((4, 4, 2)), **options)
