"""Which array of a step is the first that is not finite, and that such a step leaves everything as it was."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxcnn import data, fingerprint, losses
from jaxcnn import functional as F
from jaxcnn.layers import BatchNorm, Conv, Dense, GlobalAvgPool, Residual, Sequential
from jaxcnn.surgery import edit
from jaxcnn.training import TrainState, fit, make_train_step, sgd
from jaxcnn.training.diagnosis import first_not_finite

pytestmark = pytest.mark.usefixtures("quick_compilation")

BLOCK = Residual(Sequential(conv=Conv(4), norm=BatchNorm()))
NET = Sequential(stem=Conv(4), norm=BatchNorm(), act=F.relu, block=BLOCK, pool=GlobalAvgPool(), head=Dense(3))
LOSS = losses.classification()
OPTIMIZER = sgd(lambda count: 0.1 / (1 + count))
BATCH = {
    "image": np.random.default_rng(0).random((4, 6, 6, 2), np.float32),
    "label": np.arange(4, dtype=np.int32) % 3,
}


@jax.custom_jvp
def steep(x):
    """The identity, whose derivative is infinite."""
    return x


steep.defjvp(lambda primals, tangents: (primals[0], jnp.inf * tangents[0]))


def broken(value):
    return lambda x: x.at[(0,) * x.ndim].set(value)


def bad_loss(value):
    return lambda outputs, batch: LOSS(outputs, batch).at[2].set(value)


def state_of(net, optimizer=OPTIMIZER):
    state = TrainState.create(net, optimizer, jax.random.key(0), jax.eval_shape(lambda: jnp.asarray(BATCH["image"])))
    step = jax.jit(make_train_step(NET, optimizer, LOSS))
    for _ in range(2):  # momentum and statistics that are not zero
        state, measured = step(state, BATCH)
    assert measured["skipped"] == 0
    return state


@pytest.fixture(scope="module")
def state():
    return state_of(NET)


def brighter(key, batch):
    return dict(batch, image=batch["image"] * jnp.inf)


def explode():
    return optax.GradientTransformation(lambda params: (), lambda g, s, p: (jax.tree.map(lambda x: x + jnp.inf, g), s))


IMAGE = BATCH["image"].copy()
IMAGE[1, 2, 3, 0] = np.nan
# name: (what is found, net, batch, loss, augment)
CASES = {
    "input": ("the images", NET, BATCH | {"image": IMAGE}, LOSS, None),
    "augmentation": ("the augmented images", NET, BATCH, LOSS, brighter),
    "activation": ("the activations of 'stem'", edit(NET, {"stem": broken(jnp.inf)}), BATCH, LOSS, None),
    "inner activation": (
        "the activations of 'block/branch/conv'",
        edit(NET, {"block/branch/conv": broken(jnp.nan)}),
        BATCH,
        LOSS,
        None,
    ),
    "loss": ("the loss", NET, BATCH, bad_loss(jnp.nan), None),
    "gradient": ("the gradient of block/branch/conv/bias", edit(NET, {"block/branch/conv": steep}), BATCH, LOSS, None),
}


LONG = ("augmentation", "activation")  # as the images and an inner activation are found


@pytest.mark.parametrize("case", [pytest.param(c, marks=[pytest.mark.slow] * (c in LONG)) for c in CASES])
def test_the_first_bad_array_is_named_and_the_step_skipped(case, state):
    expected, net, batch, loss, augment = CASES[case]
    assert first_not_finite(net, loss, augment, None, jnp.float32, 1, state, batch) == expected
    skipped(make_train_step(net, OPTIMIZER, loss, augment=augment), state, batch)


def test_what_is_frozen_is_looked_at_as_it_is(state):
    """A batch norm that stays as it is uses its running statistics, in the diagnosis as in the step."""
    bad = dict(state.model_state, norm=jax.tree.map(lambda leaf: leaf * jnp.nan, state.model_state["norm"]))
    train = data.from_arrays(**BATCH)
    options = {"loss": LOSS, "epochs": 4, "batch_size": 4, "skip_limit": 2, "key": jax.random.key(0)}
    with pytest.raises(FloatingPointError, match="first in the activations of 'norm', and in 2 steps"):
        fit(NET, train, start=(state.params, bad), freeze=["norm"], **options)


def test_statistics():
    """Where the squares of the images overflow, the variance is infinite, and what is divided by it finite: 0."""
    huge = BATCH | {"image": BATCH["image"] * np.float32(1e20)}
    net = Sequential(norm=BatchNorm(), pool=GlobalAvgPool(), head=Dense(3))
    spec = jax.eval_shape(lambda: jnp.asarray(BATCH["image"]))
    fresh = TrainState.create(net, OPTIMIZER, jax.random.key(0), spec)
    assert first_not_finite(net, LOSS, None, None, jnp.float32, 1, fresh, huge) == "the statistics of norm/var"
    skipped(make_train_step(net, OPTIMIZER, LOSS), fresh, huge)


def test_parameters(state):
    params = state.params | {"head": jax.tree.map(lambda leaf: leaf * jnp.nan, state.params["head"])}
    found = first_not_finite(NET, LOSS, None, None, jnp.float32, 1, replace(state, params=params), BATCH)
    assert found == "the parameter head/bias"


@pytest.mark.slow
def test_a_batch_in_parts(state):
    """The third of four rows is in the first of two parts, of which batch norm has its own statistics."""
    for row, parts in ((2, 2), (3, 2), (1, 4)):
        images = BATCH["image"].copy()
        images[row] = 3e38 * np.sign(images[row] - 0.5)  # finite, and the sum of the stem's products is not
        batch = BATCH | {"image": images}
        found = first_not_finite(NET, LOSS, None, None, jnp.float32, parts, state, batch)
        assert found == "the activations of 'stem'"
        skipped(make_train_step(NET, OPTIMIZER, LOSS, accumulate=parts), state, batch)


@pytest.mark.slow
def test_a_part_with_a_bad_loss(state):
    """Where only the second part goes wrong, it is looked at too, with the statistics that the first one left."""

    def loss(outputs, batch):
        return LOSS(outputs, batch) + jnp.where(batch["number"] == 1, jnp.nan, 0.0)

    batch = BATCH | {"number": np.arange(4)}
    assert first_not_finite(NET, loss, None, None, jnp.float32, 2, state, batch) == "the loss"
    batch["number"] = batch["number"] + 2
    assert first_not_finite(NET, loss, None, None, jnp.float32, 2, state, batch) == "what the optimizer makes of them"


@pytest.mark.slow
@pytest.mark.parametrize("parts", [1, 2])
def test_an_attack(parts, state):
    """Of the net that the step has, on the part that goes through it."""

    def attack(key, logits_fn, batch):
        bad = (batch["number"] == 3)[:, None, None, None] & jnp.isfinite(logits_fn(batch["image"])).all()
        return dict(batch, image=jnp.where(bad, jnp.nan, batch["image"]))

    batch = BATCH | {"number": np.arange(4)}
    found = first_not_finite(NET, LOSS, None, attack, jnp.float32, parts, state, batch)
    assert found == "the attacked images"
    skipped(make_train_step(NET, OPTIMIZER, LOSS, attack=attack, accumulate=parts), state, batch)


@pytest.mark.slow
def test_what_is_random_is_drawn_as_in_the_step(state):
    """A net that goes wrong by one draw in many is found by the key of that draw, attack or no attack."""
    drawn = []

    def attack(key, logits_fn, batch):
        jax.debug.callback(lambda data: drawn.append(data.tolist()), jax.random.key_data(key))
        return batch

    for parts in (1, 2):
        drawn.clear()
        jax.jit(make_train_step(NET, OPTIMIZER, LOSS, attack=attack, accumulate=parts))(state, BATCH)
        first_not_finite(NET, LOSS, None, attack, jnp.float32, parts, state, BATCH)
        jax.effects_barrier()
        assert drawn[:parts] == drawn[parts:]
        assert len({tuple(data) for data in drawn}) == parts


@pytest.mark.slow
def test_an_optimizer_that_overflows(state):
    own = TrainState.create(NET, explode(), jax.random.key(0), jax.eval_shape(lambda: jnp.asarray(BATCH["image"])))
    skipped(make_train_step(NET, explode(), LOSS), own, BATCH)
    assert first_not_finite(NET, LOSS, None, None, jnp.float32, 1, state, BATCH) == "what the optimizer makes of them"


def skipped(step, state, batch):
    """Check that the step counts, and that everything else is as it was, to the bit."""
    after, measured = jax.jit(step)(state, batch)
    assert measured["skipped"] == 1
    assert after.step == state.step + 1
    assert fingerprint(replace(after, step=state.step)) == fingerprint(state)


@pytest.mark.slow
def test_one_lane_of_several(state):
    states = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), state)
    images = jnp.stack([BATCH["image"], IMAGE])
    step = jax.vmap(make_train_step(NET, OPTIMIZER, LOSS), (0, {"image": 0, "label": None}))
    after, measured = jax.jit(step)(states, {"image": images, "label": BATCH["label"]})
    assert measured["skipped"].tolist() == [0, 1]
    lanes = [jax.tree.map(lambda leaf, lane=lane: leaf[lane], after) for lane in range(2)]
    assert fingerprint(lanes[1].params) == fingerprint(state.params) != fingerprint(lanes[0].params)
    assert fingerprint(lanes[1].model_state) == fingerprint(state.model_state)
