"""Restarts from several random weights, and sweeps over hyperparameters."""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, Unpack

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxcnn.checking import expect, expect_count, expect_key, is_number, shown
from jaxcnn.data.dataset import Dataset
from jaxcnn.layers.layer import Layer
from jaxcnn.search.lane import Lane, Own
from jaxcnn.search.lanes import train_lanes
from jaxcnn.search.options import Options, Search, known_options, prepare
from jaxcnn.search.trainings import Trainings
from jaxcnn.training.arguments import expect_start
from jaxcnn.training.state import TrainState

__all__ = ["grid", "random_restarts", "sweep", "trainings"]


def random_restarts(
    net: Layer,
    train: Dataset,
    *,
    restarts: int = 16,
    start: tuple[Any, Any] | None = None,
    examples: Any = None,
    key: jax.Array,
    **options: Unpack[Options],
) -> Trainings:
    """Return so many trainings of `net` from different random weights, all in one compiled program.

    Lane i is the training `fit(net, result.train, validation=result.validation, key=result.keys[i], ...)`, to
    rounding: initial weights, order, dropout, augmentation and attack are its own; the held-out part is shared. With
    `examples` its training set is `result.train.take(examples[i])`.

    Args:
        net: the net.
        train: the training set.
        restarts: how many.
        start: (params, state) to begin with in every lane, in the place of new ones.
        examples: which training examples each lane has, as numbers (restarts, n), repeated or not; all have all
            unless given. Validation is then a set of its own, or None.
        key: decides everything random.
        options: see `search.Options`: validation, optimizer, loss, metrics, epochs, batch_size, augment, attack, ...

    Returns:
        `Trainings`. Without validation the lane with the lowest training loss is the best one.

    Raises:
        ValueError: options out of range; not even one lane fits into memory.
    """
    return _search("random_restarts", net, train, {}, restarts, start, examples, None, key, options)


def sweep(
    net: Layer | Callable[..., Layer],
    train: Dataset,
    *,
    over: Mapping[str, Sequence[float]],
    restarts: int = 1,
    start: tuple[Any, Any] | None = None,
    examples: Any = None,
    halve_every: int | None = None,
    key: jax.Array,
    **options: Unpack[Options],
) -> Trainings:
    """Return a training for each value of some hyperparameters, all in one compiled program.

    The hyperparameters are arguments by name of `optimizer` or of `net`, then functions that return what they are
    called for. They are traced: nothing is compiled anew for another value. Learning rate, momentum, weight decay and
    the rate of dropout may be such numbers; what decides shapes may not.

    Args:
        net: the net, or a function of hyperparameters that returns it.
        train: the training set.
        over: name -> values, all of one length: a training for each place. `grid` makes all combinations.
        restarts: random starts of each; lane i R + r has the i-th values and the r-th key.
        start, examples: as for `random_restarts`; lane i R + r has the r-th examples.
        halve_every: after so many epochs the worse half of the lanes ends, and after so many more of what is left, to
            the last one: successive halving. None trains all to the end.
        key: decides everything random; equal for all values, so that they alone make the difference.
        options: see `search.Options`: validation, optimizer, loss, metrics, epochs, batch_size, augment, attack, ...

    Returns:
        `Trainings`.

    Raises:
        ValueError: options out of range, a hyperparameter that nobody takes; not even one lane fits into memory.

    Source: Jamieson and Talwalkar 2016 (successive halving).
    """
    where = "sweep"
    fix = 'Pass over={"learning_rate": [0.01, 0.1]}, say.'
    ok = isinstance(over, Mapping) and len(over) > 0 and all(isinstance(name, str) for name in over)
    expect(ok, where, "over as a dict from names to values", shown(over), fix, TypeError)
    numbers = {name: _numbers(where, name, values) for name, values in over.items()}
    lengths = {name: len(values) for name, values in numbers.items()}
    fix = "Give all as many, or pass search.grid(...), which makes all combinations."
    expect(len({*lengths.values()}) == 1 and min(lengths.values()) > 0, where, "as many values of each", lengths, fix)
    halve_every = None if halve_every is None else expect_count(where, "halve_every", halve_every)
    return _search(where, net, train, numbers, restarts, start, examples, halve_every, key, options)


def grid(**values: Sequence[float]) -> dict[str, np.ndarray]:
    """Return all combinations of the values, for `sweep(over=...)`: the last name changes fastest.

    Args:
        values: finite numbers of each hyperparameter, one or more.

    Returns:
        name -> float32, as many as there are combinations.
    """
    axes = [_numbers("grid", name, given) for name, given in values.items()]
    fix = "Pass grid(learning_rate=[0.01, 0.1]), say."
    expect(bool(axes) and all(map(len, axes)), "grid", "a value of each hyperparameter", shown(values), fix)
    return dict(zip(values, np.asarray([*itertools.product(*axes)]).T, strict=True))


def _numbers(where: str, name: str, values: Any) -> np.ndarray:
    """Return the values of a hyperparameter as float32 (n,), having checked that they are finite numbers."""
    listed = isinstance(values, Sequence | np.ndarray | jax.Array) and not isinstance(values, str | jax.core.Tracer)
    known = listed and np.ndim(values) == 1 if hasattr(values, "ndim") else listed
    ok = bool(known) and all(is_number(value) and math.isfinite(float(value)) for value in values)
    what, fix = f"values of {name} as a list of finite numbers", f"Pass {name}=[0.01, 0.1], say."
    expect(ok, where, what, shown(values), fix, TypeError)
    return np.asarray([float(value) for value in values], np.float32)


