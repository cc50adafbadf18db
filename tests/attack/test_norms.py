"""Balls and the ways in them: nearest points, steepest steps, farthest points and even draws."""

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn.attack.norms import NORMS, ascended, linf_ends, project, random_start, size, steepest

pytestmark = pytest.mark.usefixtures("quick_compilation")
close = np.testing.assert_allclose
AXES = (1, 2, 3)
BALLS = ("linf", "l2", "l1")


def images(values) -> jax.Array:
    return jnp.asarray(values, jnp.float32).reshape(1, -1, 1, 1)


def nearest(moved: np.ndarray, x: np.ndarray, epsilon: float, norm: str, low: float, high: float) -> np.ndarray:
    """Return the nearest point by the conditions of optimality, its one unknown found to the last bit of float64."""
    delta, room = moved - x, np.where(moved > x, high - x, x - low)
    if norm == "linf":
        return np.clip(moved, np.maximum(x - epsilon, low), np.minimum(x + epsilon, high))
    if norm == "l2":
        way = lambda s: np.minimum(np.abs(delta) * (1 - s), room)  # noqa: E731
        length, most = lambda a: np.sqrt((a**2).sum()), 1.0
    else:
        way = lambda t: np.clip(np.abs(delta) - t, 0, room)  # noqa: E731
        length, most = lambda a: a.sum(), np.abs(delta).max()
    least = 0.0
    if length(way(0)) > epsilon:
        for _ in range(200):
            middle = (least + most) / 2
            least, most = (middle, most) if length(way(middle)) > epsilon else (least, middle)
        least = most
    return x + np.sign(delta) * way(least)


@pytest.mark.slow
@pytest.mark.parametrize("norm", BALLS)
@hypothesis.given(st.integers(0, 2**31), st.floats(0, 4), st.sampled_from([0.01, 0.3, 1.0, 30.0]))
@hypothesis.settings(max_examples=30)
def test_projection_gives_the_nearest_point_of_ball_and_bounds(norm, seed, epsilon, far):
    draw = np.random.default_rng(seed)
    low, high = (-1.0, 2.0) if seed % 2 else (0.0, 1.0)
    x = draw.uniform(low, high, 12)
    x[:3] = low, high, x[2]
    x = x.astype(np.float32).astype(float)
    moved = (x + far * draw.normal(size=12) * draw.integers(0, 2, 12)).astype(np.float32).astype(float)
    found = project(images(moved), images(x), jnp.float32(epsilon), norm, (low, high), AXES)
    exact = nearest(moved, x, float(np.float32(epsilon)), norm, low, high)
    close(found.ravel(), exact, atol=2e-5 * max(1, far))
    assert float(size(found - images(x), norm, AXES)[0]) <= epsilon * (1 + 1e-5) + 1e-6
    assert low <= found.min() <= found.max() <= high
    again = project(found, images(x), jnp.float32(epsilon), norm, (low, high), AXES)
    close(again, found, atol=1e-6)


@pytest.mark.slow
def test_few_values_change_those_that_bring_it_nearest():
    x, moved = images([0.5, 0.5, 0.5, 0.9, 0.5]), images([0.6, 0.2, 0.5, 9.0, 0.65])
    one = lambda k: project(moved, x, jnp.float32(k), "l0", (0.0, 1.0), AXES).ravel()  # noqa: E731
    close(one(1.9), [0.5, 0.5, 0.5, 1.0, 0.5])  # cut off at 1, and still what is missed most
    close(one(2), [0.5, 0.2, 0.5, 1.0, 0.5])
    close(one(3), [0.5, 0.2, 0.5, 1.0, 0.65])
    close(one(50), [0.6, 0.2, 0.5, 1.0, 0.65])
    equal = project(x + 0.1, x, jnp.float32(2), "l0", (0.0, 1.0), AXES)
    assert size(equal - x, "l0", AXES).tolist() == [2]


