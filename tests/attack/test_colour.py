"""Changes of colour: the worst light of a linear net is known, and hues turn a net that looks at hues."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn.attack.colour import colour_jitter, colour_shift
from jaxcnn.attack.judgement import judge
from tests.small_nets import CASES

pytestmark = pytest.mark.usefixtures("quick_compilation")
close = np.testing.assert_allclose
KEY = jax.random.key(8)
X = jax.random.uniform(jax.random.key(1), (5, 4, 4, 3), minval=0.4, maxval=0.6)
WEIGHTS = jax.random.normal(jax.random.key(2), (4, 4, 3))


def two_classes(x):
    return jnp.stack([jnp.zeros(x.shape[:-3]), (x * WEIGHTS).sum((-1, -2, -3))], -1)


@pytest.mark.parametrize("target", [None, 1])
@pytest.mark.parametrize("steps", [1, 7, 20])
def test_the_worst_light_of_a_linear_net(target, steps):
    # The logit of class 1 rises along the sign of sum(w x) of each channel's gain, and of sum(w) of its offset.
    gain = jnp.sign((WEIGHTS * X).sum((1, 2), keepdims=True))
    offset = jnp.sign(WEIGHTS.sum((0, 1)))
    found = colour_shift(two_classes, X, 0, max_gain=0.3, max_offset=0.05, steps=steps, target=target)
    close(found, X + 0.3 * gain * X + 0.05 * offset, rtol=1e-5)


@pytest.mark.slow
def test_it_is_cut_off_and_no_more_than_light():
    found = colour_shift(two_classes, X, 0, max_gain=1.0, max_offset=0.5)
    assert found.min() >= 0
    assert found.max() <= 1
    case = CASES["residual"]
    x = jax.random.uniform(KEY, (6, 12, 12, 3), minval=0.3, maxval=0.6)
    y = case.logits_fn(x).argmax(-1)
    found = np.asarray(colour_shift(case.logits_fn, x, y, max_gain=0.3, max_offset=0.1))
    channels = lambda images: np.moveaxis(images, -1, 1).reshape(-1, 144)  # noqa: E731
    for before, after in zip(channels(x), channels(found), strict=True):
        slope, start = np.polyfit(before, after, 1)
        close(slope * before + start, after, atol=1e-5)
        assert abs(slope - 1) <= 0.3 + 1e-4
        assert abs(start) <= 0.1 + 1e-4


def test_without_room_nothing_changes():
    np.testing.assert_array_equal(colour_shift(two_classes, X, 0, max_gain=0.0, max_offset=0.0), X)
    np.testing.assert_array_equal(colour_shift(lambda x: two_classes(0 * x), X, 0), X)
    steep = lambda x: two_classes(x) + jnp.sqrt(x.sum((-1, -2, -3)) * 0)[..., None]  # noqa: E731
    np.testing.assert_array_equal(colour_shift(steep, X, 0), X)


def test_the_gain_is_of_what_is_above_the_least():
    wide = lambda x: two_classes((x + 3) / 6)  # noqa: E731
    found = colour_shift(wide, 6 * X - 3, 0, max_offset=0.6, bounds=(-3.0, 3.0))
    close((found + 3) / 6, colour_shift(two_classes, X, 0), atol=1e-6)


@pytest.mark.slow
def test_more_light_fools_more(digits):
    logits_fn, x, y = digits
    rates = []
    for limit in (0.0, 0.2, 0.6):
        found = colour_shift(logits_fn, x, y, max_gain=limit, max_offset=limit)
        rates.append(judge(logits_fn, x, found, y).success.mean())
    assert rates[0] < rates[1] < rates[2]
    target = jnp.full_like(y, 8)
    found = colour_shift(logits_fn, x, y, max_gain=0.6, max_offset=0.6, target=target)
    reached = judge(logits_fn, x, found, y, target=target).success.mean()
    assert reached > judge(logits_fn, x, x, y, target=target).success.mean()


def reddest(x):
    """A net that takes for class 0, 1 and 2 what is red, green and blue."""
    return 10 * x.mean((-2, -3))


@pytest.mark.slow
def test_hues_are_turned_and_saturation_is_changed():
    red = jnp.broadcast_to(jnp.array([0.7, 0.2, 0.2]), (3, 4, 4, 3))
    options = {"saturation": (1.0, 1.0), "samples": 60}
    for target, expected in ((1, [0.2, 0.7, 0.2]), (2, [0.2, 0.2, 0.7])):
        found = colour_jitter(KEY, reddest, red, 0, target=target, **options)
        close(found, jnp.broadcast_to(jnp.array(expected), red.shape), atol=0.15)
        assert judge(reddest, red, found, 0, target=target).success.all()
    near = colour_jitter(KEY, reddest, red, 0, max_hue=0.1, target=1, **options)
    assert not judge(reddest, red, near, 0, target=1).success.any()  # a sixth of a turn makes yellow
    grey = colour_jitter(KEY, reddest, red, 0, max_hue=0.0, saturation=(0.0, 1.0), samples=60)
    assert (grey.max(-1) - grey.min(-1) < 0.05).all()
    dark = colour_jitter(KEY, reddest, red, 0, max_hue=0.0, saturation=(1.0, 1.0), max_brightness=0.3, samples=60)
    assert (dark[..., 1:] < 0.02).all()  # cut off: there red is less ahead of the others
    assert (dark[..., 0] < 0.5).all()


@pytest.mark.slow
def test_of_grey_images_the_brightness_alone_changes(digits):
    logits_fn, x, y = digits
    close(colour_jitter(KEY, logits_fn, x, y, samples=5), x, atol=1e-6)
    found = colour_jitter(KEY, logits_fn, x, y, max_brightness=0.4, samples=20)
    assert judge(logits_fn, x, found, y).success.mean() > judge(logits_fn, x, x, y).success.mean()


@pytest.mark.slow
def test_same_key_same_bits_one_image_and_inside_jit(images):
    logits_fn = CASES["plain"].logits_fn
    y = logits_fn(images).argmax(-1)
    shift = lambda x, y: colour_shift(logits_fn, x, y)  # noqa: E731
    jitter = lambda key, x, y: colour_jitter(key, logits_fn, x, y, samples=4)  # noqa: E731
    close(jax.jit(shift)(images, y), shift(images, y), atol=1e-5)
    found = jitter(KEY, images, y)
    np.testing.assert_array_equal(found, jitter(KEY, images, y))
    close(jax.jit(jitter)(KEY, images, y), found, atol=1e-5)
    close(shift(images[0], y[0]), shift(images, y)[0], atol=1e-5)
    assert jitter(KEY, images[0], y[0]).shape == images[0].shape


@pytest.mark.slow
def test_is_traced_once():
    calls = []

    def logits_fn(x):
        calls.append(1)
        return two_classes(x)

    for attack, options in ((colour_shift, {"max_gain": 0.1, "max_offset": 0.3}), (jitter_of, {})):
        attack(logits_fn, X, 0)
        before = len(calls)
        attack(logits_fn, X[::-1], 1, **options)
        assert len(calls) == before


def jitter_of(logits_fn, x, y):
    return colour_jitter(KEY, logits_fn, x, y, samples=3)


def test_refuses(images):
    for option, match in (
        ({"max_gain": 2}, r"max_gain in \[0, 1\], got 2\."),
        ({"max_offset": -0.1}, r"max_offset of at least 0, got -0\.1\."),
        ({"steps": 0}, r"steps as a positive int, got 0\."),
    ):
        with pytest.raises(ValueError, match=f"^colour_shift: expected {match}"):
            colour_shift(two_classes, X, 0, **option)
    for option, match in (
        ({"max_hue": 0.6}, r"max_hue in \[0, 0\.5\], got 0\.6\."),
        ({"saturation": (-1.0, 1.0)}, r"saturation of at least 0, got \(-1\.0, 1\.0\)\."),
        ({"max_brightness": 2}, r"max_brightness in \[0, 1\], got 2\."),
        ({"samples": 0}, r"samples as a positive int, got 0\."),
    ):
        with pytest.raises(ValueError, match=f"^colour_jitter: expected {match}"):
            colour_jitter(KEY, two_classes, X, 0, **option)
    with pytest.raises(ValueError, match=r"^colour_jitter: expected an image of 1 or 3 channels, got"):
        colour_jitter(KEY, lambda x: x.sum((-2, -3)), X[..., :2], 0)
    with pytest.raises(ValueError, match=r"^colour_jitter: expected x of shape \(\.\.\., H, W, C\), got \(\)"):
        colour_jitter(KEY, two_classes, 0.5, 0)
    with pytest.raises(TypeError, match=r"^colour_jitter: expected x to be an array, got str"):
        colour_jitter(KEY, two_classes, "image", 0)
