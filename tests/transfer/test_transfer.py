"""New heads, frozen parts, rates by layer, partial loading, features computed once."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxcnn import data, fingerprint, surgery, training, transfer
from jaxcnn import functional as F
from jaxcnn.layers import BatchNorm, Conv, Dense, Dropout, GlobalAvgPool, Sequential
from jaxcnn.training.optimizer import except_frozen

pytestmark = pytest.mark.usefixtures("quick_compilation")

KEY = jax.random.key(0)
NET = Sequential(
    stage1=Sequential(conv=Conv(4), norm=BatchNorm(), act=F.relu),
    stage2=Sequential(conv=Conv(6), norm=BatchNorm(), act=F.relu, drop=Dropout(0.5)),
    pool=GlobalAvgPool(),
    head=Dense(3),
)


@pytest.fixture(scope="module")
def some():
    rng = np.random.default_rng(0)
    label = np.arange(30) % 3
    image = rng.uniform(0, 0.4, (30, 6, 6, 1))
    image[np.arange(30), :, 2 * label] += 0.5
    return data.from_arrays((image * 255).astype(np.uint8), label)


@pytest.fixture(scope="module")
def weights(some):
    result = training.fit(NET, some, epochs=2, batch_size=10, key=KEY)
    return result.state.params, result.state.model_state


def same(one, other):
    return fingerprint(one) == fingerprint(other)


# --- heads


@pytest.mark.slow
def test_a_new_head_and_everything_else_as_it_was(weights, some):
    params, state = weights
    before = fingerprint(weights)
    net, new, new_state = transfer.swap_head(NET, params, state, Dense(7), key=KEY, spec=some.spec)
    assert net.layers["head"] == Dense(7)
    assert new["head"]["kernel"].shape == (6, 7)
    assert all(new[name] is params[name] for name in ("stage1", "stage2"))
    assert same(new_state, state)
    assert fingerprint(weights) == before
    y, _ = net.apply(new, new_state, np.ones((2, 6, 6, 1), np.float32), train=False)
    assert y.shape == (2, 7)
    fresh, _ = net.init(KEY, some.spec)
    assert same(new["head"], fresh["head"])


def test_a_layer_in_the_middle(weights, some):
    block = Sequential(conv=Conv(6), norm=BatchNorm())
    net, params, state = transfer.swap_head(NET, *weights, block, at="stage2", key=KEY, spec=some.spec)
    assert list(net.layers) == list(NET.layers)
    assert state.keys() == {"stage1", "stage2"}
    twice = Sequential(stage1=NET["stage1"], stage2=Conv(4), **NET[2:].layers)
    old = twice.init(KEY, some.spec)
    gone, params, state = transfer.swap_head(twice, *old, F.relu, at="stage2", key=KEY, spec=some.spec)
    assert state.keys() == {"stage1"}
    assert params.keys() == {"stage1", "head"}
    assert gone.layers["stage2"] is F.relu


# --- freezing


@pytest.fixture(scope="module")
def frozen(weights, some):
    return training.fit(NET, some, epochs=2, batch_size=10, key=KEY, start=weights, freeze=["stage1", "stage2/norm"])


def test_what_is_frozen_stays_to_the_bit(frozen, weights):
    params, state = weights
    after, after_state = frozen.state.params, frozen.state.model_state
    assert same(after["stage1"], params["stage1"])
    assert same(after_state, state)
    assert same(after["stage2"]["norm"], params["stage2"]["norm"])
    assert not same(after["stage2"]["conv"], params["stage2"]["conv"])
    assert not same(after["head"], params["head"])


def test_what_is_frozen_has_no_slots(frozen):
    shapes = [leaf.shape for leaf in jax.tree.leaves(frozen.state.opt_state) if leaf.ndim]
    assert sorted(shapes) == sorted([(3, 3, 4, 6), (6,), (6, 3), (3,)])


@pytest.mark.slow
def test_the_front_costs_no_gradient(weights, some):
    def flops(freeze):
        optimizer = training.sgd(0.1)
        kept = optax.masked(optimizer, transfer.trainable_mask(weights[0], freeze)) if freeze else optimizer
        state = training.TrainState.create(NET, kept, KEY, some.spec, start=weights)
        step = training.make_train_step(NET, optimizer, freeze=freeze)
        batch = {"image": some["image"], "label": some["label"]}
        return jax.jit(step).lower(state, batch).compile().cost_analysis()["flops"]

    assert flops(["stage1", "stage2"]) < 0.5 * flops([])


@pytest.mark.slow
def test_a_frozen_net_is_in_training_what_it_is_in_evaluation(weights):
    x = jax.random.uniform(KEY, (2, 6, 6, 1))
    net = surgery.freeze(NET, ["stage1", "stage2"])
    expected, _ = NET.apply(*weights, x, train=False)
    y, state = net.apply(*weights, x, train=True, key=KEY)
    np.testing.assert_allclose(y, expected, rtol=1e-6)
    assert same(state, weights[1])
    gradient = jax.grad(lambda p: net.apply(p, weights[1], x, train=True)[0].sum())(weights[0])
    assert all(not leaf.any() for leaf in jax.tree.leaves({n: gradient[n] for n in ("stage1", "stage2")}))
    assert gradient["head"]["kernel"].any()


@pytest.fixture(scope="module")
def alike(weights):
    """Parameters of which one layer is called as another one begins."""
    return weights[0] | {"stage10": {"kernel": jnp.ones(2)}}


def test_a_mask_for_optax(alike):
    mask = transfer.trainable_mask(alike, ["stage1", "stage2/conv"])
    assert mask["stage1"] == {"conv": {"kernel": False, "bias": False}, "norm": {"scale": False, "bias": False}}
    assert mask["stage2"]["conv"] == {"kernel": False, "bias": False}
    assert mask["stage2"]["norm"] == {"scale": True, "bias": True}
    assert mask["stage10"] == {"kernel": True}


# --- rates


def updates(optimizer, params, steps=1):
    state, found = optimizer.init(params), []
    for _ in range(steps):
        gradient = jax.tree.map(jnp.ones_like, params)
        update, state = optimizer.update(gradient, state, params)
        found.append(update)
    return found


def test_a_rate_for_each_layer(alike):
    optimizer = optax.chain(optax.sgd(1.0), transfer.scale_updates({"stage1/conv": 0.2, "stage1": 0.1, "head": 0.0}))
    (update,) = updates(optimizer, alike)
    np.testing.assert_allclose(update["stage1"]["conv"]["kernel"], -0.2, rtol=1e-6)
    np.testing.assert_allclose(update["stage1"]["norm"]["scale"], -0.1, rtol=1e-6)
    np.testing.assert_allclose(update["stage2"]["conv"]["kernel"], -1.0)
    np.testing.assert_allclose(update["stage10"]["kernel"], -1.0)
    assert not update["head"]["kernel"].any()


def test_rates_that_fall_towards_the_input(weights):
    assert transfer.layerwise(NET, weights[0], 0.5) == {"stage1": 0.25, "stage2": 0.5, "head": 1.0}


def test_gradual_unfreezing(alike):
    steps = {"stage1": 1, "stage1/conv": 2, "stage2": 1}
    found = updates(transfer.unfreeze_at(training.sgd(1.0, momentum=0.9), steps), alike, 3)
    still = jax.tree.map(lambda *leaves: sum(not leaf.any() for leaf in leaves), *found)
    assert still["stage1"] == {"conv": {"kernel": 2, "bias": 2}, "norm": {"scale": 1, "bias": 1}}
    assert still["stage2"]["conv"] == {"kernel": 1, "bias": 1}
    assert still["stage10"] == {"kernel": 0}
    later = updates(training.sgd(1.0, momentum=0.9), alike)[0]
    np.testing.assert_allclose(found[2]["stage1"]["conv"]["kernel"], later["stage1"]["conv"]["kernel"], rtol=1e-6)


# --- loading


def test_what_matches_is_taken_over_and_the_rest_named(weights, some):
    net = Sequential(stage1=NET.layers["stage1"], other=Conv(5), pool=GlobalAvgPool(), head=Dense(4))
    fresh = net.init(jax.random.key(1), some.spec)
    (params, state), found = transfer.load(fresh, weights)
    assert same(params["stage1"], weights[0]["stage1"])
    assert same(state["stage1"], weights[1]["stage1"])
    assert same(params["other"], fresh[0]["other"])
    assert found.missing == ("params/other/bias", "params/other/kernel")
    assert found.another_shape == ("params/head/bias", "params/head/kernel")
    assert set(found.unexpected) == {
        *(f"params/stage2/{name}" for name in ("conv/bias", "conv/kernel", "norm/bias", "norm/scale")),
        *(f"state/stage2/norm/{name}" for name in ("mean", "var")),
    }
    told = "6 arrays matched; 2 missing: params/other/bias, params/other/kernel; 6 unexpected: params/stage2"
    assert str(found).startswith(told)


# --- features


def test_features_are_computed_once(weights, some):
    found, back = transfer.features(NET, *weights, some, at="stage2")
    assert found["image"].shape == (30, 6, 6, 6)
    np.testing.assert_array_equal(found["label"], some["label"])
    logits = training.predict(NET, *weights, some)
    np.testing.assert_allclose(training.predict(back, *weights, found), logits, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_a_head_on_features_is_the_frozen_training(weights, some):
    options = {"epochs": 2, "batch_size": 10, "key": KEY, "optimizer": training.sgd(0.1)}
    whole = training.fit(NET, some, start=weights, freeze=["stage1", "stage2"], **options)
    found, back = transfer.features(NET, *weights, some, at="pool")
    part = training.fit(back, found, start=({"head": weights[0]["head"]}, {}), **options)
    for a, b in zip(jax.tree.leaves(part.state.params), jax.tree.leaves(whole.state.params["head"]), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


# --- bad input


def mistakes(weights, some):
    params = weights[0]
    swap = functools.partial(transfer.swap_head, NET, *weights, key=KEY, spec=some.spec)
    fit = functools.partial(training.fit, NET, some, key=KEY, batch_size=10)
    paths = "(trainable_mask|scale_updates|unfreeze_at): expected paths of layers with parameters, got"
    return {
        r"swap_head: expected the name of one of .*'head'\], got 'heat'\.": lambda: swap(Dense(2), at="heat"),
        r"swap_head: expected a layer as head, got 3\.": lambda: swap(3),
        rf"{paths} \['stage3'\]\. There are \['head', 'stage1/conv'": lambda: transfer.trainable_mask(params, "stage3"),
        r"freeze: expected the path of a layer, got 'stag1'\. Did you mean 'stage1'": lambda: fit(freeze=["stag1"]),
        r"fit: expected freeze to leave parameters that train, got .*'head'": lambda: fit(freeze=list(NET.layers)),
        r"TrainState\.create: expected a start .* at \['state/stage1/norm/mean'": lambda: fit(start=(params, {})),
        r"fit: expected start as \(params, state\), got 3\.": lambda: fit(start=3),
        r"scale_updates: expected factors >= 0, got -1\.": lambda: transfer.scale_updates({"stage1": -1}),
        rf"{paths} \['no'\]\.": lambda: transfer.scale_updates({"no": 1}).init(params),
        r"layerwise: expected decay in \(0, 1\], got 2\.": lambda: transfer.layerwise(NET, params, 2),
        r"unfreeze_at: expected steps as ints >= 0, got 0\.5\.": lambda: transfer.unfreeze_at(
            training.sgd(0.1), {"stage1": 0.5}
        ),
        r"load: expected arrays of the same name and shape, got 0 arrays matched; ": lambda: transfer.load(
            weights, ({"a": jnp.ones(3)}, {})
        ),
        r"load: expected into and given as params, or as \(params, state\), got ": lambda: transfer.load(
            weights, params
        ),
        r"trainable_mask: expected a sequence of paths, got \[1\]\.": lambda: transfer.trainable_mask(params, [1]),
        r"cut: expected .*'stage1'": lambda: transfer.features(NET, *weights, some, at="act"),
    }


@pytest.mark.parametrize("number", range(15))
def test_bad_input(number, weights, some):
    message, call = [*mistakes(weights, some).items()][number]
    with pytest.raises((ValueError, TypeError), match=f"^{message}"):
        call()


def test_features_of_one_axis_are_a_set_like_any_other():
    net = Sequential(conv=Conv(4), pool=GlobalAvgPool(), head=Dense(3))
    label = np.arange(30) % 3
    train = data.from_arrays(np.random.default_rng(0).random((30, 4, 4, 1), np.float32), label)
    params, state = net.init(jax.random.key(0), train.spec)
    found, _ = transfer.features(net, params, state, train, at="pool")
    assert found["image"].shape == (30, 4)
    assert not found["image"].flags.writeable
    assert found.take([3, 1])["label"].tolist() == [0, 1]


def test_a_layer_after_which_the_others_do_not_fit_is_refused():
    net = Sequential(conv=Conv(4), pool=GlobalAvgPool(), head=Dense(3))
    spec = jax.ShapeDtypeStruct((1, 4, 4, 1), jnp.float32)
    params, state = net.init(jax.random.key(0), spec)
    with pytest.raises(
        ValueError, match=r"^swap_head: expected a layer as 'conv' after which the weights of the others"
    ):
        transfer.swap_head(net, params, state, Conv(5), at="conv", key=jax.random.key(1), spec=spec)


def test_layers_may_have_rates_of_their_own_while_others_are_frozen(weights):
    rates = transfer.layerwise(NET, weights[0], 0.5)
    optimizer = except_frozen(optax.chain(optax.sgd(1.0), transfer.scale_updates(rates)), ["stage1"])
    (update,) = updates(optimizer, weights[0])
    np.testing.assert_allclose(update["stage2"]["conv"]["kernel"], -0.5)
    np.testing.assert_allclose(update["head"]["kernel"], -1.0)