@pytest.mark.parametrize("norm", NORMS)
def test_radii_may_be_those_of_each_image_and_0_changes_nothing(norm):
    x = jax.random.uniform(jax.random.key(0), (3, 4, 4, 2))
    moved = x + 5 * jax.random.normal(jax.random.key(1), x.shape)
    radii = jnp.array([0.0, 1.0, 3.0])
    found = project(moved, x, radii, norm, (0.0, 1.0), AXES)
    np.testing.assert_array_equal(found[0], x[0])
    for at in (1, 2):
        close(found[at], project(moved[at], x[at], radii[at], norm, (0.0, 1.0), (0, 1, 2)), atol=1e-6)
    sizes = size(found - x, norm, AXES)
    bounded = jnp.minimum(radii, size(jnp.where(moved > x, 1 - x, -x), norm, AXES))  # what the bounds let go
    close(sizes, bounded, rtol=1e-4)


def test_steps_have_size_1_and_lead_up():
    slope = jax.random.normal(jax.random.key(0), (2, 5, 4, 1)) * jnp.array([1.0, 1e-25])[:, None, None, None]
    for norm in BALLS:
        step = steepest(slope, norm, AXES)
        close(size(step, norm, AXES), 1, rtol=1e-5)
        dual = {"linf": "l1", "l2": "l2", "l1": "linf"}[norm]
        scale = jnp.abs(slope).max(AXES)
        close((step * slope).sum(AXES) / scale, size(slope / scale[:, None, None, None], dual, AXES), rtol=1e-5)


@pytest.mark.slow
def test_sparse_steps_go_into_as_many_values_as_they_are_told():
    slope = jnp.stack([jnp.arange(-10.0, 10) - 0.1, jnp.arange(20.0)]).reshape(2, 5, 4, 1)
    step = steepest(slope, "l1", AXES, jnp.array([0.1, 0.25]))
    assert size(step, "l0", AXES).tolist() == [2, 5]
    close(step[0].ravel()[:2], -0.5)
    close(step[1].ravel()[-5:], 0.2)
    close(size(steepest(jnp.ones((1, 2, 2, 1)), "l1", AXES), "l1", AXES), 1)  # of equals none is left out


@pytest.mark.parametrize("norm", BALLS)
def test_what_is_not_finite_makes_no_step(norm):
    slope = jnp.array([[1.0, jnp.nan, -2.0, jnp.inf], [jnp.nan] * 4, [0.0] * 4]).reshape(3, 2, 2, 1)
    step = steepest(slope, norm, AXES, 0.5)
    close(step[0].ravel(), steepest(images([1, 0, -2, 0])[0], norm, (0, 1, 2), 0.5).ravel())
    assert not step[1:].any()
    x = jnp.full((3, 2, 2, 1), 0.5)
    np.testing.assert_array_equal(ascended(slope, x, jnp.float32(0.1), norm, (0.0, 1.0), AXES)[1:], x[1:])


@pytest.mark.parametrize("norm", BALLS)
def test_the_farthest_point_is_the_farthest(norm):
    draw = np.random.default_rng(3)
    x, slope = draw.uniform(0, 1, (20, 12)), draw.normal(size=(20, 12))
    epsilon = {"linf": 0.2, "l2": 1.0, "l1": 2.0}[norm]
    arrays = (jnp.asarray(a, jnp.float32).reshape(20, 12, 1, 1) for a in (slope, x))
    found = ascended(*arrays, epsilon, norm, (0.0, 1.0), AXES)
    assert (size(found - x.reshape(found.shape), norm, AXES) <= epsilon * (1 + 1e-5)).all()
    room = np.where(slope > 0, 1 - x, x)
    if norm == "linf":
        best = (np.abs(slope) * np.minimum(epsilon, room)).sum(1)
    elif norm == "l1":  # the values with the largest slopes go to their bounds, one after the other
        order = np.argsort(-np.abs(slope), 1)
        spent = np.cumsum(np.take_along_axis(room, order, 1), 1)
        each = np.clip(epsilon - spent + np.take_along_axis(room, order, 1), 0, np.take_along_axis(room, order, 1))
        best = (np.take_along_axis(np.abs(slope), order, 1) * each).sum(1)
    else:  # s |g|, cut off at the bounds, for the s at which it is epsilon long
        low, high = np.zeros((20, 1)), np.full((20, 1), 1e6)
        for _ in range(100):
            s = (low + high) / 2
            short = (np.minimum(s * np.abs(slope), room) ** 2).sum(1, keepdims=True) < epsilon**2
            low, high = np.where(short, s, low), np.where(short, high, s)
        best = (np.abs(slope) * np.minimum(s * np.abs(slope), room)).sum(1)
    close(((np.asarray(found).reshape(20, 12) - x) * slope).sum(1), best, rtol=2e-3)


