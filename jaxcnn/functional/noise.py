"""Noise that regularises: activations set to zero at random while training."""

from functools import reduce

import jax
import jax.numpy as jnp

from jaxcnn.checking import expect_flag, expect_key, floating, scalar
from jaxcnn.functional.primitives.random_bits import random_halves
from jaxcnn.functional.primitives.taps import taps_along
from jaxcnn.functional.window import Size, images, pair, some_pixels

__all__ = ["drop_block", "drop_path", "dropout", "spatial_dropout"]


def dropout(key: jax.Array, x: jax.Array, rate: float | jax.Array) -> jax.Array:
    """Return x with a random fraction `rate` of its entries zero and the rest divided by 1 - rate.

    y = m * x / (1 - rate), m ~ Bernoulli(1 - rate) independently for each entry, so that E[y] = x.

    Args:
        key: a PRNG key, consumed.
        x: any shape, floating.
        rate: the fraction set to zero, in [0, 1], rounded to a multiple of 1/65536; a traced one outside gives NaN.

    Returns:
        The shape and dtype of x; x itself at rate 0, all zeros at rate 1.

    Raises:
        ValueError: a rate outside [0, 1].
        TypeError: x is not floating, or key is no PRNG key.

    Source: Srivastava et al. 2014, in the inverted form of `flax.linen.Dropout` and PyTorch, which draw other masks
    of the same distribution.
    """
    expect_key("dropout", key)
    x = floating("dropout", "x", x)
    return _drop("dropout", key, x, rate, x.shape)


def spatial_dropout(key: jax.Array, x: jax.Array, rate: float | jax.Array) -> jax.Array:
    """Return the images with a random fraction `rate` of their maps zero and the rest divided by 1 - rate.

    y[..., c] = m[c] * x[..., c] / (1 - rate), m ~ Bernoulli(1 - rate), one draw for each image and channel.

    Args:
        key: a PRNG key, consumed.
        x: images (..., H, W, C), or one (H, W, C), floating.
        rate: the fraction of maps set to zero, in [0, 1], rounded to a multiple of 1/65536; a traced one outside
            gives NaN.

    Returns:
        The shape and dtype of x; x itself at rate 0, all zeros at rate 1.

    Raises:
        ValueError: a rate outside [0, 1], wrong rank.
        TypeError: x is not floating, or key is no PRNG key.

    Source: Tompson et al. 2015 (Efficient object localization using convolutional networks), section 3.2; the
    distribution of `torch.nn.functional.dropout2d`.
    """
    expect_key("spatial_dropout", key)
    x = images("spatial_dropout", x)
    return _drop("spatial_dropout", key, x, rate, (*x.shape[:-3], 1, 1, x.shape[-1]))


def drop_path(key: jax.Array, x: jax.Array, rate: float | jax.Array) -> jax.Array:
    """Return a random fraction `rate` of the images as zeros and the rest divided by 1 - rate (stochastic depth).

    y = m * x / (1 - rate), m ~ Bernoulli(1 - rate), one draw for each image: at the end of a residual branch this
    leaves the branch out.

    Args:
        key: a PRNG key, consumed.
        x: images (..., H, W, C), or one (H, W, C), floating: what a draw belongs to is what the last three axes hold.
            Give vectors (..., C) an image of one pixel, `x[..., None, None, :]`.
        rate: the fraction set to zero, in [0, 1], rounded to a multiple of 1/65536; a traced one outside gives NaN.

    Returns:
        The shape and dtype of x; x itself at rate 0, all zeros at rate 1.

    Raises:
        ValueError: a rate outside [0, 1], wrong rank.
        TypeError: x is not floating, or key is no PRNG key.

    Source: Huang et al. 2016 (Deep networks with stochastic depth), section 3, divided by 1 - rate while training
    instead of multiplied by it afterwards; the distribution of timm's `drop_path` on batches of images.
    """
    expect_key("drop_path", key)
    x = images("drop_path", x)
    return _drop("drop_path", key, x, rate, (*x.shape[:-3], 1, 1, 1))


