"""Cutting, replacing, reading and editing nets: against plain computations by hand, and under JAX's transformations."""

import functools
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxcnn import functional as F
from jaxcnn.layers import (
    BatchNorm,
    Concat,
    Conv,
    Dense,
    Dropout,
    GlobalAvgPool,
    Layer,
    Residual,
    Sequential,
    from_json,
    to_json,
)
from jaxcnn.surgery import activations, cut, edit, paths, replace
from jaxcnn.surgery.tree import leaf_paths, modules

pytestmark = pytest.mark.usefixtures("quick_compilation")
KEY = jax.random.key(3)


def build(act=F.relu, rate=0.5) -> Sequential:
    return Sequential(
        stem=Sequential(conv=Conv(4), norm=BatchNorm(), act=act),
        block=Residual(
            Sequential(conv=Conv(6, use_bias=False), norm=BatchNorm(), act=act),
            Sequential(conv=Conv(6, 1), act=act),
        ),
        drop=Dropout(rate),
        mix=Concat(wide=Conv(2), narrow=Sequential(conv=Conv(3, 1), act=act)),
        pool=GlobalAvgPool(),
        head=Dense(3),
    )


NET = build()
PATHS = [
    "stem",
    "stem/conv",
    "stem/norm",
    "stem/act",
    "block",
    "block/branch",
    "block/branch/conv",
    "block/branch/norm",
    "block/branch/act",
    "block/shortcut",
    "block/shortcut/conv",
    "block/shortcut/act",
    "drop",
    "mix",
    "mix/wide",
    "mix/narrow",
    "mix/narrow/conv",
    "mix/narrow/act",
    "pool",
    "head",
]


SPEC = jax.ShapeDtypeStruct((4, 6, 5, 2), jnp.float32)


@pytest.fixture(scope="module")
def images():
    return jnp.asarray(np.random.default_rng(1).standard_normal(SPEC.shape), jnp.float32)


@pytest.fixture(scope="module")
def weights():
    """Biases, scales and statistics that are not 0 and 1, so that leaving one out shows."""
    rng = np.random.default_rng(2)
    like = jax.eval_shape(lambda: NET.init(KEY, SPEC))
    return jax.tree.map(lambda leaf: jnp.asarray(rng.uniform(0.2, 0.8, leaf.shape) - (len(leaf.shape) > 1) / 2), like)


def by_hand(params, state, x, *, train=False):
    """Every activation of NET without its dropout, by functions of arrays alone."""

    def norm(x, p, s):
        mean, var = (x.mean((0, 1, 2)), x.var((0, 1, 2))) if train else s
        return (x - mean) / jnp.sqrt(var + 1e-5) * p["scale"] + p["bias"]

    out = {}
    p, s = params["stem"], state["stem"]
    out["stem/conv"] = F.conv(x, p["conv"]["kernel"], p["conv"]["bias"])
    out["stem/norm"] = norm(out["stem/conv"], p["norm"], s["norm"])
    out["stem"] = out["stem/act"] = jnp.maximum(out["stem/norm"], 0)
    p, s = params["block"], state["block"]["branch"]
    out["block/branch/conv"] = F.conv(out["stem"], p["branch"]["conv"]["kernel"])
    out["block/branch/norm"] = norm(out["block/branch/conv"], p["branch"]["norm"], s["norm"])
    out["block/branch"] = out["block/branch/act"] = jnp.maximum(out["block/branch/norm"], 0)
    out["block/shortcut/conv"] = F.conv(out["stem"], **p["shortcut"]["conv"])
    out["block/shortcut"] = out["block/shortcut/act"] = jnp.maximum(out["block/shortcut/conv"], 0)
    out["drop"] = out["block"] = out["block/branch"] + out["block/shortcut"]
    p = params["mix"]
    out["mix/wide"] = F.conv(out["drop"], **p["wide"])
    out["mix/narrow/conv"] = F.conv(out["drop"], **p["narrow"]["conv"])
    out["mix/narrow"] = out["mix/narrow/act"] = jnp.maximum(out["mix/narrow/conv"], 0)
    out["mix"] = jnp.concatenate([out["mix/wide"], out["mix/narrow"]], axis=-1)
    out["pool"] = out["mix"].mean((1, 2))
    out["head"] = out["pool"] @ params["head"]["kernel"] + params["head"]["bias"]
    return out


