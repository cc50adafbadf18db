"""Flax: variables there and back, nets as linen and nnx modules, modules as layers; numbers equal on both sides."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen, nnx

from jaxcnn import functional as F
from jaxcnn.interop.flax import Linen, Nnx, as_linen, as_nnx, from_linen_variables, to_linen_variables
from jaxcnn.layers import BatchNorm, Conv, Dense, Dropout, GlobalAvgPool, MaxPool, Sequential, to_json
from jaxcnn.training import TrainState, make_train_step

pytestmark = pytest.mark.usefixtures("quick_compilation")
KEY = jax.random.key(1)
X = jax.random.normal(jax.random.key(2), (4, 8, 8, 3))
NET = Sequential(
    stem=Sequential(conv=Conv(4), norm=BatchNorm(), act=F.relu),
    pool=MaxPool(2),
    drop=Dropout(0.5),
    end=GlobalAvgPool(),
    head=Dense(3),
)
PARAMS, STATE = NET.init(KEY, X)


class LinenNet(linen.Module):
    @linen.compact
    def __call__(self, x, train):
        x = linen.Conv(4, (3, 3), name="conv")(x)
        x = linen.BatchNorm(use_running_average=not train, momentum=0.9, name="norm")(x)
        x = linen.Dropout(0.5, deterministic=not train)(linen.relu(x))
        return linen.Dense(3, name="head")(x.mean((1, 2)))


class NnxNet(nnx.Module):
    def __init__(self, rngs):
        self.conv = nnx.Conv(3, 4, (3, 3), rngs=rngs)
        self.norm = nnx.BatchNorm(4, momentum=0.9, rngs=rngs)
        self.drop = nnx.Dropout(0.5, rngs=rngs)
        self.head = nnx.Linear(4, 3, rngs=rngs)

    def __call__(self, x):
        return self.head(self.drop(nnx.relu(self.norm(self.conv(x)))).mean((1, 2)))


def equal(one, other):
    jax.tree.map(np.testing.assert_array_equal, one, other)


def near(one, other):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), one, other)


# --- variables


def test_variables_have_flaxs_names_and_come_back():
    variables = to_linen_variables(PARAMS, STATE)
    assert set(variables) == {"params", "batch_stats"}
    assert variables["batch_stats"]["stem"]["norm"].keys() == {"mean", "var"}
    params, state = from_linen_variables(variables)
    equal((params, state), (PARAMS, STATE))
    assert jax.tree.structure(state) == jax.tree.structure(STATE)


def test_weights_of_a_linen_net_are_those_of_ours():
    theirs = LinenNet()
    params, state = from_linen_variables(theirs.init(KEY, X, train=False))
    ours = Sequential(conv=Conv(4), norm=BatchNorm(), act=F.relu, drop=Dropout(0.5), end=GlobalAvgPool(), head=Dense(3))
    near(ours.apply(params, state, X, train=False)[0], theirs.apply(to_linen_variables(params, state), X, train=False))


def test_a_net_without_state_has_params_alone():
    assert to_linen_variables({"head": {"kernel": X}}, {}).keys() == {"params"}
    assert from_linen_variables({"params": {}}) == ({}, {})


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (3, TypeError, r"^from_linen_variables: expected variables as a dict, got 3\."),
        ({"cache": {}}, ValueError, r"^from_linen_variables: expected params and batch_stats, got \['cache'\]\."),
        ({"params": {"a": "text"}}, TypeError, r"^from_linen_variables: expected params as nested dicts of arrays"),
    ],
)
def test_bad_variables(given, error, message):
    with pytest.raises(error, match=message):
        from_linen_variables(given)


# --- nets as modules


def test_as_linen_initialises_and_computes_as_the_net_does():
    module = as_linen(NET)
    variables = to_linen_variables(PARAMS, STATE)
    fresh = module.init(KEY, X, train=False)
    assert jax.tree.map(jnp.shape, fresh) == jax.tree.map(jnp.shape, variables)
    near(module.apply(variables, X, train=False), NET.apply(PARAMS, STATE, X, train=False)[0])
    again = module.init(KEY, X, train=False)
    equal(fresh, again)


def test_as_linen_moves_statistics_and_drops_by_key():
    module, variables = as_linen(NET), to_linen_variables(PARAMS, STATE)
    run = lambda key: module.apply(variables, X, train=True, mutable=["batch_stats"], rngs={"dropout": key})  # noqa: E731
    (y, moved), (other, _) = run(KEY), run(jax.random.key(9))
    _, state = NET.apply(PARAMS, STATE, X, train=True, key=KEY)
    near(from_linen_variables(moved)[1], state)
    assert not np.allclose(y, other)
    equal(y, run(KEY)[0])


def test_one_layer_is_a_module():
    norm = BatchNorm()
    variables = as_linen(norm).init(KEY, X, train=False)
    assert variables["batch_stats"].keys() == {"mean", "var"}
    _, moved = as_linen(norm).apply(variables, X, train=True, mutable=["batch_stats"])
    near(moved["batch_stats"]["mean"], 0.1 * X.mean((0, 1, 2)))


def test_as_linen_is_a_part_of_other_modules():
    class Whole(linen.Module):
        @linen.compact
        def __call__(self, x):
            return linen.Dense(2)(as_linen(NET)(x, train=False))

    variables = Whole().init(KEY, X)
    assert Whole().apply(variables, X).shape == (4, 2)


def test_as_nnx_computes_as_the_net_does_and_moves_its_statistics():
    module = as_nnx(NET, PARAMS, STATE)
    near(module(X, train=False), NET.apply(PARAMS, STATE, X, train=False)[0])
    y, state = NET.apply(PARAMS, STATE, X, train=True, key=KEY)
    near(module(X, train=True, key=KEY), y)
    near(module(X, train=False), NET.apply(PARAMS, state, X, train=False)[0])


@pytest.mark.slow
def test_as_nnx_trains():
    module = as_nnx(NET, PARAMS, STATE)

    def loss(module):
        return (module(X, train=True, key=KEY) ** 2).mean()

    optimizer = nnx.Optimizer(module, optax.sgd(0.1), wrt=nnx.Param)
    before = loss(module)
    for _ in range(5):
        optimizer.update(module, nnx.grad(loss)(module))
    assert loss(module) < before
    assert {type(v) for v in jax.tree.leaves(nnx.state(module), is_leaf=lambda v: isinstance(v, nnx.Variable))} == {
        nnx.Param,
        nnx.BatchStat,
    }


# --- modules as layers


@pytest.mark.parametrize("layer", [Linen(LinenNet()), Nnx(NnxNet)], ids=["linen", "nnx"])
def test_a_module_is_a_layer_like_any_other(layer):
    net = Sequential(before=Conv(3), module=layer, act=F.relu, head=Dense(2))
    params, state = net.init(KEY, X)
    y, same = net.apply(params, state, X, train=False)
    assert y.shape == (4, 2)
    equal(same, state)
    y, moved = net.apply(params, state, X, train=True, key=KEY)
    assert jax.tree.structure(moved) == jax.tree.structure(state)
    assert any(not np.allclose(a, b) for a, b in zip(jax.tree.leaves(moved), jax.tree.leaves(state), strict=True))
    equal(y, net.apply(params, state, X, train=True, key=KEY)[0])
    assert not np.allclose(y, net.apply(params, state, X, train=True, key=jax.random.key(5))[0])
    equal(net.init(KEY, X), (params, state))


@pytest.mark.parametrize("layer", [Linen(LinenNet()), Nnx(NnxNet)], ids=["linen", "nnx"])
def test_a_module_trains(layer):
    net = Sequential(module=layer)
    batch = {"image": X, "label": jnp.arange(4) % 3}
    state = TrainState.create(net, optax.sgd(0.1), KEY, X)
    step = jax.jit(make_train_step(net, optax.sgd(0.1)))
    losses = []
    for _ in range(15):
        state, metrics = step(state, batch)
        losses.append(float(metrics["loss"]))
    assert min(losses[-5:]) < losses[0]


def test_a_linen_module_gives_what_it_gives_alone():
    layer = Linen(LinenNet())
    params, state = layer.init(KEY, X)
    near(layer.apply(params, state, X, train=False)[0], LinenNet().apply({"params": params, **state}, X, train=False))


def test_a_linen_module_is_told_whether_it_trains_by_any_name_that_flax_has_for_it():
    drop, norm = Linen(linen.Dropout(0.5)), Linen(linen.BatchNorm())
    equal(drop.apply({}, {}, X, train=False)[0], X)
    y, _ = drop.apply({}, {}, X, train=True, key=KEY)
    equal(y, jnp.where(y == 0, 0, 2 * X))
    assert 0.4 < (y == 0).mean() < 0.6
    params, state = norm.init(KEY, X)
    equal(norm.apply(params, state, X, train=False)[1], state)
    moved = norm.apply(params, state, X, train=True)[1]
    near(moved["batch_stats"]["mean"], 0.01 * X.mean((0, 1, 2)))


def test_a_linen_module_stays_as_it_was_built():
    norm = Linen(linen.BatchNorm(use_running_average=True))
    params, state = norm.init(KEY, X)
    y, same = norm.apply(params, state, X, train=True)
    equal(same, state)
    near(y, X / np.sqrt(1 + 1e-5))


def test_an_nnx_module_gives_what_it_gives_alone():
    module = NnxNet(nnx.Rngs(KEY))
    module.eval()
    layer = Nnx(NnxNet)
    params, state = layer.init(KEY, X)
    near(layer.apply(params, state, X, train=False)[0], module(X))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Linen(3), r"^Linen: expected a linen module, got 3\."),
        (lambda: Nnx(3), r"^Nnx: expected a function of nnx\.Rngs, got 3\."),
        (lambda: as_linen(3), r"^as_linen: expected a layer, got 3\."),
        (lambda: as_nnx(NET, 3, {}), r"^as_nnx: expected params as nested dicts of arrays, got 3\."),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(TypeError, match=message):
        make()


@pytest.mark.parametrize("layer", [Linen(LinenNet()), Nnx(NnxNet)], ids=["linen", "nnx"])
def test_a_net_with_a_module_cannot_be_saved(layer):
    with pytest.raises(ValueError, match=r"^to_json: expected .* that jaxcnn knows, got (Linen|Nnx)\("):
        to_json(Sequential(module=layer))


def test_a_module_of_flax_is_no_layer_as_it_is():
    for module, name in ((linen.Dense(3), "Linen"), (nnx.Linear(2, 3, rngs=nnx.Rngs(0)), "Nnx")):
        with pytest.raises(
            TypeError, match=rf"^Sequential: expected 'b' .*, got a module of Flax\. Put .*flax\.{name}\("
        ):
            Sequential(a=Conv(3), b=module)
