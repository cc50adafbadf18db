"""TRADES: the net is to be right on an image, and to say the same of all that are near."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from jaxcnn import losses
from jaxcnn.attack.defence.adversarial import climb_options, labelled
from jaxcnn.attack.goal import Bounds, Goal, logits, wide
from jaxcnn.attack.pgd import climb
from jaxcnn.checking import number
from jaxcnn.classifier import LogitsFn

__all__ = ["Trades", "trades"]


@dataclass(frozen=True)
class Trades(losses.Classification):
    """CE(f(x), y) + beta KL(f(x) || f(x')) of outputs (N, 2, classes); of (N, classes), those of x alone, the first."""

    beta: float = 6.0

    def __call__(self, outputs: jax.Array, batch: Mapping[str, jax.Array]) -> jax.Array:
        """Return the loss of each example, (N,) float32."""
        if outputs.ndim == 2:
            return super().__call__(outputs, batch)
        near = jnp.moveaxis(outputs, 1, 0)
        return super().__call__(near[0], batch) + self.beta * divergence(near[0], near[1])


def trades(
    *,
    epsilon: float,
    beta: float = 6.0,
    steps: int = 10,
    step_size: float | None = None,
    label_smoothing: float = 0.0,
    norm: str = "linf",
    bounds: Bounds = (0.0, 1.0),
) -> dict[str, Any]:
    """Return the options of `fit` for training with TRADES, which trades accuracy on images for that around them.

        result = training.fit(net, train, **defence.trades(epsilon=8 / 255, beta=6.0), ...)

    loss = CE(f(x), y) + beta max_{||d|| <= epsilon} KL(softmax f(x) || softmax f(x + d)): the attack needs no label,
    and makes of each image two, x and x', that go through the net together: batch norm's statistics are those of both.
    In validation the loss is the cross-entropy of the images; the accuracy is that of the images in training as well.

    Args:
        epsilon: the radius, in the unit of the pixels.
        beta: >= 0, what robustness is worth: 1 to 6 in the paper, 6 on CIFAR-10.
        steps, step_size, norm, bounds: as for `pgd_training`.
        label_smoothing: of the cross-entropy, in [0, 1).

    Returns:
        {"attack": ..., "loss": ..., "metrics": ...}.

    Raises:
        ValueError: beta below 0, a label_smoothing out of range; else as for `pgd_training`.

    Source: Zhang et al. 2019, equation 5 and algorithm 1; as in its reference implementation the gradient goes through
    f(x) in both terms. There the attack starts beside x, and x and x' go through the net one after the other.
    """
    where = "trades"
    options = climb_options(where, epsilon, steps, step_size, norm, bounds)
    beta = number(where, "beta >= 0", beta, lambda b: 0 <= b < math.inf, "6.0 is the paper's for CIFAR-10.")
    loss = Trades(losses.classification(label_smoothing).label_smoothing, beta)

    def attack(key: jax.Array, logits_fn: LogitsFn, batch: Any) -> Any:
        logits_fn, x, goal = labelled(where, logits_fn, batch, options["bounds"])
        clean = logits(logits_fn, x)

        def away(found: jax.Array, goal: Goal) -> jax.Array:
            return divergence(clean, found)

        found = climb(key, logits_fn, x, goal, loss=away, **options)
        return dict(batch, image=jnp.stack([x, found], 1))

    return {"attack": attack, "loss": loss, "metrics": {"accuracy": accuracy}}


def divergence(a: jax.Array, b: jax.Array) -> jax.Array:
    """Return KL(softmax(a) || softmax(b)) of logits (..., classes), in nats."""
    a, b = (jax.nn.log_softmax(wide(z)) for z in (a, b))
    return jnp.sum(jnp.exp(a) * (a - b), -1)


def accuracy(outputs: jax.Array, batch: Mapping[str, jax.Array]) -> jax.Array:
    """Return the accuracy on the images themselves."""
    return losses.batch_accuracy(outputs if outputs.ndim == 2 else outputs[:, 0], batch)
