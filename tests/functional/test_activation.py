"""Activations against closed forms, `jax.nn`, Flax and PyTorch."""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from jaxcnn import functional as F

pytestmark = pytest.mark.usefixtures("quick_compilation")
erf = np.vectorize(math.erf)

# Each activation, and its equation in float64.
TABLE = {
    "sigmoid": (F.sigmoid, lambda x: 1 / (1 + np.exp(-x))),
    "tanh": (F.tanh, np.tanh),
    "relu": (F.relu, lambda x: np.maximum(x, 0)),
    "leaky_relu": (F.leaky_relu, lambda x: np.where(x >= 0, x, 0.1 * x)),
    "leaky_relu 0.3": (lambda x: F.leaky_relu(x, 0.3), lambda x: np.where(x >= 0, x, 0.3 * x)),
    "elu": (F.elu, lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0)))),
    "elu 2": (lambda x: F.elu(x, 2.0), lambda x: np.where(x > 0, x, 2 * np.expm1(np.minimum(x, 0)))),
    "gelu": (F.gelu, lambda x: x / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))),
    "gelu exact": (lambda x: F.gelu(x, approximate=False), lambda x: x / 2 * (1 + erf(x / np.sqrt(2)))),
    "silu": (F.silu, lambda x: x / (1 + np.exp(-x))),
}
FLAX = {
    "sigmoid": nn.sigmoid,
    "tanh": nn.tanh,
    "relu": nn.relu,
    "leaky_relu": lambda x: nn.leaky_relu(x, 0.1),
    "elu": nn.elu,
    "gelu": nn.gelu,
    "silu": nn.silu,
}
TORCH = {
    "sigmoid": lambda f, x: f.sigmoid(x),
    "tanh": lambda f, x: f.tanh(x),
    "relu": lambda f, x: f.relu(x),
    "leaky_relu": lambda f, x: f.leaky_relu(x, 0.1),
    "elu": lambda f, x: f.elu(x),
    "elu 2": lambda f, x: f.elu(x, alpha=2.0),
    "gelu": lambda f, x: f.gelu(x, approximate="tanh"),
    "gelu exact": lambda f, x: f.gelu(x),
    "silu": lambda f, x: f.silu(x),
}
every = pytest.mark.parametrize("name", TABLE)
grid = jnp.concatenate([jnp.linspace(-6, 6, 48), jnp.array([-1e-3, 1e-3])]).reshape(5, 10)
compiled = {name: jax.jit(fn) for name, (fn, _) in TABLE.items()}


def test_the_table_names_every_activation():
    from jaxcnn.functional import activation

    assert {name.split()[0] for name in TABLE} == set(activation.__all__)


@every
@given(arrays.arrays(np.float32, (32,), elements=st.floats(-30, 30, width=32)))
def test_follows_its_equation(name, x):
    np.testing.assert_allclose(compiled[name](x), TABLE[name][1](x.astype(np.float64)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", FLAX)
def test_agrees_with_flax(agree, name):
    agree(TABLE[name][0], FLAX[name], grid)


@pytest.mark.parametrize("name", TORCH)
def test_agrees_with_torch(agree_with_torch, name):
    import torch

    agree_with_torch(
        TABLE[name][0], lambda x: TORCH[name](torch.nn.functional, x), grid, axes=("as is",), output="as is", atol=1e-4
    )


@every
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float16], ids=["float32", "bfloat16", "float16"])
def test_keeps_shape_and_dtype(name, dtype):
    for shape in [(), (3,), (2, 4, 5, 3)]:
        y = jax.eval_shape(TABLE[name][0], jax.ShapeDtypeStruct(shape, dtype))
        assert (y.shape, y.dtype) == (shape, dtype)


@every
def test_value_and_gradient_stay_finite_far_out(name):
    far = jnp.array([-1e4, -100.0, 0.0, 100.0, 1e4])
    assert np.isfinite(compiled[name](far)).all()
    assert np.isfinite(jax.vmap(jax.grad(compiled[name]))(far)).all()


def test_values_and_slopes_by_hand():
    def slope(fn, x):
        return float(jax.grad(fn)(x))

    assert slope(F.relu, 0.0) == 0
    assert slope(F.relu, 2.0) == 1
    assert slope(F.sigmoid, 0.0) == 0.25
    assert slope(F.tanh, 0.0) == 1
    assert slope(F.leaky_relu, -2.0) == pytest.approx(0.1)
    assert float(F.leaky_relu(jnp.float32(-2), 0.01)) == pytest.approx(-0.02)
    assert float(F.elu(jnp.float32(-1e4), 3.0)) == -3
    assert float(F.gelu(jnp.float32(1), approximate=False)) == pytest.approx(0.8413447)
    assert float(F.silu(jnp.float32(1))) == pytest.approx(0.7310586)


@every
def test_rejects_integers(name):
    with pytest.raises(
        TypeError,
        match=rf"^{name.split()[0]}: expected x of a floating dtype, got int32\. Convert it first, uint8 images",
    ):
        TABLE[name][0](np.arange(3, dtype=np.int32))
