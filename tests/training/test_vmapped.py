"""Trainings side by side under `vmap` are the trainings that each key gives alone."""

import functools

import jax
import numpy as np
import pytest

from jaxcnn.training import TrainState, make_train_step, sgd

pytestmark = pytest.mark.usefixtures("quick_compilation")

SEEDS, STEPS = 3, 5
# Batched products sum in another order, which five steps amplify little; over whole trainings it grows.
RTOL, ATOL = 1e-4, 1e-5


def noisy(key, batch):
    return dict(batch, image=batch["image"] + 0.1 * jax.random.uniform(key, batch["image"].shape))


def test_vmapped_trainings_equal_solo_trainings(net, easy):
    """Parameters, statistics, optimizer and metrics of 5 steps: within 1e-4, relative; the key to the bit."""
    optimizer = sgd(0.1)
    step = make_train_step(net, optimizer, augment=noisy)
    batches = {
        name: np.asarray(array[: STEPS * 12]).reshape(STEPS, 12, *array.shape[1:]) for name, array in easy.items()
    }

    def train(key):
        state = TrainState.create(net, optimizer, key, easy.spec)
        return jax.lax.scan(step, state, batches)

    keys = jax.random.split(jax.random.key(7), SEEDS)
    together = jax.jit(jax.vmap(train))(keys)
    alone = jax.jit(train)
    for seed in range(SEEDS):
        lane = jax.tree.map(lambda leaf, seed=seed: leaf[seed], together)
        (state, measured), (solo, solo_measured) = lane, alone(keys[seed])
        assert jax.random.key_data(state.key).tolist() == jax.random.key_data(solo.key).tolist()
        assert int(state.step) == int(solo.step) == STEPS
        close = functools.partial(np.testing.assert_allclose, rtol=RTOL, atol=ATOL)
        jax.tree.map(
            close,
            (state.params, state.model_state, state.opt_state, measured),
            (solo.params, solo.model_state, solo.opt_state, solo_measured),
        )
    assert len({float(loss) for loss in together[1]["loss"][:, 0]}) == SEEDS
