"""Evolution of images that a net is sure of: no gradients, and every class a niche of its own."""

import functools
from typing import Any, Protocol

import jax
import jax.numpy as jnp

from jaxcnn.attack.fooling.direct import Direct
from jaxcnn.attack.fooling.fooled import Fooled, fooled, log_odds, prepared_spec
from jaxcnn.attack.fooling.patterns import Patterns
from jaxcnn.attack.goal import Bounds, logits, per_image
from jaxcnn.checking import expect, expect_count, expect_key, shown
from jaxcnn.classifier import LogitsFn
from jaxcnn.variants import chunk_of, over_variants

__all__ = ["Encoding", "evolve"]


class Encoding(Protocol):
    """How images are written as genomes, trees of arrays; hashable, as the program is compiled for it."""

    def init(self, key: jax.Array, shape: tuple[int, ...]) -> Any:
        """Return a random genome of an image (H, W, C)."""

    def mutate(self, key: jax.Array, genome: Any, generation: jax.Array) -> Any:
        """Return a changed one."""

    def image(self, genome: Any, shape: tuple[int, ...]) -> jax.Array:
        """Return its image (H, W, C), in [0, 1]."""


ENCODINGS = {"direct": Direct(), "patterns": Patterns()}


def evolve(
    key: jax.Array,
    logits_fn: LogitsFn,
    spec: Any,
    *,
    encoding: str | Encoding = "direct",
    generations: int = 500,
    population: int = 64,
    classes: Any = None,
    bounds: Bounds = (0.0, 1.0),
    chunk: int | None = None,
) -> Fooled:
    """Return an image for each class of which the net is sure, by evolution: it needs the net's outputs alone.

    An archive keeps the best image so far of each class, its elite. In a generation `population` parents are drawn
    from the elites of all classes, each gives a changed copy, and a copy of which the net is surer of *any* class than
    of that class's elite takes the elite's place: what is found for one class serves others (MAP-Elites). The first
    generation is of random images.

    Args:
        key: a PRNG key; the same one gives the same images, whatever the chunk (but for rounding).
        logits_fn: images (..., H, W, C) -> logits (..., classes), differentiable or not.
        spec: of the images, the batch axis included, floating: `train.spec`, or an array of such images.
        encoding: "direct": each pixel is a number, `Direct()`; "patterns": a network that gives a value for the place
            of a pixel, `Patterns()`; or one with other options, or of your own.
        generations: after the first, at least 1.
        population: images a generation, at least 1. The paper has one after the other; these are looked at together,
            and of several that are better for a class the best is kept.
        classes: those that images are wanted of, (n,); all unless given.
        bounds: the least and the largest value of a pixel.
        chunk: images that the net is given at once: memory for so many beside the population's genomes. As many as are
            fast unless given.

    Returns:
        `Fooled`: images (n, H, W, C), their confidence, and its history (1 + generations, n), which never falls.

    Raises:
        ValueError: an unknown encoding, an option out of range, classes that are none, probabilities in the place of
            logits, a random function, logits that are not finite.
        TypeError: no key, a spec that is none or not floating.

    Source: Nguyen, Yosinski, Clune 2015, "Deep neural networks are easily fooled", section 2.2; Mouret, Clune 2015,
    "Illuminating search spaces by mapping elites".
    """
    where = "evolve"
    expect_key(where, key)
    logits_fn, spec, classes, bounds = prepared_spec(where, logits_fn, spec, classes, bounds)
    if isinstance(encoding, str):
        expect(encoding in ENCODINGS, where, f"encoding as one of {tuple(ENCODINGS)}", shown(encoding), OR_ANOTHER)
        encoding = ENCODINGS[encoding]
    ok = all(callable(getattr(encoding, name, None)) for name in ("init", "mutate", "image"))
    expect(ok, where, "encoding with init, mutate and image", shown(encoding), OR_ANOTHER, TypeError)
    generations, population = (
        expect_count(where, name, value) for name, value in (("generations", generations), ("population", population))
    )
    chunk = chunk_of(where, chunk, spec)
    images, history = _run(
        key, logits_fn, classes, shape=spec.shape[1:], dtype=spec.dtype, encoding=encoding,
        generations=generations, population=population, bounds=bounds, chunk=chunk,
    )  # fmt: skip
    return fooled(where, logits_fn, images, classes, history, chunk)


@functools.partial(
    jax.jit, static_argnames=("shape", "dtype", "encoding", "generations", "population", "bounds", "chunk")
)
def _run(
    key, logits_fn, classes: jax.Array, *, shape: tuple[int, ...], dtype: Any, encoding: Any, generations: int,
    population: int, bounds: Bounds, chunk: int,
) -> tuple[jax.Array, jax.Array]:  # fmt: skip
    low, high = bounds
    first_key, key = jax.random.split(key)
    fresh = lambda keys: jax.vmap(lambda key: encoding.init(key, shape))(keys)  # noqa: E731

    def image(genome: Any) -> jax.Array:
        return jnp.clip(low + (high - low) * encoding.image(genome, shape), low, high).astype(dtype)

    def sure(genome: Any) -> jax.Array:
        found = log_odds(logits(logits_fn, image(genome)[None])[0])[classes].astype(jnp.float32)
        return jnp.where(jnp.isnan(found), -jnp.inf, found)

    def offspring(key: jax.Array, elites: Any, generation: jax.Array) -> Any:
        key, own = jax.random.split(key)
        parents = jax.random.randint(key, (population,), 0, len(classes))
        born = jax.tree.map(lambda leaf: leaf[parents], elites)
        return jax.vmap(encoding.mutate, (0, 0, None))(jax.random.split(own, population), born, generation)

    def generation(archive: tuple[Any, jax.Array], now: tuple[jax.Array, jax.Array]) -> tuple[Any, jax.Array]:
        (elites, best), (key, number) = archive, now
        born = jax.lax.cond(
            number == 0,
            lambda: fresh(jax.random.split(key, population)),
            lambda: offspring(key, elites, number),
        )
        found = over_variants(sure, born, chunk)
        winner, highest = found.argmax(0), found.max(0)
        won = highest > best
        take = lambda new, old: jnp.where(per_image(won, old), new[winner], old)  # noqa: E731
        best = jnp.maximum(highest, best)
        return (jax.tree.map(take, born, elites), best), best

    archive = fresh(jax.random.split(first_key, len(classes))), jnp.full(len(classes), -jnp.inf)
    numbers = jnp.arange(generations + 1)
    (elites, _), history = jax.lax.scan(generation, archive, (jax.random.split(key, generations + 1), numbers))
    return jax.lax.map(image, elites), jax.nn.sigmoid(history)


OR_ANOTHER = "Choose one of them, or pass fooling.Patterns(nodes=32), say."
