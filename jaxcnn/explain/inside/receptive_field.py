"""Receptive fields: which pixels a unit can see, found from what the net computes."""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn.checking import expect
from jaxcnn.explain.inside.dependence import places
from jaxcnn.explain.inside.operations import NOWHERE
from jaxcnn.layers.layer import Layer, Spec, expect_net, expect_spec, init
from jaxcnn.surgery import activations, paths
from jaxcnn.surgery.tree import paths_in

__all__ = ["ReceptiveField", "patches", "receptive_field", "receptive_fields"]

FAR = 1024  # pixels of an image, of which a unit that sees them all is taken to see everything
LARGER = 8  # times, an image on which to look for fields that no border cuts


class ReceptiveField(NamedTuple):
    """What the units of a layer see.

    `rows` (h, 2) and `columns` (w, 2) are the first and the last pixel that the units at each row and column of the map
    see of images of the given size; (0, -1) where they see none. `size` (height, width) is what a unit sees far from
    the borders, in pixels, and `stride` how far apart the fields of neighbours are; both are None where units see the
    whole image however large it is, such as after flattening and global pooling. `offset` (top, left) is where the
    field of unit (0, 0) begins: below 0 in the padding.
    """

    rows: np.ndarray
    columns: np.ndarray
    size: tuple[int, int] | None
    stride: tuple[float, float] | None
    offset: tuple[int, int]


def receptive_field(net: Layer, spec: Spec, at: str) -> ReceptiveField:
    """Return what the units of one layer see; see `receptive_fields`."""
    return receptive_fields(net, spec, [at])[at]


def receptive_fields(net: Layer, spec: Spec, at: Sequence[str] | None = None) -> dict[str, ReceptiveField]:
    """Return which pixels the units of some layers see: those that can change what the units give.

    It is read from the program that the net is traced to, through which the numbers of rows and columns are carried:
    right for strides, dilation, padding, pooling, shortcuts, branches and functions of one's own; nothing is computed
    of the net. Of a layer whose channels see differently much, such as a `Concat`, it is what they see together. A
    field with holes, as under dilation, counts from its first to its last pixel. Loops are taken to mix all, and what
    cancels in the end counts, too.

    Args:
        net: a layer.
        spec: shape (N, H, W, C) and dtype of the images.
        at: paths of layers, at any depth; all of them unless given.

    Returns:
        {path: ReceptiveField}. A layer without a map has one unit, which sees what all of them see.

    Raises:
        ValueError: an unknown path, images of another rank, an image that the net does not take.

    Source: Araujo, Norris, Sim 2019, "Computing receptive fields of convolutional neural networks", for the arithmetic
    of single layers.
    """
    where = "receptive_fields"
    expect_net(where, net)
    expect_spec(where, spec, one=True)
    expect(len(spec.shape) == 4, where, "images (N, H, W, C)", spec.shape, "Pass the spec that the net was made with.")
    at = tuple(dict.fromkeys(paths(net) if at is None else paths_in(where, at)))
    image = jax.ShapeDtypeStruct(tuple(spec.shape[1:]), spec.dtype)
    seen = [_seen(net, at, image, axis) for axis in (0, 1)]
    inner = [{path: _inner(net, at, image, axis, path) for path in at} for axis in (0, 1)]
    found = {}
    for path in at:
        axes = [part[path] for part in inner]
        sizes, strides = zip(*axes, strict=True)
        everywhere = None in sizes
        offset = [_first(boxes[path], size, n)[0] for boxes, size, n in zip(seen, sizes, image.shape, strict=False)]
        found[path] = ReceptiveField(
            seen[0][path],
            seen[1][path],
            None if everywhere else tuple(sizes),
            None if everywhere else tuple(strides),
            (int(offset[0]), int(offset[1])),
        )
    return found


