"""Heads beside a net: what they take, what they cost, how they are trained and taken off again."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxcnn import data, interop, losses, summarize, surgery, training
from jaxcnn import functional as F
from jaxcnn.layers import Auxiliary, BatchNorm, Conv, Dense, Flatten, GlobalAvgPool, Sequential, from_json, to_json
from jaxcnn.training import TrainState, make_train_step

pytestmark = pytest.mark.usefixtures("quick_compilation")
key = jax.random.key(0)
IMAGES = jnp.asarray(np.random.default_rng(0).normal(size=(4, 6, 6, 2)), jnp.float32)
LABELS = jnp.asarray([0, 2, 1, 2])
MAIN = Sequential(
    stage1=Sequential(conv=Conv(3), norm=BatchNorm(), act=F.relu),
    stage2=Sequential(conv=Conv(4, stride=2), act=F.relu),
    pool=GlobalAvgPool(),
    head=Dense(3),
)
SIDE = Sequential(flatten=Flatten(), hidden=Dense(3))
NET = Auxiliary(
    {"aux1": "stage1", "aux2": "stage2"}, **MAIN.layers, aux1=SIDE, aux2=Sequential(norm=BatchNorm(), side=SIDE)
)


@functools.cache
def variables():
    return NET.init(key, IMAGES)


def run(net, *, train=False):
    return net.apply(*variables(), IMAGES, train=train, key=key)


@pytest.mark.slow
def test_heads_take_what_the_layers_of_their_taps_give():
    params, state = variables()
    outputs, _ = run(NET)
    y, found = surgery.activations(NET.main, params, state, IMAGES, ["stage1", "stage2"])
    np.testing.assert_array_equal(outputs["logits"], y)
    np.testing.assert_array_equal(outputs["aux1"], SIDE.apply(params["aux1"], {}, found["stage1"], train=False)[0])
    head2, given2 = NET.children()["aux2"], found["stage2"]
    np.testing.assert_array_equal(outputs["aux2"], head2.apply(params["aux2"], state["aux2"], given2, train=False)[0])
    assert {name: y.shape for name, y in outputs.items()} == dict.fromkeys(("logits", "aux1", "aux2"), (4, 3))


@pytest.mark.slow
def test_the_main_net_is_the_net_without_heads():
    params, state = variables()
    alone = MAIN.init(key, IMAGES)
    assert NET.main == MAIN
    assert {name: params[name] for name in alone[0]}.keys() == alone[0].keys()
    for name in alone[0]:  # the same initial values
        jax.tree.map(np.testing.assert_array_equal, params[name], alone[0][name])
    for train in (False, True):
        outputs, after = run(NET, train=train)
        y, own = run(NET.main, train=train)
        np.testing.assert_array_equal(y, outputs["logits"])
        jax.tree.map(np.testing.assert_array_equal, own, {name: after[name] for name in own})
        assert jax.tree.structure(after) == jax.tree.structure(state)


@pytest.mark.slow
def test_the_net_up_to_a_head():
    outputs, _ = run(NET, train=True)
    for head in ("aux1", "aux2"):
        np.testing.assert_array_equal(run(NET.up_to(head), train=True)[0], outputs[head])
    assert list(NET.up_to("aux1").layers) == ["stage1", "aux1"]
    with pytest.raises(ValueError, match=r"^up_to: expected one of the heads \['aux1', 'aux2'\], got 'stage1'\."):
        NET.up_to("stage1")


def test_a_head_whose_output_is_not_used_costs_nothing():
    def flops(net, output):
        compiled = jax.jit(lambda p, s, x: output(net.apply(p, s, x, train=False)[0])).lower(*variables(), IMAGES)
        return compiled.compile().cost_analysis()["flops"]

    alone = flops(NET.main, lambda y: y)
    assert flops(NET, lambda outputs: outputs["logits"]) == alone < flops(NET, lambda outputs: outputs)


def test_two_heads_at_one_layer_and_a_head_after_the_last():
    net = Auxiliary({"a": "conv", "b": "conv", "c": "act"}, conv=Conv(2), act=F.relu, a=F.tanh, b=jnp.abs, c=F.tanh)
    params, state = net.init(key, IMAGES)
    y, _ = net.apply(params, state, IMAGES, train=False)
    np.testing.assert_array_equal(y["a"], F.tanh(F.conv(IMAGES, **params["conv"])))
    np.testing.assert_array_equal(y["b"], jnp.abs(F.conv(IMAGES, **params["conv"])))
    np.testing.assert_array_equal(y["c"], F.tanh(y["logits"]))


def test_heads_may_be_named_in_any_order():
    parts = dict(reversed(NET.children().items()))
    parts = {"aux2": parts.pop("aux2")} | {name: NET.children()[name] for name in MAIN.layers} | {"aux1": parts["aux1"]}
    net = Auxiliary({"aux1": "stage1", "aux2": "stage2"}, **parts)
    assert net.main == MAIN
    np.testing.assert_array_equal(run(net)[0]["aux2"], run(NET)[0]["aux2"])


def test_saved_and_printed():
    assert from_json(to_json(NET)) == NET
    assert repr(NET).splitlines()[:3] == [
        "Auxiliary(",
        "  taps={'aux1': 'stage1', 'aux2': 'stage2'},",
        "  stage1=Sequential(",
    ]
    other = Auxiliary({"aux1": "stage2", "aux2": "stage2"}, **NET.children())
    assert other != NET
    assert hash(NET) == hash(from_json(to_json(NET)))


def test_surgery_sees_layers_and_heads():
    params, state = variables()
    assert surgery.paths(NET)[:3] == ["stage1", "stage1/conv", "stage1/norm"]
    assert "aux2/side/hidden" in surgery.paths(NET)
    _, found = surgery.activations(NET, params, state, IMAGES, ["stage1", "stage1/conv", "aux2/norm"], train=True)
    assert {path: a.shape for path, a in found.items()} == {
        "stage1": (4, 6, 6, 3),
        "stage1/conv": (4, 6, 6, 3),
        "aux2/norm": (4, 3, 3, 4),
    }
    halved = surgery.edit(NET, {"stage1": lambda y: y / 2})
    expected = SIDE.apply(params["aux1"], {}, found["stage1"] / 2, train=False)[0]
    np.testing.assert_allclose(run(halved, train=True)[0]["aux1"], expected, rtol=1e-5)
    replaced = surgery.replace(NET, {F.relu: F.tanh})
    assert replaced.taps == NET.taps
    assert replaced.main == surgery.replace(MAIN, {F.relu: F.tanh})


def test_summary_has_a_row_for_each_head():
    found = summarize(NET, IMAGES)
    sizes = {row.path: (row.output[1:], row.receptive_field) for row in found.rows if "/" not in row.path}
    assert sizes == {
        "stage1": ((6, 6, 3), (3, 3)),
        "stage2": ((3, 3, 4), (5, 5)),
        "pool": ((4,), "all"),
        "head": ((3,), "all"),
        "aux1": ((3,), "all"),
        "aux2": ((3,), "all"),
    }
    alone = summarize(MAIN, IMAGES)
    # By hand: dense layers of 108 and of 36 inputs, and a scale and a bias of 4.
    assert found.parameters == alone.parameters + (108 * 3 + 3) + (36 * 3 + 3) + 8
    assert found.multiply_adds == alone.multiply_adds + 108 * 3 + 36 * 3
    assert {row.path: row.receptive_field for row in found.rows}["aux2/norm"] == (5, 5)
    within = summarize(Sequential(act=F.tanh, net=NET), IMAGES)
    assert within.rows[1].kind == "Auxiliary"
    assert within.rows[1].output == (1, 3)
    assert within.multiply_adds == found.multiply_adds
    maps = Auxiliary({"whole": "conv"}, conv=Conv(3), more=Conv(3), whole=GlobalAvgPool())
    assert summarize(Sequential(net=maps), IMAGES).rows[0].receptive_field == (5, 5)  # of "logits"


def test_heads_have_weights_in_pytorchs_order():
    params, state = variables()
    found = interop.torch.state_dict(NET, params, state, layout="paths", spec=IMAGES)
    kernel = np.asarray(params["aux1"]["hidden"]["kernel"]).reshape(6, 6, 3, 3)  # of flattened images
    np.testing.assert_array_equal(found["aux1.hidden.weight"], kernel.transpose(3, 2, 0, 1).reshape(3, -1))
    again = interop.torch.load_state_dict(NET, found, spec=IMAGES)
    jax.tree.map(np.testing.assert_array_equal, (again.params, again.state), (params, state))


def test_the_loss_counts_the_heads():
    outputs, _ = run(NET)
    batch = {"image": IMAGES, "label": LABELS}
    each = {name: losses.cross_entropy(y, LABELS) for name, y in outputs.items()}
    loss = losses.with_auxiliary(losses.classification())
    np.testing.assert_allclose(loss(outputs, batch), each["logits"] + 0.3 * (each["aux1"] + each["aux2"]), rtol=1e-6)
    heavier = losses.with_auxiliary(losses.classification(), weight=2)
    np.testing.assert_allclose(heavier(outputs, batch), each["logits"] + 2 * (each["aux1"] + each["aux2"]), rtol=1e-6)
    none = losses.with_auxiliary(lambda y, batch: losses.cross_entropy(y, batch["label"]), weight=0)
    lost = outputs | {"aux1": outputs["aux1"] * jnp.nan}  # which nobody looks at
    np.testing.assert_array_equal(none(lost, batch), each["logits"])
    assert loss == losses.with_auxiliary(losses.classification(), weight=0.3)
    assert hash(loss) == hash(losses.with_auxiliary(losses.classification()))


@pytest.mark.slow
def test_a_step_moves_main_net_and_heads():
    loss = losses.with_auxiliary(losses.classification())
    metrics = {"accuracy": losses.with_auxiliary(losses.batch_accuracy, weight=0)}
    optimizer = optax.sgd(0.1)
    step = jax.jit(make_train_step(NET, optimizer, loss, metrics=metrics))
    state = TrainState.create(NET, optimizer, key, IMAGES)
    after, measured = step(state, {"image": IMAGES, "label": LABELS})
    assert set(measured) == {"loss", "accuracy", "skipped"}
    moved = jax.tree.map(lambda a, b: bool((a != b).any()), after.params, state.params)
    assert all(moved[name] for name in ("aux1", "aux2", "head", "stage1")) and all(jax.tree.leaves(moved["aux1"]))
    statistics = jax.tree.map(lambda a, b: bool((a != b).any()), after.model_state, state.model_state)
    assert all(jax.tree.leaves(statistics))


@pytest.mark.slow
def test_fit_trains_it_and_the_main_net_predicts():
    train = data.from_arrays(np.asarray(jax.nn.sigmoid(IMAGES)), np.asarray(LABELS, np.int32))
    loss = losses.with_auxiliary(losses.classification())
    result = training.fit(NET, train, loss=loss, epochs=1, batch_size=4, key=key)
    params, state = result.state.params, result.state.model_state
    assert np.isfinite(training.evaluate(NET, params, state, train, loss=loss)["loss"])
    logits = training.predict(NET.main, params, state, train)
    found = training.predictor(NET, params, state)(train["image"])
    np.testing.assert_allclose(logits, found["logits"], rtol=1e-5)


@pytest.mark.parametrize(
    ("taps", "layers", "error", "message"),
    [
        ({}, {}, TypeError, r"taps as a dict from names of heads to names of layers, got \{\}\. Pass"),
        ("aux", {}, TypeError, r"taps as a dict .*, got 'aux'\."),
        ({"aux": 1}, {"aux": SIDE}, TypeError, r"taps as a dict .*, got \{'aux': 1\}\."),
        ({"aux": "stage9"}, {"aux": SIDE}, ValueError, r"layers of \['stage1', .*\], got \{'aux': 'stage9'\}\."),
        ({"aux": "stage1"}, {}, ValueError, r"layers of \['stage1', .*\], got \{'aux': 'stage1'\}\."),
        ({"a": "stage1", "b": "a"}, {"a": SIDE, "b": SIDE}, ValueError, r"layers of \[.*\], got \{'a': .*'b': 'a'\}\."),
        ({"logits": "stage1"}, {"logits": SIDE}, ValueError, r"heads not called 'logits', got \['logits'\]\. It is"),
        ({"aux": "stage1"}, {"aux": Conv}, TypeError, r"'aux' to be a layer or a function of an array"),
    ],
)
def test_bad_taps(taps, layers, error, message):
    with pytest.raises(error, match=rf"^Auxiliary: expected .*{message}"):
        Auxiliary(taps, **MAIN.layers, **layers)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((None,), TypeError, r"loss as a function of outputs and batch, got None\. Pass losses\.classification"),
        ((losses.batch_accuracy, -1), ValueError, r"a finite weight >= 0, got -1\. 0\.3 is the paper's\."),
        ((losses.batch_accuracy, float("inf")), ValueError, r"a finite weight >= 0, got inf\."),
        ((losses.batch_accuracy, "1"), ValueError, r"a finite weight >= 0, got '1'\."),
    ],
)
def test_bad_losses(arguments, error, message):
    with pytest.raises(error, match=rf"^with_auxiliary: expected {message}"):
        losses.with_auxiliary(*arguments)


def test_a_loss_of_heads_for_a_net_without():
    loss = losses.with_auxiliary(losses.classification())
    for outputs in (jnp.zeros((4, 3)), {"aux1": jnp.zeros((4, 3))}):
        with pytest.raises(ValueError, match=r'^with_auxiliary: expected outputs by name, "logits" among them, got '):
            loss(outputs, {"label": LABELS})


@pytest.mark.slow
def test_fit_looks_at_labels_and_measures_the_accuracy_of_the_logits():
    images = np.asarray(jax.nn.sigmoid(IMAGES))
    loss = losses.with_auxiliary(losses.classification())
    options = {"loss": loss, "epochs": 1, "batch_size": 4, "key": key}
    line = training.fit(NET, data.from_arrays(images, np.asarray(LABELS, np.int32)), **options).history[-1]
    assert 0 <= line["train_accuracy"] <= 1
    wrong = data.from_arrays(images, np.array([0, 1, 2, 7]))
    with pytest.raises(ValueError, match=r"^classification: expected labels in 0\.\.2 for a net with 3 outputs"):
        training.fit(NET, wrong, **options)
