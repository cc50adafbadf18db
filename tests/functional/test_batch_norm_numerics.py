"""Batch normalization against float64: channels whose mean and deviation lie anywhere up to 1e4."""

import functools

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxcnn import functional as F

# Without quick_compilation: how XLA adds up is what is measured.
EPS = 1e-5
SCALE, BIAS = np.array([0.5, -2.0, 3.0]), np.array([1.0, 0.0, -0.1])
STATS = F.BatchStats(jnp.zeros(3), jnp.ones(3))
CHANNEL = st.tuples(
    st.floats(-1e4, 1e4).map(lambda mean: round(mean, 3)),
    st.one_of(st.just(0.0), st.floats(-3, 4).map(lambda digits: 10.0**digits)),
)
CASES = [  # shape, groups, masked, in one pass
    ((24, 3), 1, False, False),
    ((8, 4, 5, 3), 1, False, False),
    ((8, 4, 5, 3), 4, False, False),
    ((8, 4, 5, 3), 1, True, False),
    ((24, 3), 1, False, True),
    ((8, 4, 5, 3), 1, False, True),
    ((8, 4, 5, 3), 4, False, True),
]
every = pytest.mark.parametrize(("shape", "groups", "masked", "fast"), CASES)


@functools.partial(jax.jit, static_argnames=("groups", "fast_variance"))
def ours(x, cotangent, mask, **options):
    """Return value, mean, variance and the gradients of x, scale and bias, of float32 parameters."""

    def value(x, scale, bias):
        return F.batch_norm(x, scale, bias, STATS, train=True, decay=0.0, eps=EPS, mask=mask, **options)

    y, pullback, stats = jax.vjp(value, x, jnp.float32(SCALE), jnp.float32(BIAS), has_aux=True)
    return y, *stats, *pullback(cotangent.astype(y.dtype))


def exact(x, cotangent, mask, groups=1):
    """Return the same by the definition in float64, but the mean and variance of each group: (groups, C)."""
    x, cotangent = np.float64(x), np.float64(cotangent)
    parts = [np.flatnonzero(mask)] if mask is not None else np.split(np.arange(len(x)), groups)
    y, dx = np.zeros_like(x), np.zeros_like(x)
    moments, dscale = [], 0.0
    axes = tuple(range(x.ndim - 1))
    for part in parts:
        mean, var = x[part].mean(axes), x[part].var(axes)
        sd = np.sqrt(var + EPS)
        z, dz = (x[part] - mean) / sd, cotangent[part] * SCALE
        y[part] = z * SCALE + BIAS
        dx[part] = (dz - dz.mean(axes) - z * (dz * z).mean(axes)) / sd
        dscale = dscale + (cotangent[part] * z).sum(axes)
        moments.append((mean, var))
    mean, var = (np.stack(values) for values in zip(*moments, strict=True))
    return y, mean, var, dx, dscale, cotangent.sum(axes)


def within(found, wanted, *, relative, absolute):
    """Assert that in each channel the largest difference is at most that, relative to the largest value."""
    found, wanted = (np.float64(np.asarray(a, np.float32)).reshape(-1, 3) for a in (found, wanted))
    assert np.isfinite(found).all()
    bound = relative * np.abs(wanted).max(0) + absolute
    difference = np.abs(found - wanted).max(0)
    assert (difference <= bound).all(), (difference, bound)


def drawn(channels, seed, shape, masked, dtype=jnp.float32):
    """Return the activations, a cotangent, and a mask or None; what it hides is far off, or no number."""
    random = np.random.default_rng(seed)
    means, deviations = np.array(channels).T
    x = random.normal(means, deviations, shape)
    cotangent, mask = np.array(jnp.asarray(random.normal(size=shape), dtype), np.float32), None
    if masked:
        mask = random.random(shape[0]) < 0.6
        mask[random.integers(shape[0])] = True
        cotangent[~mask] = 0
        x[~mask] = 1e6
    return jnp.asarray(x, dtype), cotangent, mask


