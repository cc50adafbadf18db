"""Images that a class, a unit or a whole layer likes best, all of them in one program."""

from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxcnn.checking import expect, expect_count, expect_key, shown, sizes
from jaxcnn.classifier import LogitsFn, as_tree
from jaxcnn.explain.maximization.objective import Objective, Seen, expect_broadcast, settled
from jaxcnn.explain.maximization.parameterization import Fourier, Parameterization
from jaxcnn.explain.maximization.robustness import RandomTransform, Robustness, expect_transforms, moved
from jaxcnn.explain.maximization.seeing import images_of, looking, seen_of
from jaxcnn.layers.layer import Layer, Params, State

__all__ = ["ADAM", "Maximized", "maximize", "maximize_function"]

ADAM = optax.adam(0.05)
FOURIER = Fourier()
ROBUST = (Robustness(),)


class Maximized(NamedTuple):
    """Images that maximise, and how they came about."""

    images: jax.Array  # (..., H, W, C) in [0, 1]
    scores: jax.Array  # (...), the objective of the images as they are
    history: jax.Array  # (steps, ...), the objective at each step, of the images as they were moved


def maximize(
    key: jax.Array,
    net: Layer,
    params: Params,
    state: State,
    objective: Objective,
    *,
    shape: tuple[int, ...],
    parameterization: Parameterization = FOURIER,
    transforms: tuple[RandomTransform, ...] = ROBUST,
    steps: int = 256,
    optimizer: optax.GradientTransformation = ADAM,
    start: jax.Array | None = None,
) -> Maximized:
    """Return images that maximise an objective: gradient ascent on the parameters of images, from a key.

        z <- z + optimizer(d/dz objective(net(transform(image(z)))))

        every_class = maximize(key, net, params, state, ClassScore(jnp.arange(10)) - 0.01 * TotalVariation(),
                               shape=(10, 32, 32, 3))
        four_of_each = Channel("stage2", jnp.arange(8)[:, None]) + Diversity("stage2")      # shape (8, 4, 32, 32, 3)

    All images climb side by side, each by its own slope; class, channel, position, direction and weights are
    arguments of the compiled program, so that others need no new one.

    Args:
        key: a PRNG key: of where the images begin and how they are moved.
        net, params, state: the trained net, which is applied with `train=False`. Where the objective reads inner
            layers alone, a Sequential is run up to the last of them, and takes images of any size that these do.
        objective: what to maximise, one score an image, such as `Channel("stage1", 3)`; sums and multiples are
            objectives, too.
        shape: of the images, (..., H, W, C).
        parameterization: images as a function of parameters: `Fourier(...)`, `Pixels(...)` or one of your own.
        transforms: functions (key, image) -> image, applied one after another to each image at each step; () for none.
            Regularisers see the images before.
        steps: of the ascent, at least 1.
        optimizer: of optax, which minimises minus the objective. It is static: make it once, not anew for each call.
        start: images (..., H, W, C) in [0, 1] to begin with, in the place of random ones.

    Returns:
        `Maximized`: images, scores and history.

    Raises:
        ValueError: an unknown layer (the message has near ones), a class, channel or position out of range, a shape
            that the net does not take, steps below 1, scores that are not finite.
        TypeError: no key, no net, no objective.

    Source: Erhan et al. 2009; Simonyan, Vedaldi, Zisserman 2014; Olah, Mordvintsev, Schubert 2017.
    """
    look = looking("maximize", net, params, state, objective)
    options = (parameterization, transforms, steps, optimizer, start)
    return ascended("maximize", key, look, objective, shape, *options)


