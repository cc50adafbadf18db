"""The options that all searches share, checked, and what they make of them."""

import inspect
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypedDict

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxcnn import surgery
from jaxcnn.checking import did_you_mean, expect, expect_count, expect_dtype, expect_key, number, shown
from jaxcnn.data.dataset import Dataset
from jaxcnn.layers.layer import Layer, expect_net
from jaxcnn.search.lane import Program
from jaxcnn.surgery.tree import paths_in
from jaxcnn.training.arguments import (
    expect_callbacks,
    expect_outputs,
    expect_sets,
    expect_trains,
    expect_watched,
    parted,
    steps_of,
    usual_optimizer,
)
from jaxcnn.training.early_stopping import early_stopping
from jaxcnn.training.optimizer import expect_optimizer
from jaxcnn.training.run import Event
from jaxcnn.training.step import Attack, Augment, PerExample, expect_attack, expect_augment, with_defaults

__all__ = ["Options", "Search", "known_options", "prepare"]


class Options(TypedDict, total=False):
    """The options of every search, all by name and with a default, as for `training.fit` unless it says otherwise.

    validation: a data set; or a fraction of `train` that is held out for all lanes alike; or None.
    optimizer: an optax transformation, or a function of hyperparameters by name that returns one.
    loss, metrics, epochs, batch_size, augment, attack, dtype, freeze, patience, min_delta, monitor: as for `fit`, with
        its defaults, but for metrics with a `summary`; epochs 20, batch_size 64.
    skip_limit: a lane has diverged after so many skipped steps one after another, 10 unless given; it is reported and
        never chosen.
    devices: that share the lanes; all of this process unless given.
    memory: bytes of each device that may be used; most of what is free unless given. Lanes that do not fit at once are
        trained some after others.
    callbacks: functions of an `Event`, at the start and after each epoch of some lanes; its `metrics` have "lanes",
        their numbers, and arrays of that length.
    """

    validation: Dataset | float | None
    optimizer: optax.GradientTransformation | Callable[..., optax.GradientTransformation] | None
    loss: PerExample | None
    metrics: Mapping[str, PerExample] | None
    epochs: int
    batch_size: int
    augment: Augment | None
    attack: Attack | None
    dtype: Any
    freeze: Sequence[str]
    patience: int | None
    min_delta: float
    monitor: str
    skip_limit: int
    devices: Sequence[jax.Device] | None
    memory: float | None
    callbacks: Sequence[Callable[[Event], None]]


class Search(NamedTuple):
    """A search whose options are settled: what all lanes share."""

    program: Program
    train: Dataset
    validation: Dataset | None
    epochs: int
    devices: Sequence[jax.Device]
    memory: float | None
    callbacks: Sequence[Callable[[Event], None]]
    began: float

    def tell(self, lanes: np.ndarray, epoch: int, line: Mapping[str, np.ndarray] | None) -> None:
        """Tell the callbacks of some lanes."""
        metrics = {"lanes": lanes} | {name: value[: len(lanes)] for name, value in (line or {}).items()}
        per_epoch, size = self.program.per_epoch, self.program.batch_size
        kind, number = ("start", epoch + 1) if line is None else ("epoch", epoch)
        seconds = time.perf_counter() - self.began
        event = Event(kind, number, epoch * per_epoch, self.epochs, per_epoch, size, seconds, metrics)
        for callback in self.callbacks:
            callback(event)


def known_options(where: str, options: Options) -> Options:
    """Return the options; raise `TypeError` for a name that is none of theirs."""
    names = sorted(Options.__annotations__)
    for name in options:
        fix = did_you_mean(name, names, f"There are {names}.")
        expect(name in names, where, "options of search.Options", repr(name), fix, TypeError)
    return options


