"""Layer, group and instance normalization against Flax, PyTorch, their definitions and each other; their layers."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxcnn import functional as F
from jaxcnn.layers import GroupNorm, InstanceNorm, LayerNorm
from tests.functional.samples import draw

pytestmark = pytest.mark.usefixtures("quick_compilation")


def close(a, b, rtol=1e-5, atol=1e-5):
    np.testing.assert_allclose(a, b, rtol=rtol, atol=atol)


X, SCALE, BIAS = 2 + 3 * draw(0, 2, 4, 3, 6), 1 + draw(1, 6) ** 2, draw(2, 6)
TABLE = {
    "layer": (F.layer_norm, nn.LayerNorm()),
    "group": (functools.partial(F.group_norm, groups=3), nn.GroupNorm(3)),
    "instance": (F.instance_norm, nn.InstanceNorm()),
}
every = pytest.mark.parametrize("name", TABLE)


@every
def test_agrees_with_flax(agree, name):
    ours, layer = TABLE[name]
    agree(
        ours,
        lambda x, scale, bias: layer.apply({"params": {"scale": scale, "bias": bias}}, x),
        *(X, SCALE, BIAS),
        atol=3e-5,
    )
    bare = layer.clone(use_scale=False, use_bias=False, epsilon=0.1)
    agree(lambda x: ours(x, None, None, eps=0.1), lambda x: bare.apply({}, x), X, atol=3e-5)


def theirs(name, f, x, scale, bias):
    if name == "layer":
        return f.layer_norm(x, (6,), scale, bias, eps=1e-6)
    if name == "group":
        return f.group_norm(x, 3, scale, bias, eps=1e-6)
    return f.instance_norm(x, weight=scale, bias=bias, eps=1e-6)


@every
def test_agrees_with_torch(agree_with_torch, name):
    import torch

    agree_with_torch(
        TABLE[name][0],
        functools.partial(theirs, name, torch.nn.functional),
        *(X, SCALE, BIAS),
        axes=("as is" if name == "layer" else "images", "as is", "as is"),
        output="as is" if name == "layer" else "images",
        atol=3e-5,
    )


def test_by_hand():
    x = jnp.array([[[1.0, 3.0, 0.0, 0.0], [1.0, 3.0, 4.0, 4.0]]])  # one image of 1x2 pixels
    layer = F.layer_norm(x, None, None, eps=0.0)
    close(layer[0, 0], [0, 2 / np.sqrt(1.5), -1 / np.sqrt(1.5), -1 / np.sqrt(1.5)])  # mean 1, variance 6 / 4
    group = F.group_norm(x, jnp.array([1.0, 1.0, 3.0, 1.0]), jnp.array([0.0, 0.0, 0.0, 5.0]), groups=2, eps=0.0)
    close(group, [[[-1, 1, -3, 4], [-1, 1, 3, 6]]])  # means 2 and 2, variances 1 and 4
    instance = F.instance_norm(x, None, jnp.array([0.0, 7.0, 0.0, 0.0]), eps=1.0)
    close(instance, [[[0, 7, -2 / np.sqrt(5), -2 / np.sqrt(5)], [0, 7, 2 / np.sqrt(5), 2 / np.sqrt(5)]]])


@functools.partial(jax.jit, static_argnames=("name", "groups"))
def normalise(x, name, groups=None):
    options = {} if groups is None else {"groups": groups}
    return getattr(F, f"{name}_norm")(x, None, None, eps=1e-12, **options)


@given(
    st.sampled_from([((3, 2, 4), 2), ((2, 3, 2, 6), 3), ((2, 1, 2, 3, 6), 1), ((1, 5, 4), 4)]),
    st.floats(-100, 100),
    st.floats(0.1, 10),
)
def test_mean_zero_and_variance_one_whatever_the_input(case, shift, scale):
    (shape, groups), x = case, np.asarray(draw(0, *case[0]))
    parts = {
        "layer": (shape, -1),
        "group": ((*shape[:-1], groups, shape[-1] // groups), (-4, -3, -1)),
        "instance": (shape, (-3, -2)),
    }
    for name, (split, axes) in parts.items():
        y = np.asarray(normalise(shift + scale * x, name, groups if name == "group" else None)).reshape(split)
        close(y.mean(axis=axes), 0, atol=1e-3)
        close(y.var(axis=axes), 1, rtol=1e-3)


def test_group_norm_of_single_channels_is_instance_norm_and_of_one_group_is_the_whole_image(agree):
    agree(functools.partial(F.group_norm, groups=6), F.instance_norm, X, SCALE, BIAS)

    def whole(x):
        return F.layer_norm(x.reshape(2, -1), None, None).reshape(x.shape)

    agree(lambda x: F.group_norm(x, None, None, groups=1), whole, X)


@every
def test_each_image_by_itself_whatever_the_leading_axes(name):
    norm = TABLE[name][0]
    x = draw(3, 3, 2, 4, 3, 6)
    y = norm(x, SCALE, BIAS)
    for index in np.ndindex(3, 2):
        close(y[index], norm(x[index], SCALE, BIAS))
    assert norm(x[:0], SCALE, BIAS).shape == (0, 2, 4, 3, 6)


def test_layer_norm_takes_vectors():
    close(F.layer_norm(X, SCALE, BIAS)[1, 2, 0], F.layer_norm(X[1, 2, 0], SCALE, BIAS))


@every
def test_half_precision_computes_in_float32(name):
    norm, x = TABLE[name][0], 100 + draw(4, 16, 16, 6)  # the sum of the 256 pixels exceeds float16's precision
    for dtype in (jnp.bfloat16, jnp.float16):
        half = x.astype(dtype)
        y = norm(half, SCALE, BIAS)
        assert y.dtype == dtype
        expected = norm(half.astype(jnp.float32), SCALE, BIAS)
        close(y.astype(jnp.float32), expected, rtol=0.01, atol=0.01)


@every
def test_double_precision(name):
    norm = TABLE[name][0]
    with jax.enable_x64(True):
        x = np.random.default_rng(0).normal(1e4, 1e-3, (4, 3, 6))
        y = norm(x, None, None, eps=0.0)
        assert y.dtype == jnp.float64
        axes = {"layer": (-1,), "group": (0, 1, 3), "instance": (0, 1)}[name]
        split = np.asarray(y).reshape((4, 3, 3, 2) if name == "group" else y.shape)
        close(split.var(axis=axes), 1, rtol=1e-6)


@every
def test_constant_images_become_the_bias_with_finite_gradients(name):
    norm, x = TABLE[name][0], jnp.full((4, 3, 6), 7.0)
    close(norm(x, SCALE, BIAS), jnp.broadcast_to(BIAS, x.shape))
    gradients = jax.grad(lambda *args: jnp.sum(norm(*args) ** 2), argnums=(0, 1, 2))(x, SCALE, BIAS)
    assert all(np.isfinite(g).all() for g in gradients)


BAD = [
    ({"scale": np.ones(5)}, r"scale of shape \(6,\), got \(5,\)\. Pass scale with that shape\."),
    ({"bias": np.ones((6, 1))}, r"bias of shape \(6,\), got \(6, 1\)\. "),
    ({"eps": -1e-5}, r"eps >= 0, got -1e-05\. It keeps the variance from zero"),
]


@every
@pytest.mark.parametrize(("changes", "message"), BAD)
def test_bad_values(name, changes, message):
    arguments = {"x": X, "scale": None, "bias": None} | changes
    with pytest.raises(ValueError, match=f"^{name}_norm: expected {message}"):
        TABLE[name][0](**arguments)


def test_bad_inputs():
    for name in ("group", "instance"):
        with pytest.raises(
            ValueError, match=rf"^{name}_norm: expected images of shape \(\.\.\., H, W, C\), got \(6, 4\)"
        ):
            TABLE[name][0](np.zeros((6, 4), np.float32), None, None)
    with pytest.raises(ValueError, match=r"^layer_norm: expected x of shape \(\.\.\., C\), got \(\)\. Add a channel"):
        F.layer_norm(jnp.float32(1), None, None)
    for groups in (4, 0, -2, 2.0, True):
        with pytest.raises(
            ValueError, match=rf"^group_norm: expected groups that divide the 6 channels, got {groups}\. "
        ):
            F.group_norm(X, None, None, groups=groups)
    with pytest.raises(
        ValueError, match=r"divide the 6 channels, got 32\. Pass groups as one of 1, 2, 3, 6: the default"
    ):
        F.group_norm(X, None, None)
    for name, (norm, _) in TABLE.items():
        with pytest.raises(TypeError, match=rf"^{name}_norm: expected x of a floating dtype, got uint8\. .*to_float"):
            norm(np.zeros((2, 4, 3, 6), np.uint8), None, None)


# The layers

LAYERS = {"layer": LayerNorm(eps=0.1), "group": GroupNorm(3, eps=0.1), "instance": InstanceNorm(eps=0.1)}


@every
def test_the_layer_is_the_function_of_its_parameters(name):
    layer = LAYERS[name]
    params, state = layer.init(jax.random.key(0), X)
    assert state == {}
    close(params["scale"], np.ones(6))
    close(params["bias"], np.zeros(6))
    y, _ = layer.apply({"scale": SCALE, "bias": BIAS}, {}, X, train=False)
    np.testing.assert_array_equal(y, TABLE[name][0](X, SCALE, BIAS, eps=0.1))
    bare = type(layer)(**{"groups": 3} if name == "group" else {}, use_scale=False, use_bias=False)
    assert bare.init(jax.random.key(0), X) == ({}, {})
    np.testing.assert_array_equal(bare.apply({}, {}, X, train=False)[0], TABLE[name][0](X, None, None))
    assert set(
        type(layer)(**{"groups": 3} if name == "group" else {}, use_bias=False).init(jax.random.key(0), X)[0]
    ) == {"scale"}


def test_the_layers_are_values():
    assert GroupNorm() == GroupNorm(32) == GroupNorm(groups=32, eps=np.float64(1e-6))
    assert (
        len({LayerNorm(), LayerNorm(eps=1e-5), InstanceNorm(), GroupNorm(), GroupNorm(8), LayerNorm(use_bias=False)})
        == 6
    )
    assert repr(GroupNorm(8)) == "GroupNorm(groups=8)"
    assert repr(LayerNorm(eps=1e-3)) == "LayerNorm(eps=0.001)"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LayerNorm(eps=-0.1), r"^LayerNorm: expected eps >= 0, got -0\.1\. 1e-6 is usual\."),
        (lambda: GroupNorm(eps=-1), r"^GroupNorm: expected eps >= 0, got -1\. "),
        (lambda: InstanceNorm(eps=-1.0), r"^InstanceNorm: expected eps >= 0, got -1\.0\. "),
        (lambda: GroupNorm(0), r"^GroupNorm: expected groups as a positive int, got 0\. Pass groups=8, say\."),
        (lambda: GroupNorm(4.0), r"^GroupNorm: expected groups as a positive int, got 4\.0\. "),
        (lambda: init(GroupNorm(4), X), r"^GroupNorm: expected groups that divide the 6 channels, got 4\. Pass"),
        (
            lambda: init(GroupNorm(4), X[0, 0]),
            r"^GroupNorm: expected images of shape \(\.\.\., H, W, C\), got \(3, 6\)\. ",
        ),
        (lambda: init(InstanceNorm(), X[0, 0]), r"^InstanceNorm: expected images of shape \(\.\.\., H, W, C\), got "),
        (
            lambda: init(LayerNorm(), jnp.float32(1)),
            r"^LayerNorm: expected an input of shape \(\.\.\., C\), got \(\)\. ",
        ),
    ],
)
def test_the_layers_check_their_options_and_inputs(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def init(layer, x):
    return layer.init(jax.random.key(0), x)
