"""Activations against closed forms of value and slope, `jax.nn`, Flax and PyTorch; the rewritten rectifiers by hand."""

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
from jaxcnn.functional import activation, rectifier
from jaxcnn.layers import Dense, PReLU, Residual, Sequential, from_json, to_json
from jaxcnn.surgery import replace

pytestmark = pytest.mark.usefixtures("quick_compilation")
erf = np.vectorize(math.erf)
LAMBDA, ALPHA = 1.0507009873554805, 1.6732632423543772  # of selu
SLOPE = jnp.float32(0.25)  # of prelu


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def exponential_slope(x, alpha=1.0):
    return np.where(x > 0, 1, alpha * np.exp(np.minimum(x, 0)))


def gelu_slope(x):
    inner, outer = np.sqrt(2 / np.pi) * (x + 0.044715 * x**3), np.sqrt(2 / np.pi) * (1 + 3 * 0.044715 * x**2)
    return (1 + np.tanh(inner)) / 2 + x / 2 * (1 - np.tanh(inner) ** 2) * outer


def hard_sigmoid(x):
    return np.clip(x + 3, 0, 6) / 6


# Each activation, its equation in float64, and its slope: what comes back of a gradient of 1.
TABLE = {
    "sigmoid": (F.sigmoid, sigmoid, lambda x: sigmoid(x) * sigmoid(-x)),
    "hard_sigmoid": (F.hard_sigmoid, hard_sigmoid, lambda x: (np.abs(x) < 3) / 6),
    "tanh": (F.tanh, np.tanh, lambda x: 1 - np.tanh(x) ** 2),
    "hard_tanh": (F.hard_tanh, lambda x: np.clip(x, -1, 1), lambda x: np.abs(x) <= 1),
    "softplus": (F.softplus, lambda x: np.log1p(np.exp(x)), sigmoid),
    "elu": (F.elu, lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))), exponential_slope),
    "elu 2": (
        lambda x: F.elu(x, 2.0),
        lambda x: np.where(x > 0, x, 2 * np.expm1(np.minimum(x, 0))),
        lambda x: exponential_slope(x, 2),
    ),
    "selu": (
        F.selu,
        lambda x: LAMBDA * np.where(x > 0, x, ALPHA * np.expm1(np.minimum(x, 0))),
        lambda x: LAMBDA * exponential_slope(x, ALPHA),
    ),
    "gelu": (F.gelu, lambda x: x / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))), gelu_slope),
    "gelu exact": (
        lambda x: F.gelu(x, approximate=False),
        lambda x: x / 2 * (1 + erf(x / np.sqrt(2))),
        lambda x: (1 + erf(x / np.sqrt(2))) / 2 + x * np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi),
    ),
    "silu": (F.silu, lambda x: x * sigmoid(x), lambda x: sigmoid(x) * (1 + x * sigmoid(-x))),
    "hard_silu": (
        F.hard_silu,
        lambda x: x * hard_sigmoid(x),
        lambda x: hard_sigmoid(x) + x * (np.abs(x) < 3) / 6,
    ),
    "relu": (F.relu, lambda x: np.maximum(x, 0), lambda x: x > 0),
    "leaky_relu": (F.leaky_relu, lambda x: np.where(x >= 0, x, 0.1 * x), lambda x: np.where(x >= 0, 1, 0.1)),
    "leaky_relu 0.3": (
        lambda x: F.leaky_relu(x, 0.3),
        lambda x: np.where(x >= 0, x, 0.3 * x),
        lambda x: np.where(x >= 0, 1, 0.3),
    ),
    "prelu": (
        lambda x: F.prelu(x, SLOPE),
        lambda x: np.where(x >= 0, x, 0.25 * x),
        lambda x: np.where(x >= 0, 1, 0.25),
    ),
    "relu6": (F.relu6, lambda x: np.clip(x, 0, 6), lambda x: (x > 0) & (x < 6)),
    "squared_relu": (F.squared_relu, lambda x: np.maximum(x, 0) ** 2, lambda x: 2 * np.maximum(x, 0)),
    "guided_relu": (F.guided_relu, lambda x: np.maximum(x, 0), lambda x: x > 0),
    "deconv_relu": (F.deconv_relu, lambda x: np.maximum(x, 0), np.ones_like),
}
FLAX = {
    "sigmoid": nn.sigmoid,
    "hard_sigmoid": nn.hard_sigmoid,
    "tanh": nn.tanh,
    "hard_tanh": nn.hard_tanh,
    "softplus": nn.softplus,
    "elu": nn.elu,
    "selu": nn.selu,
    "gelu": nn.gelu,
    "silu": nn.silu,
    "hard_silu": nn.hard_silu,
    "relu": nn.relu,
    "leaky_relu": lambda x: nn.leaky_relu(x, 0.1),
    "relu6": nn.relu6,
}
TORCH = {
    "sigmoid": lambda f, x: f.sigmoid(x),
    "hard_sigmoid": lambda f, x: f.hardsigmoid(x),
    "tanh": lambda f, x: f.tanh(x),
    "hard_tanh": lambda f, x: f.hardtanh(x),
    "softplus": lambda f, x: f.softplus(x),
    "elu": lambda f, x: f.elu(x),
    "elu 2": lambda f, x: f.elu(x, alpha=2.0),
    "selu": lambda f, x: f.selu(x),
    "gelu": lambda f, x: f.gelu(x, approximate="tanh"),
    "gelu exact": lambda f, x: f.gelu(x),
    "silu": lambda f, x: f.silu(x),
    "hard_silu": lambda f, x: f.hardswish(x),
    "relu": lambda f, x: f.relu(x),
    "leaky_relu": lambda f, x: f.leaky_relu(x, 0.1),
    "relu6": lambda f, x: f.relu6(x),
    "squared_relu": lambda f, x: f.relu(x) ** 2,
}
DTYPES = pytest.mark.parametrize(
    "dtype", [jnp.float32, jnp.bfloat16, jnp.float16], ids=["float32", "bfloat16", "float16"]
)
every = pytest.mark.parametrize("name", TABLE)
grid = jnp.concatenate([jnp.linspace(-6.5, 6.5, 48), jnp.array([-1e-3, 1e-3])]).reshape(5, 10)
compiled = {name: jax.jit(fn) for name, (fn, _, _) in TABLE.items()}
slopes = {name: jax.jit(lambda x, fn=fn: jax.vjp(fn, x)[1](jnp.ones_like(x))[0]) for name, (fn, _, _) in TABLE.items()}


