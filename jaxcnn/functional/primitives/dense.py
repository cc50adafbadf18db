"""Dense convolutions: every tap meets every channel."""

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxcnn.functional.primitives.geometry import Form, Forms, Geometry
from jaxcnn.functional.primitives.library import library
from jaxcnn.functional.primitives.side_by_side import copies, repeated

__all__ = ["DENSE", "FEW_CHANNELS", "dense_input_gradient", "dense_kernel_gradient"]


def _dense(x: jax.Array, kernel: jax.Array, geometry: Geometry) -> jax.Array:
    """Return the library's convolution, some positions at once where channels and features are few."""
    m = copies(geometry)
    if m == 1:
        return library(x, kernel, geometry)
    y = library(x, *repeated(kernel, geometry, m))
    y = y.reshape(*y.shape[:-2], -1, geometry.features)
    return lax.slice_in_dim(y, 0, geometry.positions[-1], axis=-2)


class _Run(NamedTuple):
    """Neighbouring phases of an image axis (pixels equal modulo the stride) that read the same pixels of the maps."""

    taps: tuple[tuple[int, ...], ...]  # of each phase, from the last to the first
    dilation: int
    padding: tuple[int, int]


def _runs(size: int, window: int, stride: int, padding: tuple[int, int], dilation: int, positions: int) -> list[_Run]:
    """Return the runs of one axis, in order.

    Pixel i = s q + r of the image meets tap u at position (i + p - u d) / s = q + e, where that is whole.
    """
    count = -(-size // stride)
    phases = []
    for r in range(stride):
        taps = tuple(u for u in reversed(range(window)) if (r + padding[0] - u * dilation) % stride == 0)
        offsets = [(r + padding[0] - u * dilation) // stride for u in taps] or [0]
        step = offsets[1] - offsets[0] if len(taps) > 1 else 1
        edges = (-offsets[0], count + (len(taps) - 1) * step - positions + offsets[0])
        phases.append((taps, (len(taps), step, edges)))
    runs = itertools.groupby(phases, key=lambda phase: phase[1])
    return [_Run(tuple(taps for taps, _ in run), step, edges) for (_, step, edges), run in runs]


def dense_input_gradient(g: jax.Array, kernel: jax.Array, geometry: Geometry, convolve: Form = _dense) -> jax.Array:
    """Return one convolution of g without stride for each run of phases of the stride, interleaved."""
    rank = len(geometry.size)
    axes = [_runs(*axis) for axis in zip(*geometry[:5], geometry.positions, strict=True)]
    if geometry.groups > 1:  # what runs side by side would have to be channels
        axes = [[run._replace(taps=(taps,)) for run in axis for taps in run.taps] for axis in axes]
    pieces = []
    for runs in itertools.product(*axes):
        phases = [len(run.taps) for run in runs]
        whole = [-(-n // s) for n, s in zip(geometry.size, geometry.stride, strict=True)]
        part = geometry._replace(
            size=g.shape[1:-1],
            window=tuple(len(run.taps[0]) for run in runs),
            stride=(1,) * rank,
            padding=tuple(run.padding for run in runs),
            dilation=tuple(run.dilation for run in runs),
            channels=geometry.features,
            features=math.prod(phases) * geometry.channels,
        )
        if min(part.window) == 0:  # pixels that no tap meets
            y = jnp.zeros((g.shape[0], *whole, part.features), g.dtype)
        else:
            y = convolve(g, _select(kernel, runs), part)
        y = y.reshape(g.shape[0], *whole, *phases, geometry.channels)
        both = (axis + offset for axis in range(rank) for offset in (1, 1 + rank))
        pieces.append(y.transpose(0, *both, 2 * rank + 1))
    for axis in reversed(range(rank)):
        many = len(axes[axis])
        rows = [pieces[i : i + many] for i in range(0, len(pieces), many)]
        pieces = [row[0] if many == 1 else jnp.concatenate(row, 2 * axis + 2) for row in rows]
    y = pieces[0]
    y = y.reshape(y.shape[0], *(y.shape[i] * y.shape[i + 1] for i in range(1, 2 * rank, 2)), y.shape[-1])
    return y[(slice(None), *(slice(n) for n in geometry.size))]


def _select(kernel: jax.Array, runs: Sequence[_Run]) -> jax.Array:
    """Return (*taps, features, phases * channels): the taps of all phases of these runs."""
    rank = len(runs)
    for axis, run in enumerate(runs):
        step = run.taps[0][0] - run.taps[0][1] if len(run.taps[0]) > 1 else 1
        phases = [lax.slice_in_dim(kernel, taps[-1], taps[0] + 1, step, 2 * axis) for taps in run.taps]
        kernel = lax.rev(jnp.stack(phases, 2 * axis + 1), (2 * axis,))
    order = (*range(0, 2 * rank, 2), 2 * rank + 1, *range(1, 2 * rank, 2), 2 * rank)
    kernel = kernel.transpose(order)
    return kernel.reshape(*kernel.shape[: rank + 1], -1)


def dense_kernel_gradient(x: jax.Array, g: jax.Array, geometry: Geometry) -> jax.Array:
    """Return the convolution of x by g with batch and channels exchanged, in the layout of the fast kernels."""
    # Without the barriers XLA computes x and g anew inside of the transposes, pixel by pixel across the memory.
    x, g = lax.optimization_barrier(x), lax.optimization_barrier(g)
    inner = tuple(range(1, x.ndim - 1))
    axes = zip(*geometry[:5], geometry.positions, strict=True)
    swapped = geometry._replace(
        stride=geometry.dilation,
        dilation=geometry.stride,
        padding=tuple((p, (m - 1) * s + 1 + (w - 1) * d - n - p) for n, w, s, (p, _), d, m in axes),
    )
    y = library(x.transpose(x.ndim - 1, *inner, 0), g.transpose(*inner, 0, x.ndim - 1), swapped)
    return y.transpose(*inner, 0, x.ndim - 1)


def _kernel_gradient_of_few_channels(x: jax.Array, g: jax.Array, geometry: Geometry) -> jax.Array:
    """Return the convolution of x, copied once for each tap along the last axis, by g as it is.

    Images and rows are the spatial axes, pixels of a row the channels: g, the larger of the two, is not transposed.
    """
    x, g = lax.optimization_barrier(x), lax.optimization_barrier(g)
    *strides, stride = geometry.stride
    *dilations, dilation = geometry.dilation
    x = jnp.moveaxis(x, -1, 0)
    x = lax.pad(x, jnp.zeros((), x.dtype), [*((0, 0, 0),) * (x.ndim - 1), (*geometry.padding[-1], 0)])
    starts = [v * dilation for v in range(geometry.window[-1])]
    reach = (geometry.positions[-1] - 1) * stride + 1
    x = jnp.concatenate([x[..., start : start + reach : stride] for start in starts])
    others = zip(*(entries[:-1] for entries in (*geometry[:5], geometry.positions)), strict=True)
    swapped = geometry._replace(
        size=x.shape[1:-1],
        stride=(1, *dilations),
        dilation=(1, *strides),
        padding=((0, 0), *((p, (m - 1) * s + 1 + (w - 1) * d - n - p) for n, w, s, (p, _), d, m in others)),
    )
    y = library(x, g, swapped)  # (last taps * channels, 1, other taps, features)
    y = y.reshape(geometry.window[-1], geometry.channels, *geometry.window[:-1], geometry.features)
    return y.transpose(*range(2, y.ndim - 1), 0, 1, y.ndim - 1)


DENSE = Forms(_dense, dense_input_gradient, dense_kernel_gradient, sequential=True)
FEW_CHANNELS = DENSE._replace(kernel_gradient=_kernel_gradient_of_few_channels)
