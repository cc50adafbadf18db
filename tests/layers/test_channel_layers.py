"""Layers that take some channels, shuffle all or scale each."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn import functional as F
from jaxcnn.initializers import Constant
from jaxcnn.layers import ChannelChunk, ChannelShuffle, Concat, Conv, LayerScale, Sequential

pytestmark = pytest.mark.usefixtures("quick_compilation")
X = jnp.asarray(np.random.default_rng(0).normal(size=(2, 4, 3, 6)), jnp.float32)


def test_a_shuffle_is_the_function():
    np.testing.assert_array_equal(ChannelShuffle(3).apply({}, {}, X, train=False)[0], F.channel_shuffle(X, groups=3))
    assert ChannelShuffle() == ChannelShuffle(2)


@pytest.mark.parametrize("chunks", [1, 2, 3, 6])
def test_the_chunks_are_the_whole(chunks):
    net = Concat(**{f"part{i}": ChannelChunk(i, chunks) for i in range(chunks)})
    np.testing.assert_array_equal(net.apply({}, {}, X, train=False)[0], X)


def test_a_branch_of_half_the_channels():
    net = Concat(left=ChannelChunk(0), right=Sequential(part=ChannelChunk(1), conv=Conv(5)))
    params, state = net.init(jax.random.key(0), X)
    assert params["right"]["conv"]["kernel"].shape == (3, 3, 3, 5)
    y, _ = net.apply(params, state, X, train=False)
    np.testing.assert_array_equal(y[..., :3], X[..., :3])
    assert y.shape == (2, 4, 3, 8)


def test_chunks_agree_with_torch():
    torch = pytest.importorskip("torch")
    theirs = torch.tensor(np.array(X)).chunk(3, dim=-1)
    for index in range(3):
        np.testing.assert_array_equal(ChannelChunk(index, 3).apply({}, {}, X, train=False)[0], theirs[index])


def test_scale():
    params, state = LayerScale().init(jax.random.key(0), X)
    assert params.keys() == {"scale"} and state == {}
    np.testing.assert_array_equal(params["scale"], np.full(6, 1e-6, np.float32))
    factors = jnp.arange(6.0)
    y, _ = LayerScale().apply({"scale": factors}, {}, X, train=True)
    np.testing.assert_array_equal(y, X * factors[None, None, None])
    params, _ = LayerScale(scale_init=Constant(0.1)).init(jax.random.key(0), X)
    np.testing.assert_array_equal(params["scale"], np.full(6, 0.1, np.float32))


def test_gradients_of_the_scale_are_summed_in_float32():
    x = jnp.ones((64, 16, 16, 4), jnp.bfloat16)
    gradient = jax.jit(jax.grad(lambda p: LayerScale().apply(p, {}, x, train=True)[0].astype(jnp.float32).sum()))
    np.testing.assert_array_equal(gradient({"scale": jnp.ones(4)})["scale"], np.full(4, 64 * 16 * 16, np.float32))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: ChannelShuffle(0), ValueError, r"^ChannelShuffle: expected groups as a positive int, got 0\."),
        (lambda: ChannelChunk(0, 0), ValueError, r"^ChannelChunk: expected chunks as a positive int, got 0\."),
        (lambda: ChannelChunk(-1), ValueError, r"^ChannelChunk: expected index as an int >= 0, got -1\."),
        (lambda: ChannelChunk(2), ValueError, r"^ChannelChunk: expected index below the 2 chunks, got 2\. The first"),
        (lambda: LayerScale(scale_init=0.1), TypeError, r"^LayerScale: expected scale_init as a function"),
    ],
)
def test_bad_options(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize(
    ("layer", "x", "message"),
    [
        (ChannelChunk(0, 4), X, r"^ChannelChunk: expected channels that 4 chunks divide, got 6\. Change chunks"),
        (ChannelChunk(0), jnp.zeros(()), r"^ChannelChunk: expected an input of shape \(\.\.\., C\), got \(\)\."),
        (ChannelShuffle(4), X, r"^channel_shuffle: expected channels that 4 groups divide, got 6\."),
    ],
)
def test_bad_inputs(layer, x, message):
    with pytest.raises(ValueError, match=message):
        layer.apply({}, {}, x, train=False)


def test_the_scale_of_another_net():
    with pytest.raises(ValueError, match=r"^LayerScale: expected scale of 6 features, got shape \(5,\)\. Pass"):
        LayerScale().apply({"scale": jnp.ones(5)}, {}, X, train=False)
