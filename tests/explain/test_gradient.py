"""Gradients of images and of noisy copies of them: by hand, and beside captum."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn.explain import attribution
from tests.explain.peers import captum
from tests.torch_twins import array, tensor, twin

pytestmark = pytest.mark.usefixtures("quick_compilation")
close = np.testing.assert_allclose
KEY = jax.random.key(2)
WEIGHTS = jnp.array([[1.0, -2.0], [0.5, 3.0]])[..., None]
X = jnp.array([[[0.2, 0.4], [0.6, 0.8]], [[0.0, 0.5], [0.5, 1.0]]])[..., None]


def linear(x):
    return (WEIGHTS * x).sum((-3, -2))


def square(x):
    return (WEIGHTS * x**2).sum((-3, -2)) / 2


def draws(samples, x):
    """Return the noise of each sample, of deviation 1."""
    return np.asarray(jax.vmap(lambda key: jax.random.normal(key, x.shape))(jax.random.split(KEY, samples)))


def test_gradients_by_hand():
    close(attribution.gradient(linear, X, 0), jnp.broadcast_to(WEIGHTS, X.shape))
    close(attribution.gradient_x_input(linear, X, 0), WEIGHTS * X, rtol=1e-6)
    close(attribution.gradient(square, X, 0), WEIGHTS * X, rtol=1e-6)


@pytest.mark.slow
def test_noise_is_a_share_of_each_images_range():
    ranges = np.array([0.6, 1.0]).reshape(2, 1, 1, 1)
    noisy = X + 0.1 * ranges * draws(6, X)
    slopes = WEIGHTS * noisy
    options = {"noise": 0.1, "samples": 6}
    close(attribution.smoothgrad(KEY, square, X, 0, **options), slopes.mean(0), rtol=1e-5)
    close(attribution.smoothgrad_squared(KEY, square, X, 0, **options), (slopes**2).mean(0), rtol=1e-5)
    close(attribution.vargrad(KEY, square, X, 0, **options), slopes.var(0), rtol=1e-4)


@pytest.mark.slow
def test_without_noise_they_are_of_the_gradient():
    slope = attribution.gradient(square, X, 0)
    close(attribution.smoothgrad(KEY, square, X, 0, noise=0.0, samples=3), slope, rtol=1e-6)
    close(attribution.smoothgrad_squared(KEY, square, X, 0, noise=0.0, samples=3), slope**2, rtol=1e-6)
    close(attribution.vargrad(KEY, square, X, 0, noise=0.0, samples=3), 0)


def test_small_variances_are_not_lost():
    steep = lambda x: 1e4 * x.sum((-3, -2)) + (WEIGHTS * x**2).sum((-3, -2)) / 2  # noqa: E731
    deviation = 0.1 * np.array([0.6, 1.0]).reshape(2, 1, 1, 1)
    expected = (WEIGHTS * deviation * draws(8, X)).var(0)
    found = attribution.vargrad(KEY, steep, X, 0, noise=0.1, samples=8)
    assert (found >= 0).all()
    close(found, expected, rtol=0.1, atol=1e-5)


def test_other_noise_and_no_other_trace():
    calls = []

    def run(x):
        calls.append(None)
        return square(x)

    logits_fn = jax.tree_util.Partial(run)
    maps = [attribution.smoothgrad(KEY, logits_fn, X, 0, noise=noise, samples=3) for noise in (0.1, 0.3, 0.2)]
    assert len(calls) < 2 * 3
    assert not np.allclose(maps[0], maps[1])


def test_refuses():
    with pytest.raises(ValueError, match=r"^vargrad: expected noise of at least 0, got -0\.1\. It is a fraction"):
        attribution.vargrad(KEY, linear, X, 0, noise=-0.1)
    with pytest.raises(ValueError, match=r"^smoothgrad: expected samples as a positive int, got 0\."):
        attribution.smoothgrad(KEY, linear, X, 0, samples=0)
    with pytest.raises(TypeError, match=r"^smoothgrad: expected one PRNG key, got <function"):
        attribution.smoothgrad(linear, linear, X, 0)


def test_gradients_like_those_of_captum(case, images, targets):
    attr, net = captum().attr, twin(case.name)
    import torch

    x, classes = tensor(images).requires_grad_(), torch.tensor(np.asarray(targets)).long()
    theirs = array(attr.Saliency(net).attribute(x, target=classes, abs=False))
    close(attribution.gradient(case.logits_fn, images, targets), theirs, rtol=1e-4, atol=1e-6)
    theirs = array(attr.InputXGradient(net).attribute(x, target=classes))
    close(attribution.gradient_x_input(case.logits_fn, images, targets), theirs, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "kind"), [("smoothgrad", "smoothgrad"), ("smoothgrad_squared", "smoothgrad_sq"), ("vargrad", "vargrad")]
)
def test_noise_tunnels_like_those_of_captum(case, images, targets, name, kind, monkeypatch):
    attr, net = captum().attr, twin(case.name)
    import torch

    samples, noise = 6, 0.1
    values = np.asarray(images).reshape(len(images), -1)
    deviation = noise * (values.max(1) - values.min(1)).reshape(-1, 1, 1, 1)
    copies = np.asarray(images) + deviation * draws(samples, images)  # (samples, N, H, W, C), theirs image by image
    copies = tensor(np.swapaxes(copies, 0, 1).reshape(-1, *images.shape[1:]))
    monkeypatch.setattr(attr.NoiseTunnel, "_add_noise_to_input", staticmethod(lambda *_: copies.clone()))
    tunnel = attr.NoiseTunnel(attr.Saliency(net))
    options = {"nt_type": kind, "nt_samples": samples, "target": torch.tensor(np.asarray(targets)).long()}
    theirs = array(tunnel.attribute(tensor(images).requires_grad_(), abs=False, **options))
    method = getattr(attribution, name)
    ours = method(KEY, case.logits_fn, images, targets, noise=noise, samples=samples)
    close(ours, theirs, rtol=1e-4, atol=1e-4 * np.abs(theirs).max())
