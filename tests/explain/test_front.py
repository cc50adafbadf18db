"""The affine part of a function, and the rest."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn import functional as F
from jaxcnn.explain.front import front_of
from tests.small_nets import CASES

pytestmark = pytest.mark.usefixtures("quick_compilation")
X = jax.random.uniform(jax.random.key(0), (2, 12, 12, 3))
KERNEL = jax.random.normal(jax.random.key(1), (3, 3, 3, 4))


@pytest.mark.slow
@pytest.mark.parametrize("name", list(CASES))
def test_both_parts_are_the_net(name):
    logits_fn = CASES[name].logits_fn
    front, rest = front_of(logits_fn, X)
    np.testing.assert_allclose(jax.jit(lambda x: rest(front(x)))(X), logits_fn(X), rtol=1e-5, atol=1e-6)
    slope = jax.grad(lambda x: rest(front(x))[:, 1].sum())(X)
    np.testing.assert_allclose(slope, jax.grad(lambda x: logits_fn(x)[:, 1].sum())(X), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", list(CASES))
def test_the_front_of_a_net_goes_up_to_its_first_rectifier(name):
    """Convolution and batch norm as it is in evaluation."""
    net, params, state = CASES[name][1:]
    shapes = [leaf.shape for leaf in jax.tree.leaves(front_of(CASES[name].logits_fn, X).front(X))]
    assert shapes == [(2, 12, 12, 8)]
    inside = X
    for layer in list(net.layers)[: list(net.layers).index("act1")]:
        inside, _ = net[layer].apply(params.get(layer, {}), state.get(layer, {}), inside, train=False)
    found = jax.tree.leaves(front_of(CASES[name].logits_fn, X).front(X))[0]
    np.testing.assert_allclose(found, inside, rtol=1e-5, atol=1e-5)


def test_a_front_that_is_too_wide_does_nothing():
    wide = jax.random.normal(jax.random.key(1), (3, 3, 3, 25))
    front, rest = front_of(lambda x: F.relu(F.conv(x, wide)).mean((1, 2)), X)
    assert jax.tree.map(jnp.shape, front(X)) == {"0": X.shape}
    np.testing.assert_array_equal(rest(front(X)), F.relu(F.conv(X, wide)).mean((1, 2)))


FUNCTIONS = {
    "linear": lambda x: x.reshape(2, -1) @ jnp.arange(432 * 3.0).reshape(432, 3),
    "two ways": lambda x: (F.conv(x, KERNEL) + F.conv(x, KERNEL) ** 2).mean((1, 2)),
    "affine and not": lambda x: (x + x**2).sum((1, 2)),
    "x times x": lambda x: (x * x).sum((1, 2)),
    "divided": lambda x: ((x - 0.5) / 0.25 + 1 / (1 + x)).sum((1, 2)),
    "chosen by itself": lambda x: jnp.where(x > 0.5, x, 0.1 * x).sum((1, 2)),
    "chosen by another": lambda x: jnp.where(jnp.arange(3) > 1, x, 0.1 * x).sum((1, 2)) ** 2,
    "index": lambda x: jnp.take(jnp.arange(5.0), (x[..., 0] * 4).astype(int)).sum((1, 2))[:, None],
    "in a jit": lambda x: jax.jit(lambda x: jnp.tanh(F.conv(x, KERNEL)))(x).sum((1, 2)),
    "its own derivative": lambda x: jax.nn.relu(x - x).sum((1, 2)),
    "a loop": lambda x: jax.lax.scan(lambda c, _: (c * 0.5 + x, None), x, length=3)[0].sum((1, 2)),
    "constant": lambda x: jnp.ones((2, 3)),
}


@pytest.mark.parametrize("name", list(FUNCTIONS))
def test_any_function(name):
    fn = FUNCTIONS[name]
    front, rest = front_of(fn, X)
    np.testing.assert_allclose(rest(front(X)), fn(X), rtol=1e-5)
    slope = jax.grad(lambda x: rest(front(x)).sum())(X)
    np.testing.assert_allclose(slope, jax.grad(lambda x: fn(x).sum())(X), rtol=1e-4, atol=1e-5)
    # A straight line between two images stays one.
    halfway = jax.tree.map(lambda a, b: (a + b) / 2, front(X), front(1 - X))
    for ours, theirs in zip(jax.tree.leaves(front(jnp.full_like(X, 0.5))), jax.tree.leaves(halfway), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)