def drop_block(
    key: jax.Array, x: jax.Array, rate: float | jax.Array, *, block_size: Size = 7, shared: bool = False
) -> jax.Array:
    """Return the images with random blocks zero, about a fraction `rate` of each map, and the rest scaled up.

    y = m * x * count(m) / sum(m) over each image. Blocks that lie wholly in the image are dropped, each with
    probability gamma = rate / (bh bw) * (H W) / ((H - bh + 1) (W - bw + 1)), and m is zero in all of them. Blocks may
    overlap, so what is dropped is somewhat less than `rate`, the more so the larger it is.

    Args:
        key: a PRNG key, consumed.
        x: images (..., H, W, C), or one (H, W, C), of at least one pixel, floating.
        rate: the fraction to be set to zero, in [0, 1]; a traced one outside gives NaN. Gamma is rounded to a
            multiple of 1/65536.
        block_size: pixels, one int or (vertical, horizontal); made no larger than the image.
        shared: the same blocks in all channels; the paper found blocks of their own to work better.

    Returns:
        The shape and dtype of x; x itself at rate 0.

    Raises:
        ValueError: a rate outside [0, 1], wrong rank, a block size that is not positive, images without pixels.
        TypeError: x is not floating, or key is no PRNG key.

    Source: Ghiasi et al. 2018 (DropBlock), algorithm 1 and equation 1, scaled image by image, so that images do not
    depend on each other.
    """
    expect_key("drop_block", key)
    x, rate = some_pixels("drop_block", x), _fraction("drop_block", rate)
    shared = expect_flag("drop_block", "shared", shared)
    *lead, height, width, channels = x.shape
    block = pair("drop_block", "block_size", block_size)
    bh, bw = min(block[0], height), min(block[1], width)
    rows, columns = height - bh + 1, width - bw + 1
    gamma = rate * (height * width / (bh * bw * rows * columns))
    kept, _ = keep_mask(key, 1 - gamma, (*lead, rows, columns, 1 if shared else channels))
    # A block begins where it was drawn; a pixel is kept if no block that reaches it was.
    around = ((bh - 1, bh - 1), (bw - 1, bw - 1), (0, 0))
    kept = jnp.pad(kept, ((0, 0),) * len(lead) + around, constant_values=True)
    for axis, size in ((-3, bh), (-2, bw)):
        kept = reduce(jnp.logical_and, taps_along(kept, axis, size, 1))
    return _scaled(x, kept, jnp.mean(kept, axis=(-3, -2, -1), keepdims=True, dtype=jnp.float32), rate)


def keep_mask(key: jax.Array, keep: jax.Array, shape: tuple[int, ...]) -> tuple[jax.Array, jax.Array]:
    """Return which entries to keep, drawn independently, and the exact probability of each to be kept.

    m = u < t, u uniform on 0 .. 65535, t = round(65536 keep); the probability is t / 65536: 0 and 1 are exact.

    Args:
        key: a PRNG key, consumed.
        keep: the probability, float32 scalar.
        shape: of the mask.

    Returns:
        bool of `shape`, and a float32 scalar.
    """
    threshold = jnp.clip(jnp.round(keep * 65536), 0, 65536)
    kept = random_halves(key, shape).astype(jnp.uint32) < threshold.astype(jnp.uint32)
    return kept, threshold / 65536


def _drop(where: str, key: jax.Array, x: jax.Array, rate: float | jax.Array, shape: tuple[int, ...]) -> jax.Array:
    rate = _fraction(where, rate)
    return _scaled(x, *keep_mask(key, 1 - rate, shape), rate)


def _scaled(x: jax.Array, kept: jax.Array, share: jax.Array, rate: jax.Array) -> jax.Array:
    """`x / share` where kept and zero elsewhere; `share`, the probability or fraction of what is kept, may be zero."""
    wide = jnp.promote_types(x.dtype, jnp.float32)
    zero = 0 * rate  # NaN of a rate that is NaN
    scale = 1 / jnp.where(share > 0, share, 1).astype(wide) + zero  # never inf: the gradient would be 0 * inf
    return jnp.where(kept, x.astype(wide) * scale, zero).astype(x.dtype)


def _fraction(where: str, rate: float | jax.Array) -> jax.Array:
    """`rate` as a float32 scalar; a traced one, whose value nobody can check, is NaN outside [0, 1]."""
    rate = scalar(where, "a rate in [0, 1]", rate, lambda r: 0 <= r <= 1, "The rate is the fraction set to zero.")
    known, rate = isinstance(rate, float), jnp.asarray(rate, jnp.float32)
    return rate if known else jnp.where((rate >= 0) & (rate <= 1), rate, jnp.nan)
