"""Infidelity and sensitivity: closed forms, and captum's on the same perturbations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn.explain import trust
from jaxcnn.explain.attribution import gradient
from tests.explain.peers import captum
from tests.small_nets import CASES
from tests.torch_twins import tensor, twin

pytestmark = pytest.mark.usefixtures("quick_compilation")
close = np.testing.assert_allclose
KEY = jax.random.key(5)
WEIGHTS = jax.random.normal(jax.random.key(0), (6, 5, 2))
X = jax.random.uniform(jax.random.key(1), (3, 6, 5, 2))


def linear(x):
    return jnp.stack([(x * WEIGHTS).sum((-3, -2, -1)), jnp.zeros(x.shape[:-3])], axis=-1)


@pytest.mark.parametrize("perturb", [None, trust.GaussianNoise(0.5), trust.SquareRemoval(3)], ids=str)
def test_the_gradient_of_a_linear_model_is_faithful(perturb):
    slope = jnp.broadcast_to(WEIGHTS, X.shape)
    assert trust.infidelity(KEY, linear, X, slope, 0, perturb=perturb).shape == (3,)
    close(trust.infidelity(KEY, linear, X, slope, 0, perturb=perturb), 0, atol=1e-9)
    close(trust.infidelity(KEY, linear, X, slope * X, 0, perturb=perturb, times_input=True), 0, atol=1e-9)
    share = slope * (X - 0.5)
    close(trust.infidelity(KEY, linear, X, share, 0, perturb=perturb, times_input=True, baseline=0.5), 0, atol=1e-8)
    assert (trust.infidelity(KEY, linear, X, 2 * slope, 0, perturb=perturb) > 1e-3).all()
    close(trust.infidelity(KEY, linear, X, 2 * slope, 0, perturb=perturb, normalize=True), 0, atol=1e-8)


def test_by_hand():
    lower = lambda key, x: x - 0.5  # noqa: E731
    slope = jnp.ones_like(X)
    lost = 0.5 * WEIGHTS.sum()
    close(trust.infidelity(KEY, linear, X, slope, 0, perturb=lower, samples=3), (0.5 * 60 - lost) ** 2, rtol=1e-4)
    # A map counts as spread over both channels.
    maps = jnp.ones(X.shape[:-1])
    close(trust.infidelity(KEY, linear, X, maps, 0, perturb=lower, samples=3), (0.5 * 30 - lost) ** 2, rtol=1e-4)
    close(trust.infidelity(KEY, linear, X, 0 * slope, 0, perturb=lower, normalize=True), lost**2, rtol=1e-4)


@pytest.mark.slow
def test_all_samples_count_and_keys_decide():
    slope = jnp.zeros_like(X)
    many = trust.infidelity(KEY, linear, X, slope, 0, samples=4000, chunk=500)
    close(many, 0.1**2 * (WEIGHTS**2).sum(), rtol=0.1)  # the variance of the score under noise
    few = [trust.infidelity(key, linear, X, slope, 0, samples=7) for key in (KEY, KEY, jax.random.key(6))]
    np.testing.assert_array_equal(few[0], few[1])
    assert (few[0] != few[2]).all()
    close(trust.infidelity(KEY, linear, X, slope, 0, samples=7, chunk=2), few[0], rtol=1e-5)


def test_perturbations():
    noisy = trust.GaussianNoise(0.2)(KEY, jnp.zeros((50, 20, 20, 3)))
    assert noisy.std() == pytest.approx(0.2, rel=0.02)
    images = jnp.ones((200, 6, 5, 2))
    gone = np.asarray(trust.SquareRemoval(3, value=0.25)(KEY, images) == 0.25)
    assert gone.sum((1, 2, 3)).tolist() == [3 * 3 * 2] * 200
    rows, columns = gone.any((2, 3)), gone.any((1, 3))
    assert {tuple(np.flatnonzero(row)) for row in rows} == {(n, n + 1, n + 2) for n in range(4)}
    assert {tuple(np.flatnonzero(column)) for column in columns} == {(n, n + 1, n + 2) for n in range(3)}
    assert trust.SquareRemoval(3)(KEY, images[0]).shape == (6, 5, 2)


@pytest.mark.parametrize(("normalize", "times_input"), [(False, False), (True, False), (False, True)])
def test_infidelity_is_captums(images, targets, normalize, times_input):
    case = CASES["batchnorm"]
    metrics, net = captum().metrics, twin(case.name)
    import torch

    perturb, samples = trust.GaussianNoise(0.2), 5
    maps = gradient(case.logits_fn, images, targets)
    maps = 3 * maps * (images if times_input else 1) + 0.1
    changed = jnp.stack([perturb(key, images) for key in jax.random.split(KEY, samples)], axis=1)

    @metrics.infidelity_perturb_func_decorator(times_input)
    def same(inputs):
        return tensor(changed.reshape(-1, *images.shape[1:]))

    expected = metrics.infidelity(
        net, same, tensor(images), tensor(maps), target=torch.tensor(np.asarray(targets)), n_perturb_samples=samples,
        normalize=normalize,
    )  # fmt: skip
    options = {"perturb": perturb, "samples": samples, "normalize": normalize, "times_input": times_input}
    close(trust.infidelity(KEY, case.logits_fn, images, maps, targets, **options), expected, rtol=1e-4)


def test_the_gradient_of_a_linear_model_does_not_move():
    slope = lambda x: gradient(linear, x, 0)  # noqa: E731
    close(trust.max_sensitivity(KEY, slope, X), 0, atol=1e-6)


def test_sensitivity_by_hand():
    keys = jax.random.split(KEY, 4)
    shifts = jnp.stack([jax.random.uniform(key, X.shape, X.dtype, -0.1, 0.1) for key in keys])
    length = jnp.sqrt((shifts**2).sum((-3, -2, -1)))
    expected = length.max(axis=0) / jnp.sqrt((X**2).sum((-3, -2, -1)))
    close(trust.max_sensitivity(KEY, lambda x: x, X, radius=0.1, samples=4), expected, rtol=1e-5)
    zero = trust.max_sensitivity(KEY, lambda x: (x - X).sum(-1), X, radius=0.1, samples=4)
    close(zero, jnp.sqrt((shifts.sum(-1) ** 2).sum((-2, -1))).max(axis=0), rtol=1e-4)


@pytest.mark.filterwarnings("ignore")  # of the peer's
def test_sensitivity_is_captums(images, targets):
    case = CASES["batchnorm"]
    found, net = captum(), twin(case.name)
    import torch

    radius, samples = 0.05, 4
    keys = jax.random.split(KEY, samples)
    shifts = [jax.random.uniform(key, images.shape, images.dtype, -radius, radius) for key in keys]
    changed = jnp.stack([images + shift for shift in shifts], axis=1)
    expected = found.metrics.sensitivity_max(
        found.attr.Saliency(net).attribute, tensor(images), lambda x: tensor(changed.reshape(-1, *images.shape[1:])),
        n_perturb_samples=samples, target=torch.tensor(np.asarray(targets)),
    )  # fmt: skip
    saliency = lambda x: abs(gradient(case.logits_fn, x, targets))  # noqa: E731
    close(trust.max_sensitivity(KEY, saliency, images, radius=radius, samples=samples), expected, rtol=1e-4)


def test_one_trace_and_inside_of_jit():
    calls, first = [], 0

    def run(weights, x):
        calls.append(None)
        return jnp.tanh((x * weights).sum((-3, -2, -1)))[..., None]

    for number in (1, 2, 3):
        logits_fn = jax.tree_util.Partial(run, number * WEIGHTS)
        trust.infidelity(KEY, logits_fn, X, number * X, 0, samples=3)
        first = first or len(calls)
    assert len(calls) == first
    for measure in (
        lambda key, x: trust.infidelity(key, logits_fn, x, x, 0, samples=3),
        lambda key, x: trust.max_sensitivity(key, lambda x: gradient(logits_fn, x, 0), x, samples=2),
    ):
        close(jax.jit(measure)(KEY, X), measure(KEY, X), rtol=1e-4)


def test_refuses_what_has_no_pixels():
    rows, fn = X.reshape(len(X), -1), lambda x: jnp.stack([x.sum(-1), -x.sum(-1)], -1)
    message = r": expected images or maps \(\.\.\., H, W, C\), got x of shape \(3, 60\)\. "
    for measure in (
        lambda: trust.infidelity(KEY, fn, rows, rows, 0),
        lambda: trust.max_sensitivity(KEY, lambda x: x, rows),
        lambda: trust.deletion(fn, rows, rows, 0),
        lambda: trust.sensitivity_n(KEY, fn, rows, rows, 0, n=3),
        lambda: trust.road(KEY, fn, rows, rows, 0),
    ):
        with pytest.raises(ValueError, match=message):
            measure()


def test_refuses():
    with pytest.raises(TypeError, match=r"^infidelity: expected perturb as a function of a key and images, got 3\. "):
        trust.infidelity(KEY, linear, X, X, 0, perturb=3)
    message = r"^infidelity: expected images of shape \(3, 6, 5, 2\) from perturb, got \(3, 5, 5, 2\)"
    with pytest.raises(ValueError, match=message):
        trust.infidelity(KEY, linear, X, X, 0, perturb=lambda key, x: x[:, 1:])
    with pytest.raises(ValueError, match=r"^infidelity: expected an attribution of shape \(3, 6, 5, 2\) or"):
        trust.infidelity(KEY, linear, X, X[:2], 0)
    with pytest.raises(TypeError, match=r"^infidelity: expected one PRNG key, got 0\. "):
        trust.infidelity(0, linear, X, X, 0)
    with pytest.raises(ValueError, match=r"^SquareRemoval: expected images of at least the square's size, got 6x5\. "):
        trust.SquareRemoval(6)(KEY, X)
    with pytest.raises(ValueError, match=r"^SquareRemoval: expected size as a positive int, got 0\. "):
        trust.SquareRemoval(0)
    with pytest.raises(ValueError, match=r"^GaussianNoise: expected scale as a number above 0, got 0\. "):
        trust.GaussianNoise(0)
    with pytest.raises(ValueError, match=r"^max_sensitivity: expected a radius above 0, got -1\. "):
        trust.max_sensitivity(KEY, lambda x: x, X, radius=-1)
    with pytest.raises(ValueError, match=r"^max_sensitivity: expected finite values in the attribution, got 1 that ar"):
        trust.max_sensitivity(KEY, lambda x: x.at[0, 0, 0, 0].set(jnp.inf), X)
    with pytest.raises(ValueError, match=r"^max_sensitivity: expected an attribution \(3,\) \+ \(\.\.\.\), got \(6, "):
        trust.max_sensitivity(KEY, lambda x: x[0], X)
