"""Lanes are the trainings that their keys give alone; what is chosen, what ends, what diverges."""

import dataclasses
import functools
import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcnn
from jaxcnn import data, initializers, matching
from jaxcnn import functional as F
from jaxcnn.layers import BatchNorm, Dense, Dropout, Flatten, Sequential
from jaxcnn.search import grid, lanes, random_restarts, sweep
from jaxcnn.training import evaluate, fit, predict, sgd, warmup_cosine

pytestmark = pytest.mark.usefixtures("quick_compilation")

KEY = jax.random.key(0)
# Batched products sum in another order; what that makes of a few steps is small, of whole trainings it is not.
NEAR = {"rtol": 1e-4, "atol": 1e-5}


def small_set(size=60):
    """Grey images of 4x4 pixels in three classes: the brightest column is the label's."""
    rng = np.random.default_rng(0)
    label = np.arange(size) % 3
    image = rng.uniform(0, 0.4, (size, 4, 4, 1))
    image[np.arange(size), :, label] += 0.5
    return data.from_arrays((image * 255).astype(np.uint8), label)


def small_net(rate=0.2):
    return Sequential(
        flatten=Flatten(), hidden=Dense(8), norm=BatchNorm(), act=F.relu, drop=Dropout(rate), head=Dense(3)
    )


def noisy(key, batch):
    return dict(batch, image=batch["image"] + 0.1 * jax.random.uniform(key, batch["image"].shape))


def darker(key, logits_fn, batch):
    """An attack: where that makes the true class less likely, a pixel is darker by the step of its image."""

    def true(image):
        return jnp.take_along_axis(logits_fn(image), batch["label"][:, None], -1).sum()

    size = jax.random.uniform(key, (len(batch["label"]), 1, 1, 1), maxval=0.1)
    return dict(batch, image=batch["image"] - size * (jax.grad(true)(batch["image"]) > 0))


def same(one, other, **near):
    near = near or NEAR
    for (path, a), b in zip(jax.tree_util.tree_leaves_with_path(one), jax.tree.leaves(other), strict=True):
        if not jnp.issubdtype(a.dtype, jax.dtypes.prng_key):
            np.testing.assert_allclose(a, b, err_msg=jax.tree_util.keystr(path), **near)


# --- the equality with `fit`


@pytest.fixture(scope="module")
def found():
    options = {"validation": 0.2, "epochs": 3, "batch_size": 12, "augment": noisy, "attack": darker}
    return random_restarts(small_net(), small_set(), restarts=3, key=KEY, **options)


def test_a_lane_is_the_training_that_its_key_gives_alone(found):
    lane, options = 2, {"validation": found.validation, "epochs": 3, "batch_size": 12}
    options |= {"augment": noisy, "attack": darker}
    alone = fit(small_net(), found.train, key=found.keys[lane], **options)
    same(found.state(lane), alone.state)
    assert jax.random.key_data(found.state(lane).key).tolist() == jax.random.key_data(alone.state.key).tolist()
    assert found.best_epochs[lane] == alone.best_epoch
    for line, entry in zip(found.history, alone.history, strict=True):
        for name in ("train_loss", "train_accuracy", "validation_loss", "validation_accuracy"):
            np.testing.assert_allclose(line[name][lane], entry[name], **NEAR)


def test_validation_that_compares_examples_does_not_see_padding(monkeypatch):
    """By chunks of 8: of 20 images the last 4 are compared alone, of 6 all at once."""
    monkeypatch.setattr("jaxcnn.search.lane.TOGETHER", 8)
    loss, net = matching.pair_loss(100.0), Sequential(flatten=Flatten(), hidden=Dense(4))
    for size in (20, 6):
        held = small_set(size)
        options = {"validation": held, "loss": loss, "epochs": 1, "batch_size": 12}
        found = random_restarts(net, small_set(), restarts=2, key=KEY, **options)
        for lane in range(2):
            state = found.state(lane)
            outputs = predict(net, state.params, state.model_state, held)
            parts = [slice(start, start + 8) for start in range(0, size, 8)]
            expected = np.concatenate([loss(outputs[part], {"label": held["label"][part]}) for part in parts]).mean()
            np.testing.assert_allclose(found.history[0]["validation_loss"][lane], expected, **NEAR)


