"""Nets without convolutions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn import functional as F
from jaxcnn import models, summarize
from jaxcnn.layers import BatchNorm, Dropout, from_json, to_json
from tests.models.measures import deviations

pytestmark = pytest.mark.usefixtures("quick_compilation")
DIGITS = jax.ShapeDtypeStruct((1, 28, 28, 1), jnp.float32)


@pytest.mark.parametrize(
    ("name", "options", "kernels", "others"),  # by hand
    [
        ("perceptron", {}, 784 * 10, 10),
        ("mlp", {"units": (800,)}, 784 * 800 + 800 * 10, 800 + 10),  # Simard et al. 2003
        ("mlp", {"units": [300, 100]}, 784 * 300 + 300 * 100 + 100 * 10, 300 + 100 + 10),  # LeCun et al. 1998
        ("mlp", {"units": ()}, 784 * 10, 10),
        ("mlp", {"units": (30,), "batch_norm": True}, 784 * 30 + 30 * 10, 2 * 30 + 10),
    ],
)
def test_costs(name, options, kernels, others):
    found = summarize(models.create(name, **options), DIGITS)
    assert (found.parameters, found.multiply_adds) == (kernels + others, kernels)


def test_one_layer_is_a_matrix():
    net = models.perceptron(3)
    params, state = net.init(jax.random.key(0), jax.ShapeDtypeStruct((1, 2, 2, 1), jnp.float32))
    x = np.arange(-4, 4, dtype=np.float32).reshape(2, 2, 2, 1)
    y, _ = net.apply(params, state, x, train=False)
    np.testing.assert_allclose(y, x.reshape(2, 4) @ params["head"]["kernel"], rtol=1e-6)


def test_parts():
    net = models.create("mlp", 3, units=(8, 4), activation=F.tanh, batch_norm=True, dropout=0.2)
    assert list(net.layers) == ["flatten", "hidden1", "hidden2", "head"]
    assert list(net["hidden1"].layers) == ["dense", "norm", "act", "dropout"]
    assert net["hidden2"]["norm"] == BatchNorm()
    assert net["hidden2"]["act"] is F.tanh
    assert net["hidden2"]["dropout"] == Dropout(0.2)
    assert from_json(to_json(net)) == net
    assert list(models.mlp()["hidden1"].layers) == ["dense", "act", "dropout"]


@pytest.mark.parametrize("activation", [F.relu, F.tanh, F.sigmoid])
def test_the_signal_keeps_its_scale_whatever_the_activation(activation):
    found = deviations(models.create("mlp", units=(64,) * 6, activation=activation), size=8, batch=64)
    assert {path: sd for path, sd in found.items() if not 0.15 < sd < 2} == {}


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"num_classes": 0}, ValueError, r"^mlp: expected num_classes as a positive int, got 0\."),
        ({"units": 512}, ValueError, r"^mlp: expected units as a number for each hidden layer, got 512\. Pass"),
        ({"units": "55"}, ValueError, r"^mlp: expected units as a number for each hidden layer, got '55'\. Pass"),
        ({"units": (8, 0)}, ValueError, r"^mlp: expected units as a positive int, got 0\."),
        ({"dropout": 2}, ValueError, r"^Dropout: expected a rate in \[0, 1\], got 2\."),
        ({"batch_norm": 1}, TypeError, r"^mlp: expected batch_norm as a Python bool, got 1\."),
        ({"activation": "relu"}, TypeError, r"^gain: expected a function, got 'relu'\."),
        ({"activation": jnp.sum}, ValueError, r"^gain: expected an elementwise function, got values of shape \(\)"),
    ],
)
def test_bad_options(options, error, message):
    with pytest.raises(error, match=message):
        models.create("mlp", **options)


def test_a_bad_count():
    with pytest.raises(ValueError, match=r"^perceptron: expected num_classes as a positive int, got -1\."):
        models.create("perceptron", -1)