def close(a, b, tolerance=2e-5):
    np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


def same(a, b):
    """Equal structure and bits."""
    jax.tree.map(functools.partial(np.testing.assert_array_equal, strict=True), a, b)


# --- paths


def test_paths_lists_composites_before_their_parts():
    assert paths(NET) == PATHS
    assert paths(F.relu) == paths(Conv(3)) == []


def test_leaves_are_the_layers_without_parts():
    every = paths(build())
    leaves = leaf_paths(build())
    assert leaves == [path for path in every if not any(other.startswith(f"{path}/") for other in every)]
    assert leaves[:3] == ["stem/conv", "stem/norm", "stem/act"]
    assert modules(build())["stem/act"] is F.relu


def test_paths_do_not_change_with_edits():
    assert paths(edit(NET, {"block": jnp.negative, "stem/act": jnp.negative})) == PATHS


# --- cut


@pytest.mark.parametrize("at", list(NET.layers))
def test_back_after_front_is_the_net_bitwise(at, weights, images):
    whole, _ = NET.apply(*weights, images, train=False)
    front, back = cut(NET, at)
    inner, front_state = front.apply(*weights, images, train=False)
    y, back_state = back.apply(*weights, inner, train=False)
    same(y, whole)
    same(front_state | back_state, weights[1])
    assert [*front.layers, *back.layers] == list(NET.layers)
    assert list(front.layers)[-1] == at


@pytest.mark.parametrize("at", ["stem", "block", "head"])
def test_cut_in_training_keeps_keys_and_shares_out_the_state(at, weights, images):
    whole, state = NET.apply(*weights, images, train=True, key=KEY)
    front, back = cut(NET, at)
    inner, front_state = front.apply(*weights, images, train=True, key=KEY)
    y, back_state = back.apply(*weights, inner, train=True, key=KEY)
    same(y, whole)
    assert not front_state.keys() & back_state.keys()
    same(front_state | back_state, state)
    assert jax.tree.leaves(state)[0].tolist() != jax.tree.leaves(weights[1])[0].tolist()


def test_parts_take_their_own_part_of_the_weights_too(weights, images):
    front, back = cut(NET, "block")
    own = [{name: tree[name] for name in tree if name in front.layers} for tree in weights]
    rest = [{name: tree[name] for name in tree if name not in front.layers} for tree in weights]
    inner, _ = front.apply(*own, images, train=False)
    same(back.apply(*rest, inner, train=False)[0], NET.apply(*weights, images, train=False)[0])


def test_parts_start_with_the_values_of_the_net():
    net = Sequential(a=Dense(3), act=F.relu, b=Dense(2))
    x = jax.ShapeDtypeStruct((1, 4), jnp.float32)
    params, _ = net.init(KEY, x)
    front, _ = cut(net, "act")
    same(front.init(KEY, x)[0], {"a": params["a"]})
    same(edit(net, {"a": jnp.tanh, "b": jnp.tanh}).init(KEY, x)[0], params)


def test_cut_after_the_last_layer_leaves_the_identity(images):
    front, back = cut(NET, "head")
    assert (front, len(back)) == (NET, 0)
    assert back.apply({}, {}, images, train=True)[0] is images


@pytest.mark.parametrize("at", ["stem/conv", "nothing", ""])
def test_cut_at_no_layer_of_the_top(at):
    with pytest.raises(
        ValueError, match=rf"^cut: expected one of the layers \['stem', .*'head'\], got '{at}'\. Choose"
    ):
        cut(NET, at)


def test_cut_of_something_else():
    with pytest.raises(TypeError, match=r"^cut: expected a Sequential, got Residual\. Wrap"):
        cut(Residual(F.relu), "branch")


# --- replace


