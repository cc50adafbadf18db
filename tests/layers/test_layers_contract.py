"""What every layer promises, over one table of them all. A new layer is one more line of the table."""

import collections
import functools
import inspect
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import jax.test_util
import numpy as np
import pytest

from jaxcnn import filters, fingerprint, functional, initializers, layers
from jaxcnn import functional as F
from jaxcnn.layers import (
    AdaptiveAvgPool,
    AdaptiveMaxPool,
    Auxiliary,
    AvgPool,
    BatchNorm,
    ChannelChunk,
    ChannelShuffle,
    Concat,
    Conv,
    ConvTranspose,
    Dense,
    DepthwiseConv,
    DropBlock,
    Dropout,
    DropPath,
    Flatten,
    Gate,
    GlobalAvgPool,
    GlobalMaxPool,
    GroupNorm,
    InstanceNorm,
    Layer,
    LayerNorm,
    LayerScale,
    LocalContrastNorm,
    LocalConv,
    LocalResponseNorm,
    LpPool,
    Maxout,
    MaxPool,
    MovingSum,
    Normalize,
    PReLU,
    Residual,
    SeparableConv,
    Sequential,
    SpatialDropout,
    SpatialPyramidPool,
    StandardizedConv,
    Upsample,
    from_json,
    to_json,
)
from jaxcnn.models.cifar_resnet import PadShortcut


@dataclass(frozen=True)
class Case:
    """One layer and what is special about it."""

    layer: Layer
    output: Any  # the shape promised for an input of `shape`; by name where there are several outputs
    shape: tuple[int, ...] = (2, 6, 5, 4)  # the batch axis first
    random: bool = False  # needs a key while training, and its output depends on it
    stateful: bool = False  # has state that training moves


