"""Weights in a byte each: the closed form, the bound on the error, and what stays as it is."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxcnn import functional as F
from jaxcnn.layers import BatchNorm, Conv, GlobalAvgPool, Sequential
from jaxcnn.surgery import Quantized, dequantize, quantize


def test_each_output_channel_has_a_scale_of_its_own():
    kernel = jnp.array([[1.27, 0.0, -50.0], [-0.5, 0.0, 127.0]])
    found = quantize({"head": {"kernel": kernel, "bias": jnp.array([0.1, 0.2, 0.3])}})["head"]
    np.testing.assert_array_equal(found["kernel"].values, [[127, 0, -50], [-50, 0, 127]])
    np.testing.assert_allclose(found["kernel"].scale, [0.01, 1, 1], rtol=1e-6)
    assert found["kernel"].values.dtype == jnp.int8
    np.testing.assert_array_equal(found["bias"], jnp.array([0.1, 0.2, 0.3]))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.floats(1e-3, 1e3))
def test_the_error_is_half_a_step_at_most(seed, size):
    kernel = size * np.random.default_rng(seed).standard_normal((3, 3, 2, 4)).astype(np.float32)
    there = quantize({"kernel": kernel})
    back = dequantize(there)["kernel"]
    assert (np.abs(back - kernel) <= 0.5001 * np.asarray(there["kernel"].scale)).all()
    np.testing.assert_array_equal(quantize({"kernel": back})["kernel"].values, there["kernel"].values)


@pytest.mark.slow
def test_a_net_keeps_its_structure_and_runs_on_bytes():
    net = Sequential(conv=Conv(16), norm=BatchNorm(), act=F.relu, deep=Conv(32, use_bias=False), pool=GlobalAvgPool())
    x = jax.random.uniform(jax.random.key(1), (2, 4, 4, 3))
    params, state = jax.jit(net.init)(jax.random.key(0), x)
    small = quantize(params)
    assert jax.tree.structure(dequantize(small)) == jax.tree.structure(params)
    size = lambda tree: sum(leaf.nbytes for leaf in jax.tree.leaves(tree))  # noqa: E731
    assert size(small) < 0.28 * size(params)
    y, other = jax.jit(lambda *both: [net.apply(p, state, x, train=False)[0] for p in both])(params, dequantize(small))
    assert np.abs(other - y).max() < 0.1 * np.abs(y).max()
    assert not np.array_equal(y, other)
    assert isinstance(small["deep"]["kernel"], Quantized)
    assert small["norm"]["scale"] is params["norm"]["scale"]


def test_bytes_are_no_kernels():
    layer = Conv(2)
    params, state = layer.init(jax.random.key(0), jnp.ones((1, 4, 4, 3)))
    message = r"^Conv: expected kernel as an array, got Quantized\. Pass .* what surgery\.dequantize makes"
    with pytest.raises(TypeError, match=message):
        layer.apply(quantize(params), state, jnp.ones((1, 4, 4, 3)), train=False)


def test_what_is_not_finite_is_refused():
    with pytest.raises(ValueError, match=r"^quantize: expected finite parameters, got NaN or infinity\."):
        quantize({"kernel": jnp.array([[1.0, jnp.nan]])})
    with pytest.raises(TypeError, match=r"^quantize: expected params as nested dicts of arrays, got 3\."):
        quantize(3)
