"""What is maximised: functions of images and of what a net makes of them, and sums of such functions."""

import operator
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import reduce
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn.checking import expect, is_array, is_int, is_number, shown

__all__ = [
    "LayerObjective",
    "Objective",
    "Seen",
    "Sum",
    "Weighted",
    "expect_broadcast",
    "expect_index",
    "settled",
]


class Seen(NamedTuple):
    """What an objective is a function of. While it is checked, shapes and dtypes stand for the arrays."""

    images: Any  # (..., H, W, C) in [0, 1], as they are
    outputs: Any  # of the net, for the images as they were moved
    activations: Mapping[str, Any]  # what the layers that the objective reads give for these


class Objective:
    """A score of each image. `ClassScore(3) - 0.1 * TotalVariation()` is one, too; a weight may be one an image.

    A subclass is a frozen dataclass under `jax.tree_util.register_dataclass` that says in `scores` what it is. Numbers
    and arrays that it holds are arguments of the compiled program: others need no new one.
    """

    __array_ufunc__ = None  # an array times an objective is for the objective to say

    @property
    def layers(self) -> tuple[str, ...]:
        """Paths of the layers whose outputs are read."""
        return ()

    @property
    def reads_outputs(self) -> bool:
        """Whether the net's outputs are read; if not, only the layers before the last one of `layers` are run."""
        return False

    def scores(self, seen: Seen) -> jax.Array:
        """Return a score of each image, (...) or what broadcasts to it."""
        raise NotImplementedError

    def check(self, where: str, seen: Seen) -> None:
        """Raise an error unless this objective fits what the net gives."""

    def __add__(self, other: Any) -> "Objective":
        return Sum((self, other)) if isinstance(other, Objective) else NotImplemented

    def __sub__(self, other: Any) -> "Objective":
        return self + -other if isinstance(other, Objective) else NotImplemented

    def __neg__(self) -> "Objective":
        return Weighted(-1.0, self)

    def __rmul__(self, weight: Any) -> "Objective":
        return Weighted(weight, self) if is_number(weight) or is_array(weight) else NotImplemented

    __mul__ = __rmul__


@dataclass(frozen=True, eq=False)
class LayerObjective(Objective):
    """An objective that reads one layer.

    Args:
        at: path of the layer, at any depth.
    """

    at: str = field(metadata={"static": True})

    @property
    def layers(self) -> tuple[str, ...]:
        """The one."""
        return (self.at,)


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Sum(Objective):
    """Objectives, added: what `a + b` is."""

    parts: tuple[Objective, ...]

    @property
    def layers(self) -> tuple[str, ...]:
        """Those of all parts, each once."""
        return tuple(dict.fromkeys(path for part in self.parts for path in part.layers))

    @property
    def reads_outputs(self) -> bool:
        """Whether one of them does."""
        return any(part.reads_outputs for part in self.parts)

    def scores(self, seen: Seen) -> jax.Array:
        """Return the sum of their scores."""
        return reduce(operator.add, [part.scores(seen) for part in self.parts])

    def check(self, where: str, seen: Seen) -> None:
        """Check each."""
        for part in self.parts:
            part.check(where, seen)


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Weighted(Objective):
    """An objective times a number, or times one an image: what `weight * a` is."""

    weight: Any
    part: Objective

    @property
    def layers(self) -> tuple[str, ...]:
        """Those of the part."""
        return self.part.layers

    @property
    def reads_outputs(self) -> bool:
        """Whether the part does."""
        return self.part.reads_outputs

    def scores(self, seen: Seen) -> jax.Array:
        """Return the part's scores times the weight."""
        return self.weight * self.part.scores(seen)

    def check(self, where: str, seen: Seen) -> None:
        """Check weight and part."""
        expect_broadcast(where, "weight", self.weight, seen.images.shape[:-3])
        self.part.check(where, seen)


def settled(where: str, objective: Any) -> Any:
    """Return the objective with its numbers as arrays of fixed dtypes, so that 3 and numpy.int64(3) share a program."""
    fix = 'Pass maximization.ClassScore(3) or maximization.Channel("stage1", 3), say.'
    expect(isinstance(objective, Objective), where, "an objective", shown(objective), fix, TypeError)

    def settle(leaf: Any) -> Any:
        if callable(leaf):
            return jax.tree_util.Partial(leaf)
        if not (is_number(leaf) or is_array(leaf)):
            return leaf  # for check to refuse
        whole = is_int(leaf) or jnp.issubdtype(getattr(leaf, "dtype", object), jnp.integer)
        return jnp.asarray(leaf, jnp.int32 if whole else jnp.float32)

    return jax.tree.map(settle, objective)


def expect_broadcast(
    where: str, name: str, value: Any, wanted: tuple[int, ...], fix: str = "Pass a number, or one for each image."
) -> None:
    """Raise `ValueError` unless a value has a shape that broadcasts to the wanted one."""
    shape = np.shape(value)
    ok = len(shape) <= len(wanted) and all(a in (1, b) for a, b in zip(shape[::-1], wanted[::-1], strict=False))
    expect(ok, where, f"{name} of a shape that broadcasts to {wanted}", shape, fix)


def expect_index(where: str, name: str, index: Any, count: int, lead: tuple[int, ...]) -> None:
    """Raise an error unless an index is an integer in 0..count-1, or such integers, one an image."""
    fix = f"Pass an int from 0 to {count - 1}, or one for each image."
    ok = jnp.issubdtype(getattr(index, "dtype", object), jnp.integer)
    expect(ok, where, f"{name} as an int or an integer array", shown(index), fix, TypeError)
    expect_broadcast(where, name, index, lead)
    if not isinstance(index, jax.core.Tracer):
        known = np.asarray(index)
        ok = known.size > 0 and bool(((known >= 0) & (known < count)).all())
        expect(ok, where, f"{name} in 0..{count - 1}", shown(known.tolist()), fix)
