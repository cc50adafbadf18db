"""Noise that regularises: activations set to zero at random while training."""

from numbers import Real

import jax
import jax.numpy as jnp

from jaxcnn.checking import expect, floating

__all__ = ["dropout"]


def dropout(key: jax.Array, x: jax.Array, rate: float | jax.Array) -> jax.Array:
    """Return x with a random fraction `rate` of its entries zero and the rest divided by 1 - rate.

    y = m * x / (1 - rate), m ~ Bernoulli(1 - rate) independently for each entry, so that E[y] = x.

    Args:
        key: a PRNG key, consumed.
        x: any shape, floating.
        rate: the fraction set to zero, in [0, 1]; may be traced.

    Returns:
        The shape and dtype of x; all zeros at rate 1.

    Raises:
        ValueError: a rate outside [0, 1].
        TypeError: x is not floating, or key is no PRNG key.

    Source: Srivastava et al. 2014, in the inverted form of `flax.linen.Dropout` and PyTorch.
    """
    x = floating("dropout", "x", x)
    expect_key("dropout", key)
    if isinstance(rate, Real):
        expect(0 <= rate <= 1, "dropout", "a rate in [0, 1]", rate, "The rate is the fraction set to zero.")
    keep = 1 - jnp.asarray(rate, jnp.float32)
    kept = jax.random.bernoulli(key, keep, x.shape)
    # The second `where` keeps 0 * inf out of the gradient at rate 1.
    scale = 1 / jnp.where(keep > 0, keep, 1)
    return jnp.where(kept, x * scale.astype(x.dtype), jnp.zeros((), x.dtype))


def expect_key(where: str, key: jax.Array) -> None:
    """Raise `TypeError` unless `key` is a typed or a raw PRNG key."""
    dtype = getattr(key, "dtype", None)
    typed = dtype is not None and jnp.issubdtype(dtype, jax.dtypes.prng_key) and key.shape == ()
    raw = dtype == jnp.uint32 and len(key.shape) == 1
    expect(
        typed or raw,
        where,
        "one PRNG key",
        repr(key),
        "Pass jax.random.key(0), or one key of a split.",
        TypeError,
    )
