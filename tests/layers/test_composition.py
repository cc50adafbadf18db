"""Nets from layers: names, slices, keys, state, and errors that say which layer."""

import dataclasses
import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn import fingerprint, layers
from jaxcnn import functional as F
from jaxcnn.layers import BatchNorm, Concat, Conv, Dense, Dropout, Flatten, Gate, GlobalAvgPool, Residual, Sequential

pytestmark = pytest.mark.usefixtures("quick_compilation")
key = jax.random.key(0)
IMAGES = jnp.asarray(np.random.default_rng(0).normal(size=(2, 6, 5, 4)), jnp.float32)
NET = Sequential(conv=Conv(3), norm=BatchNorm(), act=F.relu, pool=GlobalAvgPool(), head=Dense(5))


def double(x):
    return 2 * x


def increment(x):
    return x + 1


def evaluate(net, x=IMAGES, params=None, state=None):
    return net.apply(params or {}, state or {}, x, train=False)[0]


# Sequential as a container


def test_layers_without_names_are_called_by_kind_and_count():
    net = Sequential(Conv(8), F.relu, Conv(16), jnp.tanh, F.relu, lambda x: x)
    assert list(net.layers) == ["conv1", "relu1", "conv2", "tanh1", "relu2", "lambda1"]
    assert Sequential(Conv(8), F.relu) == Sequential(conv1=Conv(8), relu1=F.relu)


def test_is_read_like_a_list_and_like_a_dict():
    assert len(NET) == 5
    assert list(NET) == list(NET.layers.values())
    assert NET[0] == NET["conv"] == Conv(3)
    assert NET[-1] == Dense(5)
    assert NET[1:3] == Sequential(norm=BatchNorm(), act=F.relu)
    assert NET[:0] == Sequential()
    assert NET[:] == NET
    assert NET[:4] != NET
    with pytest.raises(TypeError):
        NET.layers["conv"] = Conv(4)
    with pytest.raises(
        ValueError, match=r"^Sequential: expected one of \['conv', 'norm', .*\], got 'conv9'\. Choose a layer"
    ):
        NET["conv9"]


def test_order_and_names_count():
    assert Sequential(a=F.relu, b=F.tanh) != Sequential(b=F.tanh, a=F.relu)
    assert Sequential(a=F.relu) != Sequential(b=F.relu)


def test_repr_has_a_layer_a_line():
    net = Sequential(conv=Conv(3), inner=Residual(Sequential(act=F.relu)))
    assert repr(net).splitlines() == [
        "Sequential(",
        "  conv=Conv(features=3),",
        "  inner=Residual(",
        "    branch=Sequential(",
        "      act=relu,",
        "    ),",
        "  ),",
        ")",
    ]
    assert repr(Sequential()) == "Sequential()"


def test_any_name_without_a_slash_will_do():
    net = Sequential(**{"self": F.relu, "class": F.tanh, "3x3": Conv(2)})
    assert list(net.layers) == ["self", "class", "3x3"]
    assert list(Concat(**{"self": F.relu}).children()) == ["self"]


# What composition computes


def test_sequential_composes_in_order():
    np.testing.assert_array_equal(evaluate(Sequential(double, increment)), 2 * IMAGES + 1)
    np.testing.assert_array_equal(evaluate(Sequential(increment, double)), 2 * (IMAGES + 1))
    np.testing.assert_array_equal(evaluate(Sequential()), IMAGES)


def test_residual_adds():
    np.testing.assert_array_equal(evaluate(Residual(double)), 3 * IMAGES)
    np.testing.assert_array_equal(evaluate(Residual(double, shortcut=increment)), 2 * IMAGES + (IMAGES + 1))


def test_concat_joins_channels_in_order():
    y = evaluate(Concat(a=double, b=increment))
    np.testing.assert_array_equal(y, np.concatenate([2 * IMAGES, IMAGES + 1], axis=-1))


def test_nothing_is_kept_for_layers_that_own_nothing():
    params, state = NET.init(key, IMAGES)
    assert set(params) == {"conv", "norm", "head"}
    assert set(state) == {"norm"}
    _, after = NET.apply(params, state, IMAGES, train=True)
    assert jax.tree.structure(after) == jax.tree.structure(state)
    residual = Residual(Sequential(act=F.relu), shortcut=Conv(4, 1))
    params, state = residual.init(key, IMAGES)
    assert set(params) == {"shortcut"}
    assert state == {}


