"""Carlini and Wagner's attack: its weights by hand, its confidence, pixels at their bounds, and beside foolbox's."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn.attack.carlini_wagner import carlini_wagner
from jaxcnn.attack.judgement import judge
from tests.attack.exact import least_sizes
from tests.attack.foolbox_sizes import foolbox_sizes, sizes

pytestmark = pytest.mark.usefixtures("quick_compilation")
close = np.testing.assert_allclose


def test_defaults_are_those_of_the_papers_code():
    given = {name: option.default for name, option in inspect.signature(carlini_wagner).parameters.items()}
    expected = {"binary_steps": 9, "steps": 1000, "learning_rate": 0.01, "confidence": 0.0, "initial_const": 1e-3}
    assert {name: given[name] for name in expected} == expected


@pytest.mark.parametrize("confidence", [0.0, 1.5])
def test_results_are_as_confident_as_asked(confidence, linear):
    found = carlini_wagner(linear.logits_fn, linear.x, linear.y, confidence=confidence, steps=200)
    logits = np.sort(linear.logits_fn(found), -1)
    ahead = logits[:, -1] - np.asarray(linear.logits_fn(found))[np.arange(6), linear.y]
    assert (ahead >= confidence).all()
    close(ahead, confidence, atol=0.02)
    if confidence:  # the nearest plane of those that are so much farther
        plain = carlini_wagner(linear.logits_fn, linear.x, linear.y, steps=200)
        length = lambda delta: np.asarray(jnp.sqrt((delta**2).sum((1, 2, 3))))  # noqa: E731
        assert (length(found - linear.x) > length(plain - linear.x)).all()


@pytest.mark.slow
def test_each_image_has_its_own_weight(linear):
    """Alone an image gives what it gives among others, however many of the others are done or never found."""
    everything = carlini_wagner(linear.logits_fn, linear.x, linear.y, steps=60, binary_steps=5)
    for row in (0, 4):
        alone = carlini_wagner(linear.logits_fn, linear.x[row], linear.y[row], steps=60, binary_steps=5)
        close(alone, everything[row], atol=1e-5)


def test_a_first_weight_that_is_too_large_or_too_small_is_mended(linear):
    least, _ = least_sizes(linear, "l2")
    for const, rounds in ((1e2, 12), (1e-4, 12)):
        options = {"initial_const": const, "binary_steps": rounds, "steps": 200}
        judged = judge(
            linear.logits_fn, linear.x, carlini_wagner(linear.logits_fn, linear.x, linear.y, **options), linear.y
        )
        close(judged.l2, least, rtol=0.01)
    once = carlini_wagner(linear.logits_fn, linear.x, linear.y, initial_const=1e-4, binary_steps=1, steps=200)
    np.testing.assert_array_equal(once, linear.x)  # such a weight pays for nothing


@pytest.mark.parametrize("black", [0.0, 1.0])
def test_images_at_their_bounds_are_no_obstacle(black):
    """All pixels are black or white; tanh is flat there, and the early end must not take that for the minimum."""
    weight = jnp.arange(1.0, 5.0)[:, None] * (1 - 2 * black)
    logits_fn = lambda x: jnp.stack([3 - ((x - black) * weight).sum((-3, -2, -1)), 0 * x[..., 0, 0, 0]], -1)  # noqa: E731
    x = jnp.full((1, 1, 4, 1), black)
    found = carlini_wagner(logits_fn, x, 0, steps=300)
    judged = judge(logits_fn, x, found, 0)
    assert judged.success.all()
    close(judged.l2, 3 / np.sqrt(30), rtol=0.01)


def test_what_is_not_needed_is_not_changed():
    """Half of the pixels do not matter: they come back as they are, at their bounds too."""
    x = jnp.array([0.0, 0.3, 1.0, 0.6])[None, None, :, None]
    logits_fn = lambda x: jnp.stack([x[..., 0, 3, 0], x[..., 0, 1, 0]], -1)  # noqa: E731
    found = carlini_wagner(logits_fn, x, 0, steps=100)
    close(found[0, 0, :, 0], [0, 0.45, 1, 0.45], atol=0.003)
    np.testing.assert_array_equal(found[0, 0, ::2], x[0, 0, ::2])


@pytest.mark.slow
def test_the_loop_ends_early(linear):
    """Of an image that no c helps every c ends at its first check: calls are counted in the program."""
    calls = []
    ones = jnp.ones((1, 4)).at[:, 0].add(1)

    def flat(x):
        jax.debug.callback(lambda: calls.append(None))
        return ones + 0 * x.sum()

    carlini_wagner(flat, linear.x[:1], 0, steps=100, binary_steps=3)
    jax.effects_barrier()
    assert 3 * 10 < len(calls) < 3 * 14 + 8


@pytest.mark.slow
def test_sizes_are_not_above_those_of_foolbox(digits):
    budget = {"binary_search_steps": 6, "steps": 200, "stepsize": 0.02}
    theirs, correct = foolbox_sizes(digits, "L2CarliniWagnerAttack", "l2", **budget)
    ours = sizes(digits, carlini_wagner(*digits, binary_steps=6, steps=200, learning_rate=0.02), "l2")
    assert np.median(ours[correct]) <= np.median(theirs[correct]) * 1.005


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"binary_steps": 0}, "binary_steps as a positive int, got 0"),
        ({"steps": 0}, "steps as a positive int, got 0"),
        ({"learning_rate": 0.0}, "learning_rate > 0, got 0.0"),
        ({"confidence": -1.0}, "confidence >= 0, got -1.0"),
        ({"initial_const": 0}, "initial_const > 0, got 0"),
    ],
)
def test_refuses(options, message, linear):
    with pytest.raises(ValueError, match=f"^carlini_wagner: expected {message}"):
        carlini_wagner(linear.logits_fn, linear.x, linear.y, **options)
