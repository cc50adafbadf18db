"""First kernels made for images: from a bank of filters, or from the images themselves."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jaxcnn.checking import expect
from jaxcnn.filters import Bank
from jaxcnn.functional.window import Size, images, pair
from jaxcnn.initializers.kernel import Initializer, call, kernel_shape
from jaxcnn.initializers.variance import lecun_normal

__all__ = ["FilterBank", "patch_whitening"]


@dataclass(frozen=True, repr=False)
class FilterBank:
    """The filters of a bank in the first outputs, each the same in every input channel; the others from `rest`.

    `Conv(64, 7, kernel_init=FilterBank(Gabor(7, 8)))` starts with bars and edges of eight orientations. Every filter is
    scaled to norm 1 over all its inputs, so that white noise keeps its variance, as under `lecun_normal`.

    Args:
        bank: one of `jaxcnn.filters`.
        rest: an initializer for the outputs left over.

    Raises:
        ValueError: a kernel of another size than the bank's, or with fewer outputs than it has filters.
    """

    bank: Bank
    rest: Initializer = lecun_normal

    def __post_init__(self) -> None:
        """Check the parts."""
        ok = callable(self.bank) and not isinstance(self.bank, type)
        got = getattr(self.bank, "__name__", type(self.bank).__name__)
        fix = "Pass an instance such as filters.Gabor(7)."
        expect(ok, "FilterBank", "a bank of jaxcnn.filters", got, fix, TypeError)
        fix = "Pass one of jaxcnn.initializers."
        expect(callable(self.rest), "FilterBank", "rest as an initializer", repr(self.rest), fix, TypeError)

    def __repr__(self) -> str:
        return call(self)

    def __call__(self, key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.Array:
        """Return the kernel; shape is (kh, kw, C_in, C_out)."""
        filters = self.bank()
        *taps, ins, outs = kernel_shape("FilterBank", shape)
        kh, kw, count = filters.shape
        fix = "Give the layer the bank's size and at least as many features."
        fits = tuple(taps) == (kh, kw) and outs >= count
        expect(fits, "FilterBank", f"a kernel of shape ({kh}, {kw}, C_in, at least {count})", shape, fix)
        norms = jnp.sqrt(ins * jnp.sum(filters**2, axis=(0, 1)))
        fixed = jnp.broadcast_to((filters / norms)[:, :, None], (kh, kw, ins, count)).astype(dtype)
        return self.rest(key, shape, dtype).at[..., :count].set(fixed)


def patch_whitening(x: jax.Array, kernel_size: Size = 2, *, eps: float = 5e-4) -> jax.Array:
    """Return a first kernel whose responses to these images are uncorrelated, and its negation.

    With V diag(d) V^T the covariance of the kh x kw patches of x, output i < n is v_i / sqrt(d_i + eps), and output
    n + i the negation of output i, so that a ReLU keeps both signs: the first n responses have covariance
    diag(d / (d + eps)), nearly the identity. `params["conv1"]["kernel"] = patch_whitening(...)` puts it into a net
    whose first layer is `Conv(2 * n, kernel_size, padding="VALID")`.

    The largest variance comes first. Of both signs of an eigenvector that one is taken whose first entry (row by row,
    channels fastest) of at least half the largest magnitude is positive.

    Args:
        x: images (..., H, W, C), floating, as the layer will see them (normalised): some thousands for a stable
            result. Memory: kh * kw times that of x.
        kernel_size: pixels, one int or (vertical, horizontal).
        eps: added to the variances, > 0, so that directions without any are not blown up.

    Returns:
        (kh, kw, C, 2 n), n = kh * kw * C, of x's dtype but at least float32.

    Raises:
        ValueError: wrong rank, images smaller than the patch or none at all, eps that is not positive.
        TypeError: x is not floating.

    Source: the whitening layer of Jordan's airbench (2024), after Page 2019 (How to train your ResNet 8); there the
    patches' mean, near zero in normalised images, is not subtracted, and the smallest variance comes first.
    """
    x = images("patch_whitening", x)
    kh, kw = pair("patch_whitening", "kernel_size", kernel_size)
    height, width, channels = x.shape[-3:]
    fix = "Use a smaller kernel or larger images."
    expect(height >= kh and width >= kw, "patch_whitening", f"images of at least {kh}x{kw} pixels", x.shape, fix)
    expect(x.size > 0, "patch_whitening", "at least one image", x.shape, "Pass some of the training images.")
    expect(eps > 0, "patch_whitening", "eps > 0", eps, "5e-4 is usual.")
    wide = x.astype(jnp.promote_types(x.dtype, jnp.float32)).reshape(-1, height, width, channels)
    rows, columns = height - kh + 1, width - kw + 1
    taps = [wide[:, u : u + rows, v : v + columns] for u in range(kh) for v in range(kw)]
    patches = jnp.concatenate(taps, axis=-1).reshape(len(wide), rows * columns, kh * kw * channels)
    patches -= patches.mean(axis=(0, 1))
    # Image by image and then the mean of all: sums of millions of numbers would lose digits in float32.
    products = jnp.einsum("npi,npj->nij", patches, patches, precision=lax.Precision.HIGHEST)
    variances, vectors = jnp.linalg.eigh(products.mean(axis=0) / (rows * columns))
    variances, vectors = jnp.maximum(variances[::-1], 0), vectors[:, ::-1]
    large = jnp.abs(vectors) >= jnp.abs(vectors).max(axis=0) / 2
    leading = jnp.take_along_axis(vectors, jnp.argmax(large, axis=0)[None], axis=0)
    half = (vectors * jnp.sign(leading) / jnp.sqrt(variances + eps)).reshape(kh, kw, channels, -1)
    return jnp.concatenate([half, -half], axis=-1)
