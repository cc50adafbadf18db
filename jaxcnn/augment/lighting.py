"""Light: one random amount for each channel of an image, as if it had been lit otherwise."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn.augment.example import augmentation
from jaxcnn.augment.options import interval, probability
from jaxcnn.checking import expect, number, shaped, shown

__all__ = [
    "IMAGENET_EIGENVALUES",
    "IMAGENET_EIGENVECTORS",
    "colour_cast",
    "pca_lighting",
    "principal_components",
]

Values = jax.Array | np.ndarray | tuple

# Of the pixels of ImageNet's training images, in [0, 1]; the columns of the matrix are the components of R, G, B.
IMAGENET_EIGENVALUES = (0.2175, 0.0188, 0.0045)
IMAGENET_EIGENVECTORS = ((-0.5675, 0.7192, 0.4009), (-0.5808, -0.0045, -0.8140), (-0.5836, -0.6948, 0.4203))


@augmentation
def colour_cast(
    key: jax.Array, image: jax.Array, *, delta: float | tuple[float, float] = 20 / 255, p: float = 0.5
) -> jax.Array:
    """Return the image with a random amount added to randomly chosen channels: a tint.

        y[..., c] = clip(x[..., c] + b[c] d[c], 0, 1),    b[c] = 1 with probability p, else 0,    d[c] uniform on delta

    Args:
        key: a typed key.
        image: floating (H, W, C) in [0, 1], or an example.
        delta: the interval (low, high) of the amounts, in the image's unit (1 is white); one number d stands
            for (-d, d).
        p: probability of each channel to be changed, in [0, 1].

    Returns:
        An image of the same shape and dtype, in [0, 1].

    Raises:
        ValueError: bounds not finite or in the wrong order; p outside [0, 1].

    Source:
        Wu et al. 2015 (Deep Image), color casting, whose amounts are whole numbers of -20 to 20 out of 255.
    """
    low, high = interval("colour_cast", "delta", delta)
    p = probability("colour_cast", p, "Pass the probability of a channel to be changed.")
    chosen, amount = jax.random.uniform(key, (2, image.shape[-1]))
    cast = jnp.where(chosen < p, low + (high - low) * amount, 0)
    return jnp.clip(image.astype(jnp.float32) + cast[None, None, :], 0, 1).astype(image.dtype)


@augmentation
def pca_lighting(
    key: jax.Array,
    image: jax.Array,
    *,
    std: float = 0.1,
    eigenvalues: Values = IMAGENET_EIGENVALUES,
    eigenvectors: Values = IMAGENET_EIGENVECTORS,
) -> jax.Array:
    """Return the image with a random multiple of each principal component of the colours added to its pixels.

        y = clip(x + sum_k a[k] eigenvalues[k] eigenvectors[:, k], 0, 1),    a[k] normal with deviation std

    Args:
        key: a typed key.
        image: floating (H, W, C) in [0, 1], or an example.
        std: the standard deviation of the a[k], finite, at least 0.
        eigenvalues: (C,), of the covariance of the channels of all pixels of the training images, in [0, 1];
            ImageNet's unless given.
        eigenvectors: (C, C), one in each column.

    Returns:
        An image of the same shape and dtype, in [0, 1].

    Raises:
        ValueError: std not finite or below 0; eigenvalues or eigenvectors of another shape.

    Source:
        Krizhevsky et al. 2012 (AlexNet), section 4.1; ImageNet's values as fb.resnet.torch published them.
        `principal_components` gives those of other images.
    """
    std = number("pca_lighting", "std of at least 0", std, lambda s: 0 <= s < math.inf, "0.1 is the paper's.")
    channels = image.shape[-1]
    values = shaped("pca_lighting", "eigenvalues", eigenvalues, (channels,))
    vectors = shaped("pca_lighting", "eigenvectors", eigenvectors, (channels, channels))
    amounts = std * jax.random.normal(key, (channels,)) * values
    # The sum is over C numbers: written out it keeps float32 on devices whose matrix products round.
    light = jnp.sum(vectors * amounts[None, :], 1)
    return jnp.clip(image.astype(jnp.float32) + light[None, None, :], 0, 1).astype(image.dtype)


def principal_components(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the eigenvalues and eigenvectors of the colours of a data set, for `pca_lighting`.

        covariance of x[n, i, j] over all n, i, j  =  V diag(eigenvalues) V^T

    Args:
        image: (N, H, W, C), uint8 in 0..255 or floating in [0, 1], such as `train["image"]`.

    Returns:
        eigenvalues float32 (C,), the largest first, of values in [0, 1], and eigenvectors float32 (C, C), one
        in each column, both on the host.

    Raises:
        ValueError: no images (N, H, W, C).
        TypeError: neither uint8 nor floating.

    Source:
        Krizhevsky et al. 2012 (AlexNet), section 4.1; `numpy.cov` and `numpy.linalg.eigh`.
    """
    what, fix = "uint8 or floating images", "Pass the images of a training set."
    real = getattr(image, "dtype", None) == np.uint8 or jnp.issubdtype(getattr(image, "dtype", object), jnp.floating)
    known = real and not isinstance(image, jax.core.Tracer)
    expect(known, "principal_components", what, shown(image), fix, TypeError)
    image = np.asarray(image)
    ok = image.ndim == 4 and image.size > 0
    expect(ok, "principal_components", "images (N, H, W, C)", image.shape, "Pass the images of a training set.")
    count, channels = image.size // image.shape[-1], image.shape[-1]
    total, products = np.zeros(channels), np.zeros((channels, channels))
    for one in image:  # a float64 copy of the whole set could be larger than the memory
        x = one.reshape(-1, channels) / (255.0 if image.dtype == np.uint8 else 1.0)
        total += x.sum(0, dtype=np.float64)
        products += x.T.astype(np.float64) @ x
    covariance = products / count - np.outer(total, total) / count**2
    values, vectors = np.linalg.eigh(covariance)
    return np.maximum(values[::-1], 0).astype(np.float32), vectors[:, ::-1].astype(np.float32)