TABLE = {
    "AdaptiveAvgPool": Case(AdaptiveAvgPool((4, 2)), (2, 4, 2, 4)),
    "AdaptiveAvgPool of tiles": Case(AdaptiveAvgPool((3, 1)), (2, 3, 1, 4)),
    "AdaptiveMaxPool": Case(AdaptiveMaxPool((4, 7)), (2, 4, 7, 4)),
    "Auxiliary": Case(
        Auxiliary(
            {"side": "norm"},
            conv=Conv(3),
            norm=BatchNorm(),
            pool=GlobalAvgPool(),
            head=Dense(5),
            side=Sequential(conv=Conv(2), drop=Dropout(0.5)),
        ),
        {"logits": (2, 5), "side": (2, 6, 5, 2)},
        random=True,
        stateful=True,
    ),
    "AvgPool": Case(AvgPool(2), (2, 3, 2, 4)),
    "AvgPool padded": Case(AvgPool((3, 2), stride=2, padding="SAME", count_include_pad=False), (2, 3, 3, 4)),
    "BatchNorm": Case(BatchNorm(), (2, 6, 5, 4), stateful=True),
    "BatchNorm bare": Case(BatchNorm(decay=0.5, use_scale=False, use_bias=False), (2, 6, 5, 4), stateful=True),
    "BatchNorm in groups": Case(
        BatchNorm(groups=2, fast_variance=True), (4, 3, 2, 3), shape=(4, 3, 2, 3), stateful=True
    ),
    "BatchNorm from other values": Case(
        BatchNorm(scale_init=initializers.zeros, bias_init=initializers.Constant(0.5)), (2, 6, 5, 4), stateful=True
    ),
    "BatchNorm of vectors": Case(BatchNorm(), (6, 4), shape=(6, 4), stateful=True),
    "ChannelChunk": Case(ChannelChunk(1), (2, 6, 5, 2)),
    "ChannelChunk of vectors": Case(ChannelChunk(0, 4), (6, 1), shape=(6, 4)),
    "ChannelShuffle": Case(ChannelShuffle(), (2, 6, 5, 4)),
    "ChannelShuffle of vectors": Case(ChannelShuffle(3), (5, 6), shape=(5, 6)),
    "Concat": Case(
        Concat(wide=Conv(3), point=Sequential(conv=Conv(2, 1), norm=BatchNorm())), (2, 6, 5, 5), stateful=True
    ),
    "Conv": Case(Conv(3), (2, 6, 5, 3)),
    "Conv with all options": Case(
        Conv(6, (3, 2), stride=(2, 1), padding=((1, 0), (0, 1)), dilation=(1, 2), groups=2, use_bias=False),
        (2, 3, 4, 6),
    ),
    "ConvTranspose": Case(ConvTranspose(3, stride=2), (2, 12, 10, 3)),
    "ConvTranspose with all options": Case(
        ConvTranspose(
            6,
            (3, 2),
            stride=(2, 3),
            padding=((1, 0), (0, 1)),
            output_padding=(1, 2),
            dilation=(1, 2),
            groups=2,
            use_bias=False,
        ),
        (2, 13, 16, 6),
    ),
    "DepthwiseConv": Case(DepthwiseConv(), (2, 6, 5, 4)),
    "DepthwiseConv with all options": Case(
        DepthwiseConv((3, 2), multiplier=2, stride=(2, 1), padding=((1, 0), (0, 1)), dilation=(1, 2), use_bias=False),
        (2, 3, 4, 8),
    ),
    "SeparableConv": Case(SeparableConv(3), (2, 6, 5, 3)),
    "SeparableConv with all options": Case(
        SeparableConv(
            3, (3, 2), multiplier=2, stride=(2, 1), padding=((1, 0), (0, 1)), dilation=(1, 2), use_bias=False
        ),
        (2, 3, 4, 3),
    ),
    "LocalConv": Case(LocalConv(3), (2, 4, 3, 3)),
    "LocalConv with all options": Case(
        LocalConv(3, (3, 2), stride=(2, 1), padding=((1, 0), (0, 1)), dilation=(1, 2), use_bias=False),
        (2, 3, 4, 3),
    ),
    "StandardizedConv": Case(StandardizedConv(3), (2, 6, 5, 3)),
    "StandardizedConv with all options": Case(
        StandardizedConv(6, 2, stride=2, padding="VALID", groups=2, use_bias=False, eps=0.01), (2, 3, 2, 6)
    ),
    "Dense": Case(Dense(3), (2, 6, 5, 3)),
    "Dense of vectors": Case(Dense(3, use_bias=False), (2, 3), shape=(2, 4)),
    "DropBlock": Case(DropBlock(0.3, block_size=(3, 2)), (2, 6, 5, 4), random=True),
    "DropBlock shared": Case(DropBlock(0.4, block_size=2, shared=True), (2, 6, 5, 4), random=True),
    "DropPath": Case(DropPath(0.5), (5, 4, 3, 2), shape=(5, 4, 3, 2), random=True),
    "Dropout": Case(Dropout(0.4), (2, 6, 5, 4), random=True),
    "Flatten": Case(Flatten(), (2, 120)),
    "GlobalAvgPool": Case(GlobalAvgPool(), (2, 4)),
    "GlobalMaxPool": Case(GlobalMaxPool(), (2, 4)),
    "GroupNorm": Case(GroupNorm(2), (2, 6, 5, 4)),
    "GroupNorm from other values": Case(
        GroupNorm(4, scale_init=initializers.Constant(0.5), bias_init=initializers.ones), (2, 6, 5, 4)
    ),
    "InstanceNorm": Case(InstanceNorm(eps=1e-3, use_bias=False), (2, 6, 5, 4)),
    "LayerNorm": Case(LayerNorm(), (2, 6, 5, 4)),
    "LayerNorm of vectors": Case(LayerNorm(use_scale=False), (6, 4), shape=(6, 4)),
    "LayerScale": Case(LayerScale(), (2, 6, 5, 4)),
    "LayerScale of vectors": Case(LayerScale(scale_init=initializers.ones), (6, 4), shape=(6, 4)),
    "LocalContrastNorm": Case(LocalContrastNorm(size=5), (2, 6, 5, 4)),
    "LocalContrastNorm by subtraction": Case(LocalContrastNorm(sigma=1.0, divisive=False), (2, 6, 5, 4)),
    "LocalResponseNorm": Case(LocalResponseNorm(size=3, alpha=0.5), (2, 6, 5, 4)),
    "LocalResponseNorm of vectors": Case(LocalResponseNorm(k=1.0, beta=0.6), (6, 4), shape=(6, 4)),
    "LpPool": Case(LpPool(2), (2, 3, 2, 4)),
    "LpPool of another order": Case(LpPool((3, 2), p=3, stride=2, padding=(1, 0), ceil_mode=True), (2, 4, 3, 4)),
    "Maxout": Case(Maxout(3, 3), (2, 6, 5, 3)),
    "Maxout of vectors": Case(Maxout(2, use_bias=False), (2, 2), shape=(2, 4)),
    "MaxPool": Case(MaxPool(2), (2, 3, 2, 4)),
    "MaxPool with the ragged edge": Case(MaxPool((4, 2), ceil_mode=True), (2, 2, 3, 4)),
    "MaxPool padded": Case(MaxPool((3, 2), stride=2, padding=((1, 0), (1, 1))), (2, 3, 3, 4)),
    "MovingSum": Case(MovingSum(filters.Sobel()), (2, 6, 5, 8)),
    "MovingSum padded": Case(MovingSum(filters.Gabor((3, 4), 3), stride=2, padding=((1, 0), (1, 2))), (2, 3, 3, 24)),
    "Normalize": Case(Normalize((0.1, 0.2, 0.3, 0.4), 0.5), (2, 6, 5, 4)),
    "PReLU": Case(PReLU(), (2, 6, 5, 4)),
    "PReLU shared": Case(PReLU(negative_slope_init=0.01, shared=True), (2, 6, 5, 4)),
    "PadShortcut": Case(PadShortcut(7, 2), (2, 3, 3, 7)),
    "Gate": Case(
        Gate(Sequential(pool=GlobalAvgPool(), expand=Dense(4), norm=BatchNorm(), gate=F.sigmoid)),
        (2, 6, 5, 4),
        stateful=True,
    ),
    "Gate of pixels": Case(Gate(Sequential(conv=Conv(1), gate=F.sigmoid)), (2, 6, 5, 4)),
    "Residual": Case(Residual(Sequential(conv=Conv(4), drop=Dropout(0.3))), (2, 6, 5, 4), random=True),
    "Residual with a shortcut": Case(
        Residual(Sequential(Conv(3, stride=2), BatchNorm()), shortcut=Conv(3, 1, stride=2)), (2, 3, 3, 3), stateful=True
    ),
    "Sequential": Case(
        Sequential(
            conv=Conv(3),
            norm=BatchNorm(),
            act=F.tanh,
            pool=AvgPool(2),
            flat=Flatten(),
            drop=Dropout(0.5),
            head=Dense(5),
        ),
        (2, 5),
        random=True,
        stateful=True,
    ),
    "Sequential of nothing": Case(Sequential(), (2, 6, 5, 4)),
    "SpatialDropout": Case(SpatialDropout(0.5), (2, 6, 5, 4), random=True),
    "SpatialPyramidPool": Case(SpatialPyramidPool((1, 3)), (2, 40)),
    "SpatialPyramidPool of means": Case(SpatialPyramidPool((2, 1), average=True), (2, 20)),
    "Upsample": Case(Upsample((2, 3)), (2, 12, 15, 4)),
}