def test_each_layer_gets_its_own_parameters_and_state():
    params, state = NET.init(key, IMAGES)
    x = F.conv(IMAGES, params["conv"]["kernel"], params["conv"]["bias"])
    x, stats = F.batch_norm(x, params["norm"]["scale"], params["norm"]["bias"], state["norm"], train=True)
    x = F.dense(F.global_avg_pool(F.relu(x)), params["head"]["kernel"], params["head"]["bias"])
    y, after = NET.apply(params, state, IMAGES, train=True)
    np.testing.assert_allclose(y, x, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(after["norm"].mean, stats.mean)


# Keys


def test_inserting_a_named_layer_leaves_the_others_as_they_were():
    longer = Sequential(
        conv=Conv(3),
        norm=BatchNorm(),
        act=F.relu,
        extra=Conv(3),
        drop=Dropout(0.5),
        pool=GlobalAvgPool(),
        head=Dense(5),
    )
    (before, _), (after, _) = NET.init(key, IMAGES), longer.init(key, IMAGES)
    for name in before:
        assert fingerprint(after[name]) == fingerprint(before[name])


def test_a_layers_key_is_the_crc32_of_its_name_folded_in():
    params, _ = Sequential(stem=Sequential(conv=Conv(3))).init(key, IMAGES)
    folded = key
    for name in ("stem", "conv"):
        folded = jax.random.fold_in(folded, zlib.crc32(name.encode()))
    assert fingerprint(params["stem"]["conv"]) == fingerprint(Conv(3).init(folded, IMAGES)[0])


def test_layers_of_one_kind_get_different_keys():
    params, _ = Sequential(a=Conv(4), b=Conv(4)).init(key, IMAGES)
    assert (params["a"]["kernel"] != params["b"]["kernel"]).any()
    params, _ = Residual(Conv(4), shortcut=Conv(4)).init(key, IMAGES)
    assert (params["branch"]["kernel"] != params["shortcut"]["kernel"]).any()
    y, _ = Concat(a=Dropout(0.5), b=Dropout(0.5)).apply({}, {}, jnp.ones((8, 8, 1)), train=True, key=key)
    assert (y[..., 0] != y[..., 1]).any()


def test_dropout_draws_by_name_whatever_comes_before():
    x = jnp.ones((8, 8, 1))
    one, _ = Sequential(drop=Dropout(0.5)).apply({}, {}, x, train=True, key=key)
    two, _ = Sequential(act=F.relu, other=Dropout(0.0), drop=Dropout(0.5)).apply({}, {}, x, train=True, key=key)
    np.testing.assert_array_equal(one, two)


# Bad input


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Sequential(F.relu, conv=Conv(3)), ValueError, r"^Sequential: expected layers either all named or .*"),
        (lambda: Sequential(*[F.relu] * 61, F.relu6), ValueError, r"^Sequential: .* names, got \['relu61'\]\. Name"),
        (lambda: Sequential(Conv), TypeError, r"^Sequential: expected 'conv1' to be a layer .*, got <class"),
        (lambda: Sequential(a=3), TypeError, r"^Sequential: expected 'a' to be a layer .*, got 3\. "),
        (lambda: Sequential(None), TypeError, r"^Sequential: expected 'nonetype1' to be a layer .*, got None\. "),
        (lambda: Sequential(**{"a/b": F.relu}), ValueError, r"^Sequential: expected names without '/', got 'a/b'\. "),
        (lambda: Sequential(**{"": F.relu}), ValueError, r"^Sequential: expected names without '/', got ''\. "),
        (lambda: Residual("conv"), TypeError, r"^Residual: expected 'branch' to be a layer .*, got 'conv'\. "),
        (lambda: Residual(F.relu, 3), TypeError, r"^Residual: expected 'shortcut' to be a layer .*, got 3\. "),
        (lambda: Concat(), ValueError, r"^Concat: expected at least one branch, got none\. Pass branches by name\."),
        (lambda: Concat(a=Conv), TypeError, r"^Concat: expected 'a' to be a layer .*, got <class"),
    ],
)
def test_bad_parts(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_branches_that_do_not_fit():
    residual = Residual(Conv(3, stride=2))
    params, state = residual.init(key, IMAGES)
    with pytest.raises(
        ValueError,
        match=r"^Residual: expected a branch and a shortcut of one shape, \(2, 6, 5, 4\), got a branch of shape "
        r"\(2, 3, 3, 3\)\. Give a shortcut",
    ):
        residual.apply(params, state, IMAGES, train=False)
    concat = Concat(a=F.relu, b=GlobalAvgPool())
    with pytest.raises(
        ValueError, match=r"^Concat: expected branches whose outputs differ in channels alone, got \{'a': "
    ):
        concat.apply({}, {}, IMAGES, train=False)
    message = r"^Gate: expected a branch whose output \(2, 6, 5, 4\) can be .*, got one of shape \(2, 6, 5, 3\)\. "
    with pytest.raises(ValueError, match=message):
        Gate(lambda x: x[..., :3]).apply({}, {}, IMAGES, train=False)


def test_errors_name_the_layer_from_the_inside_out():
    net = Sequential(stem=Sequential(flat=Flatten(), conv=Conv(3)), head=Dense(5))
    with pytest.raises(ValueError, match=r"^Conv: expected images of shape") as caught:
        net.init(key, IMAGES)
    # JAX adds a note of its own about its traceback.
    assert [note for note in caught.value.__notes__ if note.startswith("in layer")] == [
        "in layer 'conv', Conv given an input of shape (2, 120)",
        "in layer 'stem', Sequential given an input of shape (2, 6, 5, 4)",
    ]
    params, state = NET.init(key, IMAGES)
    with pytest.raises(ValueError, match=r"^conv: expected images of 4 channels") as caught:
        jax.jit(lambda x: NET.apply(params, state, x, train=False))(IMAGES[..., :2])
    assert "in layer 'conv', Conv given an input of shape (2, 6, 5, 2)" in caught.value.__notes__


def test_dropout_inside_a_net_asks_for_a_key():
    net = Sequential(drop=Dropout(0.5))
    with pytest.raises(ValueError, match=r"^Dropout: expected a key when train=True, got None\. Pass key=") as caught:
        net.apply({}, {}, IMAGES, train=True)
    assert "in layer 'drop'" in caught.value.__notes__[0]


@pytest.mark.parametrize("params", [{}, {"conv": {}}, {"conv": [1]}, {"other": {}}, [], None], ids=repr)
def test_parameters_of_another_net(params):
    with pytest.raises(ValueError, match=r"^Conv: expected params with 'kernel', got .*\. Pass the params that init"):
        NET.apply(params, {}, IMAGES, train=False)


def test_state_of_another_net():
    params, _ = NET.init(key, IMAGES)
    with pytest.raises(TypeError, match=r"^batch_norm: expected stats as a BatchStats\(mean, var\), got \{\}\. "):
        NET.apply(params, {}, IMAGES, train=False)


@dataclasses.dataclass(frozen=True)
class Sum(layers.Layer):
    """A layer of several inputs by name."""

    def apply(self, params, state, x, *, train, key=None):
        return x["a"] + x["b"], state


def test_a_net_may_have_several_inputs():
    net = Sequential(sum=Sum(), head=Dense(2))
    spec = {name: jax.ShapeDtypeStruct((1, 3), jnp.float32) for name in ("a", "b")}
    params, state = net.init(key, spec)
    assert params["head"]["kernel"].shape == (3, 2)
    assert net.apply(params, state, {"a": jnp.ones((4, 3)), "b": jnp.ones((4, 3))}, train=False)[0].shape == (4, 2)


@dataclasses.dataclass(frozen=True)
class WithoutState(layers.Layer):
    """A layer whose author forgot the state."""

    def apply(self, params, state, x, *, train, key=None):
        return 2 * x


@dataclasses.dataclass(frozen=True)
class WithoutParts(layers.Layer):
    """A layer whose author forgot that `init` has a state to return."""

    def init(self, key, spec):
        return {"scale": jnp.ones(3)}


@dataclasses.dataclass(frozen=True)
class Forgetful(layers.Layer):
    """A layer whose author returns no state, having some."""

    def init(self, key, spec):
        return {}, {"running": {"mean": jnp.zeros(3)}}

    def apply(self, params, state, x, *, train, key=None):
        return x, {}


class Plain(layers.Layer):
    """A layer whose author forgot `@dataclass`."""

    width: int = 3


@dataclasses.dataclass
class Mutable(Plain):
    """A layer whose author forgot `frozen=True`."""

    __hash__ = None  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (WithoutParts(), r"^WithoutParts: expected init to return \(params, state\), got dict\. Return \{\} for what"),
        (
            Forgetful(),
            r"^Forgetful: expected apply to return a state like \{'running': \{'mean': \(3,\)\}\}, got \{\}\. ",
        ),
        (Plain(), r"^Sequential: expected 'mine' to be a frozen dataclass, got a Plain, which is none\. Write @data"),
        (Mutable(), r"^Sequential: expected 'mine' to be a frozen dataclass, got a Mutable, which is none\. Write @da"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_authors_of_layers_forget_is_said(layer, message):
    spec = jax.ShapeDtypeStruct((2, 4, 4, 3), jnp.float32)
    with pytest.raises(TypeError, match=message):
        layers.Sequential(mine=layer, act=F.relu).init(jax.random.key(0), spec)


def test_a_layer_that_returns_no_pair_is_refused():
    """An array of two images would come apart into two outputs else."""
    net = layers.Sequential(mine=WithoutState(), act=F.relu)
    message = r"^WithoutState: expected apply to return \(outputs, state\), got an array alone\. Return x, state where"
    with pytest.raises(TypeError, match=message):
        net.apply({}, {}, jnp.ones((2, 4, 4, 3)), train=False)