def test_the_lowest_validation_loss_is_the_best(found):
    lowest = np.min([line["validation_loss"] for line in found.history], axis=0)
    np.testing.assert_allclose(found.values, lowest)
    assert found.best == int(lowest.argmin())
    same(found.state(), found.state(found.best), rtol=0)
    assert len(found) == 3
    assert found.epochs.tolist() == [3, 3, 3]
    assert found.net() == small_net()
    held = evaluate(found.net(), found.state().params, found.state().model_state, found.validation)
    assert held["loss"] == pytest.approx(found.values[found.best], rel=1e-4)


@pytest.mark.slow
def test_without_validation_the_lowest_training_loss_is():
    found = random_restarts(small_net(), small_set(), restarts=2, epochs=2, batch_size=12, key=KEY)
    for lane in range(2):
        state = found.state(lane)
        whole = evaluate(small_net(), state.params, state.model_state, small_set())
        assert found.values[lane] == pytest.approx(whole["loss"], rel=1e-4)
        assert int(state.step) == 10
    assert found.validation is None


def six(**options):
    """Return six restarts of a net that draws its weights, and drops some of them."""
    net = Sequential(flatten=Flatten(), drop=Dropout(0.2), head=Dense(3))
    options = {"restarts": 6, "epochs": 2, "patience": 1, "validation": small_set(9), **options}
    return random_restarts(net, small_set(), batch_size=12, key=KEY, **options)


@pytest.mark.slow
def test_the_same_key_gives_the_same_bits():
    same(six().states, six().states, rtol=0)


# --- sweeps

OVER = {"rate": [0.0, 0.2, 0.5], "momentum": [0.0, 0.9, 0.5], "decay": [0.0, 1e-2, 0.1], "peak": [0.1, 0.05, 0.2]}


def optimizer_of(peak, momentum, decay):
    return sgd(warmup_cosine(peak, 10), momentum=momentum, weight_decay=decay)


@pytest.mark.slow
def test_all_numbers_are_traced_and_nothing_compiles_anew():
    made = []

    def make(rate):
        made.append(rate)
        return small_net(rate)

    options = {"epochs": 2, "batch_size": 12, "validation": small_set(30)}
    found = sweep(make, small_set(), over=OVER, optimizer=optimizer_of, key=KEY, **options)
    traced = [rate for rate in made if isinstance(rate, jax.core.Tracer)]
    assert len(traced) <= 8  # the functions of a lane, some of them looked at before they are compiled
    assert [found.net(lane) for lane in range(3)] == [small_net(float(np.float32(rate))) for rate in OVER["rate"]]
    numbers = {name: values[1] for name, values in OVER.items()}
    net = small_net(numbers.pop("rate"))
    alone = fit(net, small_set(), optimizer=optimizer_of(**numbers), key=found.keys[1], **options)
    same(found.state(1), alone.state)


def test_a_grid_has_all_combinations():
    assert {name: values.tolist() for name, values in grid(a=[1, 2], b=[3, 4, 5]).items()} == {
        "a": [1, 1, 1, 2, 2, 2],
        "b": [3, 4, 5, 3, 4, 5],
    }


# --- a net whose only weight grows by its rate at each of two steps an epoch, until the validation loss rises

DRIFT = Sequential(flatten=Flatten(), head=Dense(1, use_bias=False, kernel_init=initializers.zeros))
ONES = data.from_arrays(np.ones((6, 1, 1, 1), np.float32), held=np.zeros(6))
HELD = data.from_arrays(np.ones((2, 1, 1, 1), np.float32), held=np.ones(2))
RATES = [0.1, 0.3, 0.5]


