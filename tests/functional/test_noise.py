"""Dropout against its definition and Flax."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcnn import functional as F

pytestmark = pytest.mark.usefixtures("quick_compilation")
key = jax.random.key(0)
ones = jnp.ones((100, 100))


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_fraction_mean_and_scale(rate):
    y = np.asarray(F.dropout(key, ones, rate))
    # Five standard deviations of a Bernoulli mean of 10,000 draws.
    allowed = 5 * np.sqrt(rate * (1 - rate) / ones.size)
    assert abs(np.mean(y == 0) - rate) < allowed
    assert abs(y.mean() - 1) < allowed / (1 - rate)
    np.testing.assert_allclose(y[y != 0], 1 / (1 - rate), rtol=1e-6)


def test_entries_are_independent():
    dropped = np.asarray(F.dropout(key, jnp.ones((1000, 5, 2)), 0.5) == 0).reshape(1000, 10).astype(float)
    correlation = np.corrcoef(dropped.T) - np.eye(10)
    assert np.abs(correlation).max() < 5 / np.sqrt(1000)


def test_rate_zero_is_the_identity_and_rate_one_is_zero():
    x = jnp.linspace(-2, 3, 20).reshape(4, 5)
    np.testing.assert_array_equal(F.dropout(key, x, 0), x)
    np.testing.assert_array_equal(F.dropout(key, x, 0.0), x)
    np.testing.assert_array_equal(F.dropout(key, x, 1), np.zeros((4, 5)))
    np.testing.assert_array_equal(F.dropout(key, x.at[0, 0].set(jnp.inf), 1.0), np.zeros((4, 5)))


def test_a_traced_rate_gives_the_same():
    x = jnp.linspace(-2, 3, 20).reshape(4, 5)
    traced = jax.jit(F.dropout)
    for rate in (0.0, 0.3, 1.0):
        np.testing.assert_allclose(traced(key, x, rate), F.dropout(key, x, rate), rtol=1e-6)
    assert traced._cache_size() == 1


@pytest.mark.parametrize("rate", [0.0, 0.4, 1.0])
def test_gradient_is_the_mask_and_never_nan(rate):
    x = jnp.array([1.0, -2.0, 3e38, jnp.inf, 0.0, 5.0])
    y, pullback = jax.vjp(lambda x, rate: F.dropout(key, x, rate), x, rate)
    to_x, to_rate = pullback(jnp.ones(6))
    kept = F.dropout(key, jnp.ones(6), rate)
    np.testing.assert_allclose(to_x, kept, rtol=1e-6)
    finite = jax.grad(lambda rate: F.dropout(key, x[:2], rate).sum())(rate)
    assert np.isfinite(finite)
    assert not np.isnan(y).any()
    assert to_rate.shape == ()


def test_the_key_decides():
    first, again, other = (F.dropout(jax.random.key(seed), ones, 0.5) for seed in (1, 1, 2))
    assert (first == again).all()
    assert 0.4 < (first != other).mean() < 0.6
    raw = F.dropout(jax.random.PRNGKey(1), ones, 0.5)
    assert (raw == first).all()


def test_agrees_with_flax_bit_for_bit():
    x = jnp.linspace(-2, 3, 20).reshape(4, 5)
    flax = nn.Dropout(0.3, deterministic=False).apply({}, x, rng=key)
    np.testing.assert_allclose(F.dropout(key, x, 0.3), flax, rtol=1e-6)


def test_one_key_for_each_image_under_vmap():
    x, keys = jnp.ones((3, 50)), jax.random.split(key, 3)
    mapped = jax.vmap(F.dropout, (0, 0, None))(keys, x, 0.5)
    for lane in range(3):
        np.testing.assert_array_equal(mapped[lane], F.dropout(keys[lane], x[lane], 0.5))


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float32])
def test_keeps_shape_and_dtype(dtype):
    y = jax.eval_shape(F.dropout, key, jax.ShapeDtypeStruct((2, 3), dtype), 0.5)
    assert (y.shape, y.dtype) == ((2, 3), dtype)


@pytest.mark.parametrize("rate", [-0.1, 1.5, 2, float("nan"), np.float32(1.5)])
def test_bad_rates(rate):
    with pytest.raises(ValueError, match=r"^dropout: expected a rate in \[0, 1\], got .*\. The rate is the fraction"):
        F.dropout(key, ones, rate)


@pytest.mark.parametrize("not_a_key", [None, 0, 0.5, np.zeros(2), jax.random.split(key)], ids=repr)
def test_what_is_no_key(not_a_key):
    with pytest.raises(
        TypeError, match=r"(?s)^dropout: expected one PRNG key, got .*\. Pass jax\.random\.key\(0\), or"
    ):
        F.dropout(not_a_key, ones, 0.5)


def test_integer_images():
    with pytest.raises(TypeError, match=r"^dropout: expected x of a floating dtype, got uint8\. .*to_float"):
        F.dropout(key, np.zeros((2, 3), np.uint8), 0.5)
