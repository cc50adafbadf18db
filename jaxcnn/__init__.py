"""Convolutional networks in JAX as values: pure layers, explicit state, training that replays from a seed.

from jaxcnn import data, models, training

train, test = data.load("digits")
net = models.create("lenet5", num_classes=10)
result = training.fit(net, train, validation=0.1, epochs=20, key=jax.random.key(0))
"""

from jaxcnn import (
    attack,
    augment,
    data,
    detection,
    explain,
    filters,
    functional,
    initialization,
    initializers,
    interop,
    layers,
    losses,
    matching,
    models,
    report,
    search,
    segmentation,
    surgery,
    training,
    transfer,
)
from jaxcnn.fingerprint import fingerprint
from jaxcnn.interop.safetensors import load, save
from jaxcnn.summary import summarize

__all__ = [
    "attack",
    "augment",
    "data",
    "detection",
    "explain",
    "filters",
    "fingerprint",
    "functional",
    "initialization",
    "initializers",
    "interop",
    "layers",
    "load",
    "losses",
    "matching",
    "models",
    "report",
    "save",
    "search",
    "segmentation",
    "summarize",
    "surgery",
    "training",
    "transfer",
]
