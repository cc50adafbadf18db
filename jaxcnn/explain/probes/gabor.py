"""Gabor functions fitted to the kernels of a first layer, as to the receptive fields of simple cells."""

import functools
import itertools
from typing import Any, NamedTuple

import numpy as np

from jaxcnn.checking import expect, expect_count, shown

__all__ = ["GaborFit", "colour_axis", "fit_gabor", "gabors"]

FLAT = 1e-9  # of the largest value: a kernel with no more variance than that is flat


class GaborFit(NamedTuple):
    """Parameters of n Gabor functions, each (n,):

        w[u, v] = amplitude exp(-(a^2 / sigma_along^2 + b^2 / sigma_across^2) / 2) cos(2 pi frequency a + phase),
        a = (v - column) cos(t) + (u - row) sin(t),   b = (u - row) cos(t) - (v - column) sin(t),   t = orientation,

    u counting rows downwards and v columns to the right, both from the middle of the kernel, in pixels: the wave varies
    along the direction t, clockwise from the horizontal, in [0, pi); its stripes are at right angles to it. `frequency`
    is in cycles per pixel, `phase` in (-pi, pi] (0 is a bright bar, +-pi/2 an edge), `amplitude` >= 0. `explained` is
    the share of the kernel's variance: 1 - |w - fit|^2 / |w - mean(w)|^2.
    """

    amplitude: np.ndarray
    row: np.ndarray
    column: np.ndarray
    orientation: np.ndarray
    frequency: np.ndarray
    phase: np.ndarray
    sigma_along: np.ndarray
    sigma_across: np.ndarray
    explained: np.ndarray

    @property
    def nx(self) -> np.ndarray:
        """Width of the envelope along the wave in cycles: about how many stripes there are."""
        return self.sigma_along * self.frequency

    @property
    def ny(self) -> np.ndarray:
        """Length of the envelope along the stripes in cycles."""
        return self.sigma_across * self.frequency


def fit_gabor(kernels: Any, *, starts: int = 4) -> GaborFit:
    """Return the Gabor functions nearest to some kernels, by least squares.

    Every kernel is compared with some thousand Gabor functions; the least-squares solver starts from the best ones,
    and its best answer is taken. The centre stays within the kernel, the frequency below half a cycle per pixel, the
    widths between a third of a pixel and the kernel's side.

    Args:
        kernels: (kh, kw, n), or one (kh, kw); 3 pixels a side or more. Those of colour images (kh, kw, C, n) have to
            be brought to one channel first: see `colour_axis`.
        starts: of the solver, for each kernel.

    Returns:
        A `GaborFit` of n; a flat kernel has amplitude and explained variance 0.

    Raises:
        ValueError: another rank, fewer than 9 pixels, values that are not finite.

    Source: Jones and Palmer 1987, "An evaluation of the two-dimensional Gabor filter model of simple receptive
    fields"; `nx` and `ny` as in Ringach 2002, "Spatial structure and symmetry of simple-cell receptive fields".
    """
    where = "fit_gabor"
    starts = expect_count(where, "starts", starts)
    kernels = np.asarray(kernels, np.float64)
    kernels = kernels[..., None] if kernels.ndim == 2 else kernels
    ok = kernels.ndim == 3 and min(kernels.shape[:2]) >= 3 and kernels.shape[2] > 0
    fix = "Bring kernels of several channels to one by probes.colour_axis."
    expect(ok, where, "kernels (kh, kw, n) of 3 pixels a side or more", shown(kernels.shape), fix)
    expect(bool(np.isfinite(kernels).all()), where, "finite kernels", "others", "Look at the training.")
    size = kernels.shape[:2]
    flat = np.moveaxis(kernels, 2, 0).reshape(kernels.shape[2], -1)
    table = _table(size)
    return GaborFit(*np.array([_fitted(kernel, size, table, starts) for kernel in flat]).T)


def gabors(fit: GaborFit, size: tuple[int, int]) -> np.ndarray:
    """Return the Gabor functions as kernels (kh, kw, n) of a size: what `fit_gabor` found, drawn."""
    shapes = np.stack([fit.row, fit.column, fit.orientation, fit.frequency, fit.sigma_along, fit.sigma_across])
    even, odd = _waves(shapes, size)
    drawn = fit.amplitude * (even * np.cos(fit.phase) - odd * np.sin(fit.phase))
    return drawn.reshape(*size, -1)


