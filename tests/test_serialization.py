"""Nets as JSON: what is written comes back equal, and nothing else is ever built or run."""

import functools
import json
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxcnn import fingerprint, models
from jaxcnn import functional as F
from jaxcnn.initializers import Normal, VarianceScaling
from jaxcnn.layers import (
    BatchNorm,
    Concat,
    Conv,
    Dense,
    Dropout,
    Flatten,
    GlobalAvgPool,
    Layer,
    Normalize,
    Residual,
    Sequential,
    from_json,
    register,
    serialization,
    to_json,
)

DEEP = Sequential(
    scale=Normalize((0.1, 0.2, 0.3), 0.5),
    stem=Sequential(
        Conv(8, (5, 3), stride=2, padding=((2, 2), (1, 1)), kernel_init=VarianceScaling(2.0)), F.leaky_relu
    ),
    body=Residual(
        Sequential(
            fork=Concat(a=Conv(4, 1, bias_init=Normal(0.1)), b=Residual(F.tanh), c=Sequential(Dropout(0.1), F.gelu)),
            norm=BatchNorm(decay=0.99, axis_name=("data", "lanes")),
        ),
        shortcut=Conv(20, 1, use_bias=False),
    ),
    pool=GlobalAvgPool(),
    head=Dense(10),
)


def net(value) -> str:
    return json.dumps({"jaxcnn": 1, "net": value})


def nested(depth: int) -> str:
    opened = '{"type": "Sequential", "children": [["a", ' * depth
    return f'{{"jaxcnn": 1, "net": {opened}{{"type": "Flatten"}}{"]]}" * depth}}}'


@pytest.mark.parametrize("indent", [None, 1, 4])
def test_a_deep_net_comes_back_equal(indent):
    rebuilt = from_json(to_json(DEEP, indent=indent))
    assert rebuilt == DEEP
    assert hash(rebuilt) == hash(DEEP)
    assert repr(rebuilt) == repr(DEEP)
    assert to_json(rebuilt) == to_json(DEEP)
    assert (to_json(DEEP, indent=indent).count("\n") == 0) == (indent is None)


def test_a_rebuilt_net_has_the_same_initial_values():
    spec = jax.ShapeDtypeStruct((1, 8, 8, 1), jnp.float32)
    small = Sequential(Conv(2), BatchNorm(), F.relu, Flatten(), Dense(3))
    before, after = (n.init(jax.random.key(0), spec) for n in (small, from_json(to_json(small))))
    assert fingerprint(before) == fingerprint(after)


@pytest.mark.parametrize("name", models.names())
def test_every_model_comes_back_equal(name):
    assert from_json(to_json(models.create(name))) == models.create(name)


def test_the_text_is_plain_and_by_name():
    record = json.loads(to_json(Sequential(conv=Conv(8), act=F.relu)))
    assert record["jaxcnn"] == 1
    assert record["net"]["type"] == "Sequential"
    (_, conv), act = record["net"]["children"]
    assert (conv["type"], conv["features"], conv["kernel_size"]) == ("Conv", 8, [3, 3])
    assert conv["kernel_init"] == {"function": "he_normal"}
    assert act == ["act", {"function": "relu"}]


def test_numbers_of_numpy_are_saved_as_numbers():
    net = Sequential(Dropout(np.float32(0.5)), BatchNorm(decay=np.float64(0.25)), Conv(4, np.int64(3)))
    assert from_json(to_json(net)) == net == Sequential(Dropout(0.5), BatchNorm(decay=0.25), Conv(4, 3))


def test_a_depth_of_fifty_is_no_trouble():
    deep = from_json(nested(50))
    assert from_json(to_json(deep)) == deep


# What cannot be saved


@pytest.mark.parametrize(
    "stranger",
    [lambda x: x, jnp.tanh, functools.partial(F.leaky_relu, negative_slope=0.3), jax.jit(F.relu)],
    ids=["lambda", "jnp.tanh", "partial", "jit"],
)
def test_functions_that_are_not_registered_are_legal_but_not_saved(stranger):
    net = Sequential(act=stranger)
    assert net == Sequential(act=stranger)
    assert net != Sequential(act=F.relu)
    y, _ = net.apply({}, {}, jnp.ones(3), train=False)
    assert y.shape == (3,)
    with pytest.raises(
        ValueError,
        match=r"^to_json: expected layers and functions that jaxcnn knows, got .*\. Enter it with layers\.register",
    ):
        to_json(net)


def test_a_stranger_with_the_name_of_a_known_function_is_not_taken_for_it():
    def relu(x):
        return x

    @dataclass(frozen=True)
    class Dense(Layer):
        features: int = 8

    for stranger in (relu, Dense()):
        with pytest.raises(ValueError, match=r"^to_json: expected layers and functions that jaxcnn knows"):
            to_json(Sequential(stranger))


