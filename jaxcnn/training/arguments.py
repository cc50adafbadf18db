"""The arguments that `fit` and the searches share, checked in one way before any work."""

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import optax

from jaxcnn.checking import expect, is_number, number, shown
from jaxcnn.data.dataset import Dataset
from jaxcnn.data.splitting import split
from jaxcnn.data.stream import Stream
from jaxcnn.layers.layer import Layer, Spec
from jaxcnn.training.optimizer import sgd, warmup_cosine

__all__ = [
    "expect_callbacks",
    "expect_outputs",
    "expect_sets",
    "expect_start",
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
    near = difflib.get_close_matches(str(monitor), known, n=1)
    fix = f"Did you mean {near[0]!r}?" if near else "Pass metrics with it."
    expect(monitor in known, where, f"monitor as one of {known}", shown(monitor), fix)
    ok = validation is not None or (patience is None and monitor == "loss")
    what = f"validation with patience={shown(patience)} and monitor={monitor!r}"
    expect(ok, where, what, None, "Pass validation=0.1, say.")


def expect_start(where: str, start: Any) -> None:
    """Raise `TypeError` unless `start` is a pair; `TrainState.create` says whether it is one of the net."""
    ok, fix = start is None or (isinstance(start, tuple) and len(start) == 2), "Pass the two that a training returned."
    expect(ok, where, "start as (params, state)", shown(start), fix, TypeError)


def expect_callbacks(where: str, callbacks: Any) -> None:
    """Raise `TypeError` unless `callbacks` is a list of functions."""
    ok = isinstance(callbacks, Sequence) and all(map(callable, callbacks))
    expect(ok, where, "callbacks as a list of functions", shown(callbacks), "Pass [print], say.", TypeError)


def expect_outputs(net: Layer, loss: Any, spec: Spec, *sets: Any) -> None:
    """Let the loss say whether the net's outputs fit the sets, of which None is left out."""
    validate = getattr(loss, "validate", None)
    if validate is not None:
        outputs = jax.eval_shape(lambda k, x: net.apply(*net.init(k, x), x, train=False)[0], jax.random.key(0), spec)
        for part in sets:
            if part is not None:
                validate(outputs, part)
