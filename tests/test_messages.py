"""What somebody is told who calls a function the wrong way: one short sentence, whatever the value."""

import importlib
import inspect
import pkgutil
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcnn
from jaxcnn import filters, initializers
from jaxcnn import functional as F
from jaxcnn.checking import expect, expect_train, floating, is_number, shaped, shown
from jaxcnn.layers import (
    BatchNorm,
    Concat,
    Conv,
    ConvTranspose,
    Dense,
    DepthwiseConv,
    Dropout,
    Flatten,
    GroupNorm,
    LayerNorm,
    LocalConv,
    MaxPool,
    MovingSum,
    PReLU,
    Residual,
    SeparableConv,
    Sequential,
    to_json,
)

KEY = jax.random.key(0)
X = jnp.ones((2, 6, 6, 4))
SIGNALS = X[:, 0]
SPEC = jax.ShapeDtypeStruct(X.shape, X.dtype)
K = jnp.ones((3, 3, 4, 5))
C = jnp.ones(4)
STATS = F.BatchStats(C, C)


def told(call) -> str:
    """Return the message of the error that a wrong call raises: ours, not JAX's or NumPy's, short and in its form."""
    with pytest.raises((TypeError, ValueError)) as caught:
        call()
    assert caught.type in (TypeError, ValueError)
    message = str(caught.value)
    assert re.fullmatch(r"\w+: expected .+, got .+\. .+\.", message), message
    assert len(message) <= 250
    return message


def traced(function, value) -> None:
    jax.eval_shape(lambda option: function(option) and None, value)


# Values


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (3, "3"),
        ("3", "'3'"),
        (None, "None"),
        (np.float32(1.5), "1.5"),
        (jnp.float32(1.5), "1.5"),
        (np.zeros((2, 3)), "an array of shape (2, 3) and dtype float64"),
        (KEY, "an array of shape () and dtype key<fry>"),
        (SPEC, "an array of shape (2, 6, 6, 4) and dtype float32"),
        (X.dtype, "float32"),
        (np.ndarray, "<class 'numpy.ndarray'>"),
        ((2,), "(2,)"),
        ((2, "a"), "(2, 'a')"),
        ([C, 1], "[an array of shape (4,) and dtype float32, 1]"),
        (F.BatchStats(C, 1), "(an array of shape (4,) and dtype float32, 1)"),
        ({"a": {"b": C}}, "{'a': {'b': an array of shape (4,) and dtype float32}}"),
        ("x" * 1000, "'" + "x" * 199 + "..."),
        ((7,) * 1000, "(" + "7, " * 66 + "7..."),
    ],
    ids=repr,
)
def test_values_are_short(value, text):
    assert shown(value) == text
    if not isinstance(value, str):
        with pytest.raises(ValueError, match=rf"^f: expected it, got {re.escape(text)}\. Do\.$"):
            expect(False, "f", "it", value, "Do.")


def test_traced_values_are_called_so():
    seen = []
    traced(lambda value: seen.append((shown(value), shown((value, 1)), is_number(value))), 1.0)
    text = "a traced array of shape () and dtype float32"
    assert seen == [(text, f"({text}, 1)", False)]


def test_a_traced_value_is_never_asked_for_its_number(monkeypatch):
    """To say that it has none JAX reads the whole program, once a layer: tracing a net would take the square of it."""

    def asked(self):
        raise AssertionError("asked")

    monkeypatch.setattr(jax.core.Tracer, "__float__", asked)
    monkeypatch.setattr(jax.core.Tracer, "__index__", asked)
    net = Sequential(conv=Conv(2), norm=BatchNorm(), drop=Dropout(0.5), pool=MaxPool(2), flat=Flatten(), head=Dense(3))
    x = jnp.ones((2, 4, 4, 1))

    @jax.jit
    def learned(key, scale):
        assert not is_number(scale)
        params, state = net.init(key, jax.ShapeDtypeStruct(x.shape, x.dtype))
        return jax.grad(lambda p: net.apply(p, state, scale * x, train=True, key=key)[0].sum())(params)

    jax.eval_shape(learned, jax.random.key(0), 1.0)


def test_numbers_are_known_and_single():
    assert all(map(is_number, (1, 0.5, np.float32(1), np.int64(2), np.array(1.0), jnp.float32(1), jnp.int32(2))))
    assert not any(map(is_number, ("1", None, 1j, [1.0], C, np.ones(1), KEY)))


