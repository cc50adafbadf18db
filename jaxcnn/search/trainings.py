"""What many trainings at once have given."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np

from jaxcnn.checking import expect, is_int, shown
from jaxcnn.data.dataset import Dataset
from jaxcnn.layers.layer import Layer
from jaxcnn.training.state import TrainState

__all__ = ["Trainings"]


@dataclass(frozen=True)
class Trainings:
    """Lanes, numbered as they were asked for; every array has them along its first axis.

    `states`: a `TrainState` of all: each lane's best one, or its last one without validation. `keys`: the key of each.
    `numbers`: its hyperparameters by name; `make_net` gives the net of such. `history`: a dict per epoch: "train_loss",
    "validation_loss" and so for every metric, "skipped" steps, NaN for a lane that had ended, and "going", whether it
    had not; in the epoch in which a lane diverges it has ended. `values`: what lanes are chosen by, the lower the
    better: the best validation loss (or the metric, negative), or the training loss at the end without validation;
    infinite where the lane diverged or had no finite value. `best_epochs`: what `states` are from, counted from 1; 0
    is before the first step. `diverged`: whether too many of its steps one after another were not finite. `train` and
    `validation`: the parts that were used.
    """

    make_net: Callable[[Mapping[str, Any]], Layer] = field(repr=False)
    states: TrainState = field(repr=False)
    keys: jax.Array = field(repr=False)
    numbers: Mapping[str, np.ndarray]
    history: list[dict[str, np.ndarray]] = field(repr=False)
    values: np.ndarray
    best_epochs: np.ndarray
    diverged: np.ndarray
    train: Dataset = field(repr=False)
    validation: Dataset | None = field(repr=False)

    def __len__(self) -> int:
        """Return the number of lanes."""
        return len(self.values)

    @property
    def best(self) -> int:
        """The lane with the lowest value.

        Raises:
            FloatingPointError: all lanes diverged.
        """
        if not np.isfinite(self.values).any():
            raise FloatingPointError(
                f"search: expected a lane that trains, got {len(self)} that diverged. Lower the learning rate."
            )
        return int(np.argmin(self.values))

    @property
    def epochs(self) -> np.ndarray:
        """How many epochs each lane took part in."""
        return np.sum([line["going"] for line in self.history], axis=0, dtype=np.int64)

    def state(self, lane: int | None = None) -> TrainState:
        """Return the state of one lane, of the best one unless its number is given."""
        at = self._number(lane)
        return jax.tree.map(lambda leaf: leaf[at], self.states)

    def net(self, lane: int | None = None) -> Layer:
        """Return the net of one lane, of the best one unless its number is given."""
        at = self._number(lane)
        return self.make_net({name: values[at].item() for name, values in self.numbers.items()})

    def _number(self, lane: int | None) -> int:
        if lane is None:
            return self.best
        count = len(self)
        fix = "Leave it out for the best one."
        expect(is_int(lane, -count, count - 1), "Trainings", f"a lane in 0..{count - 1}", shown(lane), fix)
        return range(count)[lane]