examples = given(st.tuples(CHANNEL, CHANNEL, CHANNEL), st.integers(0, 99))


def check(channels, seed, shape, groups, masked, fast, dtype, relative):
    x, cotangent, mask = drawn(channels, seed, shape, masked, dtype)
    counts = slice(None) if mask is None else mask
    y, mean, var, dx, dscale, dbias = ours(x, cotangent, mask, groups=groups, fast_variance=fast)
    wide = np.asarray(x, np.float32)
    want_y, want_mean, want_var, want_dx, want_dscale, want_dbias = exact(wide, cotangent, mask, groups)
    assert y.dtype == dx.dtype == dtype and mean.dtype == var.dtype == jnp.float32
    assert (var >= 0).all()
    sd = np.sqrt(want_var.min(0) + EPS)
    rounding = 2.0**-24 * np.abs(wide[counts]).reshape(-1, 3).max(0)
    within(mean, want_mean.mean(0), relative=0, absolute=4 * rounding)
    within(var, want_var.mean(0), relative=1e-3, absolute=1e-3 * rounding**2)
    # In one pass x - a may be formed twice, with a rounded twice; likewise of bfloat16 before jax 0.12.
    twice = fast or dtype == jnp.bfloat16
    off = 1e-4 + 2 * twice * rounding / sd
    within(y[counts], want_y[counts], relative=relative, absolute=off * np.abs(SCALE))
    # z is at most sqrt(n), and in the gradients it is multiplied by cotangents.
    largest = np.abs(cotangent).max() * np.sqrt(x.size / 3)
    within(dx[counts], want_dx[counts], relative=relative, absolute=off * np.abs(SCALE) / sd * largest)
    within(dscale, want_dscale, relative=1e-3, absolute=off * largest)
    within(dbias, want_dbias, relative=1e-3, absolute=1e-4 * largest)


@every
@hypothesis.settings(max_examples=40)
@examples
def test_float32(shape, groups, masked, fast, channels, seed):
    check(channels, seed, shape, groups, masked, fast, jnp.float32, 1e-3)


@every
@hypothesis.settings(max_examples=15)
@examples
def test_bfloat16_with_statistics_in_float32(shape, groups, masked, fast, channels, seed):
    check(channels, seed, shape, groups, masked, fast, jnp.bfloat16, 2**-8)


@pytest.mark.parametrize("fast", [False, True], ids=["two passes", "one pass"])
def test_sums_over_many_pixels(fast):
    """A sum of 65,536 numbers near 1e4, added one to another, would have lost the digits that tell them apart."""
    x, cotangent, _ = drawn([(1e4 / 3, 3), (9871.3, 10), (-1e4, 1e4)], 0, (64, 32, 32, 3), masked=False)
    y, mean, var, dx, *_ = ours(x, cotangent, None, fast_variance=fast)
    want_y, want_mean, want_var, want_dx, *_ = exact(x, cotangent, None)
    within(mean, want_mean, relative=1e-6, absolute=0)
    within(var, want_var, relative=1e-5, absolute=0)
    within(y, want_y, relative=1e-4, absolute=0)
    within(dx, want_dx, relative=1e-3, absolute=0)


@pytest.mark.parametrize("fast", [False, True], ids=["two passes", "one pass"])
def test_constant_channels_become_the_bias(fast):
    """The mean of equal numbers is some roundings off, which 1 / sqrt(eps) would make a deviation and more."""
    random = np.random.default_rng(0)
    for _ in range(20):
        x = np.broadcast_to(random.uniform(-1e4, 1e4, 3).astype(np.float32), (8, 4, 5, 3))
        y, _, var, dx, *_ = ours(x, random.normal(size=x.shape).astype(np.float32), None, fast_variance=fast)
        np.testing.assert_allclose(y, np.broadcast_to(BIAS, x.shape), atol=1e-2 if fast else 1e-4)
        assert ((var >= 0) & (var < 1e-9)).all()
        assert np.isfinite(dx).all()
