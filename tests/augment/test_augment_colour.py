"""Brightness and contrast: closed forms, and the distribution of what is drawn."""

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
    ],
)
def test_bad_options(call, message):
    with pytest.raises(ValueError, match=message + r".*\.$"):
        call(KEYS[0], IMAGE)
