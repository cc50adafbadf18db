"""Randomized smoothing: certificates of linear nets, whose true distances are known, and counts that are exact."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import binomtest, norm

from jaxcnn import training
from jaxcnn.attack.defence import ABSTAINS, certify, noise_training, smoothed
from jaxcnn.attack.fgsm import fgsm

pytestmark = pytest.mark.usefixtures("quick_compilation")
close = np.testing.assert_allclose
KEY = jax.random.key(3)
KERNEL = jnp.asarray(np.random.default_rng(0).normal(0, 1, 12), jnp.float32)


def halves(x):
    """A net with two classes and the plane KERNEL x = 0 between them."""
    z = (x.reshape(*x.shape[:-3], 12) * KERNEL).sum(-1)
    return jnp.stack([-z, z], -1)


def at(distances):
    """Return images (n, 2, 2, 3) at these distances from the plane, on the side of class 1."""
    unit = KERNEL / jnp.linalg.norm(KERNEL)
    return (jnp.asarray(distances, jnp.float32)[:, None] * unit).reshape(-1, 2, 2, 3)


@pytest.mark.slow
def test_the_radius_of_a_linear_net_tends_to_the_distance_and_never_exceeds_it():
    distances = np.array([0.05, 0.1, 0.3, 0.5, -0.2])
    widths = []
    for n in (300, 3000, 100_000):
        found = certify(KEY, halves, at(distances), sigma=0.25, n=n)
        assert (found.radius <= np.abs(distances)).all()
        widths.append(np.abs(distances) - found.radius)
    assert found.prediction.tolist() == [1, 1, 1, 1, 0]
    assert (widths[2] < widths[0]).all()
    assert (widths[2] <= 0.03 * np.abs(distances) + 0.003).all()
    close(found.radius, 0.25 * norm.ppf(found.probability), rtol=1e-6)


def test_a_net_that_always_says_the_same():
    found = certify(KEY, lambda x: jnp.broadcast_to(jnp.arange(3.0), (*x.shape[:-3], 3)), at([0.0]), sigma=0.5, n=500)
    assert found.prediction == 2
    close(found.radius, 0.5 * norm.ppf(0.001 ** (1 / 500)), rtol=1e-6)


@pytest.mark.slow
def test_the_bound_is_clopper_and_pearsons():
    """Of a net that errs on a tenth of the noisy copies; 0.5 of the time on those at the plane."""
    found = certify(KEY, halves, at([0.0, 0.32]), sigma=0.25, n=2000, alpha=0.01)
    assert found.prediction.tolist() == [ABSTAINS, 1]
    assert found.radius[0] == 0
    for p in found.probability:
        near = int(2000 * p)
        counts = [k for k in range(near, near + 100) if abs(_lower(k, 2000, 0.01) - p) < 1e-9]
        assert len(counts) == 1


def _lower(k: int, n: int, alpha: float) -> float:
    return binomtest(k, n).proportion_ci(1 - 2 * alpha, method="exact").low


@pytest.mark.slow
def test_it_is_wrong_as_often_as_it_says_and_no_more():
    """Many images at one distance: how many get a radius beyond it, or at the plane any at all."""
    near = certify(KEY, halves, at([0.1] * 3000), sigma=0.25, n0=20, n=100, alpha=0.1)
    assert 0.02 < (near.radius > 0.1).mean() < 0.12
    # With the same noise in both stages the luckier class would be counted: twice as many.
    plane = certify(KEY, halves, at([0.0] * 3000), sigma=0.25, n0=100, n=100, alpha=0.1)
    assert 0.05 < (plane.prediction != ABSTAINS).mean() < 0.12


@pytest.mark.slow
def test_what_is_nan_votes_for_nothing():
    def broken(x):
        return jnp.where(x[..., :1, 0, 0] > 0, jnp.nan, halves(x))

    found = certify(KEY, broken, at([3.0]), sigma=2.0, n=400)
    sound = certify(KEY, halves, at([3.0]), sigma=2.0, n=400)
    assert found.probability < sound.probability


@pytest.mark.slow
def test_chunks_and_batches_change_nothing_but_the_memory(digits):
    whole = certify(KEY, digits.logits_fn, digits.x[:4], sigma=0.25, n=300)
    for chunk in (1, 7, 300):
        again = certify(KEY, digits.logits_fn, digits.x[:4], sigma=0.25, n=300, chunk=chunk)
        for one, other in zip(whole, again, strict=True):
            np.testing.assert_array_equal(one, other)
    other = certify(jax.random.key(4), digits.logits_fn, digits.x[:4], sigma=0.25, n=300)
    assert (other.probability != whole.probability).any()
    one = certify(KEY, digits.logits_fn, digits.x[1], sigma=0.1, n=300)
    assert [a.shape for a in one] == [(), (), ()]
    assert one.prediction == digits.y[1]


@pytest.mark.slow
def test_the_smoothed_classifier_counts_votes(digits):
    fn = smoothed(KEY, digits.logits_fn, sigma=0.3, samples=20)
    found = fn(digits.x)
    noise = [jax.random.normal(key, digits.x.shape) for key in jax.random.split(KEY, 20)]
    given = jnp.stack([digits.logits_fn(digits.x + 0.3 * e).argmax(-1) for e in noise])
    votes = jax.nn.one_hot(given, 10).sum(0)
    close(found, jnp.log((votes + 1) / 30), rtol=1e-5)
    close(jnp.exp(found).sum(-1), 1, rtol=1e-5)
    np.testing.assert_array_equal(found, fn(digits.x))
    np.testing.assert_array_equal(found, jax.jit(fn)(digits.x))
    assert not jax.grad(lambda x: fn(x).sum())(digits.x).any()
    fn = smoothed(KEY, digits.logits_fn, sigma=0.3, samples=20, soft=True)
    mean = sum(jax.nn.softmax(digits.logits_fn(digits.x + 0.3 * e)) for e in noise) / 20
    close(jnp.exp(fn(digits.x)), mean, rtol=1e-4, atol=1e-6)
    close(fn(digits.x[0]).shape, (10,))


@pytest.mark.slow
def test_attacks_climb_the_soft_form(digits):
    fn = smoothed(KEY, digits.logits_fn, sigma=0.1, samples=10, soft=True)
    moved = fgsm(fn, digits.x, digits.y, epsilon=0.15)
    at = jnp.arange(len(digits.y)), digits.y
    assert (fn(moved)[at] < fn(digits.x)[at]).mean() > 0.9


def test_smoothing_is_certified_where_it_is_confident(digits):
    found = certify(KEY, digits.logits_fn, digits.x, sigma=0.1, n=500)
    votes = smoothed(jax.random.key(5), digits.logits_fn, sigma=0.1, samples=500)(digits.x)
    sure = found.prediction != ABSTAINS
    assert sure.mean() > 0.8
    assert (found.prediction == votes.argmax(-1))[sure].all()


def test_one_trace_for_all_values():
    traces = []

    def counted(x):
        traces.append(1)
        return halves(x)

    logits_fn = jax.tree_util.Partial(counted)
    certify(KEY, logits_fn, at([0.1, 0.2]), sigma=0.25, n=200)
    before = len(traces)
    certify(jax.random.key(1), logits_fn, at([0.3, 0.2]), sigma=0.5, n=200)
    assert len(traces) == before
    first, second = (jax.tree.structure(smoothed(KEY, logits_fn, sigma=s, samples=9)) for s in (0.1, 0.2))
    assert first == second


def test_noise_training_adds_noise_that_is_not_clipped():
    attack = noise_training(sigma=0.5)["attack"]
    x = jnp.ones((50, 8, 8, 1))
    found = attack(KEY, None, {"image": x, "label": jnp.zeros(50, int)})
    assert (found["image"] - x).std() == pytest.approx(0.5, rel=0.05)
    assert (found["image"] > 1).mean() == pytest.approx(0.5, abs=0.05)
    assert (attack(KEY, None, {"image": x})["image"] == found["image"]).all()


@pytest.mark.slow
def test_training_on_noise_is_what_makes_radii(digits):
    """The net of the digits beside one of the same form that has learned noisy ones."""
    from jaxcnn import data
    from tests.attack.conftest import DIGITS_NET

    train, test = data.load("digits")
    options = {"optimizer": training.sgd(0.03), "epochs": 30, "batch_size": 64, "key": jax.random.key(0)}
    state = training.fit(DIGITS_NET, train, **options, **noise_training(sigma=0.5)).state
    x, y = data.to_float(test["image"][:100]), np.asarray(test["label"][:100])
    right = []
    for logits_fn in (training.predictor(DIGITS_NET, state.params, state.model_state), digits.logits_fn):
        found = certify(KEY, logits_fn, x, sigma=0.5, n=500)
        right.append(((found.prediction == y) & (found.radius > 0.4)).mean())
    assert right[0] > right[1] + 0.2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sigma": 0.0}, r"certify: expected sigma > 0, got 0\.0\. "),
        ({"sigma": 0.1, "alpha": 1.0}, r"certify: expected alpha in \(0, 1\), got 1\.0\. "),
        ({"sigma": 0.1, "n": 0}, r"certify: expected n as a positive int, got 0\. "),
        ({"sigma": 0.1, "n": 2**24}, r"certify: expected n of at most 16777215, got 16777216\. "),
        ({"sigma": 0.1, "n0": 1.5}, r"certify: expected n0 as a positive int, got 1\.5\. "),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        certify(KEY, halves, at([0.1]), **options)


def test_other_bad_input():
    with pytest.raises(TypeError, match=r"^certify: expected one PRNG key, got 0\."):
        certify(0, halves, at([0.1]), sigma=0.1)
    with pytest.raises(TypeError, match=r"^certify: expected a known PRNG key, got a traced array .* outside of jax"):
        jax.jit(lambda key: certify(key, halves, at([0.1]), sigma=0.1, n=10))(KEY)
    with pytest.raises(TypeError, match=r"^certify: expected logits_fn as a function of images, got 3\."):
        certify(KEY, 3, at([0.1]), sigma=0.1)
    with pytest.raises(TypeError, match=r"^smoothed: expected logits_fn as a function of images, got 3\."):
        smoothed(KEY, 3, sigma=0.1)
    with pytest.raises(TypeError, match=r"^certify: expected x of a floating dtype, got uint8\."):
        certify(KEY, halves, np.zeros((1, 2, 2, 3), np.uint8), sigma=0.1)
    with pytest.raises(ValueError, match=r"^smoothed: expected samples as a positive int, got 0\."):
        smoothed(KEY, halves, sigma=0.1, samples=0)
    with pytest.raises(TypeError, match=r"^smoothed: expected soft as a Python bool, got 1\."):
        smoothed(KEY, halves, sigma=0.1, soft=1)
    with pytest.raises(ValueError, match=r"^noise_training: expected sigma > 0, got -1\."):
        noise_training(sigma=-1)