def test_the_table_names_every_activation():
    assert {name.split()[0] for name in TABLE} == {*activation.__all__, *rectifier.__all__}


@every
@given(arrays.arrays(np.float32, (32,), elements=st.floats(-30, 30, width=32, allow_subnormal=False)))
def test_follows_its_equation(name, x):
    _, equation, slope = TABLE[name]
    np.testing.assert_allclose(compiled[name](x), equation(x.astype(np.float64)), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(slopes[name](x), slope(x.astype(np.float64)), rtol=1e-4, atol=1e-5)


@every
def test_slopes_at_the_corners(name):
    corners = np.array([-3.0, -1.0, 0.0, 1.0, 3.0, 6.0] + 26 * [0.0], np.float32)
    np.testing.assert_allclose(slopes[name](corners), TABLE[name][2](corners.astype(np.float64)), rtol=1e-4, atol=1e-5)


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
@DTYPES
def test_keeps_shape_and_dtype(name, dtype):
    for shape in [(), (3,), (2, 4, 5, 3)]:
        y = jax.eval_shape(TABLE[name][0], jax.ShapeDtypeStruct(shape, dtype))
        assert (y.shape, y.dtype) == (shape, dtype)


@every
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16], ids=["bfloat16", "float16"])
def test_half_precision_is_near_the_equation(name, dtype):
    x = grid.astype(dtype)
    exact = np.asarray(x, np.float64)
    for ours, equation in zip((compiled[name](x), slopes[name](x)), TABLE[name][1:], strict=True):
        assert ours.dtype == dtype
        np.testing.assert_allclose(np.asarray(ours, np.float64), equation(exact), rtol=0.02, atol=0.02)


@every
@DTYPES
def test_far_out_nothing_is_nan_and_the_slope_is_finite(name, dtype):
    far = jnp.array([-1e4, -300, -100, 0, 100, 300, 1e4], dtype)
    assert not np.isnan(compiled[name](far)).any()  # a square exceeds float16
    assert np.isfinite(slopes[name](far)).all()


