"""How much alike two maps of the same image are: the order of their pixels, and their look."""

from functools import partial

import jax
import jax.numpy as jnp

from jaxcnn import filters
from jaxcnn import functional as F
from jaxcnn.explain.trust.correlation import spearman

__all__ = ["MEASURES", "similarities"]

MEASURES = ("rank", "signed_rank", "ssim")
WINDOW = 7  # pixels along each side over which the look is compared


@partial(jax.jit, static_argnames="lead")
def similarities(first: jax.Array, second: jax.Array, *, lead: int) -> dict[str, jax.Array]:
    """Return of each pair of maps the likeness, (...), by measure: 0 where one of them is blank, NaN where both are.

    "rank": Spearman's correlation of the absolute values; "signed_rank": of the values; "ssim": the structural
    similarity of the absolute values, each map divided by its largest (Wang et al. 2004, windows of 7 x 7). Channels
    are summed first, absolute values of them where these count.

    Args:
        first, second: maps (..., h, w) or (..., h, w, c).
        lead: how many axes come before h.
    """
    channels = first.ndim - lead > 2
    signed, absolute = (
        [change(v).sum(axis=-1) if channels else change(v) for v in (first, second)] for change in (_same, jnp.abs)
    )
    flat = lambda maps: [v.reshape(*v.shape[:lead], -1) for v in maps]  # noqa: E731
    found = {"rank": spearman(*flat(absolute)), "signed_rank": spearman(*flat(signed)), "ssim": _ssim(*absolute)}
    blank = [v.max(axis=-1) == v.min(axis=-1) for v in flat(absolute)]
    of_blank = jnp.where(blank[0] & blank[1], jnp.nan, 0.0)
    return {name: jnp.where(blank[0] | blank[1], of_blank, value) for name, value in found.items()}


def _same(values: jax.Array) -> jax.Array:
    return values


def _ssim(a: jax.Array, b: jax.Array) -> jax.Array:
    largest = [v.max(axis=(-2, -1), keepdims=True) for v in (a, b)]
    a, b = (v / jnp.where(top > 0, top, 1) for v, top in zip((a, b), largest, strict=True))
    side = min(WINDOW, *a.shape[-2:])
    window = filters.Box(side if side % 2 else side - 1)
    means = F.moving_sum(jnp.stack([a, b, a * a, b * b, a * b], axis=-1), window, padding="VALID")
    mean_a, mean_b, aa, bb, ab = jnp.moveaxis(means, -1, 0)
    small, smaller = 0.03**2, 0.01**2
    look = (2 * mean_a * mean_b + smaller) / (mean_a**2 + mean_b**2 + smaller)
    structure = (2 * (ab - mean_a * mean_b) + small) / (aa - mean_a**2 + bb - mean_b**2 + small)
    return (look * structure).mean(axis=(-2, -1))
