"""The nearest plane of a net's linear model, and the shortest step onto a plane within the bounds."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linprog

from jaxcnn.attack.goal import Goal, rivals
from jaxcnn.attack.hyperplane import nearest_plane, onto_plane
from jaxcnn.attack.norms import size
from tests.attack.twins import peer

pytestmark = pytest.mark.usefixtures("quick_compilation")
close = np.testing.assert_allclose
NORMS = ("linf", "l2", "l1")
BOUNDS = (-0.5, 2.0)
step_onto = jax.jit(onto_plane, static_argnums=(3, 4, 5))


def drawn(seed, shape=(7, 2, 3, 2)):
    """Return images, of which some values are at their bounds, slopes, of which some are 0, and what is in reach."""
    draw = np.random.default_rng(seed)
    image = draw.uniform(*BOUNDS, shape)
    image[draw.random(shape) < 0.3] = draw.choice(BOUNDS)
    slope = draw.normal(size=shape) * np.exp(draw.normal(size=shape))
    slope[draw.random(shape) < 0.2] = 0
    sign = draw.choice([-1, 1], shape[0])
    best = np.where(slope * sign[:, None, None, None] > 0, BOUNDS[1] - image, BOUNDS[0] - image) * slope
    reach = best.sum((1, 2, 3))
    return image.astype(np.float32), slope.astype(np.float32), reach, draw.uniform(0.02, 0.95, shape[0]) * reach


@pytest.mark.parametrize("norm", NORMS)
@given(seed=st.integers(0, 10_000))
def test_the_step_is_the_shortest(norm, seed):
    image, slope, _, rise = drawn(seed)
    step = np.asarray(step_onto(image, slope, jnp.asarray(rise, jnp.float32), norm, BOUNDS, (1, 2, 3)))
    close((slope * step).sum((1, 2, 3)), rise, rtol=1e-4, atol=1e-6)
    assert (image + step >= BOUNDS[0] - 1e-6).all()
    assert (image + step <= BOUNDS[1] + 1e-6).all()
    least = [_least(norm, *each) for each in zip(image, slope, rise, strict=True)]
    close(size(jnp.asarray(step), norm, (1, 2, 3)), least, rtol=1e-3, atol=1e-6)


def _least(norm, image, slope, rise):
    """Return the size of the shortest step, by linear programs, or by bisection of the multiplier."""
    w, x = slope.ravel().astype(float), image.ravel().astype(float)
    low, high = BOUNDS[0] - x, BOUNDS[1] - x
    n = len(w)
    if norm == "l2":
        level = [0.0, 1e6 * np.sign(rise)]
        for _ in range(200):
            middle = sum(level) / 2
            level[int(abs(w @ np.clip(middle * w, low, high)) >= abs(rise))] = middle
        return np.linalg.norm(np.clip(level[1] * w, low, high))
    if norm == "linf":  # unknown: d and its size
        cost, more = np.r_[np.zeros(n), 1], np.ones((n, 1))
        bounds = [*zip(low, high, strict=True), (0, None)]
        above = np.vstack([np.hstack([np.eye(n), -more]), np.hstack([-np.eye(n), -more])])
        return linprog(cost, above, np.zeros(2 * n), [np.r_[w, 0]], [rise], bounds).fun
    bounds = [(0, top) for top in np.r_[high, -low]]  # d = p - q
    return linprog(np.ones(2 * n), A_eq=[np.r_[w, -w]], b_eq=[rise], bounds=bounds).fun


@pytest.mark.parametrize("norm", NORMS)
def test_where_no_step_is_far_enough_it_goes_as_far_as_it_can(norm):
    image, slope, reach, _ = drawn(0)
    step = step_onto(image, slope, jnp.asarray(1.5 * reach, jnp.float32), norm, BOUNDS, (1, 2, 3))
    close((slope * step).sum((1, 2, 3)), reach, rtol=1e-4)
    assert not step[slope == 0].any()


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("scale", [1e-25, 1e25])
def test_slopes_of_any_scale_and_none(norm, scale):
    image, slope, _, rise = drawn(1)
    step = step_onto(image, slope, jnp.asarray(rise, jnp.float32), norm, BOUNDS, (1, 2, 3))
    scaled = step_onto(image, scale * slope, jnp.asarray(scale * rise, jnp.float32), norm, BOUNDS, (1, 2, 3))
    close(scaled, step, rtol=1e-3, atol=1e-5)
    for none in (0.0, 1.0):
        assert not step_onto(image, 0 * slope, jnp.full(7, none), norm, BOUNDS, (1, 2, 3)).any()
    assert not step_onto(image, slope, jnp.zeros(7), norm, BOUNDS, (1, 2, 3)).any()


@pytest.mark.parametrize("norm", NORMS)
def test_one_image_is_as_in_a_batch(norm):
    image, slope, _, rise = drawn(2)
    rise = jnp.asarray(rise, jnp.float32)
    several = step_onto(image, slope, rise, norm, BOUNDS, (1, 2, 3))
    close(step_onto(image[3], slope[3], rise[3], norm, BOUNDS, (0, 1, 2)), several[3], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("norm", NORMS)
def test_steps_like_those_of_the_projections_of_autoattack_where_the_twin_is(norm):
    peer("pyautoattack")
    import torch
    from pyautoattack import fab_projections

    draw = np.random.default_rng(3)
    image, slope = (a.astype(np.float32) for a in (draw.uniform(0, 1, (9, 60)), draw.normal(size=(9, 60))))
    rise = draw.uniform(-5, 5, 9).astype(np.float32)
    image[:, :10] = 0
    ours = step_onto(image, slope, rise, norm, (0.0, 1.0), (1,))
    plane = (slope * image).sum(1) + rise
    project = getattr(fab_projections, f"projection_{norm}")
    theirs = project(*(torch.tensor(a) for a in (image, slope, plane))).numpy()
    close(ours, theirs, atol=2e-4)


@pytest.mark.parametrize("norm", NORMS)
def test_the_nearest_plane_of_a_linear_net(linear, norm):
    kernel, _ = linear.logits_fn.args
    goal = Goal(linear.y)
    found = linear.logits_fn(linear.x)
    others = rivals(found, goal, 9)
    clear = jnp.full(6, 1e-3)
    assert others.shape == (3, 6)
    assert (others != linear.y).all()
    passed, slope = jax.jit(nearest_plane, static_argnums=(5, 6))(
        linear.logits_fn, linear.x, goal, others, clear, norm, 2
    )
    ways = kernel[:, others] - kernel[:, linear.y][:, None]  # (9, 3, 6)
    gaps = jnp.take_along_axis(found, others.T, 1).T - found.max(-1)
    dual = {"linf": 1, "l2": 2, "l1": np.inf}[norm]
    nearest = np.argmin(-gaps / np.linalg.norm(ways, dual, 0), 0)
    rows = np.arange(6)
    close(passed, gaps[nearest, rows] - 2e-3, rtol=1e-5)
    close(slope.reshape(6, 9), ways[:, nearest, rows].T, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_gradients_that_are_none_are_left_out():
    """That of class 1 is infinite in the second value."""
    logits_fn = lambda x: jnp.stack([2 * x[..., 0], jnp.sqrt(x[..., 1])], -1)  # noqa: E731
    x = jnp.array([[1.0, 0.0]])
    goal = Goal(jnp.array([0]))
    passed, slope = nearest_plane(logits_fn, x, goal, rivals(logits_fn(x), goal, 2), jnp.zeros(1), "l2", 2)
    close(slope, [[-2, 0]])
    close(passed, [-2], rtol=1e-3)