# A layer that is neither random nor stateful does the same whatever `train` says, which has a test of its own.
BOTH = [name for name, case in TABLE.items() if case.random or case.stateful]
# The first case of each kind of layer, for what options change little about and takes long.
KINDS = list({type(case.layer): name for name, case in reversed(TABLE.items())}.values())[::-1]
every = pytest.mark.parametrize("name", TABLE)
every_kind = pytest.mark.parametrize("name", KINDS)
every_in_both_modes = pytest.mark.parametrize(
    ("name", "train"), [(n, True) for n in TABLE] + [(n, False) for n in BOTH]
)
pytestmark = pytest.mark.usefixtures("quick_compilation")
traces = collections.Counter()
KEY = jax.random.key(0)


@functools.cache
def applied(name: str, train: bool):
    """Return the layer's compiled `apply`, one for all tests; `traces` counts how often it was traced."""

    @jax.jit
    def run(params, state, x, key):
        traces[name, train] += 1
        return TABLE[name].layer.apply(params, state, x, train=train, key=key)

    return run if train or name in BOTH else applied(name, True)


@functools.cache
def initial(name: str):
    """Return the layer's compiled `init`, a function of the key."""
    case = TABLE[name]
    spec = jax.ShapeDtypeStruct(case.shape, jnp.float32)
    return jax.jit(lambda key: case.layer.init(key, spec))