def _search(
    where: str,
    net: Any,
    train: Dataset,
    numbers: Mapping[str, np.ndarray],
    restarts: int,
    start: Any,
    examples: Any,
    halve_every: int | None,
    key: jax.Array,
    options: Options,
) -> Trainings:
    restarts = expect_count(where, "restarts", restarts)
    expect_key(where, key, known=True)
    rows = None if examples is None else _rows(where, examples, restarts, train, options.get("validation"))
    split_key, lanes_key = jax.random.split(key)
    size = None if rows is None else rows.shape[1]
    search = prepare(where, net, train, split_key, numbers, size, **known_options(where, options))
    keys = jax.random.split(lanes_key, restarts)
    count = max(map(len, numbers.values()), default=1)
    repeated = {name: np.repeat(values, restarts) for name, values in numbers.items()}
    own = None if rows is None else jnp.tile(rows, (count, 1))
    if start is not None:
        _expect_start_of(where, search, {name: values[0].item() for name, values in numbers.items()}, start)
        start = jax.tree.map(lambda leaf: np.broadcast_to(leaf, (count * restarts, *np.shape(leaf))), start)
    return trainings(search, Own(keys[np.tile(np.arange(restarts), count)], repeated, own, start=start), halve_every)


def _rows(where: str, examples: Any, restarts: int, train: Any, validation: Any) -> np.ndarray:
    """Return the examples of each restart, (restarts, n), having checked them."""
    what = "no validation, or a set of its own, beside examples"
    expect(not is_number(validation), where, what, shown(validation), "Hold it out first: data.split does.")
    try:
        rows = np.asarray(examples)
    except (TypeError, ValueError):  # of ragged lists and traced arrays
        rows = np.zeros(())
    size = train.size if isinstance(train, Dataset) else np.inf  # what else it is, `prepare` says
    ok = rows.ndim == 2 and len(rows) == restarts and rows.size > 0 and rows.dtype.kind in "iu"
    ok = ok and rows.min() >= 0 and rows.max() < size
    what = f"examples as numbers of training examples in 0..{size - 1}, ({restarts}, n)"
    expect(bool(ok), where, what, shown(examples), "Give each restart as many as the others.")
    return rows.astype(np.int32)


def _expect_start_of(where: str, search: Search, numbers: Mapping[str, Any], start: Any) -> None:
    """Raise `ValueError` unless lanes can begin with `start`."""
    expect_start(where, start)
    net, spec = search.program.net(numbers), search.program.spec
    create = lambda key: TrainState.create(net, optax.identity(), key, spec, start=start)  # noqa: E731
    jax.eval_shape(create, jax.random.key(0))


def trainings(search: Search, own: Own, halve_every: int | None = None) -> Trainings:
    """Return the trainings of lanes."""
    found, history = _staged(search, own, halve_every or search.epochs)
    lanes = found.lanes
    best_epochs, diverged = np.asarray(lanes.best_epoch), np.asarray(lanes.diverged)
    return Trainings(
        search.program.net,
        lanes.best,
        own.key,
        own.numbers,
        history,
        found.values,
        best_epochs,
        diverged,
        search.train,
        search.validation,
    )


class _Found(NamedTuple):
    lanes: Lane
    values: np.ndarray


def _staged(search: Search, own: Own, step: int) -> tuple[_Found, list[dict[str, np.ndarray]]]:
    """Return all lanes and their figures, where the worse half ends after each `step` epochs but the last."""
    left = np.arange(len(own.key))
    found: Any = None
    begun, history = None, []
    for start in range(0, search.epochs, step):
        stage = range(start, min(start + step, search.epochs))
        part, lines = _values(search, jax.tree.map(lambda leaf, left=left: leaf[left], own), begun, stage, left)
        if found is None:
            found = jax.tree.map(lambda leaf: leaf if isinstance(leaf, jax.Array) else leaf.copy(), part)
        else:
            jax.tree.map(partial(_write, left), found, part)
        history += [{name: _spread(value, left, len(own.key)) for name, value in line.items()} for line in lines]
        better = np.argsort(part.values, kind="stable")[: -(-len(left) // 2)]
        going = np.sort(better[(part.lanes.going & ~part.lanes.diverged)[better]])
        if not len(going):
            break
        begun, left = jax.tree.map(lambda leaf, going=going: leaf[going], part.lanes), left[going]
    return found, history


def _values(
    search: Search, own: Own, begun: Lane | None, stage: range, numbers: np.ndarray
) -> tuple[_Found, list[dict[str, np.ndarray]]]:
    """Return the lanes after a stage, with what they are judged by."""
    ended, lines, errors = train_lanes(
        search.program,
        own,
        search.train,
        search.validation,
        lanes=begun,
        epochs=stage,
        devices=search.devices,
        memory=search.memory,
        tell=lambda lanes, epoch, line: search.tell(numbers[lanes], epoch, line),
    )
    values = ended.watched.best if search.validation is not None else errors["loss"]
    known = np.isfinite(values) & ~ended.diverged
    return _Found(ended, np.where(known, values, np.inf)), lines


def _write(rows: np.ndarray, whole: Any, part: Any) -> None:
    if isinstance(whole, np.ndarray):  # keys never change
        whole[rows] = part


def _spread(value: np.ndarray, rows: np.ndarray, count: int) -> np.ndarray:
    whole = np.full(count, False if value.dtype == bool else np.nan)
    whole[rows] = value
    return whole
