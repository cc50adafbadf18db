"""A training compiles in its first epoch and never again."""

import jax
import numpy as np
import pytest

from jaxcnn import data
from jaxcnn.layers import BatchNorm, Dense, Dropout, Flatten, Sequential
from jaxcnn.training import fit

pytestmark = [pytest.mark.newest, pytest.mark.usefixtures("quick_compilation")]

EPOCHS, BATCH, TRAIN, HELD = 143, 6, 47, 300  # 7 steps an epoch and 5 examples left over; 256 and 44 to evaluate
NET = Sequential(flatten=Flatten(), norm=BatchNorm(), drop=Dropout(0.1), head=Dense(2))


def images(count, seed):
    random = np.random.default_rng(seed)
    return data.from_arrays(random.integers(0, 256, (count, 2, 2, 1), np.uint8), np.arange(count) % 2)


def noisy(key, batch):
    return dict(batch, image=batch["image"] + 0.1 * jax.random.uniform(key, batch["image"].shape))


@pytest.mark.parametrize("accumulate", [1, 2])
def test_one_compilation_over_a_thousand_steps(accumulate, caplog):
    after_epoch = []

    def compiled():
        return [message for message in caplog.messages if message.startswith("Finished XLA compilation of ")]

    with jax.log_compiles():
        result = fit(
            NET,
            images(TRAIN, 0),
            validation=images(HELD, 1),
            augment=noisy,
            epochs=EPOCHS,
            batch_size=BATCH,
            accumulate=accumulate,
            key=jax.random.key(0),
            callbacks=[lambda event: after_epoch.append(len(compiled())) if event.kind == "epoch" else None],
        )
    assert result.history[-1]["step"] == EPOCHS * (TRAIN // BATCH) == 1001
    assert sum(" jit(one) " in message for message in compiled()) == 1
    assert after_epoch[-1] == after_epoch[0]  # of evaluation, copies and the rest, nothing either