def test_replace_reaches_every_depth():
    assert replace(build(F.relu), {F.relu: F.tanh}) == build(F.tanh)
    assert replace(build(rate=0.5), {Dropout(0.5): Dropout(0.1), F.relu: F.elu}) == build(F.elu, rate=0.1)
    assert build() == NET


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (Residual(F.relu), Residual(F.tanh)),
        (Residual(Conv(2), F.relu), Residual(Conv(2), F.tanh)),
        (Concat(a=F.relu, b=Conv(2)), Concat(a=F.tanh, b=Conv(2))),
        (
            Sequential(a=Concat(b=Residual(Sequential(c=F.relu)))),
            Sequential(a=Concat(b=Residual(Sequential(c=F.tanh)))),
        ),
        (Sequential(F.relu, Conv(2), F.relu), Sequential(relu1=F.tanh, conv1=Conv(2), relu2=F.tanh)),
    ],
    ids=["branch", "shortcut", "concat", "deep", "numbered names stay"],
)
def test_replace_inside(old, new):
    assert replace(old, {F.relu: F.tanh}) == new


def test_replace_takes_composites_and_the_net_itself():
    block = NET["block"]
    assert replace(NET, {block: Conv(6)})["block"] == Conv(6)
    assert replace(NET, {NET: F.relu}) is F.relu


def test_what_was_put_in_is_not_replaced_again():
    net = Sequential(a=F.relu, b=F.tanh)
    assert replace(net, {F.relu: F.tanh, F.tanh: F.relu}) == Sequential(a=F.tanh, b=F.relu)
    assert replace(net, {F.relu: Residual(F.relu)})["a"] == Residual(F.relu)


def test_replace_keeps_edits(images):
    net = edit(Sequential(stem=Sequential(act=F.relu)), {"stem/act": jnp.negative, "stem": lambda y: y + 1})
    y, _ = replace(net, {F.relu: F.tanh}).apply({}, {}, images, train=False)
    same(y, 1 - jnp.tanh(images))


@pytest.mark.parametrize("keys", [[F.silu], [F.relu, F.silu]])
def test_replace_of_what_does_not_occur(keys):
    with pytest.raises(
        ValueError, match=r"^replace: expected layers that occur in the net, got \['<.*silu.*>'\]\. See"
    ):
        replace(NET, dict.fromkeys(keys, F.tanh))


# --- activations


def test_activations_equal_the_computation_by_hand(weights, images):
    expected = by_hand(*weights, images)
    y, found = activations(NET, *weights, images, PATHS)
    assert list(found) == PATHS
    for path in PATHS:
        close(found[path], expected[path])
    same(y, NET.apply(*weights, images, train=False)[0])


@pytest.mark.parametrize(
    "at",
    [["stem/act"], ["block/branch/norm"], ["block", "block/branch", "block/branch/conv"], ["mix/narrow", "mix"], []],
    ids=",".join,
)
def test_activations_at_some_paths_equal_those_at_all(at, weights, images):
    _, everything = activations(NET, *weights, images, PATHS)
    y, found = activations(NET, *weights, images, at)
    assert list(found) == at
    same(found, {path: everything[path] for path in at})
    same(y, everything["head"])


def test_a_single_path_may_be_a_string(weights, images):
    same(
        activations(NET, *weights, images, "block/branch")[1],
        activations(NET, *weights, images, ["block/branch"])[1],
    )


def test_activations_in_training_use_batch_statistics_and_the_key(weights, images):
    net = replace(NET, {Dropout(0.5): Dropout(0.0)})
    _, found = activations(net, *weights, images, PATHS, train=True)
    expected = by_hand(*weights, images, train=True)
    for path in PATHS:
        close(found[path], expected[path], 1e-4)
    y, dropped = activations(NET, *weights, images, ["drop", "block"], train=True, key=KEY)
    same(y, NET.apply(*weights, images, train=True, key=KEY)[0])
    kept = dropped["drop"] != 0
    same(dropped["drop"], jnp.where(kept, 2 * dropped["block"], 0))
    assert 0.2 < kept.mean() < 0.8


@pytest.mark.slow
def test_activations_under_jit_and_vmap(weights, images):
    def read(params, state, x):
        return activations(NET, params, state, x, PATHS)[1]

    expected = read(*weights, images)
    jitted = jax.jit(read)(*weights, images)
    one_by_one = jax.vmap(read, in_axes=(None, None, 0))(*weights, images)
    for path in PATHS:
        close(jitted[path], expected[path])
        close(one_by_one[path], expected[path])


def value_and_gradient(read, weights, images):
    params, state = weights

    @jax.jit
    @functools.partial(jax.value_and_grad, argnums=(0, 1))
    def run(params, x):
        found = read(params, state, x)
        return jnp.sum(found["stem/act"] ** 2) + jnp.sum(found["block/branch/norm"] ** 3) + found["head"].sum()

    return run(params, images)


