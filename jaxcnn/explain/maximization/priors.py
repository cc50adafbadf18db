"""What images are like whatever the net says: smooth, faint, and unlike one another."""

from dataclasses import dataclass, field

import jax
import jax.numpy as jnp

from jaxcnn.checking import expect, expect_choice
from jaxcnn.explain.maximization.objective import LayerObjective, Objective, Seen
from jaxcnn.explain.maximization.units import expect_activation

__all__ = ["Diversity", "SquaredNorm", "TotalVariation", "gram"]

TINY = 1e-12


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class TotalVariation(Objective):
    """How rough an image is, to be subtracted: the sum of |x[i+1, j] - x[i, j]|^p + |x[i, j+1] - x[i, j]|^p.

    Args:
        power: p, 1 (edges may be sharp) or 2 (they may not).

    Source: Rudin, Osher, Fatemi 1992; Mahendran, Vedaldi 2015, section 2. As `tf.image.total_variation` for p = 1.
    """

    power: int = field(default=1, metadata={"static": True})

    def scores(self, seen: Seen) -> jax.Array:
        """Return the sum of each image."""
        steps = (jnp.diff(seen.images, axis=axis) for axis in (-3, -2))
        down, right = (jnp.sum(jnp.abs(step) ** self.power, axis=(-3, -2, -1)) for step in steps)
        return down + right

    def check(self, where: str, seen: Seen) -> None:
        """Check the power."""
        expect_choice(where, "a total variation of power 1 or 2", self.power, (1, 2))


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class SquaredNorm(Objective):
    """How far an image is from a flat one, to be subtracted: the sum of (x - level)^2, L2 regularisation.

    Args:
        level: the brightness of the flat one: 0 where the background is black.

    Source: Simonyan, Vedaldi, Zisserman 2014, section 2.
    """

    level: float = 0.0

    def scores(self, seen: Seen) -> jax.Array:
        """Return the sum of each image."""
        return jnp.sum((seen.images - self.level) ** 2, axis=(-3, -2, -1))


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Diversity(LayerObjective):
    """How unlike the others each image is to a layer, in [-1, 1]: minus the mean cosine of its Gram matrix with theirs.

    The others are those along the last axis before (H, W, C): images (units, variants, H, W, C) are as diverse as can
    be for each unit.

    Args:
        at: path of the layer, at any depth.

    Source: Olah, Mordvintsev, Schubert 2017, "Feature visualization", diversity (appendix).
    """

    def scores(self, seen: Seen) -> jax.Array:
        """Return the score of each image."""
        grams = gram(seen.activations[self.at], seen.images.ndim - 3)
        flat = grams.reshape(*grams.shape[:-2], -1)
        flat *= jax.lax.rsqrt(jnp.sum(flat**2, -1, keepdims=True) + TINY)
        cosines = jnp.einsum("...ai,...bi->...ab", flat, flat, precision="highest")
        count = flat.shape[-2]
        return -jnp.sum(cosines * (1 - jnp.eye(count)), -1) / (count - 1)

    def check(self, where: str, seen: Seen) -> None:
        """Check that there are several images."""
        expect_activation(where, seen, self.at)
        ok = seen.images.shape[:-3][-1:] > (1,)
        fix = "Ask for several of each, shape=(4, H, W, C), say."
        expect(ok, where, "two images or more for them to be diverse", seen.images.shape, fix)


def gram(activation: jax.Array, lead: int) -> jax.Array:
    """Return the mean over positions of a a^T, (..., c, c), of activations with so many leading axes."""
    rows = activation.reshape(*activation.shape[:lead], -1, activation.shape[-1])
    return jnp.einsum("...pi,...pj->...ij", rows, rows, precision="highest") / rows.shape[-2]