# Dtypes


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: F.prelu(X, 1),
            r"prelu: expected negative_slope of a floating dtype, got 1\. Pass an array of floats\.",
        ),
        (lambda: F.maxout(X, 2), r"maxout: expected kernel of a floating dtype, got 2\. Pass an array of floats\."),
        (lambda: F.moving_sum(X, 3), r"moving_sum: expected kernels of a .*, got 3\. Pass an array of floats\."),
        (lambda: F.max_pool(2, X), r"max_pool: expected x of a floating dtype, got 2\. Pass an array of floats\."),
        (lambda: F.relu(np.arange(3)), r"relu: .*, got int\d\d\. Convert it first: x\.astype\(jax\.numpy\.float32\)\."),
        (
            lambda: F.dense(X, np.ones((4, 2), np.uint8)),
            r"dense: .*, got uint8\. Convert it first: kernel\.astype\(jax\.numpy\.float32\)\.",
        ),
        (lambda: F.relu(KEY), r"relu: .*, got key<fry>\. It is a PRNG key, which comes before the arrays\."),
        (
            lambda: F.relu(np.zeros(3, np.uint8)),
            r"relu: .*, got uint8\. Convert it first, uint8 images with jaxcnn\.data\.to_float\.",
        ),
        (
            lambda: floating("blur", "image", np.zeros(3, np.uint8)),
            r"blur: .*, got uint8\. Convert it first, uint8 images with jaxcnn\.data\.to_float\.",
        ),
        (lambda: F.relu({"x": X}), r"relu: expected x to be an array, got dict\. Pass a JAX or NumPy array\."),
        (lambda: shaped("f", "bias", {}, (3,)), r"f: expected bias to be an array, got dict\. Pass a JAX or .*"),
    ],
)
def test_images_alone_are_sent_to_to_float(call, message):
    assert re.fullmatch(message, told(call))


# The order of arguments

WRONG_ORDER = [
    lambda: F.conv(K, X),
    lambda: F.conv_transpose(K, X),
    lambda: F.depthwise_conv(K, X),
    lambda: F.separable_conv(K, X, X),
    lambda: F.local_conv(jnp.ones((4, 4, 3, 3, 4, 5)), X),
    lambda: F.dense(K[0, 0], X),
    lambda: F.maxout(K[0], X),
    lambda: F.moving_sum(filters.Sobel(), X),
    lambda: F.prelu(C, X),
    lambda: F.batch_norm(C, X, C, STATS, train=True),
    lambda: F.batch_norm(X, STATS, C, C, train=True),
    lambda: F.group_norm(C, X, groups=2),
    lambda: F.max_unpool(jnp.zeros((2, 3, 3, 4), int), X[:, :3, :3], 6),
    lambda: Conv(4).init(X, KEY),
    lambda: BatchNorm().init(X, KEY),
    lambda: Sequential(MaxPool()).init(X, KEY),
    lambda: Conv(4).apply(X, {}, {}, train=True),
    lambda: BatchNorm().apply(BatchNorm().init(KEY, SPEC)[0], X, STATS, train=True),
    lambda: SeparableConv(4).apply(X, {}, {}, train=True),
    lambda: Sequential(F.relu).apply({}, {}, X, train=True, key=X),
    lambda: Sequential(F.relu).apply({}, {}, X, train=True, key=0),
    lambda: Sequential(X),
    lambda: Conv(K),
    lambda: Conv(4, K),
    lambda: Conv(4, kernel_init=K),
    lambda: Dense(X),
    lambda: Dropout(X),
    lambda: MovingSum(X),
    lambda: filters.Gaussian(5, K),
    lambda: to_json({"kernel": K}),
]


@pytest.mark.parametrize("call", WRONG_ORDER)
def test_arguments_in_the_wrong_order(call):
    told(call)


@pytest.mark.parametrize("function", [F.dropout, F.spatial_dropout, F.drop_path, F.drop_block])
def test_key_array_and_rate_in_the_wrong_order(function):
    name = function.__name__
    assert told(lambda: function(X, KEY, 0.5)).startswith(f"{name}: expected one PRNG key, got an array of shape (2, ")
    assert told(lambda: function(0.5, X, KEY)).startswith(f"{name}: expected one PRNG key, got 0.5. ")
    message = told(lambda: function(KEY, X, X))
    assert message.startswith(
        f"{name}: expected a rate in [0, 1], got an array of shape (2, 6, 6, 4) and dtype float32. "
    )
    told(lambda: function(KEY, 0.5, X))


