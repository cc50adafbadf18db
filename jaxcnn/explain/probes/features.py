"""What the layers of a net give for images: as a function of images, and as rows of numbers of a whole set."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn import functional as F
from jaxcnn.checking import expect, expect_count
from jaxcnn.data.dataset import Dataset
from jaxcnn.data.stream import Stream
from jaxcnn.explain.inner import expect_trained
from jaxcnn.layers.layer import Layer, Params, State
from jaxcnn.surgery import activations, paths
from jaxcnn.surgery.tree import paths_in
from jaxcnn.training.evaluation import predict

__all__ = ["LayersFn", "layer_features", "layer_outputs"]

LayersFn = Callable[[jax.Array], dict[str, jax.Array]]
"""Images (n, H, W, C) -> what each of some layers gives, (n, ...), by name."""


def layer_outputs(net: Layer, params: Params, state: State, at: Sequence[str] | None = None) -> LayersFn:
    """Return the net as a function from images to what some of its layers give, with `train=False`.

    Args:
        net, params, state: the trained net.
        at: paths of layers, at any depth; the net's own layers (the top level) unless given.

    Returns:
        `images -> {path: array}`, a pytree that holds params and state, as `training.predictor` is.

    Raises:
        ValueError: an unknown path; the message names the near ones.
    """
    return jax.tree_util.Partial(_Outputs(net, _chosen("layer_outputs", net, params, state, at)), params, state)


def layer_features(
    net: Layer,
    params: Params,
    state: State,
    dataset: Dataset | Stream,
    at: Sequence[str] | None = None,
    *,
    limit: int = 1024,
    batch_size: int = 256,
) -> dict[str, np.ndarray]:
    """Return a row of features of every image for each of some layers, in one pass through a data set.

    A map (h, w, c) is averaged over the finest grid of k x k windows (no finer than the map) whose numbers are at most
    `limit`, k^2 c <= limit, and flattened; it is averaged as a whole where one number a channel is more than that.
    So all layers are seen through about equally many numbers. A vector stays as it is.

    Args:
        net, params, state: the trained net.
        dataset: a `data.Dataset`, a `Stream`, or any mapping with "image".
        at: paths of layers, at any depth; the net's own layers unless given.
        limit: numbers a map is averaged down to; 1 is global average pooling.
        batch_size: images at once.

    Returns:
        {path: (N, features)}, float32 on the host.

    Raises:
        ValueError: an unknown path, a limit below 1, no image, values that are not finite.
    """
    where = "layer_features"
    at, limit = _chosen(where, net, params, state, at), expect_count(where, "limit", limit)
    reader = _Features(net, at, limit)
    rows = predict(reader, params, state, dataset, batch_size=batch_size)
    image = next(iter(dataset.take([0]).batches(1)))["image"] if isinstance(dataset, Stream) else dataset["image"]
    spec = jax.ShapeDtypeStruct((1, *image.shape[1:]), jnp.float32)
    ends = np.cumsum([part.shape[-1] for part in jax.eval_shape(reader.parts, params, state, spec)])
    found = dict(zip(at, np.split(rows, ends[:-1], axis=1), strict=True))
    lost = [path for path, values in found.items() if not np.isfinite(values).all()]
    expect(not lost, where, "finite activations", f"others at {lost}", "Look at the weights and the images.")
    return found


def _chosen(where: str, net: Any, params: Any, state: Any, at: Any) -> tuple[str, ...]:
    expect_trained(where, net, params, state)
    chosen = [path for path in paths(net) if "/" not in path] if at is None else paths_in(where, at)
    expect(len(chosen) > 0, where, "at least one layer", "none", f"Choose among {paths(net)[:12]}, say.")
    return tuple(dict.fromkeys(chosen))


@dataclass(frozen=True)
class _Outputs:
    net: Layer
    at: tuple[str, ...]

    def __call__(self, params: Params, state: State, x: jax.Array) -> dict[str, jax.Array]:
        return activations(self.net, params, state, x, self.at)[1]


@dataclass(frozen=True)
class _Features(Layer):
    """A net whose output are the features of its layers side by side: `predict` streams it as any other."""

    net: Layer
    at: tuple[str, ...]
    limit: int

    def apply(
        self, params: Params, state: State, x: jax.Array, *, train: bool, key: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        return jnp.concatenate(self.parts(params, state, x), axis=-1), state

    def parts(self, params: Params, state: State, x: jax.Array) -> list[jax.Array]:
        found = activations(self.net, params, state, x, self.at)[1]
        return [_row(found[path], x.ndim, self.limit) for path in self.at]


def _row(output: jax.Array, ndim: int, limit: int) -> jax.Array:
    if output.ndim == ndim:
        height, width, channels = output.shape[-3:]
        grids = [(min(side, height), min(side, width)) for side in range(1, max(height, width) + 1)]
        fitting = [grid for grid in grids if math.prod(grid) * channels <= limit]
        output = F.adaptive_avg_pool(output, fitting[-1] if fitting else 1)
    return output.reshape(len(output), -1).astype(jnp.float32)