def maximize_function(
    key: jax.Array,
    logits_fn: LogitsFn,
    objective: Objective,
    *,
    shape: tuple[int, ...],
    parameterization: Parameterization = FOURIER,
    transforms: tuple[RandomTransform, ...] = ROBUST,
    steps: int = 256,
    optimizer: optax.GradientTransformation = ADAM,
    start: jax.Array | None = None,
) -> Maximized:
    """Return images that maximise an objective of the outputs of any function of images: `maximize` without a net.

    Args:
        key: a PRNG key.
        logits_fn: images (..., H, W, C) -> logits (..., classes), of any library.
        objective: of outputs and images alone, such as `ClassScore(jnp.arange(10)) - 0.01 * TotalVariation()`.
        shape, parameterization, transforms, steps, optimizer, start: as for `maximize`.

    Returns:
        `Maximized`, as `maximize` does.

    Raises:
        ValueError, TypeError: as `maximize`; an objective that reads a layer.
    """
    where = "maximize_function"
    fix = "Pass training.predictor(net, params, state), say."
    expect(callable(logits_fn), where, "logits_fn as a function of images", logits_fn, fix, TypeError)
    layers = settled(where, objective).layers
    fix = "Pass the net to maximize."
    expect(not layers, where, "an objective of outputs and images", f"one that reads {list(layers)}", fix)
    look = jax.tree_util.Partial(_outputs, as_tree(logits_fn))
    return ascended(where, key, look, objective, shape, parameterization, transforms, steps, optimizer, start)


def ascended(
    where: str, key: Any, look: Any, objective: Any, shape: Any, parameterization: Any, transforms: Any, steps: Any,
    optimizer: Any, start: Any,
) -> Maximized:  # fmt: skip
    """Return the images that `look` and the objective like best, having checked the options of the function `where`."""
    expect_key(where, key)
    shape = sizes(where, "shape", shape)
    fix = "Pass shape=(8, 32, 32, 3), say."
    expect(len(shape) >= 3 and min(shape) > 0, where, "a shape (..., H, W, C) of images with a pixel", shape, fix)
    ok = callable(parameterization) and callable(getattr(parameterization, "init", None))
    fix = "Pass maximization.Fourier() or maximization.Pixels()."
    expect(ok, where, "a parameterization", shown(parameterization), fix, TypeError)
    ok = callable(getattr(optimizer, "update", None)) and callable(getattr(optimizer, "init", None))
    expect(ok, where, "an optimizer of optax", shown(optimizer), "Pass optax.adam(0.05), say.", TypeError)
    transforms, steps = expect_transforms(where, transforms), expect_count(where, "steps", steps)
    objective = settled(where, objective)
    spec = jax.ShapeDtypeStruct(shape, jnp.float32)
    seen_of(where, look, objective, spec, transforms)
    if start is not None:
        start = images_of(where, "start", start)
        fix = "Pass one image for all, or one for each."
        expect_broadcast(where, "start", start, shape, fix)
        start = jnp.broadcast_to(start, shape)
    found = _maximized(
        key, look, objective, start, shape=shape, parameterization=parameterization, transforms=transforms,
        steps=steps, optimizer=optimizer,
    )  # fmt: skip
    if not isinstance(found.scores, jax.core.Tracer):
        fix = "Look at the weights, or take smaller steps."
        expect(bool(np.isfinite(found.scores).all()), where, "finite scores", "others", fix)
    return found


@partial(jax.jit, static_argnames=("shape", "parameterization", "transforms", "steps", "optimizer"))
def _maximized(
    key: jax.Array, look: Any, objective: Objective, start: jax.Array | None, *, shape: tuple[int, ...],
    parameterization: Any, transforms: tuple[RandomTransform, ...], steps: int, optimizer: Any,
) -> Maximized:  # fmt: skip
    def scores_of(images: jax.Array, seen_images: jax.Array) -> jax.Array:
        return jnp.broadcast_to(objective.scores(Seen(images, *look(seen_images))), shape[:-3])

    def loss(parameters: Any, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        images = parameterization(parameters)
        scores = scores_of(images, moved(transforms, key, images))
        return -scores.sum(), scores

    def step(carry: Any, key: jax.Array) -> tuple[Any, jax.Array]:
        parameters, memory = carry
        slope, scores = jax.grad(loss, has_aux=True)(parameters, key)
        updates, memory = optimizer.update(slope, memory, parameters)
        return (optax.apply_updates(parameters, updates), memory), scores

    first_key, key = jax.random.split(key)
    parameters = parameterization.init(first_key, shape) if start is None else parameterization.parameters_of(start)
    carry = parameters, optimizer.init(parameters)
    (parameters, _), history = jax.lax.scan(step, carry, jax.random.split(key, steps))
    images = parameterization(parameters)
    return Maximized(images, scores_of(images, images), history)


def _outputs(logits_fn: LogitsFn, images: jax.Array) -> tuple[Any, Mapping[str, jax.Array]]:
    return logits_fn(images), {}
