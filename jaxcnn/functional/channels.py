"""Channels in another order."""

import jax
import jax.numpy as jnp

from jaxcnn.checking import expect, expect_count, floating

__all__ = ["channel_shuffle"]


def channel_shuffle(x: jax.Array, *, groups: int = 2) -> jax.Array:
    """Return the channels dealt out anew: the first of every group, then the second of every group, and so on.

    y[..., c groups + g] = x[..., g C / groups + c]

    Args:
        x: (..., C), floating.
        groups: of C / groups channels that lie side by side in x.

    Returns:
        The shape and dtype of x.

    Raises:
        ValueError: groups that do not divide C, no axis.
        TypeError: x is not floating.

    Source: Zhang et al. 2018 (ShuffleNet), section 3.1; agrees with `torch.nn.functional.channel_shuffle`.
    """
    x = floating("channel_shuffle", "x", x)
    groups = expect_count("channel_shuffle", "groups", groups)
    expect(x.ndim >= 1, "channel_shuffle", "an input of shape (..., C)", x.shape, "Add a channel axis, last.")
    fix = "Change groups or the layer before."
    channels = x.shape[-1]
    expect(channels % groups == 0, "channel_shuffle", f"channels that {groups} groups divide", channels, fix)
    return jnp.swapaxes(x.reshape(*x.shape[:-1], groups, channels // groups), -1, -2).reshape(x.shape)