OPTIONS = [
    (F.conv, (X, K), ("stride", "padding", "dilation", "groups")),
    (F.conv_transpose, (X, K), ("stride", "padding", "output_padding", "dilation", "groups")),
    (lambda **options: F.conv_transpose(X, K.mT, transpose_kernel=True, **options), (), ("groups",)),
    (F.max_pool, (X,), ("window", "stride", "padding")),
    (F.lp_pool, (X,), ("p",)),
    (F.adaptive_max_pool, (X,), ("size",)),
    (F.spatial_pyramid_pool, (X,), ("levels",)),
    (F.local_response_norm, (X,), ("size",)),
    (F.group_norm, (X,), ("groups",)),
    (lambda **options: F.batch_norm(X, C, C, STATS, **{"train": True} | options), (), ("groups", "train")),
    (lambda **options: F.drop_block(KEY, X, 0.5, **options), (), ("block_size",)),
]


@pytest.mark.parametrize(
    ("function", "arrays", "name"), [(function, arrays, name) for function, arrays, names in OPTIONS for name in names]
)
def test_an_array_as_option(function, arrays, name):
    assert "got an array of shape (2, 6, 6, 4) and dtype float32. " in told(lambda: function(*arrays, **{name: X}))
    message = told(lambda: traced(lambda option: function(*arrays, **{name: option}), 2))
    assert "got a traced array of shape () and dtype int32. " in message


# What init and apply are given

NEEDING = [
    Conv(4),
    ConvTranspose(4),
    DepthwiseConv(),
    SeparableConv(4),
    LocalConv(4),
    Dense(4),
    BatchNorm(),
    GroupNorm(2),
    LayerNorm(),
    PReLU(),
    Sequential(MaxPool(), F.relu),
    Residual(F.relu),
    Concat(a=F.relu),
]


@pytest.mark.parametrize("layer", NEEDING, ids=lambda layer: type(layer).__name__)
@pytest.mark.parametrize(("spec", "text"), [(X.shape, r"\(2, 6, 6, 4\)"), (None, "None"), (KEY, "an array .*")])
def test_init_takes_what_has_shape_and_dtype(layer, spec, text):
    assert re.fullmatch(
        rf"{type(layer).__name__}: expected spec as a jax\.ShapeDtypeStruct or an array, after the key, got {text}\. "
        r"Pass the input itself, or jax\.ShapeDtypeStruct\(x\.shape, x\.dtype\)\.",
        told(lambda: layer.init(KEY, spec)),
    )
    layer.init(KEY, SPEC)


def test_init_of_a_layer_of_one_array_takes_no_tree_of_them():
    assert "expected spec as a jax.ShapeDtypeStruct or an array" in told(lambda: Dense(4).init(KEY, {"a": SPEC}))


@pytest.mark.parametrize("layer", [BatchNorm(), Dropout(0.5), Sequential(drop=Dropout(0.5))], ids=repr)
@pytest.mark.parametrize("train", [1, None, "yes", C, C > 0])
def test_train_is_a_bool(layer, train):
    params, state = layer.init(KEY, SPEC)
    assert " expected train as a Python bool, got " in told(lambda: layer.apply(params, state, X, train=train, key=KEY))
    message = told(lambda: traced(lambda flag: layer.apply(params, state, X, train=flag, key=KEY), True))
    assert re.fullmatch(
        r"(batch_norm|Dropout): expected train as a Python bool, got a traced array of shape \(\) and dtype bool\. "
        r"Mark it static, jax\.jit\(step, static_argnames=\"train\"\), and pass True or False\.",
        message,
    )


def test_a_known_bool_will_do():
    for train in (True, False, np.True_, jnp.bool(True)):
        expect_train("f", train)


# Signals


def takes_images(function) -> bool:
    return "images (..., H, W, C" in (inspect.getdoc(function) or "")


@pytest.mark.parametrize("name", [name for name in F.__all__ if takes_images(getattr(F, name))])
def test_docstrings_say_that_three_axes_are_one_image(name):
    text = inspect.getdoc(getattr(F, name))
    assert "or one (H, W, C)" in text or "any number of leading axes, none included" in text


def test_all_that_take_images_say_so():
    assert sum(takes_images(getattr(F, name)) for name in F.__all__) >= 20
    assert "Three axes are one image" in F.__doc__


