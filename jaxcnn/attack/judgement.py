"""What became of attacked images: looked at again, by the net itself."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn.attack.given import prepared
from jaxcnn.attack.goal import Bounds, Goal, image_axes, reached, wide
from jaxcnn.attack.norms import NORMS, size
from jaxcnn.checking import expect
from jaxcnn.classifier import LogitsFn, logits_of, outputs

__all__ = ["Judgement", "judge"]


@dataclass(frozen=True, repr=False, eq=False)
class Judgement:
    """What a net makes of attacked images; arrays (...), one an image."""

    success: np.ndarray  # bool: the goal is reached
    prediction: np.ndarray  # int: the class that the net gives
    confidence: np.ndarray  # its probability
    linf: np.ndarray  # the largest change of a value
    l2: np.ndarray  # the Euclidean length of the change
    l1: np.ndarray  # the sum of all changes
    l0: np.ndarray  # how many values changed

    @property
    def robust_accuracy(self) -> float:
        """The fraction of images that withstood, for attacks without a target."""
        return float(1 - self.success.mean())

    def __repr__(self) -> str:
        """Return how many images the net was fooled on, and how large their changes are at most."""
        count, fooled = self.success.size, int(self.success.sum())
        largest = ", ".join(f"{norm} {np.max(getattr(self, norm), initial=0):.4g}" for norm in NORMS)
        return f"{fooled} of {count} images reach the goal; the largest changes: {largest}"


def judge(
    logits_fn: LogitsFn, x: Any, adversarial: Any, y: Any, *, target: Any = None, bounds: Bounds = (0.0, 1.0)
) -> Judgement:
    """Return whether attacked images fool the net and how far they are from the originals, evaluated anew.

        adversarial = attack.pgd(key, logits_fn, x, y, epsilon=8 / 255)
        found = attack.judge(logits_fn, x, adversarial, y)
        found.success.mean(), found.linf.max()

    Args:
        logits_fn: images -> logits.
        x: the original images (..., H, W, C), within the bounds.
        adversarial: the attacked ones, (..., H, W, C), or with further axes in front: several of each image.
        y: the true classes, one for all or one each.
        target: the classes that were wanted, or None for any but y.
        bounds: the least and the largest value of a pixel.

    Returns:
        The judgement, arrays on the host with one value for each attacked image.

    Raises:
        ValueError: images out of bounds, classes that are none, shapes that do not fit, no images.
    """
    where = "judge"
    logits_fn, x, goal, (low, high) = prepared(where, logits_fn, x, y, target=target, bounds=bounds)
    adversarial = jnp.asarray(adversarial)
    ok = adversarial.shape[max(0, adversarial.ndim - x.ndim) :] == x.shape
    fix = "Pass what the attack gave for these images."
    expect(ok, where, f"adversarial of shape (..., {', '.join(map(str, x.shape))})", adversarial.shape, fix)
    got = f"adversarial of shape {adversarial.shape}"
    expect(adversarial.size > 0, where, "at least one attacked image", got, "Pass some: of none there is no judgement.")
    several = np.asarray(adversarial).reshape(-1, *x.shape)
    inside = bool(np.all((several >= low) & (several <= high)))
    expect(inside, where, f"adversarial images within bounds=({low}, {high})", "others", fix)
    # One set of images after the other, by the program that has looked at x.
    rows = [_seen(logits_of(outputs(logits_fn, images)), wide(images) - wide(x), goal) for images in several]
    shape = adversarial.shape[: adversarial.ndim - len(image_axes(x, goal))]
    return Judgement(*(np.stack(column).reshape(shape) for column in zip(*rows, strict=True)))


@jax.jit
def _seen(found: jax.Array, delta: jax.Array, goal: Goal) -> tuple[jax.Array, ...]:
    """Return the fields of a judgement, from the logits of images and their changes."""
    found = wide(found)
    sizes = (size(delta, norm, image_axes(delta, goal)) for norm in NORMS)
    return reached(found, goal), found.argmax(-1), jax.nn.softmax(found).max(-1), *sizes
