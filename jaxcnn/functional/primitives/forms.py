"""The programs that compute a convolution and its two gradients, and which of them is the fast one on a CPU.

All take one batch: images (N, *size, channels), a kernel (*window, channels / groups, features), cotangents of the
maps (N, *positions, features). Sizes are tuples of any length: images have two axes.

XLA on CPU has fast kernels for convolutions that are written with the channels last, if these are many, and it rewrites
others to that layout outside of loops alone; it multiplies by the zeros that a stride puts between the pixels of a
gradient; it computes a depthwise convolution as a dense one. The forms here leave it nothing to rewrite.
`experiments.benchmarks.peers` measures what they bring.
"""

import functools
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxcnn.functional.primitives.parts import in_parts
from jaxcnn.functional.primitives.side_by_side import copies, repeated
from jaxcnn.functional.primitives.taps import padded, taps
from jaxcnn.functional.primitives.winograd import winograd, winograd_kernel_gradient
from jaxcnn.functional.spread import along_channels

__all__ = ["LIBRARY", "Forms", "Geometry", "fast_on_cpu"]


class Geometry(NamedTuple):
    """What slides over what; the tuples have one entry per spatial axis."""

    size: tuple[int, ...]  # pixels of the image
    window: tuple[int, ...]  # taps of the kernel
    stride: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]  # pixels before and after
    dilation: tuple[int, ...]
    channels: int
    features: int
    groups: int
    precision: Any = None

    @property
    def positions(self) -> tuple[int, ...]:
        """The positions of the window: the size of the maps."""
        axes = zip(self.size, self.window, self.stride, self.padding, self.dilation, strict=True)
        return tuple((n + before + after - (w - 1) * d - 1) // s + 1 for n, w, s, (before, after), d in axes)

    @property
    def kernel(self) -> tuple[int, ...]:
        """The shape of the kernel."""
        return (*self.window, self.channels // self.groups, self.features)


Form = Callable[[jax.Array, jax.Array, Geometry], jax.Array]


class Forms(NamedTuple):
    """One way to compute `convolve(x, kernel)`, `input_gradient(g, kernel)` and `kernel_gradient(x, g)`."""

    convolve: Form
    input_gradient: Form
    kernel_gradient: Form
    sequential: bool = False  # several nets one after another, because all at once would be slower


# As jax.lax has them


def _library(x: jax.Array, kernel: jax.Array, geometry: Geometry) -> jax.Array:
    axes = "HWD"[: len(geometry.size)]
    if min(min(sides) for sides in geometry.padding) < 0:
        # Cut off here: XLA on CPU reads beyond the array there in jax 0.10.
        x = padded(x, [(min(before, 0), min(after, 0)) for before, after in geometry.padding])
        geometry = geometry._replace(
            size=x.shape[1:-1], padding=tuple((max(before, 0), max(after, 0)) for before, after in geometry.padding)
        )
    return lax.conv_general_dilated(
        x,
        kernel,
        geometry.stride,
        geometry.padding,
        rhs_dilation=geometry.dilation,
        dimension_numbers=(f"N{axes}C", f"{axes}IO", f"N{axes}C"),
        feature_group_count=geometry.groups,
        precision=geometry.precision,
    )


def _library_input_gradient(g: jax.Array, kernel: jax.Array, geometry: Geometry) -> jax.Array:
    x = jax.ShapeDtypeStruct((g.shape[0], *geometry.size, geometry.channels), g.dtype)
    return jax.linear_transpose(lambda x: _library(x, kernel, geometry), x)(g)[0]


def _library_kernel_gradient(x: jax.Array, g: jax.Array, geometry: Geometry) -> jax.Array:
    kernel = jax.ShapeDtypeStruct(geometry.kernel, x.dtype)
    return jax.linear_transpose(lambda kernel: _library(x, kernel, geometry), kernel)(g)[0]


# Dense: every tap meets every channel


def _dense(x: jax.Array, kernel: jax.Array, geometry: Geometry) -> jax.Array:
    """Return the library's convolution, some positions at once where channels and features are few."""
    m = copies(geometry)
    if m == 1:
        return _library(x, kernel, geometry)
    y = _library(x, *repeated(kernel, geometry, m))
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


def _dense_input_gradient(g: jax.Array, kernel: jax.Array, geometry: Geometry, convolve: Form = _dense) -> jax.Array:
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


def _dense_kernel_gradient(x: jax.Array, g: jax.Array, geometry: Geometry) -> jax.Array:
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
    y = _library(x.transpose(x.ndim - 1, *inner, 0), g.transpose(*inner, 0, x.ndim - 1), swapped)
    return y.transpose(*inner, 0, x.ndim - 1)


def _few_channels_kernel_gradient(x: jax.Array, g: jax.Array, geometry: Geometry) -> jax.Array:
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
    y = _library(x, g, swapped)  # (last taps * channels, 1, other taps, features)
    y = y.reshape(geometry.window[-1], geometry.channels, *geometry.window[:-1], geometry.features)
    return y.transpose(*range(2, y.ndim - 1), 0, 1, y.ndim - 1)


# Pointwise: the gradients of a window of one pixel are matrix products


def _pointwise_input_gradient(g: jax.Array, kernel: jax.Array, geometry: Geometry) -> jax.Array:
    matrix = kernel.reshape(geometry.channels, geometry.features)
    y = jnp.dot(g, matrix.T, precision=geometry.precision)
    axes = zip(geometry.size, geometry.stride, geometry.positions, strict=True)
    gaps = [(0, n - (m - 1) * s - 1, s - 1) for n, s, m in axes]
    return lax.pad(y, jnp.zeros((), y.dtype), [(0, 0, 0), *gaps, (0, 0, 0)]) if any(map(any, gaps)) else y


def _pointwise_kernel_gradient(x: jax.Array, g: jax.Array, geometry: Geometry) -> jax.Array:
    x, g = lax.optimization_barrier(x), lax.optimization_barrier(g)
    x = x[(slice(None), *(slice(None, None, s) for s in geometry.stride))]
    pixels = tuple(range(g.ndim - 1))
    y = lax.dot_general(x, g, ((pixels, pixels), ((), ())), precision=geometry.precision)
    return y.reshape(geometry.kernel)


# Whole: a window larger than the image, for which XLA on CPU has naive loops alone, is a matrix from all pixels to all
# positions; one as large as the image is a dense layer


def _fits(geometry: Geometry) -> bool:
    return geometry.window == geometry.size and not any(map(any, geometry.padding))


def _matrix(kernel: jax.Array, geometry: Geometry) -> jax.Array:
    """Return (pixels * channels, positions * features): the tap with which a pixel meets a position, or 0."""
    if _fits(geometry):
        return kernel.reshape(-1, geometry.features)
    tap, met = np.zeros((1, 1), np.int32), np.ones((1, 1), bool)
    axes = (geometry.size, geometry.window, geometry.stride, geometry.padding, geometry.dilation, geometry.positions)
    for size, window, stride, (before, _), dilation, positions in zip(*axes, strict=True):
        distance = np.arange(size)[:, None] + before - stride * np.arange(positions)
        reached = (distance >= 0) & (distance < window * dilation) & (distance % dilation == 0)
        shape = len(tap) * size, tap.shape[1] * positions
        tap = (tap[:, None, :, None] * window + distance[None, :, None, :] // dilation).reshape(shape)
        met = (met[:, None, :, None] & reached[None, :, None, :]).reshape(shape)
    inner = kernel.shape[-2:]
    taps_and_none = jnp.concatenate([kernel.reshape(-1, *inner), jnp.zeros((1, *inner), kernel.dtype)])
    met_by = taps_and_none[np.where(met, tap, len(taps_and_none) - 1)]
    pixels, positions, channels, features = met_by.shape
    return met_by.swapaxes(1, 2).reshape(pixels * channels, positions * features)


def _whole(x: jax.Array, kernel: jax.Array, geometry: Geometry) -> jax.Array:
    y = jnp.dot(x.reshape(len(x), -1), _matrix(kernel, geometry), precision=geometry.precision)
    return y.reshape(len(x), *geometry.positions, geometry.features)


def _whole_input_gradient(g: jax.Array, kernel: jax.Array, geometry: Geometry) -> jax.Array:
    x = jnp.dot(g.reshape(len(g), -1), _matrix(kernel, geometry).T, precision=geometry.precision)
    return x.reshape(len(g), *geometry.size, geometry.channels)


def _whole_kernel_gradient(x: jax.Array, g: jax.Array, geometry: Geometry) -> jax.Array:
    if not _fits(geometry):
        return _dense_kernel_gradient(x, g, geometry)
    y = jnp.dot(x.reshape(len(x), -1).T, g.reshape(len(g), -1), precision=geometry.precision)
    return y.reshape(geometry.kernel)


# Depthwise: every channel has taps of its own; weighted sums of shifted images, fused into one loop


def _meetings(x: jax.Array, geometry: Geometry) -> Iterator[jax.Array]:
    """Return what `taps` yields: pixels (N, *positions, features) in float32."""
    x = jnp.repeat(x, geometry.features // geometry.channels, axis=-1).astype(_wide(x))
    return taps(padded(x, geometry.padding), geometry.window, geometry.stride, geometry.dilation)


def _wide(x: jax.Array) -> Any:
    return jnp.promote_types(x.dtype, jnp.float32)


def _depthwise(x: jax.Array, kernel: jax.Array, geometry: Geometry) -> jax.Array:
    kernel = kernel.reshape(*geometry.window, geometry.features).astype(_wide(x))
    meetings = zip(itertools.product(*map(range, geometry.window)), _meetings(x, geometry), strict=True)
    y = functools.reduce(jnp.add, (pixels * along_channels(kernel[tap], pixels) for tap, pixels in meetings))
    return y.astype(x.dtype)


def _depthwise_input_gradient(g: jax.Array, kernel: jax.Array, geometry: Geometry) -> jax.Array:
    def convolve(g: jax.Array, kernel: jax.Array, part: Geometry) -> jax.Array:
        part = part._replace(features=part.channels, groups=part.channels)  # every feature by a kernel of its own,
        y = _depthwise(g, kernel, part)
        many = geometry.features // geometry.channels
        return y if many == 1 else jnp.sum(y.reshape(*y.shape[:-1], -1, many), axis=-1)  # then a channel's together

    return _dense_input_gradient(g, kernel, geometry, convolve)


def _depthwise_kernel_gradient(x: jax.Array, g: jax.Array, geometry: Geometry) -> jax.Array:
    def run(x: jax.Array, g: jax.Array) -> jax.Array:
        g = g.astype(_wide(g))
        pixels = tuple(range(1, g.ndim - 1))
        return jnp.stack([jnp.sum(seen * g, pixels) for seen in _meetings(x, geometry)])

    # A few images at a time: the products, one for each tap, stay in the cache.
    sums = in_parts(run, (lax.optimization_barrier(x), lax.optimization_barrier(g)), images=8)
    return jnp.sum(sums, (0, 2)).reshape(geometry.kernel).astype(x.dtype)


# Grouped: dense convolutions one after another


def _grouped(form: Form) -> Form:
    """Return the form of several groups, which lie outermost on the last axis of images, maps and kernels."""

    def split(a: jax.Array, groups: int) -> jax.Array:
        return jnp.moveaxis(a.reshape(*a.shape[:-1], groups, -1), -2, 0)

    def run(a: jax.Array, b: jax.Array, geometry: Geometry) -> jax.Array:
        groups = geometry.groups
        one = geometry._replace(channels=geometry.channels // groups, features=geometry.features // groups, groups=1)
        y = lax.map(lambda parts: form(parts[0], parts[1], one), (split(a, groups), split(b, groups)))
        return jnp.moveaxis(y, 0, -2).reshape(*y.shape[1:-1], -1)

    return run


# Which runs where

LIBRARY = Forms(_library, _library_input_gradient, _library_kernel_gradient)
_DENSE = Forms(_dense, _dense_input_gradient, _dense_kernel_gradient, sequential=True)
_FEW_CHANNELS = _DENSE._replace(kernel_gradient=_few_channels_kernel_gradient)
_GROUPED = Forms(*map(_grouped, _DENSE[:3]), sequential=True)
_POINTWISE = Forms(_library, _pointwise_input_gradient, _pointwise_kernel_gradient, sequential=True)
_WHOLE = Forms(_whole, _whole_input_gradient, _whole_kernel_gradient, sequential=True)
_DEPTHWISE = Forms(_depthwise, _depthwise_input_gradient, _depthwise_kernel_gradient)


def _winograd_input_gradient(g: jax.Array, kernel: jax.Array, geometry: Geometry) -> jax.Array:
    return _dense_input_gradient(g, kernel, geometry, winograd)


_WINOGRAD = Forms(winograd, _winograd_input_gradient, winograd_kernel_gradient, sequential=True)


def fast_on_cpu(geometry: Geometry, batch: int, dtype: Any) -> Forms:
    """Return the forms that are fastest on a CPU; elsewhere `LIBRARY` is what cuDNN and the TPU compiler know."""
    if geometry.groups == geometry.channels > 1:
        return _DEPTHWISE
    if geometry.groups > 1:
        return _GROUPED
    if math.prod(geometry.window) == 1 and not any(map(any, geometry.padding)):
        return _POINTWISE
    spans = [(w - 1) * d + 1 for w, d in zip(geometry.window, geometry.dilation, strict=True)]
    beyond = any(span > size for span, size in zip(spans, geometry.size, strict=True))
    if _fits(geometry) or (beyond and math.prod(geometry.size) <= 4 * math.prod(geometry.window)):
        return _WHOLE
    three = geometry.window == (3, 3) and geometry.stride == geometry.dilation == (1, 1)
    positions = math.prod(geometry.positions)
    work = positions * math.prod(geometry.kernel)  # multiply-adds of an image
    # Where few pixels meet many kernels the transforms of the kernels cost more than they save; below so much work in
    # all they are not worth the longer compilation; a batch is taken in parts of a few images; half precision and
    # whoever asks for a precision want plain sums of products.
    large = positions >= 64 and work >= 2**24 and batch * work >= 2**29 and batch % 4 == 0
    if three and large and geometry.precision in (None, "default") and jnp.finfo(dtype).bits >= 32:
        return _WINOGRAD
    return _FEW_CHANNELS if geometry.channels * geometry.window[-1] <= 16 else _DENSE
