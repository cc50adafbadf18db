"""What makes a function of an image and parameters a corruption: a function of an image and a severity from 1 to 5."""

import functools
import inspect
import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn.augment.colour import expect_colours
from jaxcnn.augment.example import augmentation
from jaxcnn.checking import expect_count

__all__ = ["SEVERITIES", "Corruption", "corruption", "parameters"]

SEVERITIES = (1, 2, 3, 4, 5)
"""The severities, 1 the mildest."""
SIDES = (32, 224)  # pixels, of the images of CIFAR-10-C and ImageNet-C

Corruption = Callable[[jax.Array, jax.Array, int], jax.Array]
"""`(key, image, severity) -> image`."""

Table = Sequence[float] | Sequence[tuple[float, ...]]

_SHARED = """
Args:
    key: a typed key.
    image: floating (H, W, 3), or grey (H, W, 1), in [0, 1], or an example.
    severity: 1 to 5, known. Its parameters are {small}, of images of up to 32 pixels (CIFAR-10-C); {large} from
        224 pixels on (ImageNet-C); and between them linear in the logarithm of the shorter side.

Returns:
    An image of the same shape and dtype, in [0, 1], computed in float32.

Raises:
    ValueError: another severity, neither 1 nor 3 channels.

Source:
    Hendrycks and Dietterich 2019, "Benchmarking neural network robustness to common corruptions and perturbations",
    section 4, with the parameters of its code.{source}"""


def corruption(*, small: Table, large: Table, source: str = "") -> Callable[[Callable[..., jax.Array]], Corruption]:
    """Return the decorator that makes `fn(key, image, *parameters)` a function `(key, image, severity)`.

    `fn` is given the image in float32; what it returns is clipped to [0, 1]. Its docstring is completed by what all
    corruptions share.

    Args:
        small: the parameters of each severity for images of up to 32 pixels.
        large: those from 224 pixels on.
        source: a sentence on what differs from the paper's.
    """

    def of_severity(fn: Callable[..., jax.Array]) -> Corruption:
        def corrupted(key: jax.Array, image: jax.Array, severity: int) -> jax.Array:
            severity = expect_count(fn.__name__, "severity", severity, most=len(SEVERITIES))
            expect_colours(fn.__name__, image)
            values = parameters(small[severity - 1], large[severity - 1], min(image.shape[:2]))
            return jnp.clip(fn(key, image.astype(jnp.float32), *values), 0, 1).astype(image.dtype)

        for name in functools.WRAPPER_ASSIGNMENTS[:3]:  # module and names; its signature is another
            setattr(corrupted, name, getattr(fn, name))
        shared = _SHARED.format(small=small, large=large, source=source and f" {source}")
        corrupted.__doc__ = f"{inspect.cleandoc(fn.__doc__ or '')}\n{shared}"
        return augmentation(corrupted)

    return of_severity


def parameters(small: float | tuple[float, ...], large: float | tuple[float, ...], side: int) -> tuple[float, ...]:
    """Return the parameters for images whose shorter side has so many pixels."""
    share = math.log(side / SIDES[0]) / math.log(SIDES[1] / SIDES[0])
    share = min(max(share, 0.0), 1.0)
    return tuple(((1 - share) * np.atleast_1d(small) + share * np.atleast_1d(large)).tolist())