def colour_axis(kernels: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return kernels of several channels as the product of a spatial pattern and a colour that is nearest to them.

        w[u, v, c] ~ pattern[u, v] colour[c]    (the largest singular value)

    Args:
        kernels: (kh, kw, C, n), as a convolution has them.

    Returns:
        patterns (kh, kw, n); colours (C, n), of norm 1 and a sum >= 0; and the share of each kernel's sum of squares
        that the product has, (n,).

    Raises:
        ValueError: another rank.
    """
    kernels = np.asarray(kernels, np.float64)
    fix = "Pass the kernel of a two-dimensional convolution."
    expect(kernels.ndim == 4 and kernels.size > 0, "colour_axis", "kernels (kh, kw, C, n)", kernels.shape, fix)
    height, width, channels, count = kernels.shape
    left, values, right = np.linalg.svd(np.moveaxis(kernels, 3, 0).reshape(count, height * width, channels), False)
    sign = np.where(right[:, 0].sum(axis=1) < 0, -1.0, 1.0)
    patterns = sign[:, None] * values[:, :1] * left[:, :, 0]
    total = np.sum(values**2, axis=1)
    share = np.divide(values[:, 0] ** 2, total, out=np.zeros(count), where=total > 0)
    return patterns.T.reshape(height, width, count), (sign[:, None] * right[:, 0]).T, share


def _waves(shapes: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return the Gabor functions of phase 0 and of phase -pi/2, (kh kw, n), of shapes (6, n)."""
    row, column, turn, frequency, along, across = shapes
    u, v = _places(size)
    a = (v - column) * np.cos(turn) + (u - row) * np.sin(turn)
    b = (u - row) * np.cos(turn) - (v - column) * np.sin(turn)
    envelope = np.exp(-((a / along) ** 2 + (b / across) ** 2) / 2)
    return envelope * np.cos(2 * np.pi * frequency * a), envelope * np.sin(2 * np.pi * frequency * a)


@functools.cache
def _places(size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return rows and columns from the middle, (kh kw, 1) each."""
    u, v = (np.arange(n) - (n - 1) / 2 for n in size)
    u, v = np.meshgrid(u, v, indexing="ij")
    return u.reshape(-1, 1), v.reshape(-1, 1)


def _bounds(size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return the least and the largest shape; the orientation is free, since it is periodic."""
    height, width = size
    low = [-height / 2, -width / 2, -np.inf, 0.0, 1 / 3, 1 / 3]
    high = [height / 2, width / 2, np.inf, 0.5, max(size), max(size)]
    return np.array(low), np.array(high)


def _table(size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return many shapes (6, n) and for each an orthonormal pair, (kh kw, n) twice, that spans its phases."""
    rows, columns = ([-n / 6, 0.0, n / 6] for n in size)
    turns = np.pi * np.arange(8) / 8
    side = min(size)
    frequencies = np.linspace(0.5 / side, 0.4, 5)
    widths = (side / 8, side / 5, side / 3)
    shapes = np.array(list(itertools.product(rows, columns, turns, frequencies, widths, widths))).T
    even, odd = _waves(shapes, size)
    even = even / np.linalg.norm(even, axis=0)
    odd = odd - even * np.sum(even * odd, axis=0)
    norm = np.linalg.norm(odd, axis=0)
    return shapes, even, np.divide(odd, norm, out=np.zeros_like(odd), where=norm > 1e-6)


def _fitted(kernel: np.ndarray, size: tuple[int, int], table: tuple[np.ndarray, ...], starts: int) -> list[float]:
    """Return the fields of `GaborFit` for one kernel (kh kw,)."""
    from scipy.optimize import least_squares

    largest = np.abs(kernel).max()
    if largest == 0 or kernel.std() <= FLAT * largest:
        return [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0]
    target = kernel / largest
    shapes, even, odd = table
    near = (target @ even) ** 2 + (target @ odd) ** 2
    low, high = _bounds(size)
    found: list[tuple[float, np.ndarray]] = []
    for index in _different(shapes, near, starts):
        start = np.clip(shapes[:, index], low + 1e-6, high - 1e-6)
        # The two amplitudes (phase and size) are linear: the best ones for each shape are solved for inside.
        left = lambda shape: _left(shape[:, None], target, size)[0][:, 0]  # noqa: E731
        slope = lambda shape: _slope(shape, target, size)  # noqa: E731
        solved = least_squares(left, start, slope, bounds=(low, high), x_scale="jac")
        found.append((solved.cost, solved.x))
    _, shape = min(found, key=lambda one: one[0])
    residual, (cosine,), (sine,) = _left(shape[:, None], target, size)
    row, column, turn, frequency, along, across = shape
    phase = np.arctan2(-sine, cosine)
    if turn % (2 * np.pi) >= np.pi:  # the other way along the same wave
        phase = -phase
    explained = 1 - np.sum(residual**2) / np.sum((target - target.mean()) ** 2)
    amplitude = largest * np.hypot(cosine, sine)
    return [amplitude, row, column, turn % np.pi, frequency, phase, along, across, explained]


def _left(shapes: np.ndarray, target: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return what is left of a kernel beside the best sum of each shape's phases, (kh kw, n), and their weights."""
    even, odd = _waves(shapes, size)
    ee, eo, oo = np.sum(even * even, axis=0), np.sum(even * odd, axis=0), np.sum(odd * odd, axis=0)
    et, ot = target @ even, target @ odd
    determinant = ee * oo - eo**2
    # Where the phases cannot be told apart, as without a wave, the stronger one serves for both.
    apart = determinant > 1e-9 * ee * oo + 1e-30
    safe, stronger = np.where(apart, determinant, 1.0), np.maximum(np.maximum(ee, oo), 1e-30)
    cosine = np.where(apart, (oo * et - eo * ot) / safe, np.where(ee >= oo, et / stronger, 0.0))
    sine = np.where(apart, (ee * ot - eo * et) / safe, np.where(ee >= oo, 0.0, ot / stronger))
    return cosine * even + sine * odd - target[:, None], cosine, sine


def _slope(shape: np.ndarray, target: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return the derivative of what is left with respect to the shape, (kh kw, 6), by central differences."""
    step = 1e-5 * np.eye(len(shape))
    left = _left(shape[:, None] + np.concatenate([step, -step], axis=1), target, size)[0]
    return (left[:, : len(shape)] - left[:, len(shape) :]) / 2e-5


def _different(shapes: np.ndarray, near: np.ndarray, count: int) -> list[int]:
    """Return the best shapes of which no two have the same orientation and frequency."""
    chosen: dict[tuple[float, float], int] = {}
    for index in np.argsort(-near, kind="stable"):
        chosen.setdefault((shapes[2, index], shapes[3, index]), int(index))
        if len(chosen) == count:
            break
    return list(chosen.values())