ONE_AXIS = [
    lambda: F.conv_transpose(SIGNALS, jnp.ones((3, 4, 5))),
    lambda: F.conv_transpose(SIGNALS, jnp.ones((3, 5, 4)), transpose_kernel=True),
    lambda: F.depthwise_conv(SIGNALS, jnp.ones((3, 1, 4))),
    lambda: F.separable_conv(SIGNALS, jnp.ones((3, 1, 4)), jnp.ones((1, 4, 5))),
    lambda: F.separable_conv(SIGNALS, jnp.ones((1, 3, 1, 4)), jnp.ones((1, 4, 5))),
    lambda: F.local_conv(SIGNALS, jnp.ones((4, 3, 4, 5))),
    lambda: Conv(5, (3,)),
    lambda: ConvTranspose(5, [3]),
    lambda: DepthwiseConv((3,)),
    lambda: SeparableConv(5, (3,)),
    lambda: LocalConv(5, (3,)),
]


@pytest.mark.parametrize("call", ONE_AXIS)
def test_signals_where_images_alone_are_taken(call):
    assert told(call).endswith(
        " Images only, (N, H, W, C): make signals (N, L, C) images of height 1, x[:, None], and kernels likewise."
    )


def test_images_are_not_called_signals():
    for call in (
        lambda: F.conv_transpose(X, jnp.ones((3, 4, 5))),
        lambda: F.conv_transpose(X, jnp.ones((3, 5, 4)), transpose_kernel=True),
        lambda: F.depthwise_conv(X, jnp.ones((3, 1, 4))),
        lambda: F.separable_conv(X, jnp.ones((3, 3, 1, 4)), jnp.ones((1, 4, 5))),
        lambda: F.local_conv(X, jnp.ones((4, 3, 4, 5))),
        lambda: Conv(5, (3, 3, 3)),
    ):
        assert "signals" not in told(call)


def test_what_the_message_about_signals_says_to_do_works():
    x, kernel = SIGNALS * jnp.arange(6.0)[:, None], jnp.arange(12.0).reshape(3, 1, 4)
    y = F.depthwise_conv(x[:, None], kernel[None])
    np.testing.assert_allclose(y[:, 0], F.conv(x, kernel, groups=4))


# Single options


def test_a_bank_is_an_instance():
    fix = r"Pass an instance such as filters\.Sobel\(\)\."
    message = told(lambda: F.moving_sum(X, filters.Sobel))
    assert re.fullmatch(rf"moving_sum: expected kernels or a bank of jaxcnn\.filters, got Sobel\. {fix}", message)
    assert told(lambda: MovingSum(filters.Sobel)).endswith(message[-42:])


def test_groups_that_would_do_are_named():
    fix = r"Pass groups as one of 1, 2, 4: the default, 32, does not suit all\."
    for where, call in (("group_norm", lambda: F.group_norm(X)), ("GroupNorm", lambda: GroupNorm().init(KEY, SPEC))):
        assert re.fullmatch(rf"{where}: expected groups that divide the 4 channels, got 32\. {fix}", told(call))


@pytest.mark.parametrize(
    ("rank", "form"),
    [
        (1, "((before, after),)"),
        (2, "((top, bottom), (left, right))"),
        (3, "((front, back), (top, bottom), (left, right))"),
    ],
)
def test_forms_of_padding(rank, form):
    x, kernel = jnp.ones((6,) * rank + (4,)), jnp.ones((3,) * rank + (4, 5))
    message = told(lambda: F.conv(x, kernel, padding=(1,) * (rank + 1)))
    assert f'expected padding as "SAME", "VALID", an int >= 0 or {form}, got (1, ' in message
    F.conv(x, kernel, padding=((1, 2),) * rank)  # the form that it names


# Names


@pytest.mark.parametrize(
    "name",
    # Those of interop are modules, a format each.
    [
        m.name
        for m in pkgutil.walk_packages(jaxcnn.__path__, "jaxcnn.")
        if m.ispkg and not m.name.startswith("jaxcnn.interop")
    ],
)
def test_public_names_are_no_modules_but_packages(name):
    package = importlib.import_module(name)
    modules = {public: getattr(package, public) for public in package.__all__}
    assert not [n for n, module in modules.items() if inspect.ismodule(module) and not hasattr(module, "__path__")]


def test_no_module_answers_to_the_name_of_an_initializer():
    modules = {name for name, thing in vars(initializers).items() if inspect.ismodule(thing)}
    assert not modules & {name.lower() for name in initializers.__all__}
    with pytest.raises(AttributeError):
        initializers.constant  # noqa: B018
