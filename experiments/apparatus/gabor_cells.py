"""Kernels of a first layer as cells: Gabor functions fitted to them, controls beside them, and answers to gratings."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxcnn import layers, surgery
from jaxcnn.explain import probes

PHASES = 16  # of a grating


class Cells(NamedTuple):
    """Kernels of a first layer as patterns (kh, kw, n) with colours (C, n), and the Gabor functions fitted to them."""

    patterns: np.ndarray
    colours: np.ndarray
    share: np.ndarray
    fit: probes.GaborFit


def shuffled(kernel: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return kernels (kh, kw, C, n) whose places are exchanged at random, for each kernel in another way."""
    channels, count = kernel.shape[2:]
    rows = kernel.reshape(-1, channels, count)
    order = np.argsort(rng.random((len(rows), count)), axis=0)
    return np.take_along_axis(rows, order[:, None, :], axis=0).reshape(kernel.shape)


def scrambled(kernel: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return kernels (kh, kw, C, n) of the same power spectra and random phases, added alike to all colours of one."""
    noise = np.fft.fft2(rng.normal(size=(*kernel.shape[:2], 1, kernel.shape[3])), axes=(0, 1))
    return np.fft.ifft2(np.fft.fft2(kernel, axes=(0, 1)) * noise / np.abs(noise), axes=(0, 1)).real


def cells_of(kernel: np.ndarray) -> Cells:
    """Return the patterns of kernels (kh, kw, C, n), and what is fitted to them."""
    patterns, colours, share = probes.colour_axis(kernel)
    return Cells(patterns, colours, share, probes.fit_gabor(patterns))


def answers(
    net: layers.Sequential, params: Any, state: Any, cells: Cells, shape: tuple[int, ...]
) -> dict[str, np.ndarray]:
    """Return the answers (n, phases) of units to drifting gratings, each at the orientation and frequency of its fit.

    The grating has the colour of the unit, so that nothing but the phase changes.
    """
    units = len(cells.fit.frequency)
    u, v = (np.arange(n) - (n - 1) / 2 for n in shape[:2])
    waves = gratings(cells.fit, u, v)  # (H, W, n, phases)
    colours = cells.colours / np.abs(cells.colours).max(axis=0)
    images = 0.5 + 0.5 * np.einsum("uvnp,cn->npuvc", waves, colours)
    flat = images.reshape(-1, *shape).astype(np.float32)
    found = surgery.activations(net, params, state, flat, ["act1", "pool1"])[1]
    own = np.arange(units)
    after = {}
    for path in ("act1", "pool1"):
        rows, columns = found[path].shape[1:3]
        maps = np.asarray(found[path])[:, rows // 2, columns // 2].reshape(units, PHASES, units)
        after[path] = maps[own, :, own]
    # The quadrature pair: the fitted Gabor function, and the one a quarter of a cycle on.
    size = cells.patterns.shape[:2]
    u, v = (np.arange(n) - (n - 1) / 2 for n in size)
    window = gratings(cells.fit, u, v)
    even = np.einsum("uvn,uvnp->np", probes.gabors(cells.fit, size), window)
    quarter = cells.fit._replace(phase=cells.fit.phase + np.pi / 2)
    odd = np.einsum("uvn,uvnp->np", probes.gabors(quarter, size), window)
    return {
        "fitted simple cell": np.maximum(even, 0),
        "unit of the net": after["act1"],
        "after its max-pooling": after["pool1"],
        "energy of a quadrature pair": even**2 + odd**2,
    }


def gratings(fit: probes.GaborFit, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Return waves in [-1, 1] at the places (rows u, columns v), (H, W, n, phases)."""
    phases = 2 * np.pi * np.arange(PHASES) / PHASES
    along = v[None, :, None] * np.cos(fit.orientation) + u[:, None, None] * np.sin(fit.orientation)
    return np.cos(2 * np.pi * (fit.frequency * along)[..., None] + phases)


def modulation(responses: np.ndarray) -> np.ndarray:
    """Return F1/F0 of each unit (n, phases) -> (n,): the amplitude at the grating's own frequency over the mean.

    A rectified sine has pi / 2, an answer that does not hang on the phase 0; a unit that never answers NaN.
    """
    waves = np.exp(-2j * np.pi * np.arange(responses.shape[1]) / responses.shape[1])
    mean, first = responses.mean(axis=1), 2 * np.abs((responses * waves).mean(axis=1))
    return np.divide(first, mean, out=np.full(len(mean), np.nan), where=mean > 1e-6 * np.abs(responses).max(axis=1))


def joined(fits: Sequence[probes.GaborFit]) -> probes.GaborFit:
    """Return the fits of all seeds as one."""
    return probes.GaborFit(*map(np.concatenate, zip(*fits, strict=True)))
