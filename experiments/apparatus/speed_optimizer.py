"""The optimizer of a speed recipe: each kind of parameter with a rate, a schedule and momentum of its own."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import optax

from experiments.apparatus.speed_recipes import SpeedRecipe
from jaxcnn.training.muon import muon

EVERY = 5  # steps between those that go back to the average


def speed_optimizer(recipe: SpeedRecipe, steps: int, per_epoch: int, dtype: Any) -> optax.GradientTransformation:
    """Return the optimizer of a training of so many steps; `dtype` is that of its products of matrices."""
    falls = math.ceil(recipe.whitening_epochs * per_epoch)

    def rates(step: Any) -> jax.Array:
        return part_of_peak(recipe, step, steps)

    def whitening(step: Any) -> jax.Array:
        return jnp.maximum(1 - step / falls, 0) if recipe.whitening_falls else jnp.where(step < falls, rates(step), 0)

    def plain(rate: float, schedule: optax.Schedule) -> optax.GradientTransformation:
        decay = optax.add_decayed_weights(recipe.decay / rate)
        return optax.chain(decay, optax.sgd(lambda step: rate * schedule(step), recipe.momentum, nesterov=True))

    kernels = plain(recipe.rate, rates)
    if recipe.muon is not None:
        first, more = recipe.renormalize
        kernels = muon(
            lambda step: recipe.rate * rates(step),
            momentum=recipe.muon,
            iterations=3,
            coefficients=recipe.coefficients,
            renormalize=lambda step: step % (first + more * step // steps) == 0,
            dtype=dtype,
        )
    kinds: dict[Any, optax.GradientTransformation] = {
        "kernels": kernels,
        "biases": plain(recipe.bias_rate, rates),
        "head": plain(recipe.head_rate, rates),
        "whitening": plain(recipe.whitening_rate, whitening),
        "frozen": optax.set_to_zero(),
    }
    return optax.partition(kinds, lambda params: jax.tree.map_with_path(lambda path, _: kind(path), params))


def kind(path: tuple[Any, ...]) -> str:
    """Return the kind of the parameter at a path: the whitening convolution learns its biases alone."""
    first, last = path[0].key, path[-1].key
    if first == "stem":
        return "frozen" if last == "kernel" else "whitening"
    return "head" if first == "head" else "kernels" if last == "kernel" else "biases"


def part_of_peak(recipe: SpeedRecipe, step: Any, steps: int) -> jax.Array:
    """Return the rates at a step as a part of their peak: up in a straight line, then down in another."""
    top = int(recipe.warmup * steps)
    return jnp.interp(step, jnp.array([0, top, steps]), jnp.array([recipe.first, 1.0, recipe.last]))


def average_kept(step: jax.Array, steps: int) -> jax.Array:
    """Return how much of itself the running average of the weights keeps after so many steps.

    0.95^5 (t / T)^3 at every fifth step t, and 1 otherwise: what the last step goes back to is the average as it is.

    Source: Zhang et al. 2019 (Lookahead), with a schedule; airbench.
    """
    return jnp.where(step % EVERY == 0, 0.95**5 * (step / steps) ** 3, 1.0)
