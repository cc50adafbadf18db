"""Mixing: images of a batch in pairs, and their labels in the same proportion."""

import jax
import jax.numpy as jnp

from jaxcnn.augment.example import Example
from jaxcnn.augment.options import concentration
from jaxcnn.checking import array, expect, expect_count, expect_key, expect_names, expect_size, floating

__all__ = ["cutmix", "mixup"]


def mixup(key: jax.Array, batch: Example, *, alpha: float = 1.0, classes: int) -> Example:
    """Return the batch with every image and label blended with that of another, in a random proportion.

        x~[n] = r[n] x[n] + (1 - r[n]) x[m(n)],    y~[n] = r[n] y[n] + (1 - r[n]) y[m(n)],
        r[n] ~ Beta(alpha, alpha) for each image,    m a random permutation of the batch

    Args:
        key: a typed key.
        batch: {"image": floating (N, H, W, C) in [0, 1], "label": integers (N,), or probabilities (N, classes)}.
            Other entries are handed on untouched, so they describe x[n] alone.
        alpha: above 0, finite: small ones leave most images nearly unmixed, 1 makes all proportions equally likely.
        classes: the number of classes.

    Returns:
        The batch with images of the same shape and dtype and labels (N, classes), float32, that sum to 1.

    Raises:
        ValueError: no "image" or "label"; another shape; alpha not above 0; classes below 1.
        TypeError: images that are not floating.

    Source:
        Zhang et al. 2018 (mixup), equation 1; torchvision's MixUp, which draws one r for a batch and pairs neighbours.
    """
    expect_key("mixup", key)
    image, label = _images_and_labels("mixup", batch, alpha, classes)
    partner_key, ratio_key = jax.random.split(key)
    partner = jax.random.permutation(partner_key, len(image))
    ratio = _proportions(ratio_key, alpha, len(image))
    return {**batch, "image": _mix(image, image[partner], ratio), "label": _mix(label, label[partner], ratio)}


def cutmix(key: jax.Array, batch: Example, *, alpha: float = 1.0, classes: int) -> Example:
    """Return the batch with a rectangle of another image pasted into every one, and the labels mixed by area.

        x~[n] = x[m(n)] inside a rectangle, x[n] outside,    y~[n] = (1 - a[n]) y[n] + a[n] y[m(n)],

    with a[n] the share of the pixels that were pasted. The rectangle is centred on a random pixel and reaches
    floor(sqrt(1 - r[n]) H / 2) pixels up and down, likewise to the sides, and is cut off at the frame; r[n] ~
    Beta(alpha, alpha) for each image, m a random permutation of the batch.

    Args:
        key: a typed key.
        batch: {"image": floating (N, H, W, C) in [0, 1], "label": integers (N,), or probabilities (N, classes)}.
            Other entries are handed on untouched, so they describe x[n] alone.
        alpha: above 0, finite; 1 in the paper.
        classes: the number of classes.

    Returns:
        The batch with images of the same shape and dtype and labels (N, classes), float32, that sum to 1.

    Raises:
        ValueError: no "image" or "label"; another shape; alpha not above 0; classes below 1.
        TypeError: images that are not floating.

    Source:
        Yun et al. 2019 (CutMix), section 3.1 and algorithm A1; torchvision's CutMix, which draws one rectangle for a
        batch and pairs neighbours.
    """
    expect_key("cutmix", key)
    image, label = _images_and_labels("cutmix", batch, alpha, classes)
    partner_key, ratio_key, centre_key = jax.random.split(key, 3)
    count, height, width, _ = image.shape
    partner = jax.random.permutation(partner_key, count)
    cut = jnp.sqrt(1 - _proportions(ratio_key, alpha, count))
    centre = jax.random.randint(centre_key, (2, count), 0, jnp.array([[height], [width]]))
    rows, columns = (
        jnp.abs(jnp.arange(side)[None] + 0.5 - middle[:, None]) < jnp.floor(cut * side / 2)[:, None]
        for side, middle in zip((height, width), centre, strict=True)
    )
    pasted = jnp.sum(rows, 1) * jnp.sum(columns, 1) / (height * width)
    inside = (rows[:, :, None] & columns[:, None, :])[..., None]
    mixed = jnp.where(inside, image[partner], image)
    return {**batch, "image": mixed, "label": _mix(label, label[partner], 1 - pasted)}


def _proportions(key: jax.Array, alpha: float, count: int) -> jax.Array:
    """Draws from Beta(alpha, alpha), float32 (count,)."""
    # As `jax.random.beta`, but with one Gamma sampler, not two: they take seconds to compile.
    first, second = jax.random.loggamma(key, alpha, (2, count), jnp.float32)
    return jax.nn.sigmoid(first - second)


def _mix(array: jax.Array, other: jax.Array, ratio: jax.Array) -> jax.Array:
    r = ratio.reshape(-1, *(1,) * (array.ndim - 1))
    return (r * array.astype(jnp.float32) + (1 - r) * other.astype(jnp.float32)).astype(array.dtype)


def _images_and_labels(where: str, batch: Example, alpha: float, classes: int) -> tuple[jax.Array, jax.Array]:
    """Return the images and the labels as probabilities, float32 (N, classes), all checked."""
    ok = isinstance(batch, dict) and {"image", "label"} <= batch.keys()
    got = list(batch) if isinstance(batch, dict) else type(batch).__name__
    expect(ok, where, 'a batch with "image" and "label"', got, "Pass a dict of arrays.")
    expect_names(where, "a batch", batch)
    concentration(where, alpha)
    classes = expect_count(where, "classes", classes)
    image, label = floating(where, "image", batch["image"]), array(where, "label", batch["label"])
    mixes = "Mixing takes the whole batch, without jaxcnn.augment.batched."
    expect(image.ndim == 4, where, "images (N, H, W, C)", f"shape {image.shape}", mixes)
    expect(image.size > 0, where, "images with a pixel", f"shape {image.shape}", "Leave empty batches out.")
    expect_size(where, "labels", (len(image), classes), "Check the number of classes.")
    if jnp.issubdtype(label.dtype, jnp.integer):
        fix = "Give each image one class."
        expect(label.shape == image.shape[:1], where, f"labels {image.shape[:1]}", f"shape {label.shape}", fix)
        label = label.astype(jnp.int32)  # one_hot counts the classes in the label's dtype
        return image, jax.nn.one_hot(label, classes, dtype=jnp.float32)
    wanted = (len(image), classes)
    fix = "Pass integer classes, or one probability for each class."
    expect(label.shape == wanted, where, f"probabilities {wanted}", f"shape {label.shape}", fix)
    real = jnp.issubdtype(label.dtype, jnp.floating) or label.dtype == jnp.bool
    expect(real, where, "label of an integer or floating dtype", label.dtype, fix, TypeError)
    return image, label.astype(jnp.float32)
