"""Images that a net is sure of: what a search for them is given, what it climbs, and what comes of it."""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn import classifier
from jaxcnn.attack.given import prepared
from jaxcnn.attack.goal import Bounds, logits
from jaxcnn.checking import expect, is_int, is_number, shown
from jaxcnn.classifier import LogitsFn, as_tree, expect_logits, outputs_like
from jaxcnn.variants import over_variants

__all__ = ["Fooled", "fooled", "log_odds", "prepared_spec"]


class Fooled(NamedTuple):
    """One image for each class, and how sure the net is that it shows it; a pytree."""

    images: jax.Array  # (n, H, W, C), within the bounds
    classes: jax.Array  # (n,), int32
    confidence: jax.Array  # (n,), the net's probability of the class, evaluated anew
    history: jax.Array  # (1 + steps or generations, n), the same from the start on, of the best so far in `evolve`

    def above(self, confidence: float = 0.99) -> jax.Array:
        """Return of which images (n,) the net is more than so sure; NaN is never sure."""
        return self.confidence > confidence


def prepared_spec(
    where: str, logits_fn: LogitsFn, spec: Any, classes: Any, bounds: Any
) -> tuple[Any, Any, jax.Array, Bounds]:
    """Return the function, the spec of a batch of one, the classes (n,) and the bounds; raise an error unless they fit.

    Args:
        where: the search.
        logits_fn: images -> logits.
        spec: of images, the batch axis included, as every `spec` of jaxcnn; how long that is does not matter.
        classes: the classes that images are wanted of, or None for all.
        bounds: the least and the largest value of a pixel.
    """
    shape: Any = getattr(spec, "shape", None)
    dtype: Any = getattr(spec, "dtype", None)
    ok = isinstance(shape, tuple) and dtype is not None and len(shape) > 1 and min(shape[1:]) > 0
    fix = "Pass train.spec, or jax.ShapeDtypeStruct((1, 28, 28, 1), jax.numpy.float32)."
    expect(ok, where, "spec as that of images, the batch axis included", shown(spec), fix, TypeError)
    expect(jnp.issubdtype(dtype, jnp.floating), where, "spec of a floating dtype", dtype, fix, TypeError)
    spec = jax.ShapeDtypeStruct((1, *shape[1:]), dtype)
    low = bounds[0] if isinstance(bounds, Sequence) and bounds and is_number(bounds[0]) else 0.0  # checked below
    blank = jnp.full(spec.shape, low, dtype)
    logits_fn, _, _, bounds = prepared(where, logits_fn, blank, 0, bounds=bounds)
    found = expect_logits(where, outputs_like(where, as_tree(logits_fn), blank), blank, ONE_ROW)
    expect(len(found) == 2, where, "logits (images, classes)", found, ONE_ROW)
    if classes is None:
        return logits_fn, spec, jnp.arange(found[-1], dtype=jnp.int32), bounds
    given: Any = classes if hasattr(classes, "dtype") else np.asarray(classes) if _ints(classes) else None
    ok = given is not None and given.ndim == 1 and given.size > 0
    fix = f"Pass classes=[0, 1], say, of 0 to {found[-1] - 1}."
    expect(ok, where, "classes as a list of some", shown(classes), fix, TypeError)
    return logits_fn, spec, classifier.classes(where, "classes", given, (len(given), found[-1])), bounds


def log_odds(logits: jax.Array) -> jax.Array:
    """Return log p_k / (1 - p_k) of every class, (..., classes), p the softmax: it goes on rising where p rounds to 1.

    The largest logit has those of the others subtracted, log p - log (1 - p) does for the rest, of which p <= 1/2.
    """
    first = jax.nn.one_hot(logits.argmax(-1), logits.shape[-1], dtype=bool)
    rest = jax.nn.logsumexp(jnp.where(first, -jnp.inf, logits), axis=-1, keepdims=True)
    log_p = jax.nn.log_softmax(logits)
    return jnp.where(first, logits - rest, log_p - jnp.log1p(-jnp.exp(log_p)))


def fooled(
    where: str, logits_fn: LogitsFn, images: jax.Array, classes: jax.Array, history: jax.Array, chunk: int
) -> Fooled:
    """Return images with the confidence that the net has in them, looked at again by a program of its own."""
    confidence = _confidence(logits_fn, images, classes, chunk=chunk)
    if not isinstance(confidence, jax.core.Tracer):
        fix = "Look at what the net gives for images of noise."
        expect(bool(jnp.isfinite(confidence).all()), where, "finite logits", "infinite or NaN ones", fix)
    return Fooled(images, classes, confidence, history)


@functools.partial(jax.jit, static_argnames="chunk")
def _confidence(logits_fn: LogitsFn, images: jax.Array, classes: jax.Array, *, chunk: int) -> jax.Array:
    def one(variant: tuple[jax.Array, jax.Array]) -> jax.Array:
        image, wanted = variant
        return jax.nn.softmax(logits(logits_fn, image[None])[0])[wanted]

    return over_variants(one, (images, classes), chunk)


def _ints(classes: Any) -> bool:
    return isinstance(classes, Sequence) and all(map(is_int, classes))


ONE_ROW = "Images are looked for by the logits of one row an image."
