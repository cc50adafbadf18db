"""SimBA: closed forms on a linear net, both bases, the ball, and what it costs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn import attack
from jaxcnn.attack.goal import Goal, reached
from jaxcnn.attack.simba import _cosines, _wave, simba
from tests.small_nets import CASES

pytestmark = pytest.mark.usefixtures("quick_compilation")
KEY = jax.random.key(4)
close = np.testing.assert_allclose
RADII = {"linf": 0.15, "l2": 1.0}


def two_classes(weight):
    """Logits (0, w^T x) of images (3, 3, 1)."""
    return lambda x: jnp.stack([jnp.zeros(x.shape[:-3]), x.reshape(*x.shape[:-3], 9) @ weight], -1)


def test_every_pixel_goes_where_the_weight_points():
    weight = jnp.asarray([1.0, -2, 3, -1, 2, -3, 1, -1, 4])
    x = jnp.full((2, 3, 3, 1), 0.5)
    logits_fn = two_classes(weight - 2.0)  # too far to fall
    options = {"basis": "pixel", "step_size": 0.1, "queries": 16, "return_queries": True}
    y = logits_fn(x).argmax(-1)
    found, queries = simba(KEY, logits_fn, x, y, epsilon=0.2, norm="linf", **options)
    close(found, x + 0.1 * jnp.sign(weight - 2.0).reshape(3, 3, 1), atol=1e-6)
    np.testing.assert_array_equal(queries, 17)  # 2 forwards, 6 backwards, 1 in vain
    # With more queries the ball's corner, and a step that is too long ends there at once.
    corner = x + 0.2 * jnp.sign(weight - 2.0).reshape(3, 3, 1)
    close(simba(KEY, logits_fn, x, y, epsilon=0.2, norm="linf", **options | {"queries": 80})[0], corner, atol=1e-6)
    close(simba(KEY, logits_fn, x, y, epsilon=0.2, norm="linf", **options | {"step_size": 3.0})[0], corner, atol=1e-6)


@pytest.mark.slow
def test_backwards_is_tried_only_where_forwards_does_not_help():
    x = jnp.full((1, 3, 3, 1), 0.5)
    for sign, expected in ((1.0, 10), (-1.0, 19)):
        logits_fn = two_classes(sign * jnp.ones(9) - 1e-3)
        x0 = x if sign < 0 else 0.05 * x
        shifted = lambda x, f=logits_fn: f(x) - jnp.asarray([0.0, 50.0])  # noqa: E731
        options = {"epsilon": 0.01, "norm": "linf", "basis": "pixel", "step_size": 0.01, "return_queries": True}
        found, _ = simba(KEY, shifted, x0, 0, queries=expected - 1, **options)
        close(found, x0 + 0.01 * sign, atol=1e-6)  # all nine have moved
        found, queries = simba(KEY, shifted, x0, 0, queries=expected - 2, **options)
        assert (jnp.abs(found - x0) > 0.005).sum() == 8
        assert queries == expected - 1


@pytest.mark.slow
@pytest.mark.parametrize("norm", RADII)
@pytest.mark.parametrize("basis", ["dct", "pixel"])
def test_stays_in_ball_and_bounds(norm, basis, images):
    case = CASES["plain"]
    y = case.logits_fn(images).argmax(-1)
    epsilon = jnp.asarray([0.0, 0.02, 1.0]) * RADII[norm]
    found = simba(KEY, case.logits_fn, images, y, epsilon=epsilon, norm=norm, basis=basis, queries=30)
    judged = attack.judge(case.logits_fn, images, found, y)
    assert (getattr(judged, norm) <= epsilon[:, None] * (1 + 1e-5) + 1e-7).all()
    np.testing.assert_array_equal(found[0], images)


@pytest.mark.slow
@pytest.mark.parametrize("basis", ["dct", "pixel"])
def test_finds_what_fools_the_net_and_says_what_it_cost(basis, digits):
    logits_fn, x, y = digits
    options = {"epsilon": 2.0, "basis": basis, "step_size": 0.3, "queries": 300, "return_queries": True}
    found, queries = simba(KEY, logits_fn, x, y, **options)
    judged = attack.judge(logits_fn, x, found, y)
    before = np.asarray(reached(logits_fn(x), Goal(y)))
    assert judged.robust_accuracy < 0.3
    np.testing.assert_array_equal(found[before], x[before])
    np.testing.assert_array_equal(queries == 1, before)
    np.testing.assert_array_equal(queries[~judged.success], 301)
    # ||d||_2 <= a sqrt(T): nothing was moved that a query did not move.
    assert (judged.l2 <= 0.3 * np.sqrt(queries - 1) + 1e-5).all()
    again, _ = simba(KEY, logits_fn, x, y, **options)
    np.testing.assert_array_equal(found, again)


@pytest.mark.slow
def test_targets_single_images_and_jit(digits, linear):
    logits_fn, x, y = digits
    target = (y + 1) % 10
    found = simba(KEY, logits_fn, x, y, epsilon=4.0, step_size=0.5, queries=300, target=target)
    judged = attack.judge(logits_fn, x, found, y, target=target)
    assert judged.success.mean() > 0.3
    np.testing.assert_array_equal(judged.success, judged.prediction == np.asarray(target))
    logits_fn, x, y = linear
    traces = []

    def counted(x):
        traces.append(1)
        return logits_fn(x)

    one = simba(KEY, counted, x[0], y[0], epsilon=2.0, queries=100)
    count = len(traces)
    assert one.shape == x[0].shape
    simba(jax.random.key(1), counted, x[1], y[1], epsilon=3.0, step_size=0.1, queries=100)
    assert len(traces) == count
    inside = jax.jit(lambda key, x: simba(key, logits_fn, x, y[0], epsilon=2.0, queries=100))(KEY, x[0])
    close(inside, one, atol=1e-6)


def test_waves_are_an_orthonormal_basis():
    cosines = _cosines(6)
    close(cosines @ cosines.T, np.eye(6), atol=1e-6)
    shape = (5, 6, 2)
    waves = np.asarray(_wave(jnp.arange(3 * 4 * 2), shape, [3, 4])).reshape(24, -1)
    close(waves @ waves.T, np.eye(24), atol=1e-6)
    smooth = np.asarray(_wave(jnp.asarray(0), shape, [3, 4]))
    close(smooth[..., 0], 1 / np.sqrt(30), rtol=1e-5)
    close(smooth[..., 1], 0)
    from scipy.fft import idctn

    spectrum = np.zeros((5, 6))
    spectrum[2, 3] = 1
    close(_wave(jnp.asarray((2 * 4 + 3) * 2 + 1), shape, [3, 4])[..., 1], idctn(spectrum, norm="ortho"), atol=1e-6)


@pytest.mark.slow
def test_vectors_have_single_values_alone(linear):
    kernel, bias = linear.logits_fn.args
    x, flat = linear.x.reshape(6, 9), lambda x: x @ kernel + bias
    found = simba(KEY, flat, x, linear.y, epsilon=3.0, basis="pixel", queries=300)
    assert attack.judge(flat, x, found, linear.y).success.any()
    with pytest.raises(ValueError, match=r"^simba: expected x of shape \(\.\.\., H, W, C\), got \(6, 9\)\. Pass basis"):
        simba(KEY, flat, x, linear.y, epsilon=3.0)


def test_refuses(digits):
    logits_fn, x, y = digits
    with pytest.raises(ValueError, match=r"^simba: expected basis as one of \('dct', 'pixel'\), got 'wavelet'\."):
        simba(KEY, logits_fn, x, y, epsilon=1.0, basis="wavelet")
    with pytest.raises(ValueError, match=r"^simba: expected step_size above 0, got 0\."):
        simba(KEY, logits_fn, x, y, epsilon=1.0, step_size=0)
    with pytest.raises(ValueError, match=r"^simba: expected norm as one of \('l2', 'linf'\), got 'l1'\."):
        simba(KEY, logits_fn, x, y, epsilon=1.0, norm="l1")
    with pytest.raises(ValueError, match=r"^simba: expected frequencies as a positive int, got 0\."):
        simba(KEY, logits_fn, x, y, epsilon=1.0, frequencies=0)
