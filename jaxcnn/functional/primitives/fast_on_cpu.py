"""Which form of a convolution is the fast one on a CPU.

XLA on CPU has fast kernels for convolutions that are written with the channels last, if these are many, and it rewrites
others to that layout outside of loops alone; it multiplies by the zeros that a stride puts between the pixels of a
gradient; it computes a depthwise convolution as a dense one. The forms leave it nothing to rewrite.
`experiments.benchmarks.peers` measures what they bring.
"""

import math
from typing import Any

import jax.numpy as jnp

from jaxcnn.functional.primitives.dense import DENSE, FEW_CHANNELS
from jaxcnn.functional.primitives.depthwise import DEPTHWISE
from jaxcnn.functional.primitives.geometry import Forms, Geometry
from jaxcnn.functional.primitives.grouped import GROUPED
from jaxcnn.functional.primitives.pointwise import POINTWISE
from jaxcnn.functional.primitives.whole import WHOLE, fits
from jaxcnn.functional.primitives.winograd import WINOGRAD

__all__ = ["fast_on_cpu"]


def fast_on_cpu(geometry: Geometry, batch: int, dtype: Any) -> Forms:
    """Return the forms that are fastest on a CPU; elsewhere `LIBRARY` is what cuDNN and the TPU compiler know."""
    if geometry.groups == geometry.channels > 1:
        return DEPTHWISE
    if geometry.groups > 1:
        return GROUPED
    if math.prod(geometry.window) == 1 and not any(map(any, geometry.padding)):
        return POINTWISE
    spans = [(w - 1) * d + 1 for w, d in zip(geometry.window, geometry.dilation, strict=True)]
    beyond = any(span > size for span, size in zip(spans, geometry.size, strict=True))
    if fits(geometry) or (beyond and math.prod(geometry.size) <= 4 * math.prod(geometry.window)):
        return WHOLE
    three = geometry.window == (3, 3) and geometry.stride == geometry.dilation == (1, 1)
    positions = math.prod(geometry.positions)
    work = positions * math.prod(geometry.kernel)  # multiply-adds of an image
    # Where few pixels meet many kernels the transforms of the kernels cost more than they save; below so much work in
    # all they are not worth the longer compilation; a batch is taken in parts of a few images; half precision and
    # whoever asks for a precision want plain sums of products.
    large = positions >= 64 and work >= 2**24 and batch * work >= 2**29 and batch % 4 == 0
    if three and large and geometry.precision in (None, "default") and jnp.finfo(dtype).bits >= 32:
        return WINOGRAD
    return FEW_CHANNELS if geometry.channels * geometry.window[-1] <= 16 else DENSE
