"""Fixed filters: banks of kernels that are written down, not learned.

A bank is a value: a frozen dataclass that, called, returns its n kernels as one float32 array (kh, kw, n). They are
correlated with the image (no flip), u counting rows downwards and v columns to the right, both from the centre.

    from jaxcnn import filters, functional as F
    edges = F.moving_sum(images, filters.Sobel())    # (..., H, W, 2 C)

`layers.MovingSum(Sobel())` is the layer, and `initializers.FilterBank(Gabor(7))` starts a learned layer from a bank.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn.checking import expect, expect_choice, expect_count, expect_size, is_number, number, shown
from jaxcnn.functional.window import Size, pair

__all__ = ["Box", "Gabor", "Gaussian", "Laplacian", "Sobel"]

Bank = Callable[[], jax.Array]
"""`() -> (kh, kw, n)`, float32."""


@dataclass(frozen=True)
class Box:
    """The moving average, one kernel: w[u, v] = 1 / (kh kw).

    Args:
        size: pixels, one int or (vertical, horizontal).

    Source: agrees with `scipy.ndimage.uniform_filter`.
    """

    size: Size = 3

    def __post_init__(self) -> None:
        """Normalise the size to a tuple."""
        object.__setattr__(self, "size", _window("Box", self.size))

    def __call__(self) -> jax.Array:
        """Return the kernel, (kh, kw, 1)."""
        kh, kw = pair("Box", "size", self.size)
        return _bank(np.full((kh, kw), 1 / (kh * kw)))


@dataclass(frozen=True)
class Gaussian:
    """Gaussian blur, one kernel that sums to 1: w[u, v] ~ exp(-(u^2 + v^2) / (2 sigma^2)).

    Args:
        size: pixels, one int or (vertical, horizontal); about 6 sigma leaves nothing out.
        sigma: standard deviation in pixels, > 0.

    Source: agrees with `scipy.ndimage.gaussian_filter(sigma, radius=(size - 1) / 2)`.
    """

    size: Size = 5
    sigma: float = 1.0

    def __post_init__(self) -> None:
        """Normalise the size to a tuple and sigma to a float."""
        object.__setattr__(self, "size", _window("Gaussian", self.size))
        object.__setattr__(self, "sigma", _positive("Gaussian", "sigma", self.sigma))

    def __call__(self) -> jax.Array:
        """Return the kernel, (kh, kw, 1)."""
        u, v = _offsets(pair("Gaussian", "size", self.size))
        weights = _gaussian(u**2 + v**2, self.sigma)
        return _bank(weights / weights.sum())


@dataclass(frozen=True)
class Sobel:
    """The gradient of brightness, two kernels: along the columns, then along the rows.

    Positive where the image grows brighter to the right, and downwards; a ramp of slope 1 gives 8.

    w[..., 0] = ((-1, 0, 1), (-2, 0, 2), (-1, 0, 1)); w[..., 1] is its transpose.

    Source: Sobel and Feldman 1968; agrees with `scipy.ndimage.sobel` along axis 1, then 0.
    """

    def __call__(self) -> jax.Array:
        """Return the kernels, (3, 3, 2)."""
        across = np.outer((1, 2, 1), (-1, 0, 1))
        return _bank(across, across.T)


@dataclass(frozen=True)
class Laplacian:
    """The sum of second differences, one kernel: the neighbours minus as many times the pixel.

    Of x^2 + y^2, whose Laplacian is 4, it gives 4 with 4 neighbours and 12 with 8.

    Args:
        neighbours: 4 (across the sides) or 8 (across the corners too).

    Source: with 4 agrees with `scipy.ndimage.laplace`.
    """

    neighbours: int = 4

    def __post_init__(self) -> None:
        """Check the choice."""
        expect_choice("Laplacian", "4 or 8 neighbours", self.neighbours, (4, 8))
        object.__setattr__(self, "neighbours", int(self.neighbours))

    def __call__(self) -> jax.Array:
        """Return the kernel, (3, 3, 1)."""
        corner = 1 if self.neighbours == 8 else 0
        return _bank(np.array(((corner, 1, corner), (1, -self.neighbours, 1), (corner, 1, corner))))


@dataclass(frozen=True)
class Gabor:
    """Waves under a Gaussian window, like the simple cells of the visual cortex: orientations * phases kernels.

    w[u, v] ~ g (cos(2 pi a / wavelength + phase) - m),   g = exp(-(a^2 + (aspect b)^2) / (2 sigma^2)),
    a = v cos(t) + u sin(t),   b = u cos(t) - v sin(t),   t = pi i / orientations.

    m makes each kernel sum to zero (an even surface gives nothing), and each is scaled to have norm 1. Wave i varies
    along the direction t, counted clockwise from the horizontal. Kernel i * len(phases) + j has the j-th phase.

    Args:
        size: pixels, one int or (vertical, horizontal).
        orientations: directions, evenly over half a turn.
        wavelength: of the wave in pixels, at least 2.
        sigma: standard deviation of the window along the wave, in pixels, > 0; 0.56 wavelengths (one octave of
            bandwidth) unless given.
        aspect: how much narrower than long the window is, > 0.
        phases: in radians; 0 is a bar, pi / 2 an edge.

    Raises:
        ValueError: options out of range, or under which a kernel is zero: a window too small for the wave.

    Source: Daugman 1985; parameters as in Petkov and Kruizinga 1997, equation 1; zero mean as in Lee 1996.
    """

    size: Size = 7
    orientations: int = 4
    wavelength: float = 4.0
    sigma: float | None = None
    aspect: float = 0.5
    phases: tuple[float, ...] = (0.0, math.pi / 2)

    def __post_init__(self) -> None:
        """Normalise sizes to tuples and numbers to floats, and check that no kernel vanishes."""
        object.__setattr__(self, "size", _window("Gabor", self.size))
        object.__setattr__(self, "orientations", expect_count("Gabor", "orientations", self.orientations))
        wavelength = _positive("Gabor", "wavelength", self.wavelength)
        expect(wavelength >= 2, "Gabor", "a wavelength of at least 2 pixels", wavelength, "Pixels show no shorter one.")
        object.__setattr__(self, "wavelength", wavelength)
        sigma = 0.56 * wavelength if self.sigma is None else self.sigma
        object.__setattr__(self, "sigma", _positive("Gabor", "sigma", sigma))
        object.__setattr__(self, "aspect", _positive("Gabor", "aspect", self.aspect))
        phases = self.phases if isinstance(self.phases, Sequence | np.ndarray) else (self.phases,)
        ok = len(phases) > 0 and all(is_number(phase) and math.isfinite(phase) for phase in phases)
        expect(ok, "Gabor", "phases", shown(phases), "0 is a bar, pi / 2 an edge.")
        object.__setattr__(self, "phases", tuple(map(float, phases)))
        kernels = self.orientations * len(phases)
        expect_size("Gabor", "kernels", (*_window("Gabor", self.size), kernels), "Choose fewer orientations.")
        smallest = min(float(np.linalg.norm(wave)) for wave in self._waves())
        fix = "Use a larger size, or another wavelength, sigma or phase."
        expect(smallest > 1e-6, "Gabor", "options that leave every kernel something to see", self, fix)

    def __call__(self) -> jax.Array:
        """Return the kernels, (kh, kw, orientations * len(phases))."""
        return _bank(*(wave / np.linalg.norm(wave) for wave in self._waves()))

    def _waves(self) -> list[np.ndarray]:
        u, v = _offsets(pair("Gabor", "size", self.size))
        assert self.sigma is not None
        found = []
        for turn in np.pi * np.arange(self.orientations) / self.orientations:
            along, beside = v * np.cos(turn) + u * np.sin(turn), u * np.cos(turn) - v * np.sin(turn)
            squares = along**2 + (self.aspect * beside) ** 2
            window = _gaussian(squares, self.sigma)
            for phase in self.phases:
                wave = np.cos(2 * np.pi * along / self.wavelength + phase)
                found.append(window * (wave - np.sum(window * wave) / np.sum(window)))
        return found


def _gaussian(squares: np.ndarray, sigma: float) -> np.ndarray:
    """Return exp(-squares / (2 sigma^2)), of which the largest is 1."""
    # The exponents are taken from the largest: a sigma far below a pixel leaves the centre, not 0 / 0.
    with np.errstate(over="ignore"):
        return np.exp(-np.square(np.sqrt(squares - squares.min()) / sigma) / 2)


def _offsets(size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows (kh, 1) and columns (1, kw) of a window, from its centre."""
    u, v = (np.arange(n) - (n - 1) / 2 for n in size)
    return u[:, None], v[None, :]


def _bank(*kernels: np.ndarray) -> jax.Array:
    return jnp.asarray(np.stack(kernels, axis=-1), jnp.float32)


def _positive(where: str, name: str, value: float) -> float:
    fix = f"Pass {name}=2.0, say."
    value = number(where, f"{name} as a number > 0", value, lambda v: 0 < v < math.inf, fix)
    return number(where, f"{name} of at most 1e6", value, lambda v: v <= 1e6, fix)


def _window(where: str, size: Size) -> tuple[int, int]:
    size = pair(where, "size", size)
    expect_size(where, "a window", size, "Choose a smaller one.")
    return size
