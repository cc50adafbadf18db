"""Integrated and expected gradients: closed forms, completeness, and beside captum."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn.explain import attribution
from tests.explain.peers import captum
from tests.small_nets import CASES
from tests.torch_twins import array, tensor, twin

pytestmark = pytest.mark.usefixtures("quick_compilation")
close = np.testing.assert_allclose
KEY = jax.random.key(2)
X = jnp.array([[[0.5, 2.0]], [[1.0, 3.0]]])[..., None]  # two images of two pixels
ORDERS = ("gausslegendre", "midpoint", "trapezoid", "left", "right")


def product(x):
    return (x[..., 0, :] * x[..., 1, :])[..., 0, :]


def cubes(x):
    return (x**3).sum((-3, -2))


def test_a_product_is_shared():
    close(
        attribution.integrated_gradients(product, X, 0, steps=3),
        0.5 * jnp.ones_like(X) * product(X)[:, None, None],
        rtol=1e-5,
    )
    # From (0, 1) on: x times the mean of the other along the way, and the other way round.
    base = jnp.array([[0.0, 1.0]])[..., None]
    expected = jnp.stack([X[:, 0, 0] * (1 + X[:, 0, 1]) / 2, (X[:, 0, 1] - 1) * X[:, 0, 0] / 2], axis=1)[:, None]
    close(attribution.integrated_gradients(product, X, 0, baseline=base), expected, rtol=1e-5)


def test_a_net_that_computes_in_half_precision():
    """The way inside of it has the dtype that its equations have."""
    first, second = (
        jax.random.normal(key, shape, jnp.bfloat16)
        for key, shape in zip(jax.random.split(jax.random.key(0)), ((3, 3, 1, 2), (3, 3, 2, 3)), strict=True)
    )
    slid = functools.partial(
        jax.lax.conv_general_dilated, window_strides=(1, 1), padding="SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )  # fmt: skip

    def logits(x):
        y = slid(x.astype(jnp.bfloat16), first)
        return slid(jnp.where(y > 0, y, 0), second).mean((1, 2)).astype(jnp.float32)

    x = jax.random.uniform(jax.random.key(1), (2, 5, 5, 1))
    found = attribution.integrated_gradients(logits, x, 1, steps=16)
    close(found.sum((1, 2, 3)), (logits(x) - logits(jnp.zeros_like(x)))[:, 1], rtol=0.1)


def test_several_baselines_are_averaged():
    few = [0.0, jnp.ones((1, 2, 1)), 0.3 * X, "blur"]
    each = [attribution.integrated_gradients(cubes, X, 0, baseline=base, steps=4) for base in few]
    found = attribution.integrated_gradients(cubes, X, 0, baseline=few, steps=4)
    close(found, sum(each) / 4, rtol=1e-5, atol=1e-6)
    assert np.abs(attribution.completeness_error(cubes, X, 0, found, baseline=few)).max() < 1e-5
    close(attribution.integrated_gradients(cubes, X, 0, baseline=tuple(few), steps=4), found)


@pytest.mark.parametrize("method", ORDERS)
@pytest.mark.parametrize("steps", [2, 5])
def test_quadratures_by_hand(method, steps):
    s = {
        "midpoint": (np.arange(steps) + 0.5) / steps,
        "left": np.arange(steps) / steps,
        "right": np.arange(1, steps + 1) / steps,
    }.get(method)
    if method == "gausslegendre":  # exact for a gradient of degree 2
        mean = 1 / 3
    elif method == "trapezoid":
        mean = np.trapezoid(np.linspace(0, 1, steps) ** 2, dx=1 / (steps - 1))
    else:
        mean = (s**2).mean()
    found = attribution.integrated_gradients(cubes, X, 0, steps=steps, method=method)
    close(found, 3 * mean * X**3, rtol=1e-5)


def test_what_equals_the_baseline_is_given_nothing():
    x = jnp.zeros((1, 1, 2, 1)).at[0, 0, 1].set(1.0)
    close(attribution.integrated_gradients(cubes, x, 0)[0, 0, 0], 0)
    brighter = attribution.integrated_gradients(lambda x: (x + x**2).sum((-3, -2)), x, 0, baseline=[0.0, 1.0])
    close(brighter[0, 0, :, 0], [-1, 1], rtol=1e-5)


def test_completeness_by_hand():
    close(attribution.completeness_error(cubes, X, 0, X**3), 0, atol=1e-6)
    total = (X**3).sum((1, 2, 3))
    close(attribution.completeness_error(cubes, X, 0, 1.1 * X**3), 0.1, rtol=1e-5)
    close(attribution.completeness_error(cubes, X, 0, X**3, baseline=[0.0, 1.0]), 1 / (total - 1), rtol=1e-5)
    close(attribution.completeness_error(cubes, X[0], 0, 0.5 * X[0] ** 3), 0.5, rtol=1e-5)
    close(attribution.completeness_error(cubes, X, 0, X, baseline=X), X.sum((1, 2, 3)), rtol=1e-5)


@pytest.mark.slow
def test_nets_are_complete_to_a_hundredth_of_the_score(case, images, targets):
    found = attribution.integrated_gradients(case.logits_fn, images, targets)
    error = attribution.completeness_error(case.logits_fn, images, targets, found)
    assert error.shape == targets.shape
    rows = jnp.arange(len(targets))
    scores, blank = (case.logits_fn(x)[rows, targets] for x in (images, jnp.zeros_like(images)))
    assert (error * jnp.abs(scores - blank) < 0.01 * jnp.abs(scores)).all()


def test_expected_gradients_of_one_image_are_those_on_one_way():
    base = 0.25 * jnp.ones((1, 2, 1))
    linear = lambda x: 2 * x.sum((-3, -2))  # noqa: E731
    options = {"background": base[None], "samples": 10}
    close(attribution.expected_gradients(KEY, linear, X, 0, **options), 2 * (X - base), rtol=1e-5)
    # The mean of evenly spaced places is 1/2 to 1/20, and of a square the gradient is linear.
    found = attribution.expected_gradients(KEY, lambda x: (x**2).sum((-3, -2)), X, 0, **options)
    assert (np.abs(found - (X**2 - base**2)) <= (X - base) ** 2 / 10 + 1e-6).all()


@pytest.mark.slow
def test_expected_gradients_are_integrated_ones_on_average():
    background = jax.random.uniform(jax.random.key(0), (4, 1, 2, 1))
    expected = attribution.integrated_gradients(cubes, X, 0, baseline=list(background), steps=3)
    found = attribution.expected_gradients(KEY, cubes, X, 0, background=background, samples=1000)
    close(found, expected, rtol=0.02, atol=0.05)
    few = attribution.expected_gradients(KEY, cubes, X, 0, background=background, samples=40)
    assert np.abs(few - expected).max() > np.abs(found - expected).max()


def test_images_have_draws_of_their_own():
    same = jnp.broadcast_to(X[:1], X.shape)
    background = jax.random.uniform(jax.random.key(0), (4, 1, 2, 1))
    linear = lambda x: x.sum((-3, -2))  # noqa: E731
    for logits_fn, some in ((linear, background), (cubes, background[:1])):  # which image, and where on the way
        found = attribution.expected_gradients(KEY, logits_fn, same, 0, background=some, samples=3)
        assert not np.allclose(found[0], found[1])


def test_refuses(images):
    def check(**options):
        attribution.integrated_gradients(product, X, 0, **options)

    with pytest.raises(ValueError, match=r"^integrated_gradients: expected method as one of \('gauss.*, got 'simpson'"):
        check(method="simpson")
    with pytest.raises(ValueError, match=r"^integrated_gradients: expected steps as a positive int, got 0\."):
        check(steps=0)
    with pytest.raises(ValueError, match=r"^integrated_gradients: expected steps as an int >= 2, got 1\."):
        check(steps=1, method="trapezoid")
    with pytest.raises(ValueError, match=r"^integrated_gradients: expected baseline as a number.*\(3, 1, 2, 1\)"):
        check(baseline=jnp.zeros((3, 1, 2, 1)))
    with pytest.raises(ValueError, match=r"^integrated_gradients: expected a baseline, or a list of some, got \[\]\."):
        check(baseline=[])
    with pytest.raises(ValueError, match=r"^completeness_error: expected attribution of shape \(2, 1, 2, 1\), got "):
        attribution.completeness_error(product, X, 0, X[0])
    for background in (X[0], jnp.zeros((0, 1, 2, 1)), images):
        with pytest.raises(
            ValueError, match=r"^expected_gradients: expected a background of shape \(K, 1, 2, 1\), got"
        ):
            attribution.expected_gradients(KEY, product, X, 0, background=background)


@pytest.mark.parametrize(
    ("name", "method"),
    [("batchnorm", "gausslegendre"), ("residual", "gausslegendre"), *(("plain", method) for method in ORDERS)],
)
def test_integrated_gradients_like_those_of_captum(name, images, targets, method):
    case, attr, net = CASES[name], captum().attr, twin(name)
    import torch

    steps = 9
    options = {"target": torch.tensor(np.asarray(targets)).long(), "n_steps": steps}
    options["method"] = method if method == "gausslegendre" else f"riemann_{method.replace('midpoint', 'middle')}"
    base = 0.5 * images[::-1]
    theirs = array(attr.IntegratedGradients(net).attribute(tensor(images), baselines=tensor(base), **options))
    if method == "trapezoid":
        theirs = theirs * steps / (steps - 1)
    ours = attribution.integrated_gradients(case.logits_fn, images, targets, baseline=base, steps=steps, method=method)
    close(ours, theirs, rtol=1e-4, atol=1e-6)


def test_expected_gradients_like_gradient_shap_of_captum(case, images, targets, monkeypatch):
    attr, net = captum().attr, twin(case.name)
    import torch

    samples, background = 5, jax.random.uniform(jax.random.key(0), (3, *images.shape[1:]))
    # What our key draws, in their order: image by image.
    start, keys = jax.random.split(KEY)
    shares = (jax.random.uniform(start, (4,))[:, None] + jnp.arange(samples) / samples) % 1
    draws = [jax.random.randint(key, (4,), 0, 3) for key in jax.random.split(keys, samples)]
    monkeypatch.setattr(np.random, "choice", lambda *_: np.stack(draws, 1).ravel())
    monkeypatch.setattr(np.random, "uniform", lambda *_: np.asarray(shares, np.float64).ravel())
    theirs = attr.GradientShap(net).attribute(
        tensor(images), tensor(background), n_samples=samples, target=torch.tensor(np.asarray(targets)).long()
    )
    ours = attribution.expected_gradients(KEY, case.logits_fn, images, targets, background=background, samples=samples)
    close(ours, array(theirs), rtol=1e-4, atol=1e-6)
