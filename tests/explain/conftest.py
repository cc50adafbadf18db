"""Three small nets with random weights, images, and classes."""

import jax
import jax.numpy as jnp
import pytest

from tests.small_nets import CASES, NETS, Case


@pytest.fixture(params=list(NETS))
def case(request) -> Case:
    """Each of the nets."""
    return CASES[request.param]


@pytest.fixture(scope="session")
def images() -> jax.Array:
    """Four images in [0, 1]."""
    return jax.random.uniform(jax.random.key(11), (4, 12, 12, 3))


@pytest.fixture(scope="session")
def targets() -> jax.Array:
    """A class for each."""
    return jnp.array([3, 0, 4, 1])
