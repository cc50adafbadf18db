"""How units are used: how often they answer, which never do, and which stand at the end of their range."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn.checking import expect, is_number, shown
from jaxcnn.explain.inside.activations import Images, by_batch, size_of
from jaxcnn.layers.layer import Layer, Module, Params, State
from jaxcnn.surgery.tree import children_of, unwrapped

__all__ = ["UnitStatistics", "unit_statistics"]

CLOSE = 0.01  # of the range: how near to a bound an activation counts as saturated
BOUNDED = 100.0  # in magnitude, the value of a bounded activation function far out


class UnitStatistics(NamedTuple):
    """Of each unit of a layer, over all images and positions; every array is (units,).

    `mean`, `sd`, `least`, `largest`: of its activations. `images`: the share of images in which it is above 0
    anywhere. `positions`: the share of positions at which it is. `saturated`: the share of positions at which it is
    within 1 % of its range of a bound; 0 where there are none.
    """

    mean: np.ndarray
    sd: np.ndarray
    least: np.ndarray
    largest: np.ndarray
    images: np.ndarray
    positions: np.ndarray
    saturated: np.ndarray

    @property
    def dead(self) -> np.ndarray:
        """Which units are above 0 in no image, bool (units,)."""
        return self.images == 0

    @property
    def stuck(self) -> np.ndarray:
        """Which units are at a bound of their range at more than 95 % of all positions, bool (units,)."""
        return self.saturated > 0.95


def unit_statistics(
    net: Layer,
    params: Params,
    state: State,
    images: Images,
    at: str,
    *,
    bounds: tuple[float, float] | None = None,
    batch_size: int = 256,
) -> UnitStatistics:
    """Return how often the units of a layer answer, and how strongly, in one pass through a data set.

    Args:
        net, params, state: the trained net.
        images: (N, H, W, C), uint8 or floating in [0, 1], a `Dataset` or a `Stream`.
        at: the path of a layer, at any depth; behind an activation function, since "above 0" is what counts.
        bounds: the least and the largest value that the layer can give; unless given those of the function, if the
            layer is one that is bounded on both sides: tanh, sigmoid, relu6.
        batch_size: images at once.

    Returns:
        `UnitStatistics`.

    Raises:
        ValueError: an unknown path, images out of [0, 1], bounds in the wrong order, activations that are not finite.
    """
    where = "unit_statistics"
    if bounds is not None:
        ok = isinstance(bounds, tuple | list) and len(bounds) == 2 and all(map(is_number, bounds))
        fix = "Pass bounds=(-1.0, 1.0), say."
        expect(ok and bounds[0] < bounds[1], where, "bounds (low, high), low < high", shown(bounds), fix)
        bounds = float(bounds[0]), float(bounds[1])
    read = _Sums(_bounds_of(net, at) if bounds is None else bounds)
    sums: dict[str, Any] = {}
    for found in by_batch(where, net, params, state, images, at, read, batch_size):
        found = {name: np.asarray(value, np.float64) for name, value in found.items()}
        about, off, count = found.pop("about"), found.pop("off"), found.pop("count")
        found["mean"] = count * about + off
        found["square"] += 2 * about * off + count * about**2
        for name, value in found.items():
            fold = {"least": np.minimum, "largest": np.maximum}.get(name, np.add)
            sums[name] = fold(sums[name], value) if name in sums else value
    least, largest = sums.pop("least"), sums.pop("largest")
    means = {name: total / size_of(where, images) for name, total in sums.items()}
    sd = np.sqrt(np.maximum(means.pop("square") - means["mean"] ** 2, 0))
    return UnitStatistics(sd=sd, least=least, largest=largest, **means)


@dataclass(frozen=True)
class _Sums:
    """The sums over the images of a batch that count."""

    bounds: tuple[float, float] | None

    def __call__(self, inside: jax.Array, mask: jax.Array) -> dict[str, jax.Array]:
        low, high = self.bounds or (-jnp.inf, jnp.inf)
        near = CLOSE * (high - low) if self.bounds else 0.0
        # Squares about the mean of the batch, put right in float64 on the host: squares of what is far from zero would
        # leave nothing of a small deviation.
        about = jnp.mean(inside.astype(jnp.float32), axis=(0, 1))
        moved = inside.astype(jnp.float32) - about
        shares = {
            "off": moved,
            "square": moved**2,
            "positions": inside > 0,
            "saturated": (inside <= low + near) | (inside >= high - near),
        }
        means = {name: values.astype(jnp.float32).mean(axis=1) for name, values in shares.items()}
        means["images"] = (inside > 0).any(axis=1).astype(jnp.float32)
        found = {name: jnp.where(mask[:, None], values, 0.0).sum(axis=0) for name, values in means.items()}
        found |= {"about": about, "count": mask.sum().astype(jnp.float32)}
        # What pads a batch repeats an image of it.
        return found | {"least": inside.min(axis=(0, 1)), "largest": inside.max(axis=(0, 1))}


def _bounds_of(net: Layer, at: str) -> tuple[float, float] | None:
    """Return the bounds of the layer at a path, if it is a plain function of numbers that has two."""
    module: Module = net
    for name in at.split("/"):
        module = children_of(module).get(name, module)
    module = unwrapped(module)
    if isinstance(module, Layer):
        return None
    far = jnp.array([[[[-1e4]]], [[[1e4]]]], jnp.float32)
    try:
        low, high = np.ravel(module(far)).tolist()
    except (ValueError, TypeError):  # no function of single numbers
        return None
    return (low, high) if -BOUNDED < low < high < BOUNDED else None
