"""Images as genomes of a network that gives a value for the place of a pixel: regular patterns."""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxcnn.checking import expect, expect_count, number

__all__ = ["ACTIVATIONS", "Pattern", "Patterns"]

# Each gives another regularity: repetition, symmetry, an edge, a crease, a slope.
ACTIVATIONS = {
    "sin": lambda z: jnp.sin(jnp.pi * z),
    "gauss": lambda z: jnp.exp(-z * z),
    "sigmoid": jnp.tanh,
    "abs": jnp.abs,
    "linear": lambda z: z,
}
PLACE = 4  # what a pixel tells of its place: x, y, the distance from the middle, and 1
FARTHEST = 8.0  # that a weight goes from 0


class Pattern(NamedTuple):
    """The genome: what each node, and after them each channel, makes of the place and of the nodes before it."""

    weight: jax.Array  # (nodes + C, 4 + nodes)
    on: jax.Array  # (nodes + C, 4 + nodes), bool: the connections that there are
    kind: jax.Array  # (nodes,), int: which of ACTIVATIONS


@dataclass(frozen=True)
class Patterns:
    """An image as a network of coordinates, a compositional pattern producing network (CPPN): what evolves is regular.

    Every pixel gives its x and y in [-1, 1] along the longer side, its distance from the middle, and 1. Node i is
    a_i(sum_j w_ij v_j) of these and of the nodes before it, a_i one of sin, gauss, sigmoid, abs and linear; a channel
    is the logistic function of such a sum over all. Mutation moves weights, switches connections on and off, and
    exchanges activations.

    The paper evolves its networks by NEAT, which adds nodes and connections as it goes; a compiled program needs shapes
    that stay. So this is no NEAT: all nodes are there from the start, and what grows are the connections between them.

    A genome has no size: the same one gives its pattern for images of any.

    Args:
        nodes: between the place and the channels, at least 1.
        density: the share of connections that are there at first; above 0, at most 1.
        rate: the probability that a weight is moved, by a normal step.
        strength: standard deviation of that step, > 0.
        switching: the probability that a connection is switched on or off.
        exchanging: the probability that a node gets an activation drawn anew.

    Source: Nguyen, Yosinski, Clune 2015, section 2.2; Stanley 2007, "Compositional pattern producing networks".
    """

    nodes: int = 16
    density: float = 0.3
    rate: float = 0.2
    strength: float = 0.5
    switching: float = 0.01
    exchanging: float = 0.02

    def __post_init__(self):
        expect_count("Patterns", "nodes", self.nodes)
        share = lambda p: 0 <= p <= 1  # noqa: E731
        number("Patterns", "density above 0, at most 1", self.density, lambda p: 0 < p <= 1, "0.3, say.")
        number("Patterns", "strength above 0", self.strength, lambda s: 0 < s < float("inf"), "0.5, say.")
        for name in ("rate", "switching", "exchanging"):
            number("Patterns", f"{name} as a probability", getattr(self, name), share, "0.1, say.")

    def init(self, key: jax.Array, shape: tuple[int, ...]) -> Pattern:
        """Return a random network for images (H, W, C)."""
        expect(len(shape) == 3, "Patterns", "images (H, W, C)", shape, 'Vectors have no places: take "direct".')
        size = (self.nodes + shape[-1], PLACE + self.nodes)
        weights, connections, kinds = jax.random.split(key, 3)
        return Pattern(
            2 * jax.random.normal(weights, size),
            jax.random.bernoulli(connections, self.density, size),
            jax.random.randint(kinds, (self.nodes,), 0, len(ACTIVATIONS)),
        )

    def mutate(self, key: jax.Array, genome: Pattern, generation: jax.Array) -> Pattern:
        """Return a network with some weights, connections and activations changed."""
        moved, by, switched, exchanged, kinds = jax.random.split(key, 5)
        size = genome.weight.shape
        step = self.strength * jax.random.normal(by, size) * jax.random.bernoulli(moved, self.rate, size)
        kind = jax.random.randint(kinds, genome.kind.shape, 0, len(ACTIVATIONS))
        return Pattern(
            jnp.clip(genome.weight + step, -FARTHEST, FARTHEST),
            genome.on ^ jax.random.bernoulli(switched, self.switching, size),
            jnp.where(jax.random.bernoulli(exchanged, self.exchanging, kind.shape), kind, genome.kind),
        )

    def image(self, genome: Pattern, shape: tuple[int, ...]) -> jax.Array:
        """Return the pattern as an image (H, W, C) in [0, 1]."""
        height, width, channels = shape
        longest = max(height, width)
        down, across = ((2 * jnp.arange(n) + 1 - n) / longest for n in (height, width))
        y, x = jnp.meshgrid(down, across, indexing="ij")
        place = jnp.stack([x, y, jnp.hypot(x, y), jnp.ones_like(x)]).reshape(PLACE, -1)
        values = jnp.concatenate([place, jnp.zeros((self.nodes, height * width))])
        weight = jnp.where(genome.on, genome.weight, 0)

        def node(i: jax.Array, values: jax.Array) -> jax.Array:
            total = weight[i] @ values  # of the nodes from this one on, which are 0 as yet, nothing
            return values.at[PLACE + i].set(jax.lax.switch(genome.kind[i], list(ACTIVATIONS.values()), total))

        values = jax.lax.fori_loop(0, self.nodes, node, values)
        return jax.nn.sigmoid(weight[-channels:] @ values).T.reshape(shape)