def patches(images: Any, field: ReceptiveField, position: Any) -> np.ndarray:
    """Return the part of each image that a unit sees, black beyond the borders.

    Where units see as much as there is, or more, it is the whole image.

    Args:
        images: (..., H, W, C).
        field: what units see of images of this size.
        position: integers (..., 2), row and column of a unit of the map for each image: `TopImages.position`, say.

    Returns:
        (..., height, width, C), height and width those of `field.size` or of the image.

    Raises:
        ValueError: another number of positions, or one that is not on the map.
    """
    where, images, position = "patches", np.asarray(images), np.asarray(position)
    units = len(field.rows), len(field.columns)
    expect(images.ndim >= 3, where, "images (..., H, W, C)", images.shape, "Add the missing axes.")
    lead, (height, width, channels) = images.shape[:-3], images.shape[-3:]
    expect(position.shape == (*lead, 2), where, f"positions {(*lead, 2)}", position.shape, "Pass one for each image.")
    on_map = bool(np.all((position >= 0) & (position < units)))
    expect(on_map, where, f"positions on a map of {units[0]}x{units[1]}", position.tolist(), "Look at the layer.")
    sizes = field.size or (height, width)
    starts, shape = [], []
    for boxes, size, n in zip((field.rows, field.columns), sizes, (height, width), strict=True):
        starts.append(_first(boxes, size, n))
        shape.append(min(size, n))
    cut = np.zeros((*lead, *shape, channels), images.dtype)
    for one in np.ndindex(*lead):
        tops = [int(first[p]) for first, p in zip(starts, position[one], strict=True)]
        inside = [slice(max(t, 0), max(min(t + s, n), 0)) for t, s, n in zip(tops, shape, (height, width), strict=True)]
        into = [slice(part.start - t, part.stop - t) for part, t in zip(inside, tops, strict=True)]
        cut[one][tuple(into)] = images[one][tuple(inside)]
    return cut


def _first(boxes: np.ndarray, size: int | None, n: int) -> np.ndarray:
    """Return where each unit's field begins, also beyond the border: one that it cuts is as large as the others."""
    if size is None or size >= n:
        return np.zeros(len(boxes), np.int64)
    return np.where(boxes[:, 0] > 0, boxes[:, 0], boxes[:, 1] - size + 1)


@functools.lru_cache(maxsize=64)
def _seen(net: Layer, at: tuple[str, ...], image: jax.ShapeDtypeStruct, axis: int) -> dict[str, np.ndarray]:
    """Return the first and last pixel along one axis that the units of each layer see."""
    x = jax.ShapeDtypeStruct((1, *image.shape), image.dtype)
    params, state = jax.eval_shape(lambda key: init(net, key, x), jax.random.key(0))
    program = jax.make_jaxpr(lambda p, s, x: activations(net, p, s, x, at)[1])(params, state, x)
    weights = [None] * len(jax.tree.leaves((params, state)))
    line = jnp.arange(image.shape[axis], dtype=jnp.int32).reshape([-1 if a == axis + 1 else 1 for a in range(4)])

    @jax.jit
    def least(line: jax.Array) -> list[jax.Array]:
        found = places(program, [*weights, jnp.broadcast_to(line, x.shape)])
        others = [[a for a in range(y.ndim) if y.ndim != 4 or a != axis + 1] for y in found]
        return [y.min(tuple(axes), initial=NOWHERE) for y, axes in zip(found, others, strict=True)]

    first, last = (jax.device_get(least(sign * line)) for sign in (1, -1))
    # Traced, a dict comes out with its names sorted.
    return {path: _boxes(a, -b) for path, a, b in zip(sorted(at), first, last, strict=True)}


def _boxes(first: np.ndarray, last: np.ndarray) -> np.ndarray:
    seen = np.atleast_1d(first < NOWHERE)
    return np.stack([np.where(seen, first, 0), np.where(seen, last, -1)], axis=1).astype(np.int64)


def _inner(
    net: Layer, at: tuple[str, ...], image: jax.ShapeDtypeStruct, axis: int, path: str
) -> tuple[int | None, float | None]:
    """Return size and stride of the fields that no border cuts, on an image enlarged until there are some."""
    n, boxes = image.shape[axis], _seen(net, at, image, axis)[path]
    own = boxes
    while n == image.shape[axis] or len(boxes) != len(own):  # else adaptive pooling, or no map
        whole = boxes[(boxes[:, 0] > 0) & (boxes[:, 1] < n - 1)]
        if len(whole) > 1:
            return _largest(boxes), _apart(whole)
        if n >= FAR:
            break
        n = LARGER * n
        larger = jax.ShapeDtypeStruct([n if a == axis else m for a, m in enumerate(image.shape)], image.dtype)
        try:
            boxes = _seen(net, at, larger, axis)[path]
        except (ValueError, TypeError):  # a net for images of one size
            break
    # The windows of adaptive pooling grow with the image.
    return (_largest(own), _apart(own)) if _largest(own) < image.shape[axis] else (None, None)


def _largest(boxes: np.ndarray) -> int:
    return int((boxes[:, 1] - boxes[:, 0]).max()) + 1


def _apart(boxes: np.ndarray) -> float:
    return float(np.diff(boxes[:, 0]).mean()) if len(boxes) > 1 else float(boxes[0, 1] + 1)