def prepare(
    where: str,
    net: Layer | Callable[..., Layer],
    train: Dataset,
    key: jax.Array,
    numbers: Mapping[str, np.ndarray],
    size: int | None = None,
    *,
    validation: Dataset | float | None = None,
    optimizer: Any = None,
    loss: PerExample | None = None,
    metrics: Mapping[str, PerExample] | None = None,
    epochs: int = 20,
    batch_size: int = 64,
    augment: Augment | None = None,
    attack: Attack | None = None,
    dtype: Any = jnp.float32,
    freeze: Sequence[str] = (),
    patience: int | None = None,
    min_delta: float = 0.0,
    monitor: str = "loss",
    skip_limit: int = 10,
    devices: Sequence[jax.Device] | None = None,
    memory: float | None = None,
    callbacks: Sequence[Callable[[Event], None]] = (),
) -> Search:
    """Return the search that the options ask for, or raise the error that says what is wrong with them.

    Args:
        where: the search.
        net: a net, or a function of hyperparameters by name that returns one.
        train: the training set.
        key: holds out the validation part.
        numbers: the hyperparameters of lanes by name, each (lanes,).
        size: training examples of a lane; all there are unless given.
        validation, ...: see `Options`.
    """
    epochs = expect_count(where, "epochs", epochs)
    batch_size = expect_count(where, "batch_size", batch_size)
    skip_limit = expect_count(where, "skip_limit", skip_limit)
    dtype = expect_dtype(where, dtype)
    expect_sets(where, train, validation, Dataset)
    expect_key(where, key, known=True)
    typed = key if jnp.issubdtype(key.dtype, jax.dtypes.prng_key) else jax.random.wrap_key_data(key)
    kind = str(jax.random.key_impl(typed))
    fix = "Others draw from the first key of a batch: lanes would not be what fit gives."
    expect("threefry" in kind, where, "a threefry key", f"one of {kind}", fix)
    train, validation = parted(where, train, validation, key)
    size = train.size if size is None else size
    steps = epochs * steps_of(where, size, batch_size)
    optimizer = usual_optimizer(steps) if optimizer is None else optimizer
    loss, metrics = with_defaults(where, loss, metrics)
    expect_augment(where, augment)
    expect_attack(where, attack)
    others = [name for name, metric in metrics.items() if hasattr(metric, "summary")]
    fix = "Measure them afterwards: training.evaluate."
    expect(not others, where, "metrics that are means over examples", others, fix)
    expect_watched(where, monitor, metrics, validation, patience)
    make_net = _maker(where, "net", net, isinstance(net, Layer), numbers)
    optimizes = hasattr(optimizer, "init") and hasattr(optimizer, "update")
    make_optimizer = _maker(where, "optimizer", optimizer, optimizes, numbers)
    idle = sorted(set(numbers) - _names(net, numbers) - _names(optimizer, numbers))
    fix = f"Pass optimizer=lambda {idle[0] if idle else ''}: ..., or a net that takes it."
    expect(not idle, where, "hyperparameters that net or optimizer are functions of", f"{idle} too", fix)
    first = {name: values[0].item() for name, values in numbers.items()}
    one = make_net(first)
    expect_net(where, one)
    freeze = paths_in(where, freeze)
    surgery.freeze(one, freeze)  # says which paths are unknown
    if freeze:
        params, _ = jax.eval_shape(lambda: one.init(jax.random.key(0), train.spec))
        expect_trains(where, params, freeze)
    expect_optimizer(where, make_optimizer(first))
    expect_outputs(one, loss, train, validation, metrics=metrics)
    program = Program(
        net=make_net,
        optimizer=make_optimizer,
        loss=loss,
        metrics=metrics,
        augment=augment,
        attack=attack,
        dtype=dtype,
        spec=train.spec,
        size=size,
        batch_size=batch_size,
        stopping=early_stopping(patience, min_delta=min_delta),
        monitor=monitor,
        skip_limit=skip_limit,
        freeze=freeze,
    )
    chosen = jax.local_devices() if devices is None else devices
    ok = isinstance(chosen, Sequence) and len(chosen) > 0 and all(isinstance(one, jax.Device) for one in chosen)
    expect(ok, where, "at least one device", shown(devices), "Leave devices out for all there are.")
    if memory is not None:
        memory = number(where, "memory as a number of bytes", memory, lambda m: m > 0, "2**30 is a gibibyte.")
    expect_callbacks(where, callbacks)
    return Search(program, train, validation, epochs, chosen, memory, callbacks, time.perf_counter())


def _maker(where: str, name: str, given: Any, ready: bool, numbers: Mapping[str, Any]) -> Callable[..., Any]:
    """Return the function of a lane's numbers that gives its net or optimizer."""
    if ready:
        return lambda held: given
    fix = "Pass a net such as Sequential(...)." if name == "net" else "Pass training.sgd(0.1), say."
    expect(callable(given), where, f"{name} or a function that returns it", shown(given), fix, TypeError)
    taken = _names(given, numbers)
    needed = {n for n, p in inspect.signature(given).parameters.items() if p.default is p.empty and p.kind in _NAMED}
    missing = sorted(needed - taken)
    fix = "Give them in the over of search.sweep, or give them default values."
    expect(not missing, where, f"the hyperparameters that {name} takes", f"none for {missing}", fix)
    return lambda held: given(**{n: held[n] for n in taken})


_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def _names(given: Any, numbers: Mapping[str, Any]) -> set[str]:
    """Return which of the numbers a net, an optimizer, or a function that makes one, takes."""
    if isinstance(given, Layer) or hasattr(given, "update") or not callable(given):
        return set()
    return {n for n, p in inspect.signature(given).parameters.items() if p.kind in _NAMED} & set(numbers)
