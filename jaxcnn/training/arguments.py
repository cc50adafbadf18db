"""The arguments that `fit` and the searches share, checked in one way before any work."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
import optax

from jaxcnn.checking import did_you_mean, expect, is_number, number, shown
from jaxcnn.data.dataset import Dataset
from jaxcnn.data.splitting import split
from jaxcnn.data.stream import Stream
from jaxcnn.layers.layer import Layer, apply
from jaxcnn.training.evaluation import TOGETHER
from jaxcnn.training.optimizer import sgd, trainable, warmup_cosine
from jaxcnn.training.step import Batch, PerExample, per_example

__all__ = [
    "expect_callbacks",
    "expect_outputs",
    "expect_sets",
    "expect_start",
    "expect_trains",
    "expect_watched",
    "parted",
    "steps_of",
    "usual_optimizer",
]


def expect_sets(where: str, train: Any, validation: Any, kinds: Any = Dataset | Stream) -> None:
    """Raise `TypeError` unless there is a set to train on, and one, a fraction or nothing to validate with."""
    fix = "Make one with data.from_arrays(image, label)."
    expect(isinstance(train, kinds), where, "train as a data.Dataset", shown(train), fix, TypeError)
    ok = validation is None or isinstance(validation, kinds) or is_number(validation)
    expect(ok, where, "validation as a data.Dataset, a fraction or None", shown(validation), fix, TypeError)


def parted(where: str, train: Any, validation: Any, key: jax.Array) -> tuple[Any, Any]:
    """Return the training and the validation set, which are parts of the former where the latter is a fraction."""
    if not is_number(validation):
        return train, validation
    fix = "0.1 holds out every tenth example."
    fraction = number(where, "validation as a fraction in (0, 1)", validation, lambda f: 0 < f < 1, fix)
    return split(train, fraction, key=key)


def steps_of(where: str, size: int, batch_size: int) -> int:
    """Return the steps of an epoch of so many examples; raise `ValueError` if there is none."""
    what = f"a batch_size of at most the {size} training examples"
    expect(batch_size <= size, where, what, batch_size, "Lower batch_size.")
    return size // batch_size


def usual_optimizer(steps: int) -> optax.GradientTransformation:
    """Return what trains for so many steps where no optimizer is given."""
    return sgd(warmup_cosine(0.05, steps))


def expect_watched(where: str, monitor: Any, metrics: Mapping[str, Any], validation: Any, patience: Any) -> None:
    """Raise `ValueError` unless there is the value that says what is best and when to stop."""
    known = ["loss", *metrics]
    fix = did_you_mean(monitor, known, "Pass metrics with it.")
    expect(monitor in known, where, f"monitor as one of {known}", shown(monitor), fix)
    ok = validation is not None or (patience is None and monitor == "loss")
    what = f"validation with patience={shown(patience)} and monitor={monitor!r}"
    expect(ok, where, what, None, "Pass validation=0.1, say.")


def expect_start(where: str, start: Any) -> None:
    """Raise `TypeError` unless `start` is a pair; `TrainState.create` says whether it is one of the net."""
    ok, fix = start is None or (isinstance(start, tuple) and len(start) == 2), "Pass the two that a training returned."
    expect(ok, where, "start as (params, state)", shown(start), fix, TypeError)


def expect_trains(where: str, params: Any, freeze: Sequence[str]) -> None:
    """Raise `ValueError` unless some parameters, or what has their structure, are not frozen."""
    ok = not freeze or any(jax.tree.leaves(trainable(params, freeze)))
    expect(ok, where, "freeze to leave parameters that train", shown(freeze), "Leave out one of the layers.")


def expect_callbacks(where: str, callbacks: Any) -> None:
    """Raise `TypeError` unless `callbacks` is a list of functions."""
    ok = isinstance(callbacks, Sequence) and all(map(callable, callbacks))
    expect(ok, where, "callbacks as a list of functions", shown(callbacks), "Pass [print], say.", TypeError)


def expect_outputs(
    net: Layer,
    loss: PerExample,
    train: Dataset | Stream,
    validation: Dataset | Stream | None,
    *,
    metrics: Mapping[str, PerExample] | None = None,
) -> None:
    """Let loss and metrics say whether the net's outputs fit the sets, and try them on the shapes of the validation.

    A loss that needs what an augmentation makes, say, would fail there after the first epoch else.
    """
    functions = {"loss": loss, **(metrics or {})}
    validates = [fn.validate for fn in functions.values() if hasattr(fn, "validate")]  # pyrefly: ignore
    if not validates and validation is None:
        return
    weights: Any = jax.eval_shape(net.init, jax.random.key(0), train.spec)

    def outputs(image: Any) -> Any:
        return jax.eval_shape(lambda p, s, x: apply(net, p, s, x, train=False)[0], *weights, image)

    def figures(outputs: Any, batch: Batch) -> Any:
        return {name: per_example(name, fn, outputs, batch) for name, fn in functions.items()}

    for part in (train, validation) if validates else ():
        if part is not None:
            given = outputs(part.spec)
            for validate in validates:
                validate(given, part)
    if validation is not None:
        batch = _evaluated(validation)
        try:
            jax.eval_shape(figures, outputs(batch["image"]), batch)
        except Exception as error:
            error.add_note("on a batch of the validation set, which is measured after each epoch, without augmentation")
            raise


def _evaluated(part: Dataset | Stream) -> dict[str, jax.ShapeDtypeStruct]:
    """Return shapes and dtypes of a batch as `evaluate` sees it."""
    count = min(part.size, TOGETHER)
    rows = {name: part[name] for name in part if name != "image"}
    if isinstance(part, Stream):
        rows["index"] = np.zeros(part.size, np.int32)

    def batch_of(row: Any) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((count, *row.shape[1:]), jax.dtypes.canonicalize_dtype(row.dtype))

    return {name: batch_of(row) for name, row in {"image": part.spec, **rows}.items()}
