"""NES: estimated gradients are gradients, the ball, and what it costs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn import attack
from jaxcnn.attack.goal import Goal, reached
from jaxcnn.attack.nes import nes
from tests.small_nets import CASES

pytestmark = pytest.mark.usefixtures("quick_compilation")
KEY = jax.random.key(4)
close = np.testing.assert_allclose
RADII = {"linf": 0.15, "l2": 1.0}


def test_a_step_follows_the_gradient_of_a_linear_net():
    weight = jnp.asarray([1.0, -2, 3, -1, 2, -3, 1, -1, 4])
    logits_fn = lambda x: jnp.stack([jnp.full(x.shape[:-3], 50.0), x.reshape(*x.shape[:-3], 9) @ weight], -1)  # noqa: E731
    x = jnp.full((3, 3, 3, 1), 0.5)
    options = {"steps": 1, "pairs": 2000, "loss": "margin", "sigma": 0.01}
    found = nes(KEY, logits_fn, x, 0, epsilon=0.1, step_size=0.05, **options)
    close(found, x + 0.05 * jnp.sign(weight).reshape(3, 3, 1), atol=1e-6)
    found = nes(KEY, logits_fn, x, 0, epsilon=0.1, norm="l2", step_size=0.05, **options)
    expected = 0.05 * weight / jnp.linalg.norm(weight)
    close(found - x, jnp.broadcast_to(expected.reshape(3, 3, 1), x.shape), atol=0.005)
    assert not np.allclose(found[0], found[1], atol=1e-6)  # images have draws of their own
    assert np.abs(nes(KEY, logits_fn, x, 0, epsilon=0.1, norm="l2", step_size=0.05, **options | {"pairs": 5}) - x -
                  expected.reshape(3, 3, 1)).max() > np.abs(found - x - expected.reshape(3, 3, 1)).max()  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("norm", RADII)
def test_stays_in_ball_and_bounds(norm, images):
    case = CASES["plain"]
    y = case.logits_fn(images).argmax(-1)
    epsilon = jnp.asarray([0.0, 0.02, 1.0]) * RADII[norm]
    found = nes(KEY, case.logits_fn, images, y, epsilon=epsilon, norm=norm, steps=4, pairs=5, step_size=1.0)
    judged = attack.judge(case.logits_fn, images, found, y)
    assert (getattr(judged, norm) <= epsilon[:, None] * (1 + 1e-5) + 1e-7).all()
    np.testing.assert_array_equal(found[0], images)


@pytest.mark.slow
@pytest.mark.parametrize("norm", RADII)
def test_finds_what_fools_the_net_and_says_what_it_cost(norm, digits):
    logits_fn, x, y = digits
    options = {"epsilon": RADII[norm], "norm": norm, "steps": 10, "pairs": 20, "return_queries": True}
    found, queries = nes(KEY, logits_fn, x, y, **options)
    judged = attack.judge(logits_fn, x, found, y)
    before = np.asarray(reached(logits_fn(x), Goal(y)))
    assert judged.robust_accuracy < 0.5 * (1 - before.mean())
    np.testing.assert_array_equal(found[before], x[before])
    np.testing.assert_array_equal(queries == 1, before)
    np.testing.assert_array_equal(queries[~judged.success], 1 + 10 * 41)
    assert ((queries - 1) % 41 == 0).all()
    assert len(np.unique(queries)) > 3
    again, _ = nes(KEY, logits_fn, x, y, **options)
    np.testing.assert_array_equal(found, again)
    assert not np.array_equal(found, nes(jax.random.key(5), logits_fn, x, y, **options)[0])
    chunked, _ = nes(KEY, logits_fn, x, y, **options, chunk=3)
    assert np.mean(np.isclose(found, chunked, atol=1e-5)) > 0.9


@pytest.mark.slow
def test_targets_single_images_and_jit(digits, linear):
    logits_fn, x, y = digits
    target = (y + 1) % 10
    found = nes(KEY, logits_fn, x, y, epsilon=0.4, steps=10, pairs=20, target=target)
    judged = attack.judge(logits_fn, x, found, y, target=target)
    assert judged.success.mean() > 0.3
    np.testing.assert_array_equal(judged.success, judged.prediction == np.asarray(target))
    logits_fn, x, y = linear
    traces = []

    def counted(x):
        traces.append(1)
        return logits_fn(x)

    one = nes(KEY, counted, x[0], y[0], epsilon=0.1, steps=3, pairs=5)
    count = len(traces)
    assert one.shape == x[0].shape
    nes(jax.random.key(1), counted, x[1], y[1], epsilon=0.2, steps=3, pairs=5, sigma=0.01)
    assert len(traces) == count
    inside = jax.jit(lambda key, x: nes(key, logits_fn, x, y[0], epsilon=0.1, steps=3, pairs=5))(KEY, x[0])
    close(inside, one, atol=1e-5)


@pytest.mark.slow
def test_a_net_without_slopes_is_left_as_it_is():
    steps = lambda x: jnp.stack([jnp.full(x.shape[:-3], 2.0), jnp.where(x.sum((-3, -2, -1)) > 1e9, jnp.inf, 0)], -1)  # noqa: E731
    x = jnp.full((2, 3, 3, 1), 0.5)
    np.testing.assert_array_equal(nes(KEY, steps, x, 0, epsilon=0.1, steps=3, pairs=4), x)

    def broken(x):
        known = x.sum((-3, -2, -1)) == 4.5
        return jnp.where(known, 1.0, jnp.nan)[..., None] * jnp.asarray([2.0, 0.0])

    np.testing.assert_array_equal(nes(KEY, broken, x, 0, epsilon=0.1, steps=3, pairs=4, sigma=0.1), x)


def test_refuses(digits):
    logits_fn, x, y = digits
    with pytest.raises(ValueError, match=r"^nes: expected norm as one of \('linf', 'l2'\), got 'l1'\."):
        nes(KEY, logits_fn, x, y, epsilon=0.1, norm="l1")
    with pytest.raises(ValueError, match=r"^nes: expected sigma above 0, got 0\. It has the unit"):
        nes(KEY, logits_fn, x, y, epsilon=0.1, sigma=0)
    with pytest.raises(ValueError, match=r"^nes: expected pairs as a positive int, got 0\."):
        nes(KEY, logits_fn, x, y, epsilon=0.1, pairs=0)
    with pytest.raises(ValueError, match=r"^nes: expected step_size above 0, got -1"):
        nes(KEY, logits_fn, x, y, epsilon=0.1, step_size=-1.0)
