"""What an attack climbs: functions of logits and goal, (...) each, larger where the net is nearer to err."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxcnn.attack.goal import Goal, logits, margin, parted
from jaxcnn.checking import expect, shown
from jaxcnn.classifier import LogitsFn, logits_of, outputs

__all__ = ["OBJECTIVES", "Objective", "climbing", "cross_entropy", "dlr", "negative_margin", "objective"]

Objective = Callable[[jax.Array, Goal], jax.Array]
"""`(logits (..., classes), goal) -> (...)`, one an image."""


def cross_entropy(logits: jax.Array, goal: Goal) -> jax.Array:
    """Return -log softmax(z)_y, or log softmax(z)_t of a target t.

    Written as softplus of what the other classes have more, so that its gradient keeps its direction where
    softmax(z)_y rounds to 1: 1 - 1 = 0 there, the masking that Carlini & Wagner (2017, section IV) met.
    """
    held, others = parted(logits, goal.focus)
    loss = jax.nn.softplus(jax.nn.logsumexp(others, axis=-1) - held)
    return loss if goal.target is None else -loss


def negative_margin(logits: jax.Array, goal: Goal) -> jax.Array:
    """Return by how much the goal is passed (Carlini & Wagner 2017, f6 without its threshold)."""
    return -margin(logits, goal)


def dlr(logits: jax.Array, goal: Goal) -> jax.Array:
    """Return the difference of logits ratio (Croce & Hein 2020, equations 6 and 7), which no scale of logits changes.

    -(z_y - max_{i != y} z_i) / (z_(1) - z_(3)), or -(z_y - z_t) / (z_(1) - (z_(3) + z_(4)) / 2) of a target t. Of
    fewer classes than it names it would be constant, or nearly so: `objective` refuses those.
    """
    ordered = jnp.sort(logits, -1)[..., ::-1]
    third = ordered[..., 2]
    take = lambda at: jnp.take_along_axis(logits, at[..., None], -1)[..., 0]  # noqa: E731
    if goal.target is None:
        return -margin(logits, goal) / (ordered[..., 0] - third + 1e-12)
    spread = ordered[..., 0] - (third + ordered[..., 3]) / 2
    return -(take(goal.label) - take(goal.target)) / (spread + 1e-12)


OBJECTIVES: dict[str, Objective] = {"cross_entropy": cross_entropy, "margin": negative_margin, "dlr": dlr}


def objective(where: str, loss: Any, logits_fn: LogitsFn, x: jax.Array, target: Any) -> Objective:
    """Return the objective of that name, or the function itself; raise `ValueError` where there is none to climb.

    Args:
        where: the attack.
        loss: a name or a function.
        logits_fn, x: as `prepared` returns them; "dlr" is of 3 classes at least, towards a target of 4.
        target: the classes that are wanted, or None for any but the true ones.
    """
    known = callable(loss) or (isinstance(loss, str) and loss in OBJECTIVES)
    fix = "Choose one of them, or pass a function (logits, goal) -> (...)."
    expect(known, where, f"loss as one of {tuple(OBJECTIVES)}", shown(loss), fix)
    found = loss if callable(loss) else OBJECTIVES[loss]
    if found is dlr:
        count, least = logits_of(outputs.eval_shape(logits_fn, x)).shape[-1], 3 if target is None else 4
        what = f'at least {least} classes for loss="dlr"{"" if target is None else " with a target"}'
        expect(count >= least, where, what, f"{count}", 'Pass loss="margin": the ratio is constant there.')
    return found


def climbing(logits_fn: LogitsFn, x: jax.Array, goal: Goal, loss: Objective) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return the logits (..., classes), the objective (...) and its gradient, of x's shape: each image's own."""

    def total(x: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
        found = logits(logits_fn, x)
        values = loss(found, goal)
        return values.sum(), (found, values)

    (_, (found, values)), slope = jax.value_and_grad(total, has_aux=True)(x)
    return found, values, slope