every_with_parameters = pytest.mark.parametrize(
    "name", [name for name in TABLE if jax.tree.leaves(jax.eval_shape(initial(name), KEY)[0])]
)


@functools.cache
def variables(name: str, seed: int = 0):
    """Return parameters and state as init gives them, plus a little so that no scale is 1 and no bias 0."""
    rng = np.random.default_rng(seed)
    more = lambda a: jnp.asarray(np.asarray(a) + rng.uniform(0.1, 0.5, a.shape).astype(np.float32))  # noqa: E731
    return jax.tree.map(more, initial(name)(jax.random.key(seed)))


def images(name: str, seed: int = 0) -> jax.Array:
    """Return distinct numbers, far enough apart that a finite difference does not change which one is largest."""
    shape = TABLE[name].shape
    count = int(np.prod(shape))
    spread = np.random.default_rng(seed).permutation(count) - (count - 1) / 2
    return jnp.asarray(spread.reshape(shape) * (6 / max(count, 240)), jnp.float32)


def specs(tree):
    return jax.tree.map(lambda a: (a.shape, a.dtype), tree)


def shapes(tree):
    return jax.tree.map(lambda a: a.shape, tree)


def close(a, b, tolerance=1e-5):
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(np.asarray(x, np.float32), np.asarray(y, np.float32), rtol=tolerance, atol=tolerance)


def test_the_table_names_every_layer():
    public = {getattr(layers, name) for name in layers.__all__}
    wanted = {thing for thing in public if isinstance(thing, type) and issubclass(thing, Layer)} - {Layer}
    missing = wanted - {type(case.layer) for case in TABLE.values()}
    assert not missing, f"give each of these a line in TABLE: {missing}"


@every
def test_signatures(name):
    parameters = inspect.signature(TABLE[name].layer.apply).parameters
    assert list(parameters) == ["params", "state", "x", "train", "key"]
    assert [n for n, p in parameters.items() if p.kind is p.KEYWORD_ONLY] == ["train", "key"]
    assert parameters["train"].default is inspect.Parameter.empty
    assert parameters["key"].default is None
    assert list(inspect.signature(TABLE[name].layer.init).parameters) == ["key", "spec"]


@every_in_both_modes
def test_promised_shape_and_jit_equals_eager(name, train):
    case, key = TABLE[name], jax.random.key(1)
    params, state = variables(name)
    promised = jax.eval_shape(
        lambda p, s, x: case.layer.apply(p, s, x, train=train, key=key)[0], params, state, images(name)
    )
    eager = case.layer.apply(params, state, images(name), train=train, key=key)
    assert shapes(promised) == shapes(eager[0]) == case.output
    close(applied(name, train)(params, state, images(name), key), eager)


@pytest.mark.parametrize("name", [name for name in TABLE if name not in BOTH])
def test_train_makes_no_difference_to_plain_layers(name):
    params, state = variables(name)
    training, evaluating = (
        jax.make_jaxpr(functools.partial(TABLE[name].layer.apply, train=train))(params, state, images(name))
        for train in (True, False)
    )
    assert str(training) == str(evaluating)


@every
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float16], ids=["float32", "bfloat16", "float16"])
def test_the_dtype_of_the_images_is_kept_and_nothing_else_takes_it(name, dtype):
    case = TABLE[name]
    x = jax.ShapeDtypeStruct(case.shape, dtype)
    params, state = jax.eval_shape(case.layer.init, jax.random.key(0), x)
    assert {a.dtype for a in jax.tree.leaves((params, state))} <= {jnp.dtype(jnp.float32)}
    for train in (True, False):
        y, after = jax.eval_shape(
            functools.partial(case.layer.apply, train=train), params, state, x, key=jax.random.key(0)
        )
        assert shapes(y) == case.output
        assert {a.dtype for a in jax.tree.leaves(y)} == {jnp.dtype(dtype)}
        assert specs(after) == specs(state)


