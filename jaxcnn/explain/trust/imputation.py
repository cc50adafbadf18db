"""Removed pixels filled in from their neighbours, so that what is missing does not show."""

import jax
import jax.numpy as jnp

from jaxcnn.checking import array, expect, expect_key, floating, number

__all__ = ["imputed", "noisy_linear_imputation"]

TOLERANCE = 1e-6  # of the residual, as a fraction of the right side


def noisy_linear_imputation(key: jax.Array, x: jax.Array, removed: jax.Array, *, noise: float = 0.01) -> jax.Array:
    """Return the images with each removed pixel the weighted mean of its eight neighbours, and a little noise.

        u_i = sum_j w_ij u_j / sum_j w_ij + noise epsilon_i,   w = 1/6 beside and above, 1/12 across, 0 outside

    All removed pixels are solved for at once (by conjugate gradients: the system is symmetric and positive definite);
    the noise is added afterwards. An image without any pixel left becomes noise around 0.

    Args:
        key: a PRNG key.
        x: images (..., H, W, C), floating.
        removed: bool (..., H, W).
        noise: its standard deviation, >= 0.

    Returns:
        Images of x's shape; pixels that were not removed are as they were.

    Raises:
        ValueError: `removed` of another shape, noise below 0.
        TypeError: x that is not floating, `removed` that is not bool, no key.

    Source: Rong, Leemann, Borisov, Kasneci, Kasneci 2022, section 4.3; agrees with the imputer of `pytorch_grad_cam`.
    """
    where = "noisy_linear_imputation"
    expect_key(where, key)
    x, removed = floating(where, "x", x), array(where, "removed", removed)
    fix = "Pass removed = rank < 10, say."
    expect(removed.dtype == jnp.bool, where, "removed of dtype bool", removed.dtype, fix, TypeError)
    expect(removed.shape == x.shape[:-1], where, f"removed of shape {x.shape[:-1]}", removed.shape, fix)
    noise = number(where, "noise of at least 0", noise, lambda s: s >= 0, "It is a standard deviation.")
    return imputed(key, x, removed, noise)


@jax.jit
def imputed(key: jax.Array, x: jax.Array, removed: jax.Array, noise: float) -> jax.Array:
    """Return what `noisy_linear_imputation` does, of arguments that were looked at."""
    flat = jax.vmap(_solved)(x.reshape(-1, *x.shape[-3:]), removed.reshape(-1, *removed.shape[-2:]))
    filled = flat.reshape(x.shape) + noise * jax.random.normal(key, x.shape, x.dtype)
    return jnp.where(removed[..., None], filled.astype(x.dtype), x)


def _solved(x: jax.Array, removed: jax.Array) -> jax.Array:
    """Return the solution for one image (H, W, C) at the removed pixels, 0 elsewhere, in float32 or wider."""
    x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    removed = removed[..., None].astype(x.dtype)
    total = _around(jnp.ones_like(x))
    system = lambda u: removed * (total * u - _around(u))  # noqa: E731
    steps = 8 * (x.shape[0] + x.shape[1])  # what is known travels a pixel a step
    known = removed * _around((1 - removed) * x)
    return jax.scipy.sparse.linalg.cg(system, known, tol=TOLERANCE, maxiter=steps)[0]


def _around(u: jax.Array) -> jax.Array:
    """Return the weighted sum of the eight neighbours; what lies outside of the image counts 0.

    The weights are those of (1/2, 1, 1/2) along both axes, over 3, without the middle.
    """

    def along(u: jax.Array, axis: int) -> jax.Array:
        ends = [(1, 1) if a == axis else (0, 0) for a in range(u.ndim)]
        wide, size = jnp.pad(u, ends), u.shape[axis]
        before, after = (jax.lax.slice_in_dim(wide, at, at + size, axis=axis) for at in (0, 2))
        return u + 0.5 * (before + after)

    return (along(along(u, 0), 1) - u) / 3