@pytest.mark.parametrize("norm", BALLS)
def test_starts_are_even_in_the_ball(norm):
    x, n = jnp.full((4000, 3, 1, 1), 0.5), 3
    delta = random_start(jax.random.key(0), x, 0.4, norm, (0.0, 1.0), AXES) - x
    inside = np.sort((np.asarray(size(delta, norm, AXES)) / 0.4) ** n)  # the volume within: even in [0, 1]
    close(inside, (np.arange(4000) + 0.5) / 4000, atol=0.03)
    close(np.asarray(delta).reshape(-1, 3).mean(0), 0, atol=0.02)
    close(np.abs(delta).reshape(-1, 3).mean(0), np.abs(delta).mean(), rtol=0.05)  # no value is favoured


@pytest.mark.parametrize("norm", BALLS)
def test_starts_are_within_the_bounds(norm):
    x = jnp.zeros((6, 5, 1, 1)).at[3:].set(1.0)
    found = random_start(jax.random.key(1), x, jnp.linspace(0.0, 3.0, 6), norm, (0.0, 1.0), AXES)
    assert ((found >= 0) & (found <= 1)).all()
    np.testing.assert_array_equal(found[0], x[0])
    assert (size(found - x, norm, AXES) <= jnp.linspace(0.0, 3.0, 6) * (1 + 1e-5)).all()
    assert (found[3:] < 1).any()


@pytest.mark.slow
def test_narrow_images_keep_their_dtype():
    x = jnp.full((2, 3, 3, 1), 0.5, jnp.bfloat16)
    for norm in BALLS:
        slope = jnp.ones_like(x)
        assert project(x + 1, x, 0.1, norm, (0.0, 1.0), AXES).dtype == jnp.bfloat16
        assert ascended(slope, x, 0.1, norm, (0.0, 1.0), AXES).dtype == jnp.bfloat16
        assert random_start(jax.random.key(0), x, 0.1, norm, (0.0, 1.0), AXES).dtype == jnp.bfloat16
        assert steepest(slope, norm, AXES).dtype == jnp.bfloat16


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_narrow_images_stay_in_the_ball(dtype):
    """To the nearest bfloat16 an end of the ball may be rounded out of it by a sixth of this epsilon."""
    x = jax.random.uniform(jax.random.key(0), (20, 6, 6, 3)).astype(dtype)
    wide, slope = x.astype(jnp.float32), jax.random.normal(jax.random.key(1), x.shape)
    for norm, epsilon in {"linf": 0.01, "l2": 0.1, "l1": 0.6}.items():
        project_far = lambda x, slope: project(x + slope, x, epsilon, norm, (0.0, 1.0), AXES)  # noqa: B023, E731
        start = random_start(jax.random.key(2), x, epsilon, norm, (0.0, 1.0), AXES)
        for found in (jax.jit(project_far)(x, slope), start):
            assert found.dtype == dtype
            sizes = size(found.astype(jnp.float32) - wide, norm, AXES)
            assert (sizes <= epsilon * (1 + 1e-6)).all()
            assert (sizes > 0.5 * epsilon).all()


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_the_ends_are_the_farthest_values_in_the_ball(dtype):
    x = np.linspace(0, 1, 999).astype(dtype)
    exact = (
        np.maximum(x.astype(np.float32) - np.float32(0.01), 0),
        np.minimum(x.astype(np.float32) + np.float32(0.01), 1),
    )
    low, high = (np.asarray(end) for end in linf_ends(jnp.asarray(x), 0.01, (0.0, 1.0)))
    assert (low.astype(np.float32) >= exact[0]).all()
    assert (high.astype(np.float32) <= exact[1]).all()
    least, most = dtype(-1), dtype(2)
    assert (np.nextafter(low, least).astype(np.float32) < exact[0])[exact[0] > 0].all()
    assert (np.nextafter(high, most).astype(np.float32) > exact[1]).all()
    single = jnp.asarray(x, jnp.float32)
    for end, expected in zip(linf_ends(single, jnp.float32(0.01), (0.0, 1.0)), exact, strict=True):
        np.testing.assert_array_equal(end, expected)
