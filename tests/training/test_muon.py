"""Muon against its closed form by NumPy's singular values, against optax, and by its norms."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxcnn.training import muon, orthogonalize
from jaxcnn.training.muon import COEFFICIENTS

pytestmark = pytest.mark.usefixtures("quick_compilation")
KEY = jax.random.key(0)
# Of different shapes, so that some are filled up.
KERNELS = {
    "one": jax.random.normal(KEY, (3, 3, 2, 8)),
    "two": jax.random.normal(jax.random.fold_in(KEY, 1), (3, 3, 4, 6)),
    "three": jax.random.normal(jax.random.fold_in(KEY, 2), (5, 7)),
}


def by_singular_values(matrix, iterations, coefficients=COEFFICIENTS):
    """Return what the iteration does, in float64."""
    a, b, c = coefficients
    u, s, v = np.linalg.svd(np.asarray(matrix, np.float64), full_matrices=False)
    s /= np.linalg.norm(s)
    for _ in range(iterations):
        s = a * s + b * s**3 + c * s**5
    return (u * s) @ v


@pytest.mark.parametrize("shape", [(6, 20), (20, 6), (8, 8)])
def test_singular_values_go_through_the_quintic(shape):
    x = jax.random.normal(KEY, (2, *shape))
    found = orthogonalize(x, iterations=3, dtype=jnp.float32)
    for matrix, own in zip(x, found, strict=True):
        np.testing.assert_allclose(own, by_singular_values(matrix, 3), atol=1e-5)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_five_iterations_are_near_the_polar_factor(dtype):
    x = jax.random.normal(KEY, (24, 60))
    found = orthogonalize(x, dtype=dtype)
    assert found.dtype == jnp.float32
    s = np.linalg.svd(found, compute_uv=False)
    more = 0.05 if dtype == jnp.bfloat16 else 1e-4
    assert 0.6814 - more < s.min() < s.max() < 1.2023 + more  # the quintic's extremes, which it stays between
    u, _, v = np.linalg.svd(x, full_matrices=False)
    assert np.sum(found * (u @ v)) > 0.97 * np.linalg.norm(found) * np.linalg.norm(u @ v)


def test_nothing_becomes_nothing():
    np.testing.assert_array_equal(orthogonalize(jnp.zeros((3, 4))), np.zeros((3, 4)))


def test_two_steps_by_hand():
    rate, m = 0.1, 0.6
    optimizer = muon(lambda step: rate / (1 + step), momentum=m, iterations=3, dtype=jnp.float32)
    gradients = [KERNELS, jax.tree.map(jnp.cos, KERNELS)]
    params = jax.tree.map(jnp.sin, KERNELS)
    state, update = optimizer.init(params), jax.jit(optimizer.update)
    velocity = dict.fromkeys(params, 0.0)
    for step, gradient in enumerate(gradients):
        updates, state = update(gradient, state, params)
        for name, g in gradient.items():
            velocity[name] = m * velocity[name] + g
            ahead = (g + m * velocity[name]).reshape(-1, g.shape[-1])
            wanted = -rate / (1 + step) * by_singular_values(ahead, 3).reshape(g.shape)
            np.testing.assert_allclose(updates[name], wanted, atol=1e-5)


def test_the_direction_is_that_of_optax():
    axes = {"w": optax.contrib.MuonDimensionNumbers()}
    theirs = optax.contrib.scale_by_muon(ns_steps=4, beta=0.0, nesterov=False, weight_dimension_numbers=axes)
    matrix = {"w": KERNELS["three"]}
    wanted, _ = theirs.update(matrix, theirs.init(matrix))
    ours = muon(1.0, momentum=0.0, nesterov=False, iterations=4, dtype=jnp.float32)
    found, _ = ours.update(matrix, ours.init(matrix))
    np.testing.assert_allclose(-found["w"], wanted["w"], atol=1e-5)


@pytest.mark.slow
def test_kernels_get_the_norm_of_their_outputs_at_such_steps():
    optimizer = muon(0.0, renormalize=lambda step: step % 2 == 1)
    params, state = KERNELS, optimizer.init(KERNELS)
    for step in range(2):
        updates, state = optimizer.update(KERNELS, state, params)
        params = optax.apply_updates(params, updates)
        for name, kernel in params.items():
            wanted = kernel.shape[-1] ** 0.5 if step else np.linalg.norm(KERNELS[name])
            assert np.linalg.norm(kernel) == pytest.approx(wanted, rel=1e-5)
    with pytest.raises(ValueError, match=r"^muon: expected parameters to renormalize, got None\. Call"):
        optimizer.update(KERNELS, state)


def test_biases_are_left_to_another_optimizer():
    params = {"kernel": KERNELS["three"], "bias": jnp.ones(7)}
    both = optax.partition({"kernel": muon(0.1), "bias": optax.sgd(1.0)}, {"kernel": "kernel", "bias": "bias"})
    updates, _ = both.update(params, both.init(params), params)
    np.testing.assert_array_equal(updates["bias"], -np.ones(7))
    with pytest.raises(ValueError, match=r"^muon: expected kernels of two axes or more, got shapes \[\(7,\)\]\. Leave"):
        muon(0.1).init(params)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"learning_rate": float("nan")}, ValueError, "muon: expected learning_rate as a finite number >= 0 or a"),
        ({"learning_rate": -0.1}, ValueError, "muon: expected learning_rate as a finite number >= 0 or a"),
        ({"momentum": 1.0}, ValueError, r"muon: expected momentum in \[0, 1\), got 1\.0\."),
        ({"nesterov": 1}, TypeError, "muon: expected nesterov as a Python bool, got 1"),
        ({"iterations": 0}, ValueError, "muon: expected iterations as a positive int, got 0"),
        ({"coefficients": (1, 2)}, ValueError, r"muon: expected three coefficients, got \(1, 2\)\."),
        ({"renormalize": True}, TypeError, "muon: expected renormalize as a function of the step, got True"),
        ({"dtype": "int8"}, TypeError, "muon: expected dtype as a floating dtype, got 'int8'"),
    ],
)
def test_bad_options(options, error, message):
    with pytest.raises(error, match=f"^{message}"):
        muon(**{"learning_rate": 0.1} | options)


@pytest.mark.parametrize(
    ("x", "options", "error", "message"),
    [
        (jnp.ones(3), {}, ValueError, r"expected matrices \(\.\.\., m, n\), got \(3,\)\. Reshape"),
        (jnp.ones((2, 2), int), {}, TypeError, "expected matrices of a floating dtype, got int32"),
        (jnp.ones((2, 2)), {"iterations": 0}, ValueError, "expected iterations as a positive int, got 0"),
        (jnp.ones((2, 2)), {"coefficients": "abc"}, ValueError, "expected three coefficients, got 'abc'"),
    ],
)
def test_bad_matrices(x, options, error, message):
    with pytest.raises(error, match=f"^orthogonalize: {message}"):
        orthogonalize(x, **options)
