"""One perturbation for all images: exact on linear nets, and far better than noise on images it has not seen."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn import data
from jaxcnn.attack.judgement import judge
from jaxcnn.attack.universal import apply_universal, shuffled, universal

pytestmark = pytest.mark.usefixtures("quick_compilation")
close = np.testing.assert_allclose
KEY = jax.random.key(9)
WEIGHTS = jax.random.normal(jax.random.key(2), (3, 3, 2))
X = jax.random.uniform(jax.random.key(1), (10, 3, 3, 2), minval=0.3, maxval=0.7)


def two_classes(x):
    return jnp.stack([jnp.zeros(x.shape[:-3]), (x * WEIGHTS).sum((-1, -2, -3)) - 2], -1)


@pytest.fixture(scope="module")
def training_set():
    train, _ = data.load("digits")
    return data.to_float(train["image"][:512]), jnp.asarray(train["label"][:512])


@pytest.mark.slow
@pytest.mark.parametrize("target", [None, 1])
def test_the_worst_perturbation_of_a_linear_net(target):
    options = {"epsilon": jnp.array([0.0, 0.1, 0.2]), "steps": 20, "batch_size": 4, "target": target}
    found = universal(KEY, two_classes, X, 0, **options)
    close(found, options["epsilon"][:, None, None, None] * jnp.sign(WEIGHTS), rtol=1e-5, atol=1e-7)
    found = universal(KEY, two_classes, X, 0, norm="l2", **options)
    close(found, options["epsilon"][:, None, None, None] * WEIGHTS / jnp.sqrt((WEIGHTS**2).sum()), rtol=1e-4, atol=1e-7)
    assert (found[0] == 0).all()


@pytest.mark.slow
@pytest.mark.parametrize(("norm", "epsilon"), [("linf", 0.2), ("l2", 1.2)])
def test_fools_images_it_has_not_seen(digits, training_set, norm, epsilon):
    found = universal(KEY, digits.logits_fn, *training_set, epsilon=epsilon, norm=norm, steps=100)
    assert found.shape == (8, 8, 1)
    length = np.abs(found).max() if norm == "linf" else np.sqrt((found**2).sum())
    assert 0.9 * epsilon <= length <= epsilon * (1 + 1e-6)
    logits_fn, x, y = digits
    fooled = judge(logits_fn, x, apply_universal(x, found), y).success.mean()
    noise = jax.random.rademacher(KEY, found.shape, jnp.float32)
    noise = noise * (epsilon if norm == "linf" else epsilon / 8)
    by_noise = judge(logits_fn, x, apply_universal(x, noise), y).success.mean()
    assert fooled > 0.5
    assert by_noise < 0.3


@pytest.mark.slow
def test_a_target_for_all(digits, training_set):
    found = universal(KEY, digits.logits_fn, *training_set, epsilon=0.3, target=8, steps=100)
    logits_fn, x, y = digits
    assert judge(logits_fn, x, apply_universal(x, found), y, target=8).success.mean() > 0.6


def test_what_is_fooled_for_good_no_longer_counts():
    # Class 1 of the first image needs d_0 > 0, of all others d_0 < 0; the first has slopes ten times as steep.
    x = jnp.full((5, 1, 1, 1), 0.5)
    steep = lambda x: jnp.concatenate([0 * x[..., 0, 0, :], x[..., 0, 0, :] - 0.5], -1)  # noqa: E731

    def logits_fn(x):
        out = steep(x)
        first = (jnp.arange(len(x)) == 0)[:, None]
        return jnp.where(first, 100 * out, -out)

    options = {"epsilon": 0.3, "steps": 20, "batch_size": 5}
    # At d > 0 the first loses clamp nats at most, and only until 100 d reaches them.
    free = universal(KEY, logits_fn, x, 0, clamp=1e6, **options)
    held = universal(KEY, logits_fn, x, 0, clamp=1.0, **options)
    assert free[0, 0, 0] > 0.29
    assert held[0, 0, 0] < 0.1


def test_shuffled_goes_through_all_before_it_repeats():
    places = np.asarray(shuffled(KEY, 7, 5, 3))
    assert places.shape == (5, 3)
    flat = places.ravel()
    np.testing.assert_array_equal(np.sort(flat[:7]), np.arange(7))
    np.testing.assert_array_equal(np.sort(flat[7:14]), np.arange(7))
    assert (flat[:7] != flat[7:14]).any()


def test_apply_adds_and_cuts_off():
    x = jnp.array([0.1, 0.9]).reshape(2, 1, 1, 1)
    two = jnp.array([0.2, -0.5]).reshape(2, 1, 1, 1)
    close(apply_universal(x, two[0])[:, 0, 0, 0], [0.3, 1.0])
    close(apply_universal(x, two)[..., 0, 0, 0], [[0.3, 1.0], [0.0, 0.4]])
    close(apply_universal(x[0], two)[..., 0, 0, 0], [0.3, 0.0])
    close(apply_universal(x, two[0], bounds=(-1.0, 0.95))[:, 0, 0, 0], [0.3, 0.95])


@pytest.mark.slow
def test_same_key_same_bits_and_inside_jit(digits, training_set):
    x, y = (a[:50] for a in training_set)
    attack = lambda key, x, y: universal(key, digits.logits_fn, x, y, epsilon=0.2, steps=8, batch_size=16)  # noqa: E731
    found = attack(KEY, x, y)
    np.testing.assert_array_equal(found, attack(KEY, x, y))
    assert (found != attack(jax.random.key(1), x, y)).any()
    close(jax.jit(attack)(KEY, x, y), found, atol=1e-6)


@pytest.mark.slow
def test_epsilons_do_not_depend_on_one_another(digits, training_set):
    x, y = (a[:50] for a in training_set)
    several = jnp.array([[0.05, 0.1, 0.3]])
    options = {"steps": 8, "batch_size": 16}
    found = universal(KEY, digits.logits_fn, x, y, epsilon=several, chunk=2, **options)
    assert found.shape == (1, 3, 8, 8, 1)
    close(found[0, 1], universal(KEY, digits.logits_fn, x, y, epsilon=0.1, **options), atol=1e-6)


def test_is_traced_once():
    calls = []

    def logits_fn(x):
        calls.append(1)
        return two_classes(x)

    universal(KEY, logits_fn, X, 0, epsilon=0.1, steps=5, batch_size=4)
    before = len(calls)
    universal(jax.random.key(1), logits_fn, X[::-1], 1, epsilon=0.3, steps=5, batch_size=4, clamp=3.0)
    assert len(calls) == before


def test_slopes_that_are_not_finite_are_no_way():
    steep = lambda x: two_classes(x) + jnp.sqrt(x.sum((-1, -2, -3)) * 0)[..., None]  # noqa: E731
    np.testing.assert_array_equal(universal(KEY, steep, X, 0, epsilon=0.1, steps=3), 0)


def test_refuses():
    for option, match in (
        ({"epsilon": -1.0}, "epsilon >= 0, got -1"),
        ({"norm": "l0"}, r"norm as one of \('linf', 'l2'\), got 'l0'"),
        ({"steps": 0}, "steps as a positive int, got 0"),
        ({"clamp": 0.0}, "clamp above 0, got 0"),
        ({"y": jnp.zeros(3, int)}, r"y of shape \(\) or \(10,\), got \(3,\)"),
        ({"y": jnp.full(10, 2).at[0].set(0)}, r"y in 0\.\.1, got"),
        ({"x": X[0]}, r"x of shape \(N, H, W, C\) with a pixel, got \(3, 3, 2\)"),
        ({"x": X + 1}, r"images within bounds=\(0\.0, 1\.0\)"),
    ):
        given = {"x": X, "y": 0, "epsilon": 0.1, "batch_size": 4} | option
        with pytest.raises(ValueError, match=f"^universal: expected {match}"):
            universal(KEY, two_classes, **given)
    with pytest.raises(
        ValueError, match=r"^apply_universal: expected a perturbation \(\.\.\., 3, 3, 2\), got \(3, 3\)"
    ):
        apply_universal(X, X[0, ..., 0])
    with pytest.raises(ValueError, match=r"^apply_universal: expected bounds as \(least, largest\)"):
        apply_universal(X, X[0], bounds=(1.0,))
