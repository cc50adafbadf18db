"""Adversarial training: what the net learns from was just made as hard for it as a ball allows."""

import math
from typing import Any

import jax

from jaxcnn.attack.given import expect_bounds, expect_radius, prepared
from jaxcnn.attack.goal import Bounds, Goal
from jaxcnn.attack.norms import expect_norm
from jaxcnn.attack.pgd import climb
from jaxcnn.checking import expect, expect_count, expect_flag, number
from jaxcnn.classifier import LogitsFn

__all__ = ["climb_options", "fast_training", "labelled", "length", "pgd_training"]


def pgd_training(
    *,
    epsilon: float,
    steps: int = 7,
    step_size: float | None = None,
    norm: str = "linf",
    bounds: Bounds = (0.0, 1.0),
) -> dict[str, Any]:
    """Return the options of `fit` for adversarial training.

        result = training.fit(net, train, **defence.pgd_training(epsilon=8 / 255), ...)

    min_w E max_{||d|| <= epsilon} loss(f_w(x + d), y): each batch is replaced by where projected gradient ascent from a
    random place in the ball ends, for the parameters of that very step; the attack is a part of the compiled step,
    which costs steps + 1 times as many gradients. It is the last image that is learned, also if one on the way fooled
    the net: the loss is to be large. Its accuracy in training is that on these images, and in validation the clean one.

    Args:
        epsilon: the radius, in the unit of the pixels.
        steps: of the ascent, 1 or more.
        step_size: of each; 2.5 epsilon / steps unless given, which reaches the ball's boundary from all of it.
        norm: "linf", "l2" or "l1".
        bounds: the least and the largest value of a pixel.

    Returns:
        {"attack": ...}, of batches with integer labels.

    Raises:
        ValueError: epsilon or a step_size below 0, an epsilon of "linf" beyond the width of the bounds, no steps,
            another norm, bounds that are none.

    Source: Madry et al. 2018, section 2.1 and equation 2.1; 7 steps as in its section 5, on CIFAR-10. There the attack
    sees batch norm as in training; here with running statistics, see `make_train_step`.
    """
    return {"attack": _attack("pgd_training", epsilon, steps, step_size, norm, bounds, random_start=True)}


def fast_training(
    *,
    epsilon: float,
    step_size: float | None = None,
    random_start: bool = True,
    bounds: Bounds = (0.0, 1.0),
) -> dict[str, Any]:
    """Return the options of `fit` for adversarial training by one step from a random start, at twice the plain cost.

        d ~ U(-epsilon, epsilon);   d <- clip(d + step_size sign(dL/dd), -epsilon, epsilon)

    It may overfit in an instant, catastrophically: the net masks its gradient at the images of this attack, withstands
    it, and nothing else. That happens where epsilon or step_size is large, late in long trainings, and soon without the
    random start. Watch the accuracy under `attack.pgd`.

    Args:
        epsilon: the largest change of a pixel.
        step_size: 1.25 epsilon unless given.
        random_start: whether it starts anywhere in the ball; without it, and with step_size=epsilon, this is training
            with FGSM (Goodfellow et al. 2015).
        bounds: the least and the largest value of a pixel.

    Returns:
        {"attack": ...}, of batches with integer labels.

    Raises:
        ValueError: epsilon or a step_size below 0, an epsilon beyond the width of the bounds.
        TypeError: random_start is no bool.

    Source: Wong, Rice, Kolter 2020, algorithm 3.
    """
    where = "fast_training"
    random_start = expect_flag(where, "random_start", random_start)
    usual = 1.25 * length(where, "epsilon", epsilon)
    step_size = usual if step_size is None else step_size
    return {"attack": _attack(where, epsilon, 1, step_size, "linf", bounds, random_start)}


def labelled(where: str, logits_fn: LogitsFn, batch: Any, bounds: Bounds) -> tuple[LogitsFn, jax.Array, Goal]:
    """Return what an attack on a batch is given, having checked it."""
    fix = "Pass a batch with a class for each image."
    expect("label" in batch, where, 'a batch with "label"', list(batch), fix)
    return prepared(where, logits_fn, batch["image"], batch["label"], bounds=bounds)[:3]


def length(where: str, name: str, value: Any) -> float:
    """Return a length as a Python float; raise `ValueError` unless it is a number >= 0."""
    fix = f"Pass {name}=8 / 255, say: it has the unit of the pixels."
    return number(where, f"{name} >= 0", value, lambda size: 0 <= size < math.inf, fix)


def climb_options(where: str, epsilon: Any, steps: Any, step_size: Any, norm: Any, bounds: Any) -> dict[str, Any]:
    """Return the options of a climb in a ball, having checked them."""
    expect_norm(where, norm)
    epsilon, bounds = length(where, "epsilon", epsilon), expect_bounds(where, bounds)
    expect_radius(where, epsilon, norm, bounds)
    options = {"epsilon": epsilon, "steps": expect_count(where, "steps", steps), "norm": norm, "bounds": bounds}
    return options | {"step_size": None if step_size is None else length(where, "step_size", step_size)}


def _attack(where: str, epsilon: Any, steps: Any, step_size: Any, norm: Any, bounds: Any, random_start: bool) -> Any:
    options = climb_options(where, epsilon, steps, step_size, norm, bounds)

    def attack(key: jax.Array, logits_fn: LogitsFn, batch: Any) -> Any:
        logits_fn, x, goal = labelled(where, logits_fn, batch, options["bounds"])
        return dict(batch, image=climb(key if random_start else None, logits_fn, x, goal, **options))

    return attack
