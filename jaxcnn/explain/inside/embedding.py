"""A layer's view of images: a row of features for each."""

import numpy as np

from jaxcnn.explain.inside.activations import Images, averages
from jaxcnn.layers.layer import Layer, Params, State

__all__ = ["embedding"]


def embedding(
    net: Layer, params: Params, state: State, images: Images, at: str, *, batch_size: int = 256
) -> np.ndarray:
    """Return the activations of a layer for each image of a set, a map's averaged over its positions.

    `probes.layer_features` keeps coarse maps instead of one average.

    Args:
        net, params, state: the trained net.
        images: (N, H, W, C), uint8 or floating in [0, 1], a `Dataset` or a `Stream`.
        at: the path of a layer, at any depth.
        batch_size: images at once.

    Returns:
        (N, units), float32, on the host.

    Raises:
        ValueError: an unknown path, no image, images out of [0, 1], activations that are not finite.
    """
    return averages("embedding", net, params, state, images, at, batch_size)
