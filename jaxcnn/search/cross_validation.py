"""The number of units, chosen by internal cross-validation."""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Unpack

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxcnn.checking import expect, expect_choice, expect_count, expect_key, is_int, shown
from jaxcnn.data.dataset import Dataset
from jaxcnn.data.splitting import fold_of, labels_of
from jaxcnn.layers.layer import Layer
from jaxcnn.search.lane import Own
from jaxcnn.search.options import Options, known_options, prepare
from jaxcnn.search.sweep import random_restarts, trainings
from jaxcnn.search.trainings import Trainings
from jaxcnn.search.width import Inside, inside_the_widest
from jaxcnn.training.state import TrainState, run_keys
from jaxcnn.training.step import compares

__all__ = ["CrossValidation", "cross_validate"]


@dataclass(frozen=True)
class CrossValidation:
    """The error of each width, and what was chosen.

    `errors`: (widths, folds), the validation error of the restart with the lowest training loss, NaN where all of them
    diverged. `means` and `standard_errors`: over the folds, (widths,). `width`: the choice. `lanes`: all trainings, in
    the order widths, folds, restarts, of nets as wide as the widest, which `trained` cuts to their width; its `best`
    compares across all of them, and is not the choice. `refit`: the restarts of the chosen width on all data; None
    unless asked for. `monitor`: what the error is of. As a text it is its table.
    """

    widths: tuple[int, ...]
    errors: np.ndarray
    width: int
    lanes: Trainings = field(repr=False)
    refit: Trainings | None = field(repr=False)
    monitor: str
    nets: Sequence[Inside] = field(repr=False)

    @property
    def means(self) -> np.ndarray:
        """The mean error of each width, infinite where a fold has none."""
        return _means(self.errors)

    @property
    def standard_errors(self) -> np.ndarray:
        """The standard error of each mean: the deviation over the folds by the root of their number."""
        return _standard_errors(self.errors)

    @property
    def bound(self) -> float:
        """The lowest mean error and one standard error of it: the narrowest width below is the choice."""
        return _bound(self.errors)

    def trained(self, width: int, fold: int, restart: int = 0) -> tuple[Layer, Any, Any]:
        """Return the net of one training, as wide as it was, with its params and state.

        Args:
            width: one of `widths`.
            fold: the number of the fold that was held out, from 0.
            restart: the number of the random start, from 0.

        Raises:
            ValueError: no such training.
        """
        where, folds = "trained", self.errors.shape[1]
        restarts = len(self.lanes) // self.errors.size
        expect_choice(where, f"width in {self.widths}", width, self.widths)
        expect(is_int(fold, 0, folds - 1), where, f"fold in 0..{folds - 1}", shown(fold), "They are counted from 0.")
        fix = "They are counted from 0."
        expect(is_int(restart, 0, restarts - 1), where, f"restart in 0..{restarts - 1}", shown(restart), fix)
        at = self.widths.index(width)
        lane = self.lanes.state((at * folds + fold) * restarts + restart)
        return self.nets[at].net, *self.nets[at].take(lane.params, lane.model_state)

    def table(self) -> list[dict[str, Any]]:
        """Return a row for each width."""
        rows = zip(self.widths, self.means.tolist(), self.standard_errors.tolist(), strict=True)
        return [{"width": w, "error": m, "standard error": s, "chosen": w == self.width} for w, m, s in rows]

    def __str__(self) -> str:
        """Return the table as lines, with what the error is and the bound of the rule of one standard error."""
        error = "loss" if self.monitor == "loss" else f"1 - {self.monitor}"
        lines = [f"{'width':>8}  {error}, mean of {self.errors.shape[1]} folds ± standard error"]
        for row in self.table():
            told = f"{row['width']:>8}  {row['error']:.4f} ± {row['standard error']:.4f}"
            lines.append(f"{told}  chosen: the narrowest up to {self.bound:.4f}" if row["chosen"] else told)
        return "\n".join(lines)