def drift(outputs, batch):
    return jnp.where(batch["held"] == 1, (outputs[:, 0] - 2.4) ** 2, -outputs[:, 0])


def near(outputs, batch):
    return -((outputs[:, 0] - 2.4) ** 2)


def plain(rate):
    return sgd(rate, momentum=0.0, weight_decay=0.0)


DRIFTING = {"loss": drift, "batch_size": 3, "key": KEY}


def drifting(rates, **options):
    return sweep(DRIFT, ONES, over={"rate": rates}, optimizer=plain, **DRIFTING, **options)


@pytest.mark.slow
def test_restarts_of_each_value_share_their_keys():
    found = drifting([0.1, 0.2], restarts=2, epochs=1)
    assert found.numbers["rate"].tolist() == np.float32([0.1, 0.1, 0.2, 0.2]).tolist()
    np.testing.assert_allclose(found.states.params["head"]["kernel"].ravel(), [0.2, 0.2, 0.4, 0.4], rtol=1e-6)
    data_of = jax.random.key_data(found.keys).tolist()
    assert data_of[:2] == data_of[2:]
    assert data_of[0] != data_of[1]


def test_each_lane_stops_for_itself_and_keeps_its_best():
    options = {"validation": HELD, "patience": 2, "epochs": 10}
    found = drifting(RATES, **options)
    for lane in (0, 2):
        options |= {"optimizer": plain(RATES[lane]), "key": found.keys[lane], "loss": drift, "batch_size": 3}
        alone = fit(DRIFT, ONES, **options)
        same(found.state(lane), alone.state, rtol=1e-6)
        assert found.epochs[lane] == len(alone.history)
        assert found.best_epochs[lane] == alone.best_epoch
        after = [line["validation_loss"][lane] for line in found.history[len(alone.history) :]]
        assert np.isnan(after).all()
    assert len({*found.epochs.tolist()}) == 3
    assert len(found.history) == found.epochs.max()


@pytest.mark.slow
def test_the_least_improvement():
    strict = drifting([0.1], validation=HELD, patience=1, epochs=10, min_delta=0.9)
    assert strict.epochs.tolist() == [2]  # 4.84 improves upon infinity, 4.0 not by 0.9 upon that


@pytest.mark.slow
def test_the_worse_half_ends():
    found = drifting([0.05, 0.1, 0.2, 0.3, 0.02], validation=HELD, epochs=6, halve_every=2)
    assert [line["going"].tolist() for line in found.history[::2]] == [
        [True] * 5,
        [False, True, True, True, False],
        [False, False, True, True, False],
    ]
    assert found.epochs.tolist() == [2, 4, 6, 6, 2]
    # Two steps an epoch, and 2.4 is the best.
    assert found.best_epochs.tolist() == [2, 4, 6, 4, 2]
    weights = np.array([0.2, 0.8, 2.4, 2.4, 0.08])
    np.testing.assert_allclose(found.states.params["head"]["kernel"].ravel(), weights, rtol=1e-5)
    np.testing.assert_allclose(found.values, (weights - 2.4) ** 2, rtol=1e-4, atol=1e-9)


@pytest.mark.slow
def test_the_highest_metric_is_chosen_where_it_is_watched():
    found = drifting(RATES, validation=HELD, epochs=5, metrics={"near": near}, monitor="near")
    reached = np.max([line["validation_near"] for line in found.history], axis=0)
    np.testing.assert_allclose(-found.values, reached, rtol=1e-6)
    assert found.best == reached.argmax() == 1


def test_lanes_that_diverge_are_reported_and_never_chosen():
    # The weight is infinite from the second step on; two more are borne.
    found = drifting([0.1, 3e38], epochs=4, skip_limit=3)
    assert found.diverged.tolist() == [False, True]
    assert found.values[1] == np.inf
    assert found.best == 0
    assert found.epochs.tolist() == [4, 1]
    lost = dataclasses.replace(found, values=np.full(2, np.inf))
    with pytest.raises(FloatingPointError, match=r"^search: expected a lane that trains, got 2 that diverged\. Lower"):
        lost.best  # noqa: B018