@pytest.fixture(scope="module")
def expected_gradient(weights, images):
    return value_and_gradient(by_hand, weights, images)


@pytest.mark.parametrize("wrapped", [lambda fn: fn, jax.checkpoint], ids=["plain", "checkpoint"])
def test_gradients_through_activations(wrapped, weights, images, expected_gradient):
    @wrapped
    def read(params, state, x):
        return activations(NET, params, state, x, ["stem/act", "block/branch/norm", "head"])[1]

    found = value_and_gradient(read, weights, images)
    jax.tree.map(functools.partial(close, tolerance=1e-3), found, expected_gradient)
    assert all(jnp.any(leaf != 0) for leaf in jax.tree.leaves(found))


def test_gradient_at_an_activation_by_cutting(weights, images):
    # The gradient with respect to an activation is that of the back half: how explanations use both.
    front, back = cut(NET, "block")
    inner, _ = front.apply(*weights, images, train=False)
    same(inner, activations(NET, *weights, images, "block")[1]["block"])
    gradient = jax.grad(lambda h: back.apply(*weights, h, train=False)[0][:, 0].sum())(inner)
    shifted = edit(NET, {"block": lambda h: h + 1e-2 * gradient})
    rise = shifted.apply(*weights, images, train=False)[0][:, 0] - NET.apply(*weights, images, train=False)[0][:, 0]
    assert (rise > 0).all()


# --- edit


def without(channel):
    return lambda y: y.at[..., channel].set(0.0)


def test_ablation_changes_the_output_as_by_hand(weights, images):
    y, _ = edit(NET, {"block": without(1)}).apply(*weights, images, train=False)
    _, back = cut(NET, "block")
    inner = by_hand(*weights, images)["block"].at[..., 1].set(0.0)
    close(y, back.apply(*weights, inner, train=False)[0])
    assert not np.allclose(y, NET.apply(*weights, images, train=False)[0])


def test_edit_deep_inside(weights, images):
    plain = by_hand(*weights, images)
    y, found = activations(
        edit(NET, {"block/branch/act": without(2), "mix/wide": jnp.negative}), *weights, images, ["block", "mix"]
    )
    close(found["block"], plain["block/branch"].at[..., 2].set(0.0) + plain["block/shortcut"])
    close(found["mix"][..., :2], -F.conv(found["block"], **weights[0]["mix"]["wide"]))
    close(y, found["mix"].mean((1, 2)) @ weights[0]["head"]["kernel"] + weights[0]["head"]["bias"])


def test_edited_nets_keep_weights_names_and_state(weights, images):
    net = edit(NET, {"stem": jnp.tanh, "block/branch/conv": jnp.negative, "head": jnp.negative})
    assert jax.eval_shape(net.init, KEY, SPEC) == jax.eval_shape(NET.init, KEY, SPEC)
    _, state = net.apply(*weights, images, train=True, key=KEY)
    _, before = NET.apply(*weights, images, train=True, key=KEY)
    assert jax.tree.structure(state) == jax.tree.structure(before)
    same(state["stem"], before["stem"])  # the edit is after it
    mean, moved = weights[1]["block"]["branch"]["norm"].mean, state["block"]["branch"]["norm"].mean
    inner = activations(net, *weights, images, ["block/branch/conv"], train=True, key=KEY)[1]["block/branch/conv"]
    close(moved, 0.9 * mean + 0.1 * inner.mean((0, 1, 2)))


def test_edits_of_edits_come_one_after_another(images):
    net = Sequential(a=Sequential(b=F.relu))
    net = edit(net, {"a/b": lambda y: y + 1})
    net = edit(net, {"a/b": lambda y: 2 * y, "a": lambda y: y - 3})
    net = edit(net, {"a": lambda y: 5 * y})
    relu = jnp.maximum(images, 0)
    y, found = activations(net, {}, {}, images, ["a", "a/b"])
    same(found["a/b"], 2 * (relu + 1))
    same(y, 5 * (2 * (relu + 1) - 3))
    same(found["a"], y)


