"""Infidelity: does the explanation foretell what a perturbation of the image does to the score?"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from jaxcnn.checking import expect, expect_count, expect_flag, expect_key, shown
from jaxcnn.classifier import LogitsFn
from jaxcnn.explain.baseline import baseline_of
from jaxcnn.explain.score import Target, prepared, score
from jaxcnn.explain.trust.perturbations import GaussianNoise
from jaxcnn.explain.trust.pixels import pixel_map
from jaxcnn.variants import chunk_of, over_variants

__all__ = ["infidelity"]

Perturb = Callable[[jax.Array, jax.Array], jax.Array]
"""(key, images) -> other images of the same shape."""


def infidelity(
    key: jax.Array,
    logits_fn: LogitsFn,
    x: jax.Array,
    attribution: jax.Array,
    target: Target,
    *,
    perturb: Perturb | None = None,
    times_input: bool = False,
    baseline: float | jax.Array | str = 0.0,
    normalize: bool = False,
    samples: int = 64,
    chunk: int | None = None,
) -> jax.Array:
    """Return by how much the explanation errs about the change that perturbations make: 0 is perfect.

        E_I[ (sum(I * attribution) - (f(x) - f(x - I)))^2 ],   x - I = perturb(key, x)

    Args:
        key: a PRNG key.
        logits_fn: images (..., H, W, C) -> logits (..., classes).
        x: images (..., H, W, C), floating.
        attribution: of x's shape; or (..., H, W), which counts as spread evenly over the channels.
        target: a class, one for each image, or a function of the outputs: f is its score.
        perturb: (key, images) -> images: `GaussianNoise(0.1)` unless given, `SquareRemoval(size)`, or one's own.
        times_input: whether the attribution holds the factor x - baseline, as gradient x input and integrated
            gradients do: then I counts in shares of it, I / (x - baseline).
        baseline: which that is: as for `deletion`.
        normalize: give the attribution the factor first with which it errs least, for methods whose maps have a scale
            of their own.
        samples: perturbations of each image; the same `key` gives the same.
        chunk: perturbations at once; as many as suit the device unless given.

    Returns:
        (...), one number an image, in the square of the score's unit.

    Raises:
        ValueError: an attribution of another shape or with values that are not finite, a baseline that does not fit x,
            perturb giving images of another shape, a target out of range.
        TypeError: x or the attribution is not floating, no key, a perturb that is no function.

    Source: Yeh, Hsieh, Suggala, Inouye, Ravikumar 2019, definition 2.1; agrees with `captum.metrics.infidelity`, whose
    perturbation function returns (I, x - I), or with `multiply_by_inputs` (I / (x - baseline), x - I).
    """
    where = "infidelity"
    expect_key(where, key)
    logits_fn, x, target = prepared(where, logits_fn, x, target)
    maps = pixel_map(where, attribution, x)
    attribution = jnp.asarray(attribution)
    if attribution.shape != x.shape:
        attribution = jnp.broadcast_to(maps[..., None] / x.shape[-1], x.shape)
    perturb = GaussianNoise() if perturb is None else perturb
    fix = "Pass explain.trust.SquareRemoval(4), say."
    expect(callable(perturb), where, "perturb as a function of a key and images", shown(perturb), fix, TypeError)
    if expect_flag(where, "times_input", times_input):
        full = x - baseline_of(where, baseline, x)
        attribution = attribution / jnp.where(full == 0, 1, full)
    samples, chunk = expect_count(where, "samples", samples), chunk_of(where, chunk, x)
    normalize = expect_flag(where, "normalize", normalize)
    options = {"perturb": perturb, "normalize": normalize, "samples": samples, "chunk": chunk}
    return _infidelity(key, logits_fn, x, attribution, target, **options)


@partial(jax.jit, static_argnames=("perturb", "normalize", "samples", "chunk"))
def _infidelity(
    key: jax.Array, logits_fn: Any, x: jax.Array, attribution: jax.Array, target: Any, *, perturb: Perturb,
    normalize: bool, samples: int, chunk: int,
) -> jax.Array:  # fmt: skip
    before = score(logits_fn, x, target)

    def foretold_and_found(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        changed = perturb(key, x)
        what, fix = f"images of shape {x.shape} from perturb", "Return as many images, of the same size."
        expect(changed.shape == x.shape, "infidelity", what, changed.shape, fix)
        return ((x - changed) * attribution).sum(axis=(-3, -2, -1)), before - score(logits_fn, changed, target)

    foretold, found = over_variants(foretold_and_found, jax.random.split(key, samples), chunk)
    if normalize:
        power = (foretold**2).sum(axis=0)
        foretold = foretold * ((foretold * found).sum(axis=0) / jnp.where(power == 0, 1, power))
    return ((foretold - found) ** 2).mean(axis=0)
