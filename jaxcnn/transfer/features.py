"""What a frozen front of a net gives, computed once."""

from dataclasses import replace
from typing import Any

import numpy as np

from jaxcnn.checking import expect, shown
from jaxcnn.data.dataset import Dataset, sealed
from jaxcnn.data.stream import Stream
from jaxcnn.layers.composition import Sequential
from jaxcnn.surgery import cut
from jaxcnn.training.evaluation import predict

__all__ = ["features"]


def features(
    net: Sequential, params: Any, state: Any, dataset: Dataset | Stream, *, at: str, batch_size: int = 256
) -> tuple[Dataset, Sequential]:
    """Return a data set of what a layer gives for each image, and the rest of the net, which takes it.

    Where the front of a net is frozen and nothing is augmented, its outputs are the same in every epoch: compute them
    once, and train the rest on them.

    Args:
        net: a Sequential.
        params, state: its weights.
        dataset: images.
        at: the name of one of the net's own layers.
        batch_size: images at once.

    Returns:
        The data set, whose "image" is the layer's output, (N, ...) float32, an image or not, with labels and all else
        as they were; and the layers after it, which take the params and the state of the whole net.

    Raises:
        ValueError: no such layer.
        TypeError: dataset is no set of images, net no Sequential.
    """
    ok, fix = isinstance(dataset, Dataset | Stream), "Make one with data.from_arrays(image, label)."
    expect(ok, "features", "a data.Dataset or a data.Stream", shown(dataset), fix, TypeError)
    front, back = cut(net, at)
    found = predict(front, params, state, dataset, batch_size=batch_size)
    others = {name: dataset[name] for name in dataset if name != "image"}
    info = replace(dataset.info, name=f"{dataset.info.name} at {at}", mean=(), std=())
    return sealed({"image": np.asarray(found), **others}, info), back
