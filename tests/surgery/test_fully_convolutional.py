"""Classifiers of windows slid over images: equal to the classifier on every crop."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn import functional as F
from jaxcnn import models
from jaxcnn.layers import (
    AvgPool,
    BatchNorm,
    Conv,
    Dense,
    Dropout,
    Flatten,
    GlobalAvgPool,
    GlobalMaxPool,
    GroupNorm,
    MaxPool,
    Normalize,
    Residual,
    Sequential,
)
from jaxcnn.surgery import fully_convolutional, paths

pytestmark = pytest.mark.usefixtures("quick_compilation")
KEY = jax.random.key(3)


def spec(*shape):
    return jax.ShapeDtypeStruct(shape, jnp.float32)


def trained(net, at):
    """Return weights and statistics that are not the initial ones."""
    random = np.random.default_rng(5)
    draw = lambda leaf: random.uniform(0.2, 1, leaf.shape).astype(np.float32)  # noqa: E731
    params, state = jax.eval_shape(lambda: net.init(KEY, at))
    signed = jax.tree.map(lambda leaf: random.normal(0, 0.3, leaf.shape).astype(np.float32), params)
    return signed, jax.tree.map(draw, state)


def same_on_every_crop(net, window, image, stride, tolerance=1e-5):
    """Return the net of whole images, having seen that it is the classifier on all windows."""
    params, state = trained(net, spec(1, *window))
    whole, *weights = fully_convolutional(net, params, state, spec(1, *window))
    x = np.random.default_rng(6).uniform(0, 1, (2, *image)).astype(np.float32)
    places = [range(0, image[axis] - window[axis] + 1, stride[axis]) for axis in (0, 1)]
    crops = np.stack([x[:, i : i + window[0], j : j + window[1]] for i in places[0] for j in places[1]], 1)
    expected = jax.jit(lambda x: net.apply(params, state, x, train=False)[0])(crops.reshape(-1, *window))
    found = jax.jit(lambda x: whole.apply(*weights, x, train=False)[0])(x)
    assert found.shape == (2, *map(len, places), expected.shape[-1])
    expected = np.asarray(expected).reshape(found.shape)
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance * np.abs(expected).max())
    assert expected.std() > 1e-3
    fresh = jax.eval_shape(lambda: whole.init(KEY, spec(1, *image)))
    shapes = jax.tree.map(lambda leaf: leaf.shape, fresh)
    assert shapes == jax.tree.map(lambda leaf: np.shape(leaf), tuple(weights))
    return whole


def test_lenet5_on_every_crop():
    net = models.lenet5(classic=True)
    whole = same_on_every_crop(net, (32, 32, 1), (45, 40, 1), (4, 4))
    assert paths(whole) == [path for path in paths(net) if path != "flatten"]
    assert whole["dense1"] == Conv(84, 1, padding="VALID", kernel_init=net["dense1"].kernel_init)
    assert whole["head"] == net["head"]


def test_a_dense_layer_of_maps_by_hand():
    """One window of 2x2 pixels, weights 1, 2, 3, 4: the sum of products at every place."""
    net = Sequential(flatten=Flatten(), head=Dense(1))
    params = {"head": {"kernel": np.array([[1.0], [2], [3], [4]], np.float32), "bias": np.array([10.0], np.float32)}}
    whole, weights, state = fully_convolutional(net, params, {}, spec(1, 2, 2, 1))
    assert whole["head"].kernel_size == (2, 2)
    image = jnp.array([[1.0, 0, 0], [0, 0, 1]])[..., None]
    found = whole.apply(weights, state, image, train=False)[0]
    assert found[..., 0].tolist() == [[11, 14]]


def test_nested_nets_with_norms_pools_and_strides():
    features = Sequential(conv=Conv(4, (3, 2), stride=2, padding=0), norm=BatchNorm(), act=F.relu, pool=AvgPool((2, 1)))
    net = Sequential(
        normalize=Normalize(0.5, 0.2),
        features=features,
        mix=Dense(5),
        flatten=Flatten(),
        act=F.tanh,
        drop=Dropout(0.5),
        dense=Dense(6, use_bias=False),
        norm=BatchNorm(),
        head=Dense(3),
    )
    whole = same_on_every_crop(net, (9, 6, 3), (19, 11, 3), (4, 2))
    assert whole["features"] == features
    assert whole["dense"] == Conv(6, (2, 3), padding="VALID", use_bias=False)


@pytest.mark.parametrize("pool", [GlobalAvgPool(), GlobalMaxPool()], ids=["mean", "max"])
def test_global_pooling_becomes_pooling(pool):
    net = Sequential(conv=Conv(4, 3, padding="VALID"), act=F.relu, pool=pool, norm=BatchNorm(), head=Dense(3))
    whole = same_on_every_crop(net, (6, 5, 2), (9, 8, 2), (1, 1))
    assert whole["pool"].window == (4, 3)


REFUSED = {
    "padding": (Sequential(conv=Conv(4), flat=Flatten(), head=Dense(2)), "layers without padding, got some at 'conv'"),
    "padding of a pool": (
        Sequential(a=Sequential(pool=MaxPool(3, padding=1)), flat=Flatten(), head=Dense(2)),
        "layers without padding, got some at 'a/pool'",
    ),
    "ragged edges": (
        Sequential(pool=MaxPool(3, ceil_mode=True), flat=Flatten(), head=Dense(2)),
        "layers without padding, got some at 'pool'",
    ),
    "space": (
        Sequential(norm=GroupNorm(1), flat=Flatten(), head=Dense(2)),
        "layers that windows can share, got GroupNorm.* at 'norm'",
    ),
    "norm of a vector": (
        Sequential(flat=Flatten(), norm=BatchNorm(), head=Dense(2)),
        "layers that windows can share, got BatchNorm.* at 'norm'",
    ),
    "branches": (
        Sequential(block=Residual(Dense(3)), flat=Flatten(), head=Dense(2)),
        "layers that windows can share, got Residual.* at 'block'",
    ),
    "functions": (
        Sequential(flat=F.flatten, head=Dense(2)),
        "layers that windows can share, got .*flatten.* at 'flat'",
    ),
    "a function of the whole map": (
        Sequential(norm=F.instance_norm, flat=Flatten(), head=Dense(2)),
        "layers that windows can share, got .*instance_norm.* at 'norm'",
    ),
    "a function of the whole vector": (
        Sequential(flat=Flatten(), norm=F.layer_norm, head=Dense(2)),
        "layers that windows can share, got .*layer_norm.* at 'norm'",
    ),
    "no dense layer": (Sequential(flat=Flatten()), "a dense layer after Flatten, got none"),
    "nothing to do": (Sequential(conv=Conv(4, padding="VALID")), "a net with Flatten or a global pooling"),
}


@pytest.mark.parametrize(("net", "message"), REFUSED.values(), ids=REFUSED)
def test_nets_that_no_map_equals(net, message):
    at = spec(1, 7, 7, 3)
    params, state = trained(net, at)
    with pytest.raises(ValueError, match=f"^fully_convolutional: expected {message}"):
        fully_convolutional(net, params, state, at)
