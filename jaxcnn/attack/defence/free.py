"""Free adversarial training: the gradient that moves the parameters moves the perturbation, too."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxcnn.attack.defence.adversarial import length
from jaxcnn.attack.given import expect_bounds, expect_radius
from jaxcnn.attack.goal import Bounds
from jaxcnn.checking import expect, expect_count, shown
from jaxcnn.layers import Layer, Sequential
from jaxcnn.layers.layer import Params, Spec, State, parameter
from jaxcnn.training.optimizer import expect_optimizer

__all__ = ["Perturbation", "free_training"]

NAME = "perturbation"


@dataclass(frozen=True)
class Perturbation(Layer):
    """x + d within the bounds while training, d a parameter with one row for each of a batch; else x as it is."""

    batch_size: int
    bounds: Bounds = (0.0, 1.0)

    def init(self, key: jax.Array, spec: Spec) -> tuple[Params, State]:
        """Return a perturbation of 0."""
        return {"shift": jnp.zeros((self.batch_size, *spec.shape[1:]), jnp.float32)}, {}

    def apply(
        self, params: Params, state: State, x: jax.Array, *, train: bool, key: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        """Return the images, perturbed while training."""
        if not train:
            return x, state
        shift = parameter("Perturbation", params, "shift").astype(x.dtype)
        fix = "Pass the batch_size that free_training was given."
        expect(x.shape == shift.shape, "Perturbation", f"a batch of shape {shift.shape}", x.shape, fix)
        moved = jnp.clip(x + shift, *self.bounds)
        # The gradient is that at the moved image, where it meets its bounds as well: clip's is 0 beyond them, and a
        # pixel that the last batch has left there would not come back.
        return jax.lax.stop_gradient(moved) + (shift - jax.lax.stop_gradient(shift)), state


def free_training(
    net: Sequential,
    optimizer: optax.GradientTransformation,
    *,
    epsilon: float,
    replays: int = 4,
    batch_size: int = 64,
    step_size: float | None = None,
    bounds: Bounds = (0.0, 1.0),
) -> dict[str, Any]:
    """Return the options of `fit` for free adversarial training, which costs no gradient more than the plain one.

        options = defence.free_training(net, training.sgd(0.1), epsilon=8 / 255, replays=4, batch_size=64)
        result = training.fit(train=train, epochs=10, key=key, **options)
        logits_fn = training.predictor(net, result.state.params, result.state.model_state)

    Each batch is for `replays` steps in a row. Of one backward pass the parameters w descend and the perturbation d
    climbs: w <- optimizer(dL/dw);  d <- clip(d + step_size sign(dL/dd), -epsilon, epsilon). d is kept from a batch to
    the next one. Pass so many times fewer epochs as there are replays for the cost of plain training.

    Args:
        net: what is trained: images in the bounds -> logits. It is given a layer in front, whose parameter is d: what
            comes out are the net's own parameters beside `["perturbation"]`, which nothing else reads.
        optimizer: of the net's parameters.
        epsilon: the largest change of a pixel.
        replays: steps for each batch, m; 4 to 10 in the paper.
        batch_size: of the training.
        step_size: of d; epsilon unless given.
        bounds: the least and the largest value of a pixel.

    Returns:
        {"net": ..., "optimizer": ..., "batch_size": ..., "replays": ...}.

    Raises:
        ValueError: epsilon or a step_size below 0, an epsilon beyond the width of the bounds, counts below 1, bounds
            that are none, a net with a layer called "perturbation".
        TypeError: no Sequential, no optimizer.

    Source: Shafahi et al. 2019, algorithm 1. There the gradient of a pixel that is beyond its bounds is 0.
    """
    where = "free_training"
    fix = "Pass Sequential(net=net)."
    expect(isinstance(net, Sequential), where, "a Sequential as net", shown(net), fix, TypeError)
    expect(NAME not in net.layers, where, f"a net without a layer called {NAME!r}", list(net.layers), "Rename it.")
    expect_optimizer(where, optimizer)
    epsilon, bounds = length(where, "epsilon", epsilon), expect_bounds(where, bounds)
    expect_radius(where, epsilon, "linf", bounds)
    step_size = epsilon if step_size is None else length(where, "step_size", step_size)
    replays, batch_size = expect_count(where, "replays", replays), expect_count(where, "batch_size", batch_size)
    return {
        "net": Sequential(**{NAME: Perturbation(batch_size, bounds)}, **net.layers),
        "optimizer": _climbing(optimizer, epsilon, step_size),
        "batch_size": batch_size,
        "replays": replays,
    }


def _climbing(optimizer: Any, epsilon: float, step_size: float) -> optax.GradientTransformation:
    """Return the optimizer of the net's parameters, beside which the perturbation climbs."""

    def own(params: Params) -> Params:
        return {name: part for name, part in params.items() if name != NAME}

    def init(params: Params) -> Any:
        return optimizer.init(own(params))

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Params, Any]:
        shift, slope = params[NAME]["shift"], updates[NAME]["shift"]
        descent, state = optimizer.update(own(updates), state, own(params))
        moved = jnp.clip(shift + step_size * jnp.sign(slope), -epsilon, epsilon)
        return descent | {NAME: {"shift": moved - shift}}, state

    return optax.GradientTransformation(init, update)
