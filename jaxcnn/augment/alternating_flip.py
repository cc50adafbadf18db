"""Mirror images by turns: every image both ways within two epochs."""

import jax
import jax.numpy as jnp

from jaxcnn.augment.example import Example
from jaxcnn.augment.mirror import flip
from jaxcnn.augment.operations import policy
from jaxcnn.augment.switching import switch
from jaxcnn.checking import array, expect, is_int, shown

__all__ = ["alternating_flip"]


@policy
def alternating_flip(key: jax.Array, example: Example, *, seed: int = 0) -> Example:
    """Return the example mirrored left to right in every other epoch: at random in the first, then by turns.

        mirrored = coin(seed, index) xor (epoch is odd)

    with a fair coin that depends on the seed and the index alone. Random mirroring shows the half of the images the
    same way in two epochs that follow one another; this shows none.

    Args:
        key: a typed key, for the signature alone: what is done depends on the entries.
        example: with "image", floating (H, W, C), and integers "index", the image's number in the data set, and
            "epoch"; masks, boxes and keypoints move along.
        seed: of the coins.

    Returns:
        The example, of the same shapes and dtypes.

    Raises:
        ValueError: no "index" or "epoch", or one that is no scalar.
        TypeError: an "index" or "epoch" of another dtype.

    Source:
        Jordan 2024 (94% on CIFAR-10 in 3.29 seconds), section 3.6, and airbench.
    """
    for name in ("index", "epoch"):
        fix = 'Put it into the batch, one for each image: {"image": ..., "index": (N,), "epoch": (N,)}.'
        expect(name in example, "alternating_flip", f'an example with an "{name}" entry', list(example), fix)
        number = array("alternating_flip", name, example[name])
        expect(number.ndim == 0, "alternating_flip", f'one "{name}" for an image', f"shape {number.shape}", fix)
        integer = jnp.issubdtype(number.dtype, jnp.integer)
        expect(integer, "alternating_flip", f'an integer "{name}"', number.dtype, "Count from 0.", TypeError)
    fix = "Pass the seed of the run, say."
    expect(is_int(seed, -(2**31), 2**31 - 1), "alternating_flip", "seed as an int32", shown(seed), fix)
    coin = jax.random.bernoulli(jax.random.fold_in(jax.random.key(seed), example["index"]))
    mirrored = coin ^ (jnp.asarray(example["epoch"]) % 2 == 1)
    ways = (lambda key, example: example, lambda key, example: flip(key, example, p=1.0))
    return switch(mirrored.astype(jnp.int32), ways, key, example)