def cross_validate(
    net: Callable[[int], Layer],
    train: Dataset,
    *,
    widths: Sequence[int],
    folds: int = 5,
    restarts: int = 1,
    refit: bool = True,
    key: jax.Array,
    **options: Unpack[Options],
) -> CrossValidation:
    """Return how well nets of several widths do on held-out folds, all trainings in one compiled program.

    Every net is trained inside of the widest, with zeros in the places of the units that it lacks: the same outputs,
    the same gradients. A random layer such as dropout draws for the units of the widest, so its masks are others than
    alone. The choice is the narrowest net whose mean error is within one standard error of the lowest.

    Args:
        net: width -> net; the number of units alone may depend on the width, in as many layers as you like.
        train: the training set, which is cut into stratified folds.
        widths: to be compared.
        folds: how many; of each training part as many examples are used as the smallest has, and so of each held-out
            one where the loss or a metric compares the examples of a batch.
        restarts: random starts of each width and fold; the one with the lowest training loss counts.
        refit: whether to train the chosen width on all data, with so many restarts.
        key: decides everything random; widths share the initial keys.
        options: see `search.Options`; the error is that of `monitor`, the loss or 1 - metric, after the last epoch.
            There is neither validation, which the folds are, nor patience. An optimizer serves the folds and the refit
            alike, whose epochs have more steps: a schedule for the folds ends early there. The default has one for
            each.

    Returns:
        A `CrossValidation`.

    Raises:
        ValueError: options out of range; more folds than examples, a class that is missing from a fold's training
            part; nets that differ in more than their units; not even one lane fits into memory.
        FloatingPointError: each width has a fold of which all restarts diverged.

    Source: Breiman et al. 1984, section 3.4.3 (the rule of one standard error).
    """
    where = "cross_validate"
    taken = sorted({"validation", "patience"} & {name for name, value in options.items() if value is not None})
    expect(not taken, where, "no validation and no patience", f"{taken}", "The folds are the validation: leave it out.")
    restarts = expect_count(where, "restarts", restarts)
    expect_key(where, key, known=True)
    split_key, lanes_key, refit_key = jax.random.split(key, 3)
    fold = fold_of(where, train, folds, key=split_key, name="folds")
    held_out = [np.flatnonzero(fold == i) for i in range(folds)]
    most = max(map(len, held_out))
    size = train.size - most
    label = labels_of(train)
    for i in range(folds):
        lost = np.setdiff1d(label, label[fold != i])
        names = [train.info.class_names[c] for c in lost] if "label" in train else []
        what, got = "every class in the training part of every fold", f"none of {names} in that of fold {i}"
        expect(not len(lost), where, what, got, "Leave out classes with a single example.")
    parts = [(_shortened(np.flatnonzero(fold != i), label, size), held) for i, held in enumerate(held_out)]
    nets = inside_the_widest(where, net, widths, train.spec)
    settled: Options = {**options, "validation": train}  # of which each lane has its own fold
    search = prepare(where, nets[0].wider, train, split_key, {}, size, **known_options(where, settled))
    # What is held out judges the states, and does not choose them.
    search = search._replace(program=replace(search.program, keep_last=True))
    keys = jax.random.split(lanes_key, restarts)
    if compares(search.program.loss, *search.program.metrics.values()):
        most = min(map(len, held_out))  # padding would be partners that do not exist
    lanes = []
    for inside in nets:
        live, starts = _begun(inside, keys)
        for (rest, held), r in itertools.product(parts, range(restarts)):
            start = jax.tree.map(lambda leaf, r=r: leaf[r], starts)
            real, padded = jnp.arange(most) < len(held), jnp.asarray(np.resize(held, most))
            lanes.append(Own(keys[r], {}, jnp.asarray(rest), padded, real, live, start))
    found = trainings(search, jax.tree.map(lambda *leaves: jnp.stack(leaves), *lanes))
    errors = _errors(found, search.program.monitor, (len(nets), folds, restarts))
    width = _narrowest(widths, errors)
    again = None
    if refit:
        alone: Options = {**options, "monitor": "loss"}  # without validation there is nothing else to choose by
        again = random_restarts(net(width), train, restarts=restarts, key=refit_key, **alone)
    return CrossValidation(tuple(map(int, widths)), errors, width, found, again, search.program.monitor, nets)


def _shortened(rows: np.ndarray, label: np.ndarray, size: int) -> np.ndarray:
    """Return `size` of the rows, without the last ones of classes that have others."""
    counts, spare = np.bincount(label[rows]), []
    for row in rows[::-1]:
        if len(spare) == len(rows) - size:
            break
        if counts[label[row]] > 1:
            counts[label[row]] -= 1
            spare.append(row)
    return np.setdiff1d(rows, spare)


def _begun(inside: Inside, keys: jax.Array) -> tuple[Any, Any]:
    """Return which parameters of the widest are the net's, and what it alone would begin with there, for each key."""

    def start(key: jax.Array) -> tuple[Any, Any]:
        state = TrainState.create(inside.net, optax.identity(), run_keys(key).init, inside.spec)
        return inside.put(state.params, state.model_state)

    return jax.jit(lambda keys: (inside.live(), jax.vmap(start)(keys)))(keys)  # as one program: compiling takes time


def _errors(found: Trainings, monitor: str, shape: tuple[int, int, int]) -> np.ndarray:
    """Return the validation error of the best restart of each width and fold, NaN where all diverged."""
    last = found.history[-1]
    value = last[f"validation_{monitor}"]
    error = value if monitor == "loss" else 1 - value
    trained = ~found.diverged & np.isfinite(error) & np.isfinite(last["train_loss"])
    error = np.where(trained, error, np.nan).reshape(shape)
    loss = np.where(trained, last["train_loss"], np.inf).reshape(shape)
    return np.take_along_axis(error, loss.argmin(axis=2)[..., None], axis=2)[..., 0]


def _means(errors: np.ndarray) -> np.ndarray:
    return np.where(np.isnan(errors).any(axis=1), np.inf, errors.mean(axis=1))


def _standard_errors(errors: np.ndarray) -> np.ndarray:
    return errors.std(axis=1, ddof=1) / math.sqrt(errors.shape[1])


def _bound(errors: np.ndarray) -> float:
    means = _means(errors)
    best = int(means.argmin())
    return float(means[best] + _standard_errors(errors)[best])


def _narrowest(widths: Sequence[int], errors: np.ndarray) -> int:
    """Return the narrowest width whose mean error is within one standard error of the lowest."""
    means = _means(errors)
    if not np.isfinite(means).any():
        raise FloatingPointError(
            "cross_validate: expected a width whose lanes train, got diverged ones alone. Lower the learning rate."
        )
    bound = _bound(errors)
    return min(int(width) for width, mean in zip(widths, means.tolist(), strict=True) if mean <= bound)
