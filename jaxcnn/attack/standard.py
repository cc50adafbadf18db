"""AutoAttack's standard ensemble, each of whose attacks goes on with the images that still stand."""

import functools
from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn.attack.apgd import apgd, likeliest
from jaxcnn.attack.fab import fab
from jaxcnn.attack.goal import Bounds
from jaxcnn.attack.judgement import Judgement, judge
from jaxcnn.attack.square import square
from jaxcnn.classifier import LogitsFn

__all__ = ["STANDARD", "Budget", "Progress", "Standing", "Images", "climbed"]

STANDARD = ("apgd-ce", "apgd-t", "fab-t", "square")
TARGETED = {"apgd-t", "fab-t"}
TARGETS = 9  # of the likeliest classes, at most
LEAST = 8  # images of the smallest batch
ROUNDING = 1e-5  # of epsilon


class Budget(NamedTuple):
    """What attacks may do."""

    epsilon: float
    norm: str
    bounds: Bounds
    steps: int
    queries: int

    def limit(self, image: np.ndarray) -> float:
        """Return how far an image may be from the original: epsilon, but for rounding of each of its values."""
        unit = float(jnp.finfo(image.dtype).eps) * max(map(abs, self.bounds))
        slack = unit * {"linf": 1, "l2": image.size**0.5, "l1": image.size}[self.norm] + ROUNDING * self.epsilon
        return self.epsilon + min(slack, 0.01 * self.epsilon)


class Progress(NamedTuple):
    """How far an evaluation is."""

    attack: str
    done: int  # of its target classes, one after the other; 1 of 1 for an attack without
    targets: int
    standing: int  # images


class Standing(NamedTuple):
    """What an attack has left."""

    fell: np.ndarray  # (N,) bool
    images: np.ndarray  # (N, H, W, C), of use where they fell
    calls: int  # gradients allowed, or queries asked (Square), of all images, but for what only filled a batch


class Images(NamedTuple):
    """Images on the host that a net is tested on, in batches."""

    logits_fn: LogitsFn  # a `trusted` one
    x: np.ndarray  # (N, H, W, C)
    y: np.ndarray  # (N,)
    classes: int
    batch_size: int

    def batches(self, index: np.ndarray) -> Iterator[tuple[np.ndarray, jax.Array, jax.Array]]:
        """Yield some of the indices, and these images and labels on the device, filled up to one of few sizes."""
        for start in range(0, len(index), self.batch_size):
            some = index[start : start + self.batch_size]
            size = min(self.batch_size, max(LEAST, 1 << (len(some) - 1).bit_length()))
            filled = np.pad(some, (0, size - len(some)), mode="edge")
            label = self.y[filled]
            # By this label the net errs already: attacks need not go on, and Square asks for the others.
            label[len(some) :] = (label[len(some) :] + 1) % self.classes
            yield some, jnp.asarray(self.x[filled]), jnp.asarray(label)

    def sample(self, index: np.ndarray) -> tuple[jax.Array, jax.Array, int]:
        """Return a batch of images from all over, their labels, and how many of them are real."""
        places = np.linspace(0, len(index) - 1, min(len(index), self.batch_size)).round().astype(int)
        some, x, y = next(self.batches(index[places]))
        return x, y, len(some)

    def judged(self, images: np.ndarray, bounds: Bounds) -> Judgement:
        """Return what the net makes of changed images, in their order, by one program."""
        count, size = len(self.x), min(self.batch_size, len(self.x))
        parts = []
        for start in range(0, count, size):
            index = np.minimum(np.arange(start, start + size), count - 1)
            parts.append(judge(self.logits_fn, self.x[index], images[index], self.y[index], bounds=bounds))
        return Judgement(*(np.concatenate(column)[:count] for column in zip(*map(_fields, parts), strict=True)))

    def attacked(
        self,
        name: str,
        keys: Iterator[jax.Array],
        standing: np.ndarray,
        budget: Budget,
        on_progress: Callable[[Progress], None],
    ) -> Standing:
        """Return what one attack leaves of the images that stand, (N,)."""
        images, left, calls = self.x.copy(), standing.copy(), 0
        targets = min(TARGETS, self.classes - 1) if name in TARGETED else 1
        limit = budget.limit(self.x[0])
        for turn in range(targets):
            for index, x, y in self.batches(np.flatnonzero(left)):
                toward = likeliest(self.logits_fn, x, y, count=targets)[turn] if name in TARGETED else None
                found, asked = climbed(next(keys), self.logits_fn, x, y, toward, name, self.classes, budget)
                seen = judge(self.logits_fn, x, found, y, bounds=budget.bounds)
                fooled = (seen.success & (getattr(seen, budget.norm) <= limit))[: len(index)]
                images[index[fooled]] = np.asarray(found)[: len(index)][fooled]
                left[index[fooled]] = False
                calls += int(np.asarray(asked)[: len(index)].sum())
            on_progress(Progress(name, turn + 1, targets, int(left.sum())))
        fell = standing & ~left
        # Where rounding decides, or the other images of the batch, the order of x counts.
        return Standing(fell & self.judged(images, budget.bounds).success if fell.any() else fell, images, calls)


def climbed(
    key: jax.Array,
    logits_fn: LogitsFn,
    x: jax.Array,
    y: jax.Array,
    toward: jax.Array | None,
    name: str,
    classes: int,
    budget: Budget,
) -> tuple[jax.Array, jax.Array]:
    """Return the images of one attack, and how many gradients or queries each had; "apgd" climbs the margin."""
    # Of 3 classes the ratio is constant towards the last, of 2 everywhere.
    loss = {"apgd-ce": "cross_entropy", "apgd-t": "dlr" if classes > 3 else "margin"}.get(name, "margin")
    # Under `jit` no gradient that is not finite is refused: it is left out.
    epsilon, *options = budget
    return _climbed(key, logits_fn, x, y, toward, jnp.float32(epsilon), name, loss, *options)


@functools.partial(jax.jit, static_argnames=("name", "loss", "norm", "bounds", "steps", "queries"))
def _climbed(
    key: jax.Array,
    logits_fn: LogitsFn,
    x: jax.Array,
    y: jax.Array,
    toward: jax.Array | None,
    epsilon: jax.Array,
    name: str,
    loss: str,
    norm: str,
    bounds: Bounds,
    steps: int,
    queries: int,
) -> tuple[jax.Array, jax.Array]:
    options = {"norm": norm, "bounds": bounds}
    if name == "square":
        return square(key, logits_fn, x, y, epsilon=epsilon, queries=queries, return_queries=True, **options)
    if name == "fab-t":
        found = fab(key, logits_fn, x, y, toward=toward, steps=steps, **options)
    else:
        targets = None if toward is None else toward[None]
        found = apgd(key, logits_fn, x, y, epsilon=epsilon, targets=targets, loss=loss, steps=steps, **options)
    return found, jnp.full(y.shape, steps)


def _fields(judgement: Judgement) -> tuple[np.ndarray, ...]:
    return tuple(vars(judgement).values())
