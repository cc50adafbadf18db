"""Stochastic gradient descent with momentum, and the schedule of its learning rate."""

import math
from collections.abc import Sequence
from typing import Any

import jax
import optax

from jaxcnn.checking import expect, expect_flag, number, scalar, shown
from jaxcnn.layers.layer import leaf_name

__all__ = ["except_frozen", "expect_optimizer", "sgd", "trainable", "warmup_cosine"]


def warmup_cosine(peak: float, steps: int, *, warmup: float = 0.1) -> optax.Schedule:
    """Return a schedule that rises linearly from 0 to `peak` and falls to 0 along half a cosine.

    Args:
        peak: the largest learning rate; it may be traced.
        steps: steps of the whole training.
        warmup: the fraction of them that rises.

    Raises:
        ValueError: no steps, a rate that is not positive, a fraction outside [0, 1).

    Source: Goyal et al. 2017 (warm-up), Loshchilov and Hutter 2017 (cosine).
    """
    where, fix = "warmup_cosine", "epochs * (examples // batch_size), say."
    number(where, "at least one step", steps, lambda s: 1 <= s < 2**31, fix)
    fix = "training.find_learning_rate suggests one."
    peak = scalar(where, "a peak > 0", peak, lambda p: 0 < p < math.inf, fix)
    warmup = number(where, "warmup in [0, 1)", warmup, lambda w: 0 <= w < 1, "0.1 is a tenth of the steps.")
    shape = optax.warmup_cosine_decay_schedule(0.0, 1.0, int(warmup * steps), steps)
    return lambda count: peak * shape(count)


def sgd(
    learning_rate: optax.ScalarOrSchedule,
    *,
    momentum: float = 0.9,
    nesterov: bool = True,
    weight_decay: float = 5e-4,
) -> optax.GradientTransformation:
    """Return stochastic gradient descent with momentum, weight decay on kernels alone.

    v <- momentum v + g + weight_decay w;  w <- w - learning_rate v  (g + momentum v in the place of v with Nesterov).

    Args:
        learning_rate: a number >= 0, or a schedule such as `warmup_cosine`'s.
        momentum: in [0, 1).
        nesterov: look ahead.
        weight_decay: pulls leaves called `kernel` towards 0; biases and batch norm's scale and bias are left alone.
            The three numbers may be traced.

    Raises:
        ValueError: a value out of range.

    Source: Sutskever et al. 2013; the update agrees with `torch.optim.SGD`.
    """
    if not callable(learning_rate):
        fix = "training.find_learning_rate suggests one."
        what = "learning_rate as a finite number >= 0 or a schedule"
        learning_rate = scalar("sgd", what, learning_rate, lambda rate: 0 <= rate < math.inf, fix)
    momentum = scalar("sgd", "momentum in [0, 1)", momentum, lambda m: 0 <= m < 1, "0.9 is usual.")
    weight_decay = scalar("sgd", "weight_decay >= 0", weight_decay, lambda w: 0 <= w < math.inf, "5e-4 is usual.")
    nesterov = expect_flag("sgd", "nesterov", nesterov)
    decay = optax.add_decayed_weights(weight_decay, mask=_kernels)
    return optax.chain(decay, optax.sgd(learning_rate, momentum=momentum, nesterov=nesterov))


def trainable(params: Any, frozen: Sequence[str]) -> Any:
    """Return False for each parameter of the layers at the paths `frozen` and True for the others: a mask for optax."""

    def trains(path: Any, leaf: Any) -> bool:
        name = leaf_name(path)
        return not any(name.startswith(f"{layer}/") for layer in frozen)

    return jax.tree_util.tree_map_with_path(trains, params)


def except_frozen(optimizer: optax.GradientTransformation, frozen: Sequence[str]) -> optax.GradientTransformation:
    """Return the optimizer that leaves the parameters of the layers at the paths alone, and has no slots for them."""
    return optax.masked(optimizer, lambda params: trainable(params, frozen)) if frozen else optimizer


def expect_optimizer(where: str, optimizer: Any) -> None:
    """Raise `TypeError` unless `optimizer` is an optax transformation."""
    ok = callable(getattr(optimizer, "init", None)) and callable(getattr(optimizer, "update", None))
    fix = "Pass training.sgd(0.1) or optax.adam(1e-3), say."
    expect(ok, where, "an optax transformation as optimizer", shown(optimizer), fix, TypeError)


def _kernels(params: Any) -> Any:
    def is_kernel(path: Any, leaf: Any) -> bool:
        return bool(path) and getattr(path[-1], "key", None) == "kernel"  # a bare array has no name

    return jax.tree_util.tree_map_with_path(is_kernel, params)