@every_kind
def test_bfloat16_is_near_float32(name):
    params, state = variables(name)
    x, key = images(name).astype(jnp.bfloat16), jax.random.key(1)
    half, _ = applied(name, False)(params, state, x, key)
    full, _ = applied(name, False)(params, state, x.astype(jnp.float32), key)
    close(half, full, tolerance=0.05)


@every
def test_vmap_equals_loop(name):
    lanes = [(*variables(name, seed), images(name, seed), jax.random.key(seed)) for seed in range(2)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *lanes)
    mapped = jax.vmap(applied(name, True))(*stacked)
    looped = [applied(name, True)(*lane) for lane in lanes]
    close(mapped, jax.tree.map(lambda *leaves: jnp.stack(leaves), *looped))


@every
def test_one_image_is_a_batch_of_one(name):
    params, state = variables(name)
    x = images(name)
    batch, _ = applied(name, False)(params, state, x, KEY)
    one, _ = applied(name, False)(params, state, x[0], KEY)
    close(one, jax.tree.map(lambda a: a[0], batch))
    two_axes, _ = applied(name, False)(params, state, x[None], KEY)
    close(two_axes, jax.tree.map(lambda a: a[None], batch))


@every
def test_the_same_structure_comes_back_whatever_the_flags(name):
    case = TABLE[name]
    x = images(name)
    params, state = jax.eval_shape(case.layer.init, jax.random.key(0), x)
    assert specs(initial(name)(KEY)) == specs((params, state))
    keys = (jax.random.key(0),) if case.random else (jax.random.key(0), None)
    for train, key in [(True, key) for key in keys] + [(False, jax.random.key(0)), (False, None)]:
        _, after = jax.eval_shape(functools.partial(case.layer.apply, train=train, key=key), params, state, x)
        assert specs(after) == specs(state)
    assert bool(jax.tree.leaves(state)) == case.stateful
    assert isinstance(params, dict)
    assert case.stateful or state == {}


@every_with_parameters
def test_every_parameter_has_a_say(name):
    params, state = variables(name)
    x = images(name)
    run = lambda params: applied(name, False)(params, state, x, KEY)  # noqa: E731
    before, _ = run(params)
    leaves, structure = jax.tree.flatten(params)
    for i, leaf in enumerate(leaves):
        more = np.linspace(0.5, 1.0, leaf.size, dtype=np.float32).reshape(leaf.shape)  # layers may subtract the mean
        other = np.asarray(leaf) + more
        after, _ = run(jax.tree.unflatten(structure, [*leaves[:i], other, *leaves[i + 1 :]]))
        pairs = zip(jax.tree.leaves(after), jax.tree.leaves(before), strict=True)
        assert not all(np.allclose(a, b) for a, b in pairs), jax.tree_util.tree_flatten_with_path(params)[0][i][0]


@every
def test_initial_values_follow_from_the_key(name):
    first, again, other = (initial(name)(jax.random.key(seed)) for seed in (0, 0, 1))
    assert fingerprint(first) == fingerprint(again)
    drawn = any(path[-1].key == "kernel" for path, _ in jax.tree_util.tree_flatten_with_path(first[0])[0])
    assert (fingerprint(first) != fingerprint(other)) == drawn


@every
def test_eval_leaves_the_state_and_training_moves_it(name):
    params, state = variables(name)
    before = fingerprint(state)
    _, evaluated = applied(name, False)(params, state, images(name), KEY)
    assert fingerprint(evaluated) == before
    _, trained = applied(name, True)(params, state, images(name), jax.random.key(0))
    assert (fingerprint(trained) != before) == TABLE[name].stateful


