"""Tone: closed forms, PIL and torchvision, and the distribution of what is drawn."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn import augment

IMAGE = np.asarray(jax.random.uniform(jax.random.key(0), (6, 5, 2)))
KEYS = jax.random.split(jax.random.key(1), 400)


def close(a, b):
    np.testing.assert_allclose(a, b, atol=2e-6, rtol=0)


def assert_uniform(values, low, high):
    unit = (np.asarray(values) - low) / (high - low)
    assert -1e-4 < unit.min() < 0.03
    assert 0.97 < unit.max() < 1 + 1e-4
    assert abs(unit.mean() - 0.5) < 0.06
    assert abs(unit.std() - 12**-0.5) < 0.03


def test_brightness_adds_one_amount_and_clips():
    close(augment.brightness(KEYS[0], IMAGE, delta=(0.3, 0.3)), np.clip(IMAGE + 0.3, 0, 1))
    close(augment.brightness(KEYS[0], IMAGE, delta=(-0.3, -0.3)), np.clip(IMAGE - 0.3, 0, 1))


def test_brightness_draws_fill_their_interval():
    grey = jnp.full((2, 2, 1), 0.5)
    out = jax.vmap(partial(augment.brightness, delta=0.4), (0, None))(KEYS, grey)
    assert_uniform(out[:, 0, 0, 0] - 0.5, -0.4, 0.4)
    assert (out == out[:, :1, :1]).all()


def test_contrast_multiplies_differences_from_the_mean_of_each_channel():
    mean = IMAGE.mean((0, 1))
    close(augment.contrast(KEYS[0], IMAGE, factor=(2.5, 2.5)), np.clip(mean + 2.5 * (IMAGE - mean), 0, 1))
    close(augment.contrast(KEYS[0], IMAGE, factor=(0, 0)), np.broadcast_to(mean, IMAGE.shape))


def test_contrast_draws_fill_their_interval():
    steps = jnp.array([0.4, 0.6]).reshape(1, 2, 1)
    out = jax.vmap(partial(augment.contrast, factor=(0.5, 1.5)), (0, None))(KEYS, steps)
    assert_uniform((out[:, 0, 1, 0] - out[:, 0, 0, 0]) / 0.2, 0.5, 1.5)


def test_gamma_raises_to_one_power():
    close(augment.gamma(KEYS[0], IMAGE, exponent=(1.7, 1.7)), IMAGE**1.7)
    out = jax.vmap(partial(augment.gamma, exponent=(0.5, 2)), (0, None))(KEYS, jnp.full((2, 2, 1), 0.5))
    assert_uniform(-np.log2(out[:, 0, 0, 0]), 0.5, 2)
    assert (out == out[:, :1, :1]).all()


def test_gamma_agrees_with_torchvision(by_torchvision):
    def theirs(tensor):
        from torchvision.transforms import functional

        return functional.adjust_gamma(tensor, 0.6)

    ours = augment.gamma(KEYS[0], IMAGE, exponent=(0.6, 0.6))
    np.testing.assert_allclose(ours[..., :1], by_torchvision(theirs, IMAGE[..., :1]), atol=1e-5)


def test_gamma_leaves_black_and_white_and_has_a_finite_gradient_there():
    ends = jnp.array([0.0, 1.0]).reshape(1, 2, 1)
    for exponent in (0.5, 2.0):
        curve = partial(augment.gamma, KEYS[0], exponent=(exponent, exponent))
        assert (curve(ends) == ends).all()
        gradient = jax.grad(lambda x, curve=curve: curve(x).sum())(ends)
        close(gradient.ravel(), [0, exponent])


def test_solarize_inverts_from_the_threshold_on():
    image = jnp.array([0.0, 0.4, 0.5, 1.0]).reshape(1, 4, 1)
    close(augment.solarize(KEYS[0], image, threshold=(0.5, 0.5)).ravel(), [0.0, 0.4, 0.5, 0.0])
    close(augment.solarize(KEYS[0], image, threshold=(0.45, 0.45)).ravel(), [0.0, 0.4, 0.5, 0.0])
    close(augment.solarize(KEYS[0], image, threshold=(0, 0)).ravel(), [1.0, 0.6, 0.5, 0.0])


def test_solarize_draws_fill_their_interval():
    ramp = jnp.linspace(0, 1, 1001).reshape(1, -1, 1)
    out = jax.vmap(partial(augment.solarize, threshold=(0.2, 0.7)), (0, None))(KEYS, ramp)
    kept = (np.asarray(out) == np.asarray(ramp)) & (np.abs(ramp - 0.5) > 1e-6)
    assert_uniform(np.where(kept, ramp, 0).max((1, 2, 3)), 0.2, 0.7)


@pytest.mark.parametrize("threshold", [0, 1, 100, 128, 255])
def test_solarize_agrees_with_pil(threshold, by_pil):
    def theirs(image):
        from PIL import ImageOps

        return ImageOps.solarize(image, threshold)

    image = np.arange(256, dtype=np.float32).reshape(16, 16, 1) / 255
    ours = augment.solarize(KEYS[0], image, threshold=(threshold / 255, threshold / 255))
    np.testing.assert_allclose(ours, by_pil(theirs, image), atol=1e-6)


@pytest.mark.parametrize("fn", [partial(augment.brightness, delta=0.1), partial(augment.contrast, factor=(0.9, 0.9))])
def test_bfloat16_is_computed_in_float32(fn):
    image = jnp.asarray(IMAGE, jnp.bfloat16)
    precise = fn(KEYS[0], image.astype(jnp.float32))
    assert (fn(KEYS[0], image) == precise.astype(jnp.bfloat16)).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            partial(augment.brightness, delta=(0.2, 0.1)),
            r"^brightness: expected delta \(low, high\) .*, got \(0\.2, 0\.1\)\.",
        ),
        (
            partial(augment.brightness, delta=float("inf")),
            r"^brightness: expected delta .*, got \(-inf, inf\)\.",
        ),
        (
            partial(augment.contrast, factor=(1.5, 1)),
            r"^contrast: expected factor \(low, high\) .*, got \(1\.5, 1\)\.",
        ),
        (
            partial(augment.contrast, factor=(-1, 1)),
            r"^contrast: expected factor of at least 0, got \(-1, 1\)\. Pass",
        ),
        (
            partial(augment.gamma, exponent=(0, 1)),
            r"^gamma: expected exponent above 0, got \(0, 1\)\. Pass",
        ),
        (
            partial(augment.gamma, exponent=(2, 1)),
            r"^gamma: expected exponent \(low, high\) .*, got \(2, 1\)\.",
        ),
        (
            partial(augment.solarize, threshold=(-0.1, 1)),
            r"^solarize: expected threshold of at least 0, got \(-0\.1, 1\)\. Pass",
        ),
        (
            partial(augment.solarize, threshold=(1, 0.5)),
            r"^solarize: expected threshold \(low, high\) .*, got \(1, 0\.5\)\.",
        ),
    ],
)
def test_bad_options(call, message):
    with pytest.raises(ValueError, match=message + r".*\.$"):
        call(KEYS[0], IMAGE)