# --- chunks and devices


@pytest.mark.slow
def test_lanes_that_do_not_fit_are_trained_some_after_others(monkeypatch):
    options = {"restarts": 5, "epochs": 2, "batch_size": 12, "validation": small_set(9), "key": KEY}
    whole = random_restarts(small_net(), small_set(), **options)
    made, seen = [], []
    compile_lanes = lanes.compile_lanes
    monkeypatch.setattr(lanes, "compile_lanes", lambda *args: made.append(compile_lanes(*args)) or made[-1])
    random_restarts(small_net(), small_set(), **options | {"restarts": 2, "epochs": 1})
    parts = random_restarts(small_net(), small_set(), memory=made[-1].needed, callbacks=[seen.append], **options)
    assert [event.metrics["lanes"].tolist() for event in seen if event.kind == "start"] == [[0, 1], [2, 3], [4]]
    same(parts.states, whole.states)
    for line, other in zip(parts.history, whole.history, strict=True):
        np.testing.assert_allclose(line["validation_loss"], other["validation_loss"], **NEAR)


def test_lanes_that_do_not_fit_even_alone_are_refused():
    with pytest.raises(
        ValueError, match=r"^search: expected .* GiB for one lane on each device, got 0\.00 GiB\. Use a"
    ):
        drifting([0.1], epochs=1, memory=10)


@pytest.mark.slow
@pytest.mark.parametrize(("cache", "chunks"), [(1, [[0], [1], [2]]), (10**9, [[0, 1, 2]])])
def test_on_a_cpu_lanes_whose_steps_fill_the_cache_are_trained_one_after_another(cache, chunks, monkeypatch):
    seen = []
    monkeypatch.setattr(lanes, "CACHE", cache)
    monkeypatch.setattr(lanes, "compile_lanes", functools.partial(counted, lanes.compile_lanes, counts := []))
    found = drifting(RATES, epochs=1, callbacks=[seen.append])
    assert [event.metrics["lanes"].tolist() for event in seen if event.kind == "start"] == chunks
    assert counts == [1, 3][: 1 if cache == 1 else 2]  # one lane says how much there is to do
    np.testing.assert_allclose(found.states.params["head"]["kernel"].ravel(), [0.2, 0.6, 1.0], rtol=1e-6)


def counted(compile_lanes, counts, *args):
    counts.append(args[-1])
    return compile_lanes(*args)


PROGRAM = """
import json
import jax
jax.config.update("jax_disable_most_optimizations", True)
from tests.search.test_restarts import lanes, six
lanes.CACHE = 1  # one lane on each device
events = []
found = six(callbacks=[events.append])
shared = [event.metrics["lanes"].tolist() for event in events if event.kind == "start"]
kernel = found.states.params["head"]["kernel"].tolist()
print(json.dumps({"shared": shared, "values": found.values.tolist(), "kernel": kernel}))
"""


@pytest.mark.slow
def test_devices_share_the_lanes():
    environment = os.environ | {
        "PYTHONPATH": str(Path(jaxcnn.__file__).parents[1]),
        "XLA_FLAGS": "--xla_force_host_platform_device_count=4",
        "JAX_PLATFORMS": "cpu",
    }
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    several, alone = json.loads(done.stdout), six(devices=jax.devices()[:1])
    assert several["shared"] == [[0, 1, 2, 3], [4, 5]]
    np.testing.assert_allclose(several["values"], alone.values, **NEAR)
    np.testing.assert_allclose(several["kernel"], alone.states.params["head"]["kernel"], **NEAR)


