"""Images as genomes of one number a pixel."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from jaxcnn.checking import expect_count, number

__all__ = ["Direct"]


@dataclass(frozen=True)
class Direct:
    """An image as the numbers of its pixels, each of which is mutated by itself: what evolves looks like noise.

    The first are uniform in [0, 1]. Each number is changed with a probability that halves by and by, by a step of
    polynomial mutation: with u uniform in [0, 1], (2 u)^(1 / (s + 1)) - 1 below 1/2, else its mirror image.

    Args:
        rate: the probability that a number is changed, at first; above 0, at most 1.
        halving: generations after which it is half as large.
        strength: s, >= 0: the larger, the smaller the steps, 1 / (s + 2) on average.

    Source: Nguyen, Yosinski, Clune 2015, section 2.2; Deb 2001, polynomial mutation.
    """

    rate: float = 0.1
    halving: int = 1000
    strength: float = 15.0

    def __post_init__(self):
        number("Direct", "rate above 0, at most 1", self.rate, lambda p: 0 < p <= 1, "0.1 is the paper's.")
        expect_count("Direct", "halving", self.halving)
        number("Direct", "strength of at least 0", self.strength, lambda s: 0 <= s < float("inf"), "15 is the paper's.")

    def init(self, key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
        """Return an image of noise."""
        return jax.random.uniform(key, shape)

    def mutate(self, key: jax.Array, genome: jax.Array, generation: jax.Array) -> jax.Array:
        """Return it with some pixels changed."""
        which, by = jax.random.split(key)
        rate = self.rate * 0.5 ** (generation // self.halving)
        u = jax.random.uniform(by, genome.shape)
        size = 1 - (2 * jnp.minimum(u, 1 - u)) ** (1 / (self.strength + 1))
        changed = genome + jnp.where(u < 0.5, -size, size)
        return jnp.where(jax.random.bernoulli(which, rate, genome.shape), jnp.clip(changed, 0, 1), genome)

    def image(self, genome: jax.Array, shape: tuple[int, ...]) -> jax.Array:
        """Return the genome, which is the image."""
        return genome
