"""A classifier of windows, slid over images of several sizes: where does it see something, and what?

Source: Vaillant, Monrocq, LeCun 1994, "Original approach for the localisation of objects in images"; Sermanet et al.
2014, "OverFeat", section 3.
"""

import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from jaxcnn.checking import expect, expect_count, floating, is_int, is_number, number, shown
from jaxcnn.detection.found import Found, strongest

__all__ = ["sliding_windows"]


def sliding_windows(
    logits_fn: Callable[[jax.Array], jax.Array],
    images: jax.Array,
    *,
    window: int,
    stride: int,
    scales: Sequence[float] = (1.0,),
    background: int | None = None,
    candidates: int = 500,
    limit: int = 100,
    overlap: float = 0.3,
) -> Found:
    """Return the windows that a classifier is most certain of, in images that are resized to several scales.

    Window (i, j) at scale s is the square of window / s pixels whose corner is (stride i / s, stride j / s). Its score
    is the largest probability of a class, background left out. From the best score down, a window is kept that no
    better kept one overlaps by more than that, whatever their classes. Shapes are fixed: it works under `jit`.

    Args:
        logits_fn: images (N, H, W, C) -> logits (N, h, w, classes) of the windows at each `stride` pixels, as a net
            does that `surgery.fully_convolutional` made of a classifier.
        images: floating (N, H, W, C), in [0, 1].
        window: pixels of a window's side, in the image that the net sees.
        stride: pixels between windows there.
        scales: by which the images are resized, each > 0; 0.5 finds what is twice as large as a window.
        background: the class that stands for no object, if there is one.
        candidates: windows of an image, those of the highest scores, that suppression looks at.
        limit: windows of an image that are returned.
        overlap: of intersection by union, in [0, 1].

    Returns:
        Boxes in pixels of `images`, scores in [0, 1] and classes, -1 for those that are none.

    Raises:
        TypeError: images that are not floating.
        ValueError: another rank; counts that are not positive; images smaller than the window at some scale; logits
            of another shape than the windows'.
    """
    where = "sliding_windows"
    images = floating(where, "images", images)
    ok = images.ndim == 4
    expect(ok, where, "images (N, H, W, C)", images.shape, "Give one image a first axis: image[None].")
    window, stride = expect_count(where, "window", window), expect_count(where, "stride", stride)
    candidates, limit = expect_count(where, "candidates", candidates), expect_count(where, "limit", limit)
    overlap = number(where, "overlap in [0, 1]", overlap, lambda o: 0 <= o <= 1, "0.3 is usual.")
    ok = isinstance(scales, Sequence) and len(scales) > 0
    ok = ok and all(is_number(s) and 0 < float(s) < math.inf for s in scales)
    expect(ok, where, "finite scales > 0, at least one", shown(scales), "Pass (1.0, 0.8), say.")
    parts = [_at_scale(logits_fn, images, float(s), window, stride, background) for s in scales]
    boxes = jnp.concatenate([part.boxes for part in parts])
    score, label = (jnp.concatenate([getattr(part, name) for part in parts], 1) for name in ("score", "box_class"))

    def of_one(score: jax.Array, label: jax.Array) -> Found:
        options = {"candidates": candidates, "limit": limit, "overlap": overlap, "by_class": False}
        return strongest(score, lambda at: (boxes[at], label[at]), **options)

    return jax.vmap(of_one)(score, label)


def _at_scale(
    logits_fn: Callable[[jax.Array], jax.Array],
    images: jax.Array,
    scale: float,
    window: int,
    stride: int,
    background: int | None,
) -> Found:
    """Return all windows of one scale, with boxes (M, 4) that all images share."""
    where = "sliding_windows"
    count, *size, channels = images.shape
    rows, columns = (round(side * scale) for side in size)
    ok = min(rows, columns) >= window
    fix = "Leave the smallest scales out."
    expect(ok, where, f"images of {window}x{window} pixels or more", f"{rows}x{columns} at scale {scale:g}", fix)
    resized = images if (rows, columns) == tuple(size) else _resized(images, (count, rows, columns, channels))
    logits = logits_fn(resized)
    grid = ((rows - window) // stride + 1, (columns - window) // stride + 1)
    ok = logits.ndim == 4 and len(logits) == count
    # A net that leaves out the edge of a window has one that reaches beyond the image.
    beyond = (-(-(side - window) // stride) + 1 for side in (rows, columns))
    ok = ok and all(n <= got <= most for n, got, most in zip(grid, logits.shape[1:3], beyond, strict=True))
    what = f"logits of windows, {(count, *grid)} and classes"
    expect(ok, where, what, logits.shape, "Make the net with surgery.fully_convolutional; check window and stride.")
    logits, classes = logits[:, : grid[0], : grid[1]], logits.shape[-1]
    ok = background is None or (is_int(background, 0, classes - 1) and classes > 1)
    expect(ok, where, f"background as one of {classes} classes", shown(background), "Pass its number.")
    p = jax.nn.softmax(logits.astype(jnp.promote_types(logits.dtype, jnp.float32)), -1)
    if background is not None:
        p = p.at[..., background].set(-1)
    p = p.reshape(count, -1, classes)
    top, left = jnp.meshgrid(*(jnp.arange(n) * stride for n in grid), indexing="ij")
    corner = jnp.stack([left.ravel(), top.ravel()], -1)
    back = jnp.array([size[1] / columns, size[0] / rows] * 2)  # from the resized image to the given one
    return Found(jnp.concatenate([corner, corner + window], -1) * back, p.max(-1), p.argmax(-1).astype(jnp.int32))


def _resized(images: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    return jax.image.resize(images, shape, "linear").astype(images.dtype)