# --- bad input


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"restarts": 0}, r"restarts as a positive int, got 0\. "),
        ({"batch_size": 61}, r"a batch_size of at most the 60 training examples, got 61\. "),
        ({"epochs": 0}, r"epochs as a positive int, got 0\. "),
        ({"patience": 2}, r"validation with patience=2 and monitor='loss', got None\. "),
        ({"monitor": "top"}, r"monitor as one of \['loss', 'accuracy'\], got 'top'\. Pass metrics with it\."),
        ({"monitor": "acuracy"}, r"monitor as one of .*\. Did you mean 'accuracy'\?"),
        (
            {"optimizer": lambda rate: sgd(rate)},
            r"the hyperparameters that optimizer takes, got none for \['rate'\]\. ",
        ),
        ({"devices": []}, r"at least one device, got \[\]\. "),
        ({"devices": [3]}, r"at least one device, got \[3\]\. "),
        ({"memory": 0}, r"memory as a number of bytes, got 0\. "),
        ({"callbacks": [3]}, r"callbacks as a list of functions, got \[3\]\. "),
        ({"skip_limit": 0}, r"skip_limit as a positive int, got 0\. "),
        ({"epoch": 3}, r"options of search\.Options, got 'epoch'\. Did you mean 'epochs'\?"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises((ValueError, TypeError), match=rf"^random_restarts: expected {message}"):
        random_restarts(small_net(), small_set(), **{"batch_size": 12, "key": KEY, **options})


@pytest.mark.parametrize(
    ("over", "message"),
    [
        ({}, r"over as a dict from names to values, got \{\}\. "),
        ({"rate": 0.1}, r"values of rate as a list of finite numbers, got 0\.1\. "),
        ({"rate": ["a"]}, r"values of rate as a list of finite numbers, got \['a'\]\. "),
        ({"rate": []}, r"as many values of each, got \{'rate': 0\}\. "),
        ({"rate": [0.1], "other": [1, 2]}, r"as many values of each, got \{'rate': 1, 'other': 2\}\. "),
        (
            {"rate": [0.1], "depth": [1]},
            r"hyperparameters that net or optimizer are functions of, got \['depth'\] too\. ",
        ),
    ],
)
def test_bad_numbers(over, message):
    with pytest.raises((ValueError, TypeError), match=rf"^sweep: expected {message}"):
        sweep(DRIFT, ONES, over=over, optimizer=plain, **DRIFTING)


def test_bad_arguments():
    with pytest.raises(TypeError, match=r"^random_restarts: expected train as a data\.Dataset, got 3\. "):
        random_restarts(small_net(), 3, key=KEY)
    with pytest.raises(TypeError, match=r"^random_restarts: expected net or a function that returns it, got 3\. "):
        random_restarts(3, small_set(), batch_size=12, key=KEY)
    with pytest.raises(TypeError, match=r"^random_restarts: expected one PRNG key, got 0\. "):
        random_restarts(small_net(), small_set(), key=0)
    with pytest.raises(ValueError, match=r"^classification: expected labels in 0\.\.1 for a net with 2 outputs"):
        random_restarts(Sequential(flatten=Flatten(), head=Dense(2)), small_set(), batch_size=12, key=KEY)


@pytest.mark.parametrize("lane", [99, "0", 1.5])
def test_a_lane_that_is_not_there(found, lane):
    for get in (found.state, found.net):
        with pytest.raises(ValueError, match=rf"^Trainings: expected a lane in 0\.\.{len(found) - 1}, got {lane!r}\. "):
            get(lane)


def test_keys_that_draw_otherwise_in_batches_are_refused():
    with pytest.raises(
        ValueError, match=r"^random_restarts: expected a threefry key, got one of .*rbg.*\. Others draw"
    ):
        random_restarts(small_net(), small_set(), restarts=2, epochs=1, key=jax.random.key(0, impl="rbg"))


@pytest.mark.slow
def test_several_steps_a_call_are_the_same_trainings(monkeypatch):
    options = {"restarts": 2, "epochs": 2, "batch_size": 12, "validation": small_set(9), "key": KEY}
    one = random_restarts(small_net(), small_set(), **options)
    monkeypatch.setattr(lanes, "STEPS_PER_CALL", {"cpu": 3})  # of five: three and two single ones
    several = random_restarts(small_net(), small_set(), **options)
    same(several.states, one.states)