@pytest.mark.parametrize("value", [F.relu, {"conv": Conv(8)}, None, Conv], ids=["function", "dict", "None", "class"])
def test_only_layers_are_saved(value):
    with pytest.raises(TypeError, match=r"^to_json: expected a layer, got .*\. Put a function into a Sequential\."):
        to_json(value)


# Registration


@pytest.fixture
def known(monkeypatch):
    """Let a test register what it likes; forgotten afterwards."""
    monkeypatch.setattr(serialization, "_known", dict(serialization._known))


def test_what_has_no_name_is_not_registered():
    with pytest.raises(TypeError, match=r"^register: expected a class or a function with a name, got .*\. Write def"):
        register(functools.partial(F.gelu))


@pytest.mark.usefixtures("known")
def test_registered_layers_and_functions_are_saved():
    @register
    @dataclass(frozen=True)
    class Shift(Layer):
        by: float = 1.0

        def apply(self, params, state, x, *, train, key=None):
            return x + self.by, state

    @register
    def softsign(x):
        return x / (1 + abs(x))

    net = Sequential(Shift(2.0), softsign)
    assert from_json(to_json(net)) == net
    assert register(Shift) is Shift  # twice is once


@pytest.mark.usefixtures("known")
@pytest.mark.parametrize("name", ["Conv", "relu", "he_normal", "Constant"])
def test_names_are_taken_once(name):
    taken = serialization._known[name]
    stranger = type(name, (Layer,), {})
    with pytest.raises(
        ValueError, match=rf"^register: expected a name that is not taken, got '{name}', which is that of jaxcnn\."
    ):
        register(stranger)
    assert serialization._known[name] is taken


# Hostile text

CONV = {"type": "Conv", "features": 8}
FORMAT = "from_json: expected a jaxcnn net of format 1, got "
NET = "from_json: expected the JSON of a net, got "
LAYER = "from_json: expected a layer, got "
KNOWN = "from_json: expected the name of a registered layer or function, got "
CLASS = "from_json: expected the name of a layer or initializer class, got "
FUNCTION = "from_json: expected the name of a function, got "
CHILDREN = r"from_json: expected children as a list of \[name, layer\], got "
NAMES = "from_json: expected children with names of their own, got "


def around(*pairs) -> str:
    return net({"type": "Sequential", "children": [list(pair) for pair in pairs]})


HOSTILE = {
    "not JSON": ("Sequential(Conv(8))", NET + r"'Sequential\(Conv\(8\)\)'"),
    "empty": ("", NET + "''"),
    "cut off": (to_json(DEEP)[:-40], NET),
    "another record": ('{"a": 1}', FORMAT + r"'\{\"a\": 1\}'"),
    "a list": ("[1]", FORMAT + r"'\[1\]'"),
    "a newer format": ('{"jaxcnn": 2, "net": {"type": "Flatten"}}', FORMAT),
    "no net": ('{"jaxcnn": 1}', FORMAT),
    "null": (net(None), LAYER + "NoneType"),
    "a number": (net(3), LAYER + "int"),
    "a list of layers": (net([CONV]), LAYER + "tuple"),
    "a function": (net({"function": "relu"}), LAYER + "function"),
    "an initializer": (net({"type": "Normal"}), LAYER + "Normal"),
    "no type": (net({}), KNOWN + "None"),
    "unknown type": (net({"type": "Conv9"}), KNOWN + r"'Conv9'\. Import the module that registers it first"),
    "builtin": (net({"type": "eval"}), KNOWN + "'eval'"),
    "builtin function": (net({"function": "exec"}), KNOWN + "'exec'"),
    "dotted name": (net({"function": "os.system"}), KNOWN + r"'os\.system'"),
    "code": (net({"type": "__import__('os').abort()"}), KNOWN),
    "abstract class": (net({"type": "Layer"}), KNOWN + "'Layer'"),
    "type is a list": (net({"type": ["Conv"]}), KNOWN + r"\['Conv'\]"),
    "type is a number": (net({"type": 1}), KNOWN + "1"),
    "type is a function": (net({"type": "relu"}), CLASS + "'relu'"),
    "type is no dataclass": (net({"type": "BatchStats", "mean": 1, "var": 2}), CLASS + "'BatchStats'"),
    "function is a class": (around(("a", {"function": "Conv"})), FUNCTION + "'Conv'"),
    "initializer is a class": (net(CONV | {"kernel_init": {"function": "Conv"}}), FUNCTION + "'Conv'"),
    "initializer is a number": (
        net(CONV | {"kernel_init": 5}),
        NET + r".*Conv: expected kernel_init as a function .* 5",
    ),
    "missing field": (net({"type": "Conv"}), NET + ".*'features'"),
    "unknown field": (net(CONV | {"colour": 1}), NET + ".*'colour'"),
    "private field": (net(CONV | {"__class__": "x"}), NET + ".*'__class__'"),
    "wrong field type": (net({"type": "Conv", "features": "8"}), "Conv: expected features as a positive int, got '8'"),
    "layer as a number": (net({"type": "Conv", "features": CONV}), r"Conv: expected features as a positive int, got C"),
    "rate as text": (net({"type": "Dropout", "rate": "0.5"}), r"Dropout: expected a rate in \[0, 1\], got '0\.5'"),
    "not a number": (net({"type": "Dropout", "rate": float("nan")}), r"Dropout: expected a rate in \[0, 1\], got nan"),
    "infinite": (
        net(CONV | {"stride": float("inf")}),
        "Conv: expected stride as a positive int or two of them, got inf",
    ),
    "thousands of digits": (net(CONV)[:-3] + "9" * 5000 + "}}", NET),
    "brackets without end": ("[" * 100_000, NET + r"'\[\[\["),
    "deep nesting": (nested(10_000), NET),
    "deeper than Python recurses": (nested(600), NET),
    "child with a slash": (around(("a/b", CONV)), "Sequential: expected names without '/', got 'a/b'"),
    "child without a name": (around(("", CONV)), "Sequential: expected names without '/', got ''"),
    "child named by a number": (around((1, CONV)), NAMES + r"\[1\]"),
    "child named by a list": (around(([], CONV)), NAMES + r"\[\[\]\]"),
    "two children of one name": (around(("a", CONV), ("a", {"type": "Flatten"})), NAMES + r"\['a', 'a'\]"),
    "child is a number": (around(("a", 3)), NET + ".*Sequential: expected 'a' to be a layer or a function .*, got 3"),
    "child without a layer": (around(("a",)), CHILDREN + r"\[\['a'\]\]"),
    "children is text": (net({"type": "Sequential", "children": "ab"}), CHILDREN + "'ab'"),
    "children is null": (net({"type": "Sequential", "children": None}), CHILDREN + "None"),
    "children is a dict": (net({"type": "Sequential", "children": {"a": CONV}}), CHILDREN + r"\{'a'"),
    "children of a leaf": (net({"type": "Flatten", "children": [["a", CONV]]}), NET),
    "part twice": (net({"type": "Residual", "branch": CONV, "children": [["branch", CONV]]}), NET + ".*'branch'"),
    "no branch": (net({"type": "Residual"}), NET + ".*'branch'"),
    "no branches": (net({"type": "Concat"}), "Concat: expected at least one branch, got none"),
}


