"""AugMix: an image mixed with augmented versions of itself."""

import jax
import jax.numpy as jnp

from jaxcnn.augment.colour import expect_colours
from jaxcnn.augment.example import augmentation
from jaxcnn.augment.operations import Strengths, named_operations
from jaxcnn.augment.options import concentration
from jaxcnn.augment.switching import one_by_one
from jaxcnn.checking import expect, expect_count, expect_flag, is_int, shown

__all__ = ["augmix"]

BINS = 10
MOST = 1000  # chains, and operations of a chain
_STRENGTHS = Strengths(shear=0.3, shift=lambda side: side / 3, degrees=30, blend=0.9, bits=(4, 0))
# They are among the corruptions of ImageNet-C, the test that AugMix was made for.
_HELD_OUT = {"brightness", "color", "contrast", "sharpness"}


@augmentation
def augmix(
    key: jax.Array,
    image: jax.Array,
    *,
    severity: int = 3,
    width: int = 3,
    depth: int | None = None,
    alpha: float = 1.0,
    all_operations: bool = False,
    fill: float = 0.0,
) -> jax.Array:
    """Return the image mixed with several chains of random operations on it.

        y = (1 - m) x + m sum_k w[k] chain_k(x),    m ~ Beta(alpha, alpha),    w ~ Dirichlet(alpha, ..., alpha)

    Each of the `width` chains applies `depth` operations, each drawn from `rand_augment`'s without the identity, at
    a level l uniform on {0, ..., severity - 1} / 9; but here translations are int(l / 3) of the side, and posterize
    keeps 4 - round(4 l) bits.

    Args:
        key: a typed key.
        image: floating (H, W, 3), or grey (H, W, 1), in [0, 1], or an example. Its masks and boxes stay, as those of
            the image that is mixed in unmoved.
        severity: 1 to 10.
        width: the number of chains, at least 1.
        depth: operations of a chain, at least 1; None draws 1 to 3 for each chain.
        alpha: above 0, finite.
        all_operations: with brightness, color, contrast and sharpness, which the paper leaves out.
        fill: the value that comes in from outside, in [0, 1].

    Returns:
        An image of the same shape and dtype, in [0, 1].

    Raises:
        ValueError: severity, width or depth not whole or out of range; alpha not above 0; fill outside [0, 1]; neither
            1 nor 3 channels.

    Source:
        Hendrycks et al. 2020 (AugMix), algorithm 1, without the Jensen-Shannon loss. The operations are those of
        torchvision's AugMix, which has all_operations and draws one sign and level in the same way.
    """
    ok = is_int(severity, 1, BINS)
    expect(ok, "augmix", f"severity in 1..{BINS}", shown(severity), "3 is usual.")
    width = expect_count("augmix", "width", width, most=MOST)
    depth = None if depth is None else expect_count("augmix", "depth", depth, most=MOST)
    alpha = concentration("augmix", alpha)
    all_operations = expect_flag("augmix", "all_operations", all_operations)
    expect_colours("augmix", image)
    held_out = set() if all_operations else _HELD_OUT
    fns = [fn for name, fn in named_operations("augmix", _STRENGTHS, fill, 0).items() if name not in held_out]

    weights_key, chains_key = jax.random.split(key)
    longest = 3 if depth is None else depth
    # Dirichlet and Beta weights are normalised Gamma draws; in logarithms small ones do not underflow.
    draws = jax.random.loggamma(weights_key, alpha, (width + 2,), jnp.float32)
    weights, mixed = jax.nn.softmax(draws[:width]), jax.nn.sigmoid(draws[width] - draws[width + 1])
    # Uniform draws, as `randint` takes seconds to compile.
    which, strength, sign, length = jax.random.uniform(chains_key, (4, width, longest), jnp.float32)
    index = 1 + (which * (len(fns) - 1)).astype(jnp.int32)
    if depth is None:  # what lies behind a chain's end is the identity, the first of fns
        index = jnp.where(jnp.arange(longest)[None, :] <= jnp.floor(3 * length[:, :1]), index, 0)
    level = jnp.where(sign < 0.5, -1, 1) * jnp.floor(strength * severity) / (BINS - 1)

    def operate(x: jax.Array, drawn: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        return jax.lax.switch(drawn[0], fns, drawn[1], x), None

    def chains(image: jax.Array, drawn: tuple[jax.Array, ...]) -> tuple[jax.Array, tuple]:
        def add_chain(total: jax.Array, drawn: tuple[jax.Array, ...]) -> tuple[jax.Array, None]:
            x, _ = jax.lax.scan(operate, image, (drawn[1], drawn[2]))
            return total + drawn[0] * x.astype(jnp.float32), None

        # Scans: written out, the operations would be compiled width x depth times.
        return jax.lax.scan(add_chain, jnp.zeros(image.shape, jnp.float32), drawn)[0], ()

    # The loop over the images outermost: with one for each operation 512 32x32x3 images took x2 on CPU.
    total, _ = one_by_one(chains)(image, (weights, index, level))
    return jnp.clip((1 - mixed) * image.astype(jnp.float32) + mixed * total, 0, 1).astype(image.dtype)
