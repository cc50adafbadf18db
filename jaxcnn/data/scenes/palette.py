"""Ten named hues, in a space where equal steps look equal."""

import jax
import jax.numpy as jnp
import numpy as np

__all__ = ["COLOURS", "oklch", "tones"]

COLOURS = ("red", "orange", "yellow", "lime", "green", "teal", "sky", "blue", "purple", "pink")
# Lightness, chroma and hue (degrees) of each, inside sRGB.
_CENTRES = np.array(
    [
        (0.62, 0.20, 25),
        (0.72, 0.16, 55),
        (0.85, 0.15, 92),
        (0.80, 0.18, 125),
        (0.62, 0.15, 150),
        (0.68, 0.11, 188),
        (0.74, 0.12, 228),
        (0.56, 0.18, 262),
        (0.58, 0.18, 302),
        (0.70, 0.18, 350),
    ],
    np.float32,
)


def oklch(lightness: jax.Array, chroma: jax.Array, hue: jax.Array) -> jax.Array:
    """Return colours of the space Oklab, given in polar form, as sRGB.

    Args:
        lightness: floating (...) in [0, 1].
        chroma: floating (...), 0 for greys, up to about 0.3.
        hue: floating (...), in degrees.

    Returns:
        floating (..., 3) in [0, 1], clipped where sRGB has no such colour.

    Source:
        Ottosson 2020, "A perceptual color space for image processing"; IEC 61966-2-1 (sRGB). CSS Color 4 (oklch).
    """
    a, b = chroma * jnp.cos(jnp.deg2rad(hue)), chroma * jnp.sin(jnp.deg2rad(hue))
    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    medium = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    linear = jnp.stack(
        [
            4.0767416621 * long - 3.3077115913 * medium + 0.2309699292 * short,
            -1.2684380046 * long + 2.6097574011 * medium - 0.3413193965 * short,
            -0.0041960863 * long - 0.7034186147 * medium + 1.7076147010 * short,
        ],
        -1,
    )
    linear = jnp.clip(linear, 0, 1)
    curve = 1.055 * jnp.maximum(linear, 0.0031308) ** (1 / 2.4) - 0.055
    return jnp.where(linear <= 0.0031308, 12.92 * linear, curve)


def tones(colour: jax.Array, variation: jax.Array, *, ground: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return the two tones of a surface: of an object vivid, of the ground pale or dark.

    Args:
        colour: int32 (K,), indices into `COLOURS`.
        variation: floating (4, K) in [0, 1): of the hue, the lightness, the contrast between the tones, and which
            of them is the lighter.
        ground: bool (K,), which surfaces are grounds.

    Returns:
        two floating (K, 3) in [0, 1], sRGB.
    """
    light, chroma, hue = jnp.asarray(_CENTRES)[colour].T
    hue_by, light_by, contrast_by, side_by = variation
    hue = hue + 14 * (hue_by - 0.5)
    dark = side_by < 0.5
    light = jnp.where(ground, jnp.where(dark, 0.24 + 0.16 * light_by, 0.86 + 0.07 * light_by), light)
    light = jnp.where(ground, light, light + 0.08 * (light_by - 0.5))
    chroma = jnp.where(ground, jnp.where(dark, 0.055, 0.045), chroma)
    step = jnp.where(dark, 1, -1) * jnp.where(ground, 0.05 + 0.06 * contrast_by, 0.12 + 0.1 * contrast_by)
    return oklch(light, chroma, hue), oklch(jnp.clip(light + step, 0, 0.97), chroma * 0.85, hue)