def test_values_and_slopes_by_hand():
    def slope(fn, x):
        return float(jax.grad(fn)(x))

    assert slope(F.relu, 0.0) == 0
    assert slope(F.relu, 2.0) == 1
    assert slope(F.sigmoid, 0.0) == 0.25
    assert slope(F.tanh, 0.0) == 1
    assert slope(F.leaky_relu, -2.0) == pytest.approx(0.1)
    assert slope(F.squared_relu, 3.0) == 6
    assert float(F.leaky_relu(jnp.float32(-2), 0.01)) == pytest.approx(-0.02)
    assert float(F.elu(jnp.float32(-1e4), 3.0)) == -3
    assert float(F.selu(jnp.float32(-1e4))) == pytest.approx(-1.7580993)
    assert float(F.gelu(jnp.float32(1), approximate=False)) == pytest.approx(0.8413447)
    assert float(F.silu(jnp.float32(1))) == pytest.approx(0.7310586)
    assert float(F.softplus(jnp.float32(0))) == pytest.approx(0.6931472)
    assert float(F.hard_silu(jnp.float32(1))) == pytest.approx(4 / 6)


def test_double_precision():
    with jax.enable_x64(True):
        x = np.linspace(-6.5, 6.5, 32)
        for name, (fn, equation, slope) in TABLE.items():
            y, pullback = jax.vjp(fn, x)
            assert y.dtype == jnp.float64
            # The slope 0.1 of Python is taken in the dtype of x; prelu's here is the float32 0.25, exact.
            np.testing.assert_allclose(y, equation(x), rtol=1e-12, atol=1e-13, err_msg=name)
            np.testing.assert_allclose(pullback(jnp.ones_like(y))[0], slope(x), rtol=1e-12, atol=1e-13, err_msg=name)


@every
def test_rejects_integers(name):
    with pytest.raises(
        TypeError,
        match=rf"^{name.split()[0]}: expected x of a floating dtype, got int32\. Convert it first: x\.astype\(",
    ):
        TABLE[name][0](np.arange(3, dtype=np.int32))


@pytest.mark.parametrize(("fn", "name"), [(F.elu, "alpha"), (F.leaky_relu, "negative_slope")])
def test_constants_are_finite(fn, name):
    with pytest.raises(ValueError, match=rf"^{fn.__name__}: expected a finite {name}, got inf\. "):
        fn(grid, np.inf)


# The learned slope


def test_prelu_agrees_with_flax(agree):
    x, slope = jnp.sin(jnp.arange(24.0)).reshape(2, 4, 3), jnp.float32(0.3)
    agree(F.prelu, lambda x, slope: nn.PReLU().apply({"params": {"negative_slope": slope}}, x), x, slope)


def test_prelu_agrees_with_torch(agree_with_torch):
    import torch

    x, slope = jnp.sin(jnp.arange(1.0, 37.0)).reshape(1, 3, 4, 3), jnp.array([0.3, -0.5, 2.0])
    agree_with_torch(F.prelu, torch.nn.functional.prelu, x, slope, axes=("images", "as is"), output="images")


def test_prelu_by_hand():
    x, slope = jnp.array([[-2.0, -2.0], [3.0, 0.0]]), jnp.array([0.5, 0.25])
    np.testing.assert_array_equal(F.prelu(x, slope), [[-1, -0.5], [3, 0]])
    dx, dslope = jax.grad(lambda x, slope: F.prelu(x, slope).sum(), argnums=(0, 1))(x, slope)
    np.testing.assert_array_equal(dx, [[0.5, 0.25], [1, 1]])
    np.testing.assert_array_equal(dslope, [-2, -2])
    np.testing.assert_array_equal(F.prelu(x, jnp.float32(0.5)), [[-1, -1], [3, 0]])


def test_prelu_bad_slopes():
    x = jnp.ones((2, 3))
    for shape in [(2,), (1,), (2, 3), (1, 3)]:
        with pytest.raises(ValueError, match=r"^prelu: expected negative_slope of shape \(\) or \(3,\) for x of shape"):
            F.prelu(x, jnp.ones(shape))
    with pytest.raises(TypeError, match=r"^prelu: expected negative_slope of a floating dtype, got int32\. "):
        F.prelu(x, np.ones(3, np.int32))


