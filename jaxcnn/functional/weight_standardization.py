"""Weight standardization: normalization of the kernels in the place of what they compute."""

import jax
import jax.numpy as jnp

from jaxcnn.checking import expect, floating
from jaxcnn.functional.group_norm import standardised

__all__ = ["weight_standardization"]


def weight_standardization(kernel: jax.Array, *, eps: float = 1e-5) -> jax.Array:
    """Return the kernel with mean 0 and variance 1 over all the weights of each output channel.

    w = (kernel - mean) / sqrt(var + eps), mean and (biased) var over all axes but the last.

    Args:
        kernel: (..., C_in, C_out), floating, such as (kh, kw, C_in / groups, C_out). Statistics are computed in
            float32, in two passes.
        eps: added to the variance, >= 0.

    Returns:
        The shape and dtype of kernel.

    Raises:
        ValueError: fewer than two axes, a negative eps.
        TypeError: kernel is not floating.

    Source: Qiao et al. 2019, equation 5, with eps under the root as in Kolesnikov et al. 2020 (BiT); agrees with
    `torch.nn.functional.batch_norm` of the weights, one output channel a channel. `flax.linen.WeightNorm` is another
    thing: it divides by the norm and subtracts nothing.
    """
    kernel = floating("weight_standardization", "kernel", kernel)
    expect(
        kernel.ndim >= 2,
        "weight_standardization",
        "a kernel of shape (..., C_in, C_out)",
        kernel.shape,
        "Put the output channels last.",
    )
    axes = tuple(range(kernel.ndim - 1))

    def mean_of(v):
        return jnp.mean(v, axis=axes, keepdims=True)

    return standardised("weight_standardization", kernel, mean_of, eps).astype(kernel.dtype)