@pytest.mark.parametrize(("text", "message"), HOSTILE.values(), ids=HOSTILE)
def test_hostile_text(text, message):
    with pytest.raises(ValueError, match=rf"(?s)^{message}.*\.$") as caught:
        from_json(text)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize("value", [None, 3, b'{"jaxcnn": 1}', {"jaxcnn": 1}], ids=["None", "int", "bytes", "dict"])
def test_what_is_no_text(value):
    with pytest.raises(TypeError, match=r"^from_json: expected text, got \w+\. Read the file as text first\."):
        from_json(value)


@pytest.mark.usefixtures("known")
def test_no_function_is_called(monkeypatch):
    def tripwire(*args, **kwargs):
        raise SystemError("a function named in the text was called")

    register(tripwire)
    for value in [
        {"type": "tripwire"},
        {"type": "tripwire", "x": 1},
        {"type": "tripwire", "children": [["a", CONV]]},
        CONV | {"kernel_size": {"type": "tripwire"}},
        {"type": "Residual", "children": [["branch", {"type": "tripwire"}]]},
    ]:
        with pytest.raises(
            ValueError, match=r"^from_json: expected the name of a layer or initializer class, got 'tripwire'"
        ):
            from_json(net(value))
    assert from_json(net(CONV | {"kernel_init": {"function": "tripwire"}})).kernel_init is tripwire


names = st.sampled_from(
    ["type", "function", "children", "features", "rate", "window", "branch", "jaxcnn", "kernel_init"]
)
words = st.sampled_from(
    ["Conv", "Sequential", "Residual", "Dropout", "relu", "he_normal", "Constant", "BatchStats", "SAME"]
)
things = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | words | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.slow
@given(st.dictionaries(names, things, max_size=4) | things)
@settings(max_examples=300)
def test_any_json_is_a_layer_or_a_clear_error(value):
    try:
        built = from_json(net(value))
    except ValueError as error:
        message = str(error)
    else:
        message = "built: expected nothing"
        assert from_json(to_json(built)) == built
    assert ": expected " in message


@pytest.mark.usefixtures("known")
def test_a_definition_that_is_read_again_takes_the_place_of_the_first():
    """A cell of a notebook that is run twice."""
    source = "@register\n@dataclass(frozen=True)\nclass FromACell(Layer):\n    size: int = 1\n"
    names = {"register": register, "dataclass": dataclass, "Layer": Layer, "__name__": "__main__"}
    exec(source, names)
    exec(source.replace("1", "2"), names)
    assert from_json(to_json(names["FromACell"]())) == names["FromACell"](2)
