"""How a training set reaches the step: what of it is moved to the device, and how often the step is compiled."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxcnn import data, fingerprint
from jaxcnn import functional as F
from jaxcnn.layers import Conv, Dense, GlobalAvgPool, Sequential
from jaxcnn.training import TrainState, device_mesh, make_train_step
from jaxcnn.training.feed import STEPS_PER_CALL, feed

pytestmark = pytest.mark.usefixtures("quick_compilation")

KEY = jax.random.key(0)
NET = Sequential(conv=Conv(4), act=F.relu, pool=GlobalAvgPool(), head=Dense(2))


def lift(key, batch):
    """What geometry does: masks go where images go."""
    return batch | {"image": batch["image"] / 2, "mask": batch["mask"] + 1}


def cover(outputs, batch):
    return batch["mask"].mean((1, 2)).astype(jnp.float32)


@pytest.mark.parametrize("augment", [None, lift])
@pytest.mark.parametrize("metrics", [{}, {"cover": cover}], ids=["unused", "used"])
def test_what_the_step_does_not_use_stays_on_the_host(augment, metrics, caplog):
    random = np.random.default_rng(0)
    image, mask = random.random((8, 6, 6, 3), np.float32), random.integers(0, 2, (8, 6, 6)).astype(np.int32)
    train = data.from_arrays(image, np.arange(8) % 2, mask=mask)
    optimizer = optax.sgd(0.1)
    step = make_train_step(NET, optimizer, metrics=metrics, augment=augment)
    state = TrainState.create(NET, optimizer, KEY, train.spec)
    fed = feed(step, train, 4, KEY, device_mesh())
    with jax.log_compiles():
        for at in range(2):
            state, measured = fed.advance(state, at)
    assert sum("Finished XLA compilation of jit(one)" in message for message in caplog.messages) == 1
    on_device = {name for name, array in fed.arrays.items() if isinstance(array, jax.Array)}
    assert on_device == {"image", "label"} | ({"mask"} if metrics else set())
    if metrics:
        rows = mask[np.asarray(fed.order)[4:]] + (augment is not None)
        np.testing.assert_allclose(measured["cover"], rows.mean(), rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("at_once", [2, 3])
def test_several_steps_in_one_call(at_once, monkeypatch):
    """Calls begin where the number of the step says, so that a run resumed between two goes on with the same ones."""
    random = np.random.default_rng(0)
    train = data.from_arrays(random.random((20, 6, 6, 3), np.float32), np.arange(20) % 2)
    step = make_train_step(NET, optax.sgd(0.1))

    def trained(start=0, state=None, until=10):
        state = TrainState.create(NET, optax.sgd(0.1), KEY, train.spec) if state is None else state
        fed, losses, steps = feed(step, train, 4, KEY, device_mesh()), [], []
        while start < until:
            state, measured = fed.advance(state, start)
            losses += np.atleast_1d(measured["loss"]).tolist()
            start += measured["loss"].size
            steps.append(start)
        return state, losses, steps

    _, expected, _ = trained()
    monkeypatch.setitem(STEPS_PER_CALL, "cpu", at_once)
    state, losses, steps = trained()
    assert steps == {2: [2, 4, 5, 7, 9, 10], 3: [3, 4, 5, 8, 9, 10]}[at_once]  # five steps an epoch
    np.testing.assert_allclose(losses, expected, rtol=1e-5)
    part = trained(until=4)[0]
    again = trained(4, part)
    assert again[1] == losses[4:]
    assert fingerprint(again[0]) == fingerprint(state)


@pytest.mark.parametrize("at_once", [1, 2, 3])
def test_replays(at_once, monkeypatch):
    """Each batch is for three steps in a row, which draw the same, whichever of them share a call."""
    train = data.from_arrays(np.random.default_rng(0).random((20, 6, 6, 3), np.float32), np.arange(20) % 2)
    drawn = {"first": lambda y, batch: jnp.broadcast_to(batch["index"][0], 8), "noise": lambda y, batch: batch["noise"]}

    def noisy(key, batch):
        return dict(batch, noise=jax.random.uniform(key, 8))

    monkeypatch.setitem(STEPS_PER_CALL, "cpu", at_once)
    step = make_train_step(NET, optax.sgd(0.1), metrics=drawn, augment=noisy)
    state = TrainState.create(NET, optax.sgd(0.1), KEY, train.spec)
    fed, rows, done = feed(step, train, 8, KEY, device_mesh(), replays=3), [], 0
    while done < 12:  # two epochs of two batches
        state, measured = fed.advance(state, done)
        rows += zip(*(np.atleast_1d(measured[name]).tolist() for name in drawn), strict=True)
        done += measured["loss"].size
    assert (len(rows), int(state.step)) == (12, 12)
    batches = [set(rows[at : at + 3]) for at in range(0, 12, 3)]
    assert [len(batch) for batch in batches] == [1] * 4
    assert len(set.union(*batches)) == 4
    for at in range(12):
        assert fed.batch(at)["index"][0] == rows[at][0]
