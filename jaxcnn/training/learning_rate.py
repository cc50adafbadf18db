"""A range test: the loss while the learning rate rises, and the rate to start from."""

import math
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn.checking import expect, expect_key, is_int, is_number, plain, shown
from jaxcnn.data.dataset import Dataset
from jaxcnn.data.stream import Stream
from jaxcnn.layers.layer import Layer
from jaxcnn.training.arguments import expect_sets
from jaxcnn.training.feed import Feed, feed
from jaxcnn.training.mesh import device_mesh, replicated
from jaxcnn.training.optimizer import sgd
from jaxcnn.training.state import TrainState
from jaxcnn.training.step import Attack, Augment, PerExample, make_train_step

__all__ = ["LearningRates", "find_learning_rate"]

SKIP_LIMIT = 10  # skipped steps one after another that end the test: as `fit` and `search` give up, unless told


@dataclass(frozen=True)
class LearningRates:
    """`rates` that were tried, the smoothed `losses` at them, and a `suggestion`: all floats."""

    rates: np.ndarray
    losses: np.ndarray
    suggestion: float


def find_learning_rate(
    net: Layer,
    train: Dataset | Stream,
    *,
    key: jax.Array,
    loss: PerExample | None = None,
    augment: Augment | None = None,
    attack: Attack | None = None,
    batch_size: int = 64,
    low: float = 1e-4,
    high: float = 10.0,
    steps: int = 100,
    momentum: float = 0.9,
    weight_decay: float = 5e-4,
) -> LearningRates:
    """Return the loss along one short training whose learning rate rises from `low` to `high` geometrically.

    The suggestion is a third of the rate at which the smoothed loss is lowest: near the largest that still trains.

    Args:
        net, train, loss, augment, attack, batch_size: as for `fit`.
        key: a PRNG key.
        low, high: the first and the last rate.
        steps: how many rates.
        momentum, weight_decay: of the `sgd` that will be used.

    Returns:
        `LearningRates`; the test ends early where the loss is not finite, or has risen by three times its least (of a
        loss that falls below 0: three times what it had fallen, or its size). A step that is skipped for its gradient
        counts for nothing, as the optimizer does not count it: the next one tries its rate again, 10 times at most.

    Raises:
        ValueError: options out of range, a batch larger than the set.

    Source: Smith 2017, section 3.3, read off as in the fast.ai library's first form.
    """
    where = "find_learning_rate"
    low, high = plain(low), plain(high)
    rising = is_number(low) and is_number(high) and 0 < low < high < math.inf
    expect(rising, where, "0 < low < high", shown((low, high)), "1e-4 and 10 cover most nets.")
    ok = is_int(steps, 10, 2**20)
    expect(ok, where, "at least 10 steps", shown(steps), "100 make a readable curve.")
    expect_sets(where, train, None)
    expect_key(where, key, known=True)
    expect(
        is_int(batch_size, 1, train.size),
        where,
        f"a batch_size in 1..{train.size}",
        shown(batch_size),
        "Lower it.",
    )
    rates = np.geomspace(low, high, steps)
    schedule = jnp.asarray(rates, jnp.float32)
    optimizer = sgd(lambda count: schedule[count], momentum=momentum, weight_decay=weight_decay)
    init_key, order_key = jax.random.split(key)
    mesh = device_mesh(jax.local_devices()[:1])
    create = jax.jit(lambda k: TrainState.create(net, optimizer, k, train.spec), out_shardings=replicated(mesh))
    state = create(init_key)
    step = make_train_step(net, optimizer, loss, metrics={}, augment=augment, attack=attack)
    losses: list[float] = []
    smooth, in_a_row = 0.0, 0
    with closing(feed(step, train, batch_size, order_key, mesh)) as fed:
        for found, skipped in _losses(fed, state):
            in_a_row = in_a_row + 1 if skipped else 0
            if not np.isfinite(found) or in_a_row == SKIP_LIMIT:
                break
            if skipped:
                continue
            smooth = 0.9 * smooth + 0.1 * found
            losses.append(smooth / (1 - 0.9 ** (len(losses) + 1)))
            least = min(losses)
            size = least if least > 0 else max(-least, losses[0] - least)
            if len(losses) == steps or (len(losses) > 11 and losses[-1] - least > 3 * size):
                break
    expect(bool(losses), where, "a finite loss at the first rate", "none", "Lower low, or look at the data.")
    suggestion = float(rates[int(np.argmin(losses))]) / 3
    return LearningRates(rates[: len(losses)], np.asarray(losses), suggestion)


def _losses(fed: Feed, state: TrainState) -> Iterator[tuple[float, float]]:
    """Yield the loss of each step from `state` on, and 1.0 where it was skipped, without end."""
    done = 0
    while True:
        state, measured = fed.advance(state, done)
        done += measured["loss"].size
        yield from zip(*(np.atleast_1d(measured[name]).tolist() for name in ("loss", "skipped")), strict=True)
