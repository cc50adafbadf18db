"""Weather: snow, fog, and too much light."""

import jax
import jax.numpy as jnp

from jaxcnn.attack.corruptions.blur import trail, zoomed
from jaxcnn.attack.corruptions.plasma import plasma
from jaxcnn.attack.corruptions.severity import corruption
from jaxcnn.augment.colour import luma

__all__ = ["brightness", "fog", "snow"]


@corruption(
    small=(
        (0.1, 0.2, 1, 0.6, 8, 3, 0.95),
        (0.1, 0.2, 1, 0.5, 10, 4, 0.9),
        (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
        (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
        (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
    ),
    large=(
        (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
        (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
        (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
        (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
        (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
    ),
)
def snow(
    key: jax.Array,
    image: jax.Array,
    mean: float,
    std: float,
    zoom: float,
    least: float,
    radius: float,
    sigma: float,
    kept: float,
) -> jax.Array:
    """Return the image in falling snow.

        y = clip(kept x + (1 - kept) max(x, 3/2 L + 1/2) + s + s turned by 180 degrees, 0, 1)

    L is the grey image, and s the flakes: normal numbers of that mean and deviation, enlarged by `zoom`, 0 below
    `least`, with trails downwards (`trail`) of `radius` and `sigma`, by an angle uniform on 45 to 135 degrees.
    """
    flakes_key, angle_key = jax.random.split(key)
    flakes = zoomed(mean + std * jax.random.normal(flakes_key, (*image.shape[:2], 1)), zoom)
    flakes = jnp.minimum(jnp.where(flakes < least, 0, flakes), 1)
    degrees = jax.random.uniform(angle_key, (), minval=-135.0, maxval=-45.0)
    flakes = trail(flakes, degrees, radius=radius, sigma=sigma)
    white = kept * image + (1 - kept) * jnp.maximum(image, 1.5 * luma(image) + 0.5)
    return white + flakes + jnp.rot90(flakes, 2)


@corruption(
    small=((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75)),
    large=((1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4)),
)
def fog(key: jax.Array, image: jax.Array, thickness: float, decay: float) -> jax.Array:
    """Return the image in fog.

    y = (x + thickness f) m / (m + thickness),    m the largest value of x, f a cloud in [0, 1]: `plasma`
    """
    brightest = image.max()
    cloud = plasma(key, (image.shape[0], image.shape[1]), decay)[..., None]
    return (image + thickness * cloud) * brightest / (brightest + thickness)


@corruption(small=(0.05, 0.1, 0.15, 0.2, 0.3), large=(0.1, 0.2, 0.3, 0.4, 0.5))
def brightness(key: jax.Array, image: jax.Array, amount: float) -> jax.Array:
    """Return the image with more light: `amount` added to the value of hue, saturation and value.

    y = x v' / v,    v the largest channel of a pixel, v' = min(v + amount, 1)

    Grey images get what `augment.brightness` does.
    """
    value = image.max(-1, keepdims=True)
    lighter = jnp.minimum(value + amount, 1)
    return jnp.where(value > 0, image * (lighter / jnp.where(value > 0, value, 1)), lighter)
