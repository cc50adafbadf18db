"""MI-FGSM: steps along gradients that have momentum, which carries over to other nets."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxcnn.attack.best import image_of
from jaxcnn.attack.goal import Bounds
from jaxcnn.attack.objective import Objective
from jaxcnn.attack.pgd import checked, from_the_image
from jaxcnn.checking import scalar
from jaxcnn.classifier import LogitsFn

__all__ = ["momentum_iterative"]


def momentum_iterative(
    logits_fn: LogitsFn,
    x: jax.Array,
    y: Any,
    *,
    epsilon: Any,
    steps: int = 10,
    step_size: Any = None,
    decay: float = 1.0,
    norm: str = "linf",
    target: Any = None,
    loss: str | Objective = "cross_entropy",
    bounds: Bounds = (0.0, 1.0),
) -> jax.Array:
    """Return images after ascent from x along gradients with momentum.

    g_{t+1} = decay g_t + (dJ/dx) / ||dJ/dx||_1,   x_{t+1} = P(x_t + step_size s(g_{t+1}))

    P and s are those of `pgd`. Of all images on the way, one that reaches the goal, or else the one with the largest
    loss, is returned.

    Args:
        logits_fn, x, y, epsilon, steps, norm, target, loss, bounds: as for `pgd`.
        step_size: in the unit of epsilon, one for all or an array that broadcasts to epsilon; epsilon / steps unless
            given.
        decay: of the momentum, >= 0; with 0 this is `bim`.

    Returns:
        The images, of x's shape with epsilon's axes in front.

    Raises:
        ValueError, TypeError: as for `pgd`; a decay below 0.

    Source: Dong et al. 2018, algorithm 1 and equation 10 for "l2"; agrees with `torchattacks.MIFGSM`.
    """
    where = "momentum_iterative"
    decay = scalar(where, "decay of at least 0", decay, lambda mu: mu >= 0, "Pass decay=1.0, say.")
    arguments, options = checked(where, logits_fn, x, y, epsilon, steps, step_size, norm, target, loss, bounds, 1.0)
    return image_of(where, arguments[0], from_the_image(*arguments, jnp.asarray(decay, jnp.float32), **options))