def test_edits_under_jit_and_grad(weights, images):
    @jax.jit
    @jax.grad
    def slope(scale, params, state, x):
        # The edit closes over a traced value: perturbations with a gradient.
        net = edit(NET, {"mix/narrow": lambda y: scale * y})
        return net.apply(params, state, x, train=False)[0].sum()

    plain = by_hand(*weights, images)
    part = plain["mix/narrow"].mean((1, 2)) @ weights[0]["head"]["kernel"][2:]
    close(slope(1.0, *weights, images), part.sum(), 1e-4)


def test_edited_nets_are_values():
    assert edit(NET, {"block": jnp.tanh}) == edit(NET, {"block": jnp.tanh})
    assert hash(edit(NET, {"block": jnp.tanh})) == hash(edit(NET, {"block": jnp.tanh}))
    assert edit(NET, {"block": jnp.tanh}) != edit(NET, {"block": jnp.sin})
    assert edit(NET, {}) == NET
    with pytest.raises(ValueError, match=r"^to_json: expected layers and functions that jaxcnn knows"):
        to_json(edit(NET, {"block": jnp.tanh}))
    assert from_json(to_json(NET)) == NET


# --- what both say about unknown paths


@pytest.mark.parametrize("where", [edit, activations], ids=["edit", "activations"])
@pytest.mark.parametrize(
    ("path", "near"),
    [("block/branch/akt", "'block/branch/act'"), ("stem/Conv", "'stem/conv'"), ("haed", "'head'"), ("#", "'stem'")],
)
def test_unknown_paths_name_near_ones(where, path, near, weights, images):
    message = rf"expected the path of a layer, got '{path}'\. (Did you mean|There are) .*{near}"
    with pytest.raises(ValueError, match=f"^{where.__name__}: {message}"):
        edit(NET, {path: jnp.tanh}) if where is edit else activations(NET, *weights, images, ["stem", path])


# --- any composition


@st.composite
def trees(draw, depth=3):
    kind = draw(st.sampled_from(["leaf", "chain", "residual", "concat"])) if depth else "leaf"
    if kind == "leaf":
        return draw(st.sampled_from([jnp.sin, F.relu, jnp.negative]))
    parts = draw(st.lists(trees(depth - 1), min_size=1, max_size=2))
    if kind == "chain":
        return Sequential(**{f"part{i}": part for i, part in enumerate(parts)})
    if kind == "residual":
        # Shapes agree where both sides end in one number per image.
        sides = [Sequential(inner=part, end=lambda y: y.sum(-1, keepdims=True)) for part in parts]
        return Residual(*sides) if len(sides) == 2 else Residual(sides[0], lambda y: y[..., :1])
    return Concat(**{f"part{i}": part for i, part in enumerate(parts)})


def reference(module, x, path, out):
    children = getattr(module, "children", dict)()
    parts = {}
    for name, child in children.items():
        parts[name] = reference(child, x, f"{path}{name}/", out)
        x = parts[name] if isinstance(module, Sequential) else x
    if isinstance(module, Residual):
        x = parts["branch"] + parts.get("shortcut", x)
    elif isinstance(module, Concat):
        x = jnp.concatenate(list(parts.values()), axis=-1)
    elif not children:
        x = module(x)
    out[path[:-1]] = x
    return x


@settings(max_examples=30, deadline=None, derandomize=True)
@given(trees())
def test_activations_of_any_composition(tree):
    net = Sequential(top=tree)
    x = jnp.linspace(-2, 2, 6).reshape(3, 2)
    expected = {}
    reference(net, x, "", expected)
    y, found = activations(net, {}, {}, x, paths(net))
    assert found.keys() | {""} == expected.keys()
    same(found | {"": y}, expected)


def test_a_composite_that_keeps_the_state_of_its_parts_says_so():
    @dataclass(frozen=True)
    class Forgetful(Layer):
        part: Layer

        def children(self):
            return {"part": self.part}

        def init(self, key, spec):
            return {"part": self.part.init(key, spec)[0]}, {}

        def apply(self, params, state, x, *, train, key=None):
            return self.part.apply(params["part"], {}, x, train=train)[0], {}

    net = Sequential(first=Forgetful(Dense(3)))
    x = jnp.ones((2, 4))
    params, state = net.init(jax.random.key(0), x)
    with pytest.raises(ValueError, match=r"^activations: expected every layer on the way to 'first/part' to return"):
        activations(net, params, state, x, ["first/part"])