def test_the_layer_prelu_owns_its_slopes():
    key, x = jax.random.key(0), jnp.array([[-1.0, 2.0, -4.0]])
    params, state = PReLU().init(key, x)
    np.testing.assert_array_equal(params["negative_slope"], [0.25, 0.25, 0.25])
    np.testing.assert_array_equal(PReLU().apply(params, state, x, train=False)[0], [[-0.25, 2, -1]])
    shared = PReLU(negative_slope_init=0.5, shared=True)
    params, state = shared.init(key, x)
    assert params["negative_slope"].shape == ()
    np.testing.assert_array_equal(shared.apply(params, state, x, train=False)[0], [[-0.5, 2, -2]])
    assert PReLU(negative_slope_init=np.float64(0.25)) == PReLU()
    assert len({PReLU(), PReLU(shared=True), PReLU(negative_slope_init=0.1)}) == 3
    assert repr(PReLU(shared=True)) == "PReLU(shared=True)"
    with pytest.raises(ValueError, match=r"^PReLU: expected an input of shape \(\.\.\., C\), got \(\)\. "):
        PReLU().init(key, jnp.float32(1))


# The rewritten rectifiers

REWRITTEN = {
    "guided_relu": lambda x, dy: np.where((x > 0) & (dy > 0), dy, 0),
    "deconv_relu": lambda x, dy: np.where(dy > 0, dy, 0),
}
rewritten = pytest.mark.parametrize("name", REWRITTEN)
pullbacks = {name: jax.jit(lambda x, dy, name=name: jax.vjp(vars(F)[name], x)[1](dy)[0]) for name in REWRITTEN}


def test_rewritten_rules_by_hand():
    x, dy = jnp.array([-1.0, 0.0, 2.0, 3.0]), jnp.array([1.0, 1.0, -1.0, 4.0])
    np.testing.assert_array_equal(pullbacks["guided_relu"](x, dy), [0, 0, 0, 4])
    np.testing.assert_array_equal(pullbacks["deconv_relu"](x, dy), [1, 1, 0, 4])
    np.testing.assert_array_equal(jax.vjp(F.relu, x)[1](dy)[0], [0, 0, -1, 4])


numbers = arrays.arrays(np.float32, (4, 5), elements=st.floats(-9, 9, width=32, allow_subnormal=False))


@rewritten
@given(numbers, numbers)
def test_rewritten_rules_follow_their_papers(name, x, dy):
    np.testing.assert_array_equal(pullbacks[name](x, dy), REWRITTEN[name](x, dy))
    lanes = jax.jit(jax.vmap(jax.grad(lambda x, dy: (getattr(F, name)(x) * dy).sum())))(x, dy)
    np.testing.assert_array_equal(lanes, REWRITTEN[name](x, dy))


@rewritten
@DTYPES
def test_rewritten_rules_keep_the_dtype_of_the_gradient(name, dtype):
    x, dy = grid.astype(dtype), jnp.cos(grid).astype(dtype)
    dx = pullbacks[name](x, dy)
    assert dx.dtype == dtype
    np.testing.assert_array_equal(dx, REWRITTEN[name](np.asarray(x), np.asarray(dy)))


@rewritten
def test_rewritten_rules_are_reverse_mode_alone(name):
    with pytest.raises(TypeError, match="forward-mode"):
        jax.jvp(getattr(F, name), (grid,), (grid,))


@rewritten
def test_rewritten_rules_replace_relu_in_a_net(name):
    act = getattr(F, name)
    net = Sequential(a=Dense(2, use_bias=False), act=F.relu, b=Residual(F.relu), c=Dense(1, use_bias=False))
    new = replace(net, {F.relu: act})
    assert new == Sequential(a=net["a"], act=act, b=Residual(act), c=net["c"])
    assert f"act={name}," in repr(new)
    assert from_json(to_json(new)) == new
    assert Sequential(act).layers == {f"{name}1": act}
    # The two units get 1 and -1: the second is off.
    params = {"a": {"kernel": jnp.array([[1.0, -1.0]])}, "c": {"kernel": jnp.array([[3.0], [-2.0]])}}
    x = jnp.array([[1.0]])
    y, gradient = jax.value_and_grad(lambda x: new.apply(params, {}, x, train=False)[0].sum())(x)
    assert float(y) == 6
    # On the way back, above the residual (3, -2), below it (3 + 3, -2 + 0), below act (6, 0): by both rules.
    np.testing.assert_array_equal(gradient, [[6]])
    # With (3, 2) above the residual, deconv passes 2 + 2 through the unit that is off; guided passes nothing there.
    params["c"]["kernel"] = jnp.array([[3.0], [2.0]])
    gradient = jax.grad(lambda x: new.apply(params, {}, x, train=False)[0].sum())(x)
    np.testing.assert_array_equal(gradient, [[{"guided_relu": 6, "deconv_relu": 6 - 4}[name]]])
