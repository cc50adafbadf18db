"""Sensitivity-n, and the correlation that it stands on."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxcnn.explain import trust
from jaxcnn.explain.trust.correlation import pearson, spearman
from tests.small_nets import CASES

pytestmark = pytest.mark.usefixtures("quick_compilation")
close = np.testing.assert_allclose
KEY = jax.random.key(5)
WEIGHTS = jax.random.normal(jax.random.key(0), (6, 5, 2))
X = jax.random.uniform(jax.random.key(1), (3, 6, 5, 2))


def linear(x):
    return jnp.stack([(x * WEIGHTS).sum((-3, -2, -1)), jnp.zeros(x.shape[:-3])], axis=-1)


def test_a_correlation_has_no_unit_and_is_0_of_what_rounding_varies():
    u = jnp.asarray(np.random.default_rng(0).normal(size=9), jnp.float32)
    for a, b in ((1e-12, 1e-12), (1e12, 1e10), (1e-25, 1.0)):
        close(pearson(a * u, b * u), 1, rtol=1e-5)
    same = jnp.full(9, 0.1) * (1 + 1e-7 * jnp.sign(u))
    close(pearson(same, u), 0)
    close(pearson(100 + 0.1 * u, u), 1, rtol=1e-3)
    halves = jnp.linspace(1, 1.4, 100).astype(jnp.bfloat16)
    close(pearson(halves, halves), 1, rtol=1e-5)
    close(pearson(jnp.full(10_000, 0.1, jnp.bfloat16), jnp.arange(10_000.0)), 0)
    for lost in (jnp.nan, jnp.inf):
        assert jnp.isnan(pearson(u.at[3].set(lost), u))


def test_correlations_are_scipys():
    a, b = np.random.default_rng(0).normal(size=(2, 4, 30)).astype(np.float32)
    b = np.rint(2 * (a + b))  # many ties
    close(pearson(a, b), [stats.pearsonr(*pair)[0] for pair in zip(a, b, strict=True)], rtol=1e-4)
    close(spearman(a, b), [stats.spearmanr(*pair)[0] for pair in zip(a, b, strict=True)], rtol=1e-4)
    close(pearson(a, jnp.ones_like(a)), 0)
    close(spearman(a, a**3), 1, rtol=1e-6)
    long = np.random.default_rng(1).normal(size=(2, 20000)).astype(np.float32)
    close(spearman(*long), stats.spearmanr(*long)[0], atol=1e-5)


@pytest.mark.slow
def test_gradient_times_input_tells_what_a_linear_model_loses():
    found = trust.sensitivity_n(KEY, linear, X, WEIGHTS * X, 0, [1, 7, 29])
    assert found.shape == (3, 3)
    close(found, 1, atol=1e-4)
    close(trust.sensitivity_n(KEY, linear, X, -(WEIGHTS * X).sum(-1), 0, 7), -1, atol=1e-4)
    close(trust.sensitivity_n(KEY, linear, X, WEIGHTS * (X - 0.5), 0, 7, baseline=0.5), 1, atol=1e-4)
    assert (trust.sensitivity_n(KEY, linear, X, WEIGHTS * X, 0, 7, baseline="blur") < 0.999).all()


def test_by_hand():
    # One pixel of two is gone, so both numbers take two values each: they rise together or not.
    add = lambda x: (x[..., 0] * jnp.array([[1.0, 3.0]])).sum((-2, -1))[..., None]  # noqa: E731
    x = jnp.ones((1, 2, 1))
    close(trust.sensitivity_n(KEY, add, x, jnp.array([[0.2, 0.4]]), 0, 1), 1, rtol=1e-5)
    close(trust.sensitivity_n(KEY, add, x, jnp.array([[0.4, 0.2]]), 0, 1), -1, rtol=1e-5)
    close(trust.sensitivity_n(KEY, add, x, jnp.array([[0.5, 0.5]]), 0, 1), 0, atol=1e-5)


def test_n_pixels_are_gone():
    counts = []

    def count(x):
        gone = (x == 0).all(-1).sum((-2, -1)).astype(jnp.float32)
        jax.debug.callback(lambda n: counts.extend(np.ravel(n).tolist()), gone)
        return gone[..., None]

    trust.sensitivity_n(KEY, count, X, X, 0, [4, 11], samples=6, chunk=4)
    jax.effects_barrier()
    assert sorted(set(counts)) == [0, 4, 11]


@pytest.mark.slow
def test_nothing_known_is_0_and_random_maps_are_near_it(images, targets):
    case = CASES["plain"]
    blank = trust.sensitivity_n(KEY, case.logits_fn, images, jnp.zeros(images.shape), targets, 20, samples=8)
    close(blank, 0)
    keys = jax.random.split(KEY)
    maps = jax.random.normal(keys[0], images.shape[:-1])
    few = trust.sensitivity_n(keys[1], case.logits_fn, images, maps, targets, (5, 20), samples=8)
    again = trust.sensitivity_n(keys[1], case.logits_fn, images, maps, targets, (5, 20), samples=8, chunk=3)
    close(few, again, atol=1e-3)
    assert (abs(few) <= 1 + 1e-5).all()


def test_one_trace_for_other_n():
    calls = []

    def run(weights, x):
        calls.append(None)
        return (x * weights).sum((-3, -2, -1))[..., None]

    for number in (1, 2, 3):
        logits_fn = jax.tree_util.Partial(run, number * WEIGHTS)
        trust.sensitivity_n(KEY, logits_fn, X, number * X, 0, number, samples=3)
        if number == 1:
            first = len(calls)
    assert len(calls) == first


def test_inside_of_jit():
    measure = lambda x: trust.sensitivity_n(KEY, linear, x, x**2, 0, 9, samples=4)  # noqa: E731
    close(jax.jit(measure)(X), measure(X), atol=1e-3)


def test_raw_keys():
    found = trust.sensitivity_n(jax.random.PRNGKey(3), linear, X, X**2, 0, [3, 9], samples=4)
    close(found, trust.sensitivity_n(jax.random.key(3), linear, X, X**2, 0, [3, 9], samples=4))


@pytest.mark.parametrize("n", [0, 30, [], [3, 30], 1.5, "all"])
def test_refuses_n(n):
    with pytest.raises(ValueError, match=r"^sensitivity_n: expected n in 1\.\.29, or several such, got "):
        trust.sensitivity_n(KEY, linear, X, X, 0, n)
