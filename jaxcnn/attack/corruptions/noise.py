"""Noise of a camera: of its electronics, of few photons, of broken pixels."""

import jax
import jax.numpy as jnp

from jaxcnn.attack.corruptions.severity import corruption
from jaxcnn.augment.noise import noise

__all__ = ["gaussian_noise", "impulse_noise", "shot_noise"]


@corruption(small=(0.04, 0.06, 0.08, 0.09, 0.10), large=(0.08, 0.12, 0.18, 0.26, 0.38))
def gaussian_noise(key: jax.Array, image: jax.Array, std: float) -> jax.Array:
    """Return the image with normal noise of deviation `std` on every value: that of the electronics in little light.

        y = clip(x + std z, 0, 1),    z standard normal

    It is `augment.noise`.
    """
    return noise(key, image, std=std)


@corruption(small=(500, 250, 100, 75, 50), large=(60, 25, 12, 5, 3))
def shot_noise(key: jax.Array, image: jax.Array, photons: float) -> jax.Array:
    """Return the image as counted from single photons, `photons` of them where it is white.

    y = clip(n / photons, 0, 1),    n of Poisson's distribution of mean photons x
    """
    if jax.random.key_impl(key) != "threefry2x32":  # the only one that `jax.random.poisson` takes
        key = jax.random.wrap_key_data(jax.random.bits(key, (2,), jnp.uint32), impl="threefry2x32")
    return jax.random.poisson(key, photons * image) / photons


@corruption(small=(0.01, 0.02, 0.03, 0.05, 0.07), large=(0.03, 0.06, 0.09, 0.17, 0.27))
def impulse_noise(key: jax.Array, image: jax.Array, amount: float) -> jax.Array:
    """Return the image with a fraction `amount` of its values, each by itself, black or white: salt and pepper.

    y = 0 with probability amount / 2, 1 with amount / 2, else x
    """
    u = jax.random.uniform(key, image.shape)
    return jnp.where(u < amount / 2, 0, jnp.where(u >= 1 - amount / 2, 1, image))
