"""Lanes that begin with given weights, with frozen layers, or with their own examples are still what `fit` gives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn import functional as F
from jaxcnn.layers import Dense, Flatten, Sequential
from jaxcnn.search import cross_validate, random_restarts, sweep
from jaxcnn.training import fit, sgd
from tests.search.test_restarts import noisy, same, small_net, small_set

pytestmark = pytest.mark.usefixtures("quick_compilation")

KEY = jax.random.key(0)
FROZEN = ["hidden", "norm"]
ROWS = np.stack([np.arange(0, 24), np.arange(12, 36), np.repeat(np.arange(36, 48), 2)])


@pytest.fixture(scope="module")
def start():
    """Weights whose running statistics are not those of a new net."""
    return tuple(
        jax.tree.map(lambda leaf: leaf + 0.1, tree) for tree in small_net().init(jax.random.key(7), small_set().spec)
    )


@pytest.mark.slow
def test_a_lane_is_what_fit_gives_from_that_start_with_those_layers_frozen(start):
    options = {"epochs": 2, "batch_size": 12, "freeze": FROZEN, "augment": noisy}
    held = small_set(30)
    found = random_restarts(small_net(), small_set(), restarts=2, start=start, validation=held, key=KEY, **options)
    assert found.net() == small_net()
    alone = fit(small_net(), small_set(), start=start, validation=held, key=found.keys[1], **options)
    state = found.state(1)
    same((state, found.history[-1]["validation_loss"][1]), (alone.state, alone.history[-1]["validation_loss"]))
    for before, after in zip(start, (state.params, state.model_state), strict=True):
        same({n: before[n] for n in FROZEN if n in before}, {n: after[n] for n in FROZEN if n in after}, rtol=0)
    assert float(jnp.abs(state.params["head"]["kernel"] - start[0]["head"]["kernel"]).max()) > 1e-3
    # Momentum of the head alone, and numbers of steps: what is frozen has no slots.
    assert {leaf.shape for leaf in jax.tree.leaves(found.states.opt_state)} == {(2,), (2, 8, 3), (2, 3)}


@pytest.mark.slow
def test_each_lane_has_its_own_examples_for_each_value(start):
    options = {"epochs": 2, "batch_size": 12}
    found = sweep(
        small_net(), small_set(), over={"rate": [0.05, 0.2]}, restarts=3, start=start, examples=ROWS,
        optimizer=lambda rate: sgd(rate), freeze="hidden", key=KEY, **options,
    )  # fmt: skip
    own = small_set().take(ROWS[2])
    alone = fit(
        small_net(), own, start=start, freeze=["hidden"], optimizer=sgd(0.2), key=found.keys[5], **options,
    )  # fmt: skip
    same(found.state(5), alone.state)
    assert found.history[1]["train_loss"][5] == pytest.approx(alone.history[1]["train_loss"], rel=1e-4)
    assert int(found.state(0).step) == 4  # 24 examples of a lane, not all 60


@pytest.mark.slow
def test_lanes_in_chunks_keep_their_start_and_examples(start, monkeypatch):
    from jaxcnn.search import lanes

    monkeypatch.setattr(lanes, "fitting", lambda *args: (lanes.compile_lanes(*args[:5], 2), 2))
    options = {"epochs": 1, "batch_size": 12}
    found = random_restarts(small_net(), small_set(), restarts=3, start=start, examples=ROWS, key=KEY, **options)
    own = small_set().take(ROWS[2])
    same(found.state(2), fit(small_net(), own, start=start, key=found.keys[2], **options).state)


@pytest.mark.slow
def test_frozen_layers_in_a_cross_validation_stay_what_they_were_drawn_as():
    make = lambda width: Sequential(flatten=Flatten(), hidden=Dense(width), act=F.tanh, head=Dense(3))  # noqa: E731
    options = {"widths": (2, 4), "folds": 2, "epochs": 1, "batch_size": 12, "refit": False}
    found = cross_validate(make, small_set(), freeze=["hidden"], key=KEY, **options).lanes
    kernel = found.states.params["hidden"]["kernel"]
    for lanes, width in ((range(2), 2), (range(2, 4), 4)):
        for lane in lanes:
            np.testing.assert_array_equal(kernel[lane, :, width:], 0)
            np.testing.assert_array_equal(kernel[lane], kernel[lanes[0]])  # one draw, whatever the fold
            assert np.abs(found.states.params["head"]["kernel"][lane, :width]).min() > 0
    with pytest.raises(TypeError, match=r"cross_validate: .*start"):
        cross_validate(make, small_set(), start=({}, {}), key=KEY, **options)


OTHER = Sequential(flatten=Flatten(), head=Dense(3)).init(jax.random.key(0), small_set().spec)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"freeze": ["hiden"]}, r"^freeze: expected the path of a layer, got 'hiden'\. Did you mean 'hidden'"),
        (
            {"freeze": ["hidden", "norm", "head"]},
            r"^random_restarts: expected freeze to leave parameters that train, got ",
        ),
        ({"start": 3}, r"^random_restarts: expected start as \(params, state\), got 3\. "),
        ({"start": OTHER}, r"^TrainState\.create: expected a start \(params, state\) of this net, got other arrays"),
        ({"examples": [[0, 1, 60]] * 2}, r"^random_restarts: expected examples as .* in 0\.\.59, \(2, n\), got \[\[0"),
        ({"examples": [[0, 1, -1]] * 2}, r"^random_restarts: expected examples as numbers of training examples in 0"),
        ({"examples": [[0, 1, 2]]}, r"^random_restarts: expected examples as numbers of training examples in 0"),
        ({"examples": [[0, 1], [2]]}, r"^random_restarts: expected examples as numbers of training examples in 0"),
        ({"examples": [[], []]}, r"^random_restarts: expected examples as numbers of training examples in 0"),
        ({"examples": [[0.5], [1.5]]}, r"^random_restarts: expected examples as numbers of training examples in 0"),
        ({"examples": ROWS[:2], "validation": 0.2}, r"^random_restarts: expected no validation, or a set .*, got 0\.2"),
        ({"examples": ROWS[:2], "batch_size": 25}, r"^random_restarts: expected a batch_size of at most the 24 "),
    ],
)
def test_bad_options(options, message):
    with pytest.raises((ValueError, TypeError), match=message):
        random_restarts(small_net(), small_set(), **{"restarts": 2, "batch_size": 3, "key": KEY, **options})