@every
def test_one_trace_over_ten_calls(name):
    run = applied(name, True)
    params, state = variables(name)
    _, state = run(params, state, images(name), jax.random.key(0))
    so_far = traces[name, True]
    for step in range(1, 10):
        _, state = run(params, state, images(name, step), jax.random.key(step))
    assert traces[name, True] == so_far


@pytest.mark.parametrize(
    ("name", "train"),
    [
        (n, train) if n in KINDS and train else pytest.param(n, train, marks=pytest.mark.slow)
        for train, names in ((True, TABLE), (False, BOTH))
        for n in names
    ],
)
def test_gradients(name, train):
    params, state = variables(name)

    def output(params, x):
        return applied(name, train)(params, state, x, jax.random.key(2))[0]

    jax.test_util.check_grads(output, (params, images(name)), 1, ("fwd", "rev"), atol=0.01, rtol=0.01, eps=3e-3)


@every
def test_the_key_decides_and_it_alone(name):
    case = TABLE[name]
    params, state = variables(name)
    run = functools.partial(applied(name, True), params, state, images(name))
    first, again, other = (fingerprint(run(jax.random.key(seed))) for seed in (0, 0, 1))
    assert first == again
    assert (first != other) == case.random
    calm = functools.partial(applied(name, False), params, state, images(name))
    assert fingerprint(calm(jax.random.key(0))) == fingerprint(calm(jax.random.key(1)))


@every
def test_training_without_a_key(name):
    case = TABLE[name]
    params, state = variables(name)
    if case.random:
        with pytest.raises(ValueError, match=r"^\w+: expected a key when train=True, got None\. Pass key="):
            case.layer.apply(params, state, images(name), train=True)
    else:
        y, _ = case.layer.apply(params, state, images(name), train=True)
        close(y, applied(name, True)(params, state, images(name), jax.random.key(0))[0])


@every_kind
def test_lowers_for_every_platform_with_each_key_used_once(name):
    case = TABLE[name]
    spec = jax.ShapeDtypeStruct(case.shape, jnp.float32)
    key = jax.eval_shape(lambda: jax.random.key(0))
    with jax.debug_key_reuse(True):

        @jax.jit
        def init_and_apply(key, again, x):
            params, state = case.layer.init(key, spec)
            return case.layer.apply(params, state, x, train=True, key=again)[0]

        exported = jax.export.export(init_and_apply, platforms=["cpu", "cuda", "tpu"])(key, key, spec)
    promised = jax.tree.leaves(case.output, is_leaf=lambda shape: isinstance(shape, tuple))
    assert [a.shape for a in exported.out_avals] == promised


@every
def test_is_a_value(name):
    layer = TABLE[name].layer
    rebuilt = from_json(to_json(layer))
    assert rebuilt == layer
    assert hash(rebuilt) == hash(layer)
    assert repr(rebuilt) == repr(layer)
    assert type(rebuilt) is type(layer)
    names = vars(functional) | vars(initializers) | vars(filters) | vars(layers) | {"PadShortcut": PadShortcut}
    assert eval(repr(layer), names) == layer
    field = next(iter(layer.__dataclass_fields__), "new")
    with pytest.raises(AttributeError):
        setattr(layer, field, None)


@every
def test_holds_no_arrays(name):
    leaves = jax.tree.leaves(dict(vars(TABLE[name].layer)))
    assert not [leaf for leaf in leaves if isinstance(leaf, jax.Array | np.ndarray)]


@every
def test_rejects_integer_images(name):
    case = TABLE[name]
    if case.layer == Sequential():
        return  # the identity, of anything
    params, state = variables(name)
    x = np.zeros(case.shape, np.uint8)
    for train in (True, False):
        with pytest.raises(
            TypeError, match=r"^\w+: expected x of a floating dtype, got uint8\. .*jaxcnn\.data\.to_float"
        ):
            case.layer.apply(params, state, x, train=train, key=jax.random.key(0))


@every_with_parameters
def test_rejects_the_parameters_of_another_net(name):
    _, state = variables(name)
    with pytest.raises(ValueError, match=r"^\w+: expected params with '\w+', got .*\. Pass the params that init"):
        TABLE[name].layer.apply({}, state, images(name), train=False)
