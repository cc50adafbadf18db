"""The worst of k draws of any augmentation, beside a loop over the draws."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn import augment
from jaxcnn.attack.judgement import judge
from jaxcnn.attack.worst_of_k import worst_of_k

pytestmark = pytest.mark.usefixtures("quick_compilation")
close = np.testing.assert_allclose
KEY = jax.random.key(4)
JITTER = augment.compose(partial(augment.brightness, delta=0.2), partial(augment.shift, max_shift=1))


def missed(logits, y):
    rows = np.arange(len(y))
    others = np.array(logits)
    others[rows, y] = -np.inf
    return logits[rows, y] - others.max(1)


@pytest.mark.slow
@pytest.mark.parametrize("chunk", [1, 3, None])
def test_gives_the_worst_of_the_draws(digits, chunk):
    logits_fn, x, y = digits
    keys = jax.random.split(KEY, (5, len(x)))
    draws = [x, *(jax.vmap(JITTER)(row, x) for row in keys)]
    margins = np.stack([missed(np.asarray(logits_fn(each)), np.asarray(y)) for each in draws])
    found = worst_of_k(KEY, logits_fn, x, y, augmentation=JITTER, samples=5, chunk=chunk)
    expected = np.stack(draws)[margins.argmin(0), np.arange(len(x))]
    close(found, expected, atol=1e-6)
    assert len(set(margins.argmin(0))) > 3


def test_what_does_not_matter_is_left_alone(digits):
    logits_fn, x, y = digits
    for augmentation in (lambda key, image: image, lambda key, image: image * jnp.nan):
        found = worst_of_k(KEY, logits_fn, x, y, augmentation=augmentation, samples=2)
        np.testing.assert_array_equal(found, x)


@pytest.mark.slow
def test_a_target_and_more_draws(digits):
    logits_fn, x, y = digits
    target = (y + 1) % 10
    turn = partial(augment.rotate, degrees=60)
    rates = []
    for samples in (1, 40):
        found = worst_of_k(KEY, logits_fn, x, y, augmentation=turn, samples=samples, target=target)
        rates.append(judge(logits_fn, x, found, y, target=target).success.mean())
    assert rates[1] > rates[0]


@pytest.mark.slow
def test_bounds_become_those_of_augment(digits):
    logits_fn, x, y = digits
    expected = worst_of_k(KEY, logits_fn, x, y, augmentation=JITTER)
    wide = lambda x: logits_fn((x + 3) / 6)  # noqa: E731
    found = worst_of_k(KEY, wide, 6 * x - 3, y, augmentation=JITTER, bounds=(-3.0, 3.0))
    close((found + 3) / 6, expected, atol=1e-5)


@pytest.mark.slow
def test_same_key_same_bits_one_image_and_inside_jit(digits):
    logits_fn, x, y = digits
    attack = lambda key, x, y: worst_of_k(key, logits_fn, x, y, augmentation=JITTER)  # noqa: E731
    found = attack(KEY, x, y)
    np.testing.assert_array_equal(found, attack(KEY, x, y))
    assert (found != attack(jax.random.key(5), x, y)).any()
    close(jax.jit(attack)(KEY, x, y), found, atol=1e-6)
    assert attack(KEY, x[0], y[0]).shape == x[0].shape


@pytest.mark.slow
def test_is_traced_once(linear):
    calls = []

    def logits_fn(x):
        calls.append(1)
        return linear.logits_fn(x)

    worst_of_k(KEY, logits_fn, linear.x, linear.y, augmentation=JITTER)
    before = len(calls)
    worst_of_k(jax.random.key(5), logits_fn, linear.x[::-1], linear.y, augmentation=JITTER)
    assert len(calls) == before


def test_refuses(digits):
    logits_fn, x, y = digits
    with pytest.raises(
        ValueError, match=r"^worst_of_k: expected an augmentation that keeps the shape \(8, 8, 1\), got"
    ):
        worst_of_k(KEY, logits_fn, x, y, augmentation=partial(augment.crop, size=4))
    with pytest.raises(ValueError, match=r"^worst_of_k: expected samples as a positive int, got 0\."):
        worst_of_k(KEY, logits_fn, x, y, augmentation=JITTER, samples=0)
    with pytest.raises(TypeError, match=r"^worst_of_k: expected a function, got 3\."):
        worst_of_k(KEY, logits_fn, x, y, augmentation=3)
    with pytest.raises(TypeError, match=r"^worst_of_k: expected one PRNG key"):
        worst_of_k(0, logits_fn, x, y, augmentation=JITTER)
    vectors = lambda x: x[..., :10]  # noqa: E731
    with pytest.raises(ValueError, match=r"^worst_of_k: expected x of shape \(\.\.\., H, W, C\)"):
        worst_of_k(KEY, vectors, x.reshape(-1, 64), y, augmentation=JITTER)
