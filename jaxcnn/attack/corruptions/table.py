"""All corruptions by name, and any of them over a batch."""

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn.attack.corruptions import blur, digital, noise, weather
from jaxcnn.attack.corruptions.frost import frost
from jaxcnn.attack.corruptions.severity import SEVERITIES, Corruption
from jaxcnn.augment.colour import expect_colours
from jaxcnn.checking import expect, expect_choice, expect_count, expect_key, floating

__all__ = ["CORRUPTIONS", "FAMILIES", "corrupt", "corrupted", "expect_images"]

CORRUPTIONS: Mapping[str, Corruption] = {
    "gaussian_noise": noise.gaussian_noise,
    "shot_noise": noise.shot_noise,
    "impulse_noise": noise.impulse_noise,
    "defocus_blur": blur.defocus_blur,
    "glass_blur": blur.glass_blur,
    "motion_blur": blur.motion_blur,
    "zoom_blur": blur.zoom_blur,
    "snow": weather.snow,
    "frost": frost,
    "fog": weather.fog,
    "brightness": weather.brightness,
    "contrast": digital.contrast,
    "elastic_transform": digital.elastic_transform,
    "pixelate": digital.pixelate,
    "jpeg_compression": digital.jpeg_compression,
}
"""The fifteen corruptions, `(key, image, severity) -> image`, by their names."""
_NAMES = tuple(CORRUPTIONS)
FAMILIES: Mapping[str, tuple[str, ...]] = {
    "noise": _NAMES[:3],
    "blur": _NAMES[3:7],
    "weather": _NAMES[7:11],
    "digital": _NAMES[11:],
}
"""The names of the corruptions of each family."""


def corrupt(key: jax.Array, images: Any, name: str, severity: int = 3) -> jax.Array:
    """Return images with one kind of corruption, drawn anew for each, by one compiled program.

        corrupt(key, images, name, severity)[n] = CORRUPTIONS[name](split(key, N)[n], images[n], severity)

    Args:
        key: a PRNG key.
        images: floating (..., H, W, 3), or grey (..., H, W, 1), in [0, 1]; N of them.
        name: one of `CORRUPTIONS`.
        severity: 1 to 5.

    Returns:
        Images of the same shape and dtype, in [0, 1].

    Raises:
        ValueError: another name or severity, values outside [0, 1], neither 1 nor 3 channels.
        TypeError: images that are not floating, no key.

    Source: Hendrycks and Dietterich 2019; what differs from their code is said by each function.
    """
    where = "corrupt"
    expect_key(where, key)
    images = expect_images(where, images)
    expect_choice(where, f"name as one of {_NAMES}", name, _NAMES)
    severity = expect_count(where, "severity", severity, most=len(SEVERITIES))
    many = images.reshape(-1, *images.shape[-3:])
    keys = jax.random.split(key, len(many))[None]
    return corrupted(keys, many, name=name, severities=(severity,))[0].reshape(images.shape)


@functools.partial(jax.jit, static_argnames=("name", "severities"))
def corrupted(keys: jax.Array, images: jax.Array, *, name: str, severities: tuple[int, ...]) -> jax.Array:
    """Return the images (N, H, W, C) at each severity, (S, N, H, W, C), with the keys (S, N)."""
    fn = CORRUPTIONS[name]
    at = lambda s: jax.vmap(lambda key, image: fn(key, image, s))  # noqa: E731
    each = [at(s)(key, images) for key, s in zip(keys, severities, strict=True)]
    return jnp.stack(each)


def expect_images(where: str, images: Any) -> jax.Array:
    """Return images (..., H, W, C) as an array; raise an error unless they can be corrupted."""
    images = floating(where, "images", images)
    fix = "Grey images have one channel."
    expect(images.ndim >= 3 and images.size > 0, where, "images (..., H, W, C)", f"shape {images.shape}", fix)
    expect_colours(where, images)
    if not isinstance(images, jax.core.Tracer):
        held = np.asarray(images)
        inside = bool(np.all((held >= 0) & (held <= 1)))  # of NaN neither
        expect(inside, where, "images in [0, 1]", f"values from {held.min()} to {held.max()}", "Rescale them.")
    return images
