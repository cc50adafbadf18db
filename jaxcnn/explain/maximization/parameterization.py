"""Images as functions of parameters: the coordinates in which one climbs decide which maximum one comes to."""

import math
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn.checking import expect, expect_choice, expect_key, number, shown, sizes
from jaxcnn.explain.maximization.colours import Basis, expect_basis

__all__ = ["Fourier", "Parameterization", "Pixels", "Spectrum"]

NEAREST = 1e-3  # to 0 and 1 that a sigmoid is asked to come, which has neither
BOUNDS = ("sigmoid", "clip")


class Parameterization(Protocol):
    """Images as a function of parameters, any pytree: what the functions here take. It is static: make it hashable."""

    def init(self, key: jax.Array, shape: tuple[int, ...]) -> Any:
        """Return random parameters of images of a shape (..., H, W, C)."""

    def __call__(self, parameters: Any) -> jax.Array:
        """Return the images (..., H, W, C) in [0, 1]."""

    def parameters_of(self, images: jax.Array) -> Any:
        """Return the parameters that give such images."""


@dataclass(frozen=True)
class Pixels:
    """Each pixel a parameter: x = sigmoid(z + logit(level)). What nets like best in these coordinates is noise.

    Args:
        deviation: of the z that one begins with, drawn from a normal distribution, at least 0.
        level: the brightness that z = 0 stands for, in (0, 1): near 0 for images that are mostly black.
        colours: None, or a matrix A as `colour_basis` gives it, of as many channels as the images have: the colours
            are then A z / |A|, |A| its largest singular value.
        bounds: "sigmoid", or "clip": x = clip(z + level, 0, 1), whose slope is 0 beyond the bounds.
    """

    deviation: float = 0.01
    level: float = 0.5
    colours: Basis | None = None
    bounds: Literal["sigmoid", "clip"] = "sigmoid"

    def __post_init__(self) -> None:
        """Check the options."""
        where = type(self).__name__
        number(where, "deviation of at least 0", self.deviation, lambda d: 0 <= d < math.inf, "Pass 0.01, say.")
        number(where, "level in (0, 1)", self.level, lambda level: 0 < level < 1, "Pass 0.5, say.")
        expect_choice(where, f"bounds to be one of {BOUNDS}", self.bounds, BOUNDS)
        expect_basis(where, self.colours)

    def init(self, key: jax.Array, shape: tuple[int, ...]) -> Any:
        """Return random parameters of images of a shape (..., H, W, C)."""
        expect_key(type(self).__name__, key)
        return self.deviation * jax.random.normal(key, _shape(type(self).__name__, shape, self.colours))

    def __call__(self, parameters: Any) -> jax.Array:
        """Return the images (..., H, W, C) in [0, 1]."""
        return self._bounded(parameters)

    def parameters_of(self, images: jax.Array) -> Any:
        """Return the parameters that give these images; of a sigmoid those within 0.001 of the bounds are moved in."""
        return self._unbounded(jnp.asarray(images))

    def _bounded(self, z: jax.Array) -> jax.Array:
        if self.colours is not None:
            z = jnp.einsum("...i,ji->...j", z, _normed(self.colours), precision="highest")
        if self.bounds == "clip":
            return jnp.clip(z + self.level, 0, 1)
        return jax.nn.sigmoid(z + _logit(self.level))

    def _unbounded(self, images: jax.Array) -> jax.Array:
        if self.bounds == "clip":
            z = images - self.level
        else:
            images = jnp.clip(images, NEAREST, 1 - NEAREST)
            z = jnp.log(images) - jnp.log1p(-images) - _logit(self.level)
        if self.colours is not None:
            z = jnp.einsum("...i,ji->...j", z, np.linalg.pinv(_normed(self.colours)), precision="highest")
        return z


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Spectrum:
    """What `numpy.fft.rfft2` gives of images: real and imaginary parts, each (..., H, W // 2 + 1, C), and W."""

    real: jax.Array
    imaginary: jax.Array
    width: int = field(metadata={"static": True})


@dataclass(frozen=True)
class Fourier(Pixels):
    """Each frequency two parameters, the lower ones the larger: coordinates in which natural images are isotropic.

        z = irfft2(s S),    s(f) ~ 1 / max(|f|, 1 / max(H, W))^decay,    x = sigmoid(z + logit(level))

    with the orthonormal transform, |f| in cycles a pixel, and s scaled so that its mean square over all frequencies
    is 1: as spectra move, so do pixels, whatever the size of the images.

    Args:
        deviation, level, colours, bounds: as of `Pixels`; z has that deviation but for up to a sixth less,
            in images taller than wide up to three tenths.
        decay: power by which amplitudes fall with frequency, at least 0: 1 as in natural images, more for smoother
            ones.

    Source: Olah, Mordvintsev, Schubert 2017, "Feature visualization", preconditioning, and Lucid's `fft_image`,
    whose amplitudes are those here but for one factor.
    """

    decay: float = 1.0

    def __post_init__(self) -> None:
        """Check the options."""
        super().__post_init__()
        number("Fourier", "decay of at least 0", self.decay, lambda d: 0 <= d < math.inf, "Pass 1, say.")

    def init(self, key: jax.Array, shape: tuple[int, ...]) -> Spectrum:
        """Return a random spectrum of images of a shape (..., H, W, C)."""
        expect_key("Fourier", key)
        *lead, height, width, channels = _shape("Fourier", shape, self.colours)
        parts = jax.random.normal(key, (2, *lead, height, width // 2 + 1, channels)) * (self.deviation / math.sqrt(2))
        return Spectrum(parts[0], parts[1], width)

    def __call__(self, parameters: Spectrum) -> jax.Array:
        """Return the images (..., H, W, C) in [0, 1]."""
        height, width = parameters.real.shape[-3], parameters.width
        spectrum = jax.lax.complex(parameters.real, parameters.imaginary) * self.amplitudes(height, width)[..., None]
        return self._bounded(jnp.fft.irfft2(spectrum, (height, width), axes=(-3, -2), norm="ortho"))

    def parameters_of(self, images: jax.Array) -> Spectrum:
        """Return the spectrum that gives these images, as `Pixels.parameters_of` does."""
        z = self._unbounded(jnp.asarray(images))
        height, width = z.shape[-3:-1]
        spectrum = jnp.fft.rfft2(z, axes=(-3, -2), norm="ortho") / self.amplitudes(height, width)[..., None]
        return Spectrum(spectrum.real, spectrum.imag, width)

    def amplitudes(self, height: int, width: int) -> np.ndarray:
        """Return s, float32 (H, W // 2 + 1)."""
        whole = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None, :])
        whole = np.maximum(whole, 1 / max(height, width)) ** -self.decay
        return (whole / np.sqrt(np.mean(whole**2)))[:, : width // 2 + 1].astype(np.float32)


def _shape(where: str, shape: Any, colours: Basis | None) -> tuple[int, ...]:
    shape = sizes(where, "shape", shape)
    what = "the shape of images (..., H, W, C) with a pixel"
    expect(len(shape) >= 3 and min(shape) > 0, where, what, shown(shape), "Pass shape=(8, 32, 32, 3), say.")
    fix = "Pass the basis of images with as many."
    expect(colours is None or len(colours) == shape[-1], where, f"colours of {shape[-1]} channels", colours, fix)
    return shape


def _normed(colours: Basis) -> np.ndarray:
    matrix = np.array(colours)
    return (matrix / np.linalg.norm(matrix, 2)).astype(np.float32)


def _logit(level: float) -> float:
    return math.log(level / (1 - level))
