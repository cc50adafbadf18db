"""The standard evaluation: which images withstand attacks of several kinds, and whether that can be believed."""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxcnn.attack.given import (
    expect_function,
    expect_inside,
    expect_no_probabilities,
    expect_radius,
    prepared,
    trusted,
)
from jaxcnn.attack.goal import Bounds, Goal
from jaxcnn.attack.masking import sign_of_black_box, signs_of_net, signs_of_standing
from jaxcnn.attack.norms import expect_norm
from jaxcnn.attack.standard import STANDARD, Budget, Images, Progress, climbed
from jaxcnn.checking import expect, expect_count, expect_key, number, shown
from jaxcnn.classifier import LogitsFn, logits_of, outputs

__all__ = ["Attacked", "RobustReport", "robust_accuracy"]


STEPS, QUERIES = 100, 5000  # of the standard evaluation


class Attacked(NamedTuple):
    """What one attack did."""

    attack: str
    attacked: int  # images, which still stood
    fell: int  # of those
    accuracy: float  # afterwards
    calls: int  # gradients allowed, or queries asked (Square), of all images together


@dataclass(frozen=True, repr=False, eq=False)
class RobustReport:
    """Which images withstood every attack; `float(report)` is their fraction. Arrays (...), one value an image."""

    epsilon: float
    norm: str
    clean_accuracy: float  # without any attack
    attacks: tuple[Attacked, ...]  # one after the other
    warnings: tuple[str, ...]  # signs that the net is less robust than it seems
    fooled: np.ndarray  # bool: the net errs on `adversarial`, by a last look in the order of x
    fell_to: np.ndarray  # str: the attack; "clean" where the net errs without any, "" where it never does
    adversarial: np.ndarray  # images of x's shape and dtype: x itself where no attack succeeds
    prediction: np.ndarray  # int: the class that the net gives to `adversarial`
    confidence: np.ndarray  # its probability
    steps: int = STEPS  # of APGD and FAB
    queries: int = QUERIES  # of Square

    def __float__(self) -> float:
        """Return the robust accuracy."""
        return float(1 - self.fooled.mean())

    def __repr__(self) -> str:
        """Return a short table."""
        percent = lambda share: f"{100 * share:.1f} %"  # noqa: E731
        rows = [("attack", "attacked", "fell", "accuracy"), ("none", "", "", percent(self.clean_accuracy))]
        rows += [(each.attack, str(each.attacked), str(each.fell), percent(each.accuracy)) for each in self.attacks]
        if rows[-1][-1] != percent(float(self)):  # of a net that is random, or sees batches
            rows.append(("at the last look", "", "", percent(float(self))))
        wide = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [f"{row[0]:{wide[0]}}  {row[1]:>{wide[1]}}  {row[2]:>{wide[2]}}  {row[3]:>{wide[3]}}" for row in rows]
        head = f"robust accuracy {percent(float(self))} of {self.fooled.size} images, {self.norm} {self.epsilon:.4g}"
        head += f", {self.steps} steps, {self.queries} queries"
        if self.steps < STEPS or self.queries < QUERIES or len(self.attacks) < len(STANDARD):
            head += f"; the standard is {STEPS} and {QUERIES} of {len(STANDARD)} attacks"
        return "\n".join([head, *lines, *(f"Warning: {sentence}" for sentence in self.warnings)])


def robust_accuracy(
    key: jax.Array,
    logits_fn: LogitsFn,
    x: Any,
    y: Any,
    *,
    epsilon: float,
    norm: str = "linf",
    bounds: Bounds = (0.0, 1.0),
    batch_size: int = 256,
    attacks: Sequence[str] = STANDARD,
    steps: int = STEPS,
    queries: int = QUERIES,
    on_progress: Callable[[Progress], None] | None = None,
) -> RobustReport:
    """Return on which images a net is right, and stays so under every attack of AutoAttack's standard ensemble.

    "apgd-ce" is APGD on the cross-entropy; "apgd-t" APGD on the difference of logits ratio towards each of the 9
    likeliest other classes (with fewer than 4 classes on the difference of logits, since the ratio is constant there);
    "fab-t" FAB towards each of these, which counts where it ends within epsilon; "square" sees no gradient. Each
    attacks only what still stands.

    What seems to have fooled the net is looked at again by `judge`, in the order of x, before it counts. Then come the
    signs of gradient masking, as sentences: a net that answers at random or by batch, logits or gradients that are not
    finite, gradients that are 0, saturated or shattered, many steps that get no further than one step or than random
    images, an accuracy that does not go to 0 with epsilon, Square where gradients failed. Without any, too, a robust
    accuracy is but an upper bound.

        report = attack.robust_accuracy(jax.random.key(0), logits_fn, x, y, epsilon=8 / 255)
        print(report)
        float(report), report.warnings

    Args:
        key: a PRNG key; with the same one the report is the same.
        logits_fn: images -> logits; called with batches (n, H, W, C).
        x: images (..., H, W, C), floating, within the bounds.
        y: their true classes, one for all or one each.
        epsilon: how far attacks may go, in the unit of the pixels, 0 or more; 0 gives the clean accuracy.
        norm: "linf", "l2" or "l1".
        bounds: the least and the largest value of a pixel.
        batch_size: images that are attacked at once. Fewer are filled up to a power of two, so that programs are few.
        attacks: those that are wanted, in their order.
        steps: of APGD and FAB, towards each class.
        queries: of Square, of each image.
        on_progress: called with a `Progress` after each class of an attack.

    Returns:
        The report, on the host.

    Raises:
        ValueError: images out of bounds, classes that are none, probabilities for logits, epsilon below 0 or for "linf"
            beyond the width of the bounds, an unknown norm or attack, no images, no steps or queries.
        TypeError: x is not floating, no key, inside of `jit`.

    Source: Croce & Hein 2020, section 5, whose `AutoAttack(version="standard")` leaves no less. For the signs Athalye,
    Carlini, Wagner 2018, section 3.1, and Carlini et al. 2019, section 4.
    """
    where = "robust_accuracy"
    expect_key(where, key, known=True)
    expect_function(where, logits_fn)
    logits_fn, x, goal, bounds = prepared(where, trusted(logits_fn), x, y, bounds=bounds)
    known = not any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves((logits_fn, x, goal)))
    expect(known, where, "known arrays", "traced ones", "Call it outside of jax.jit.", TypeError)
    expect_inside(where, x, bounds)
    expect(goal.label.size > 0, where, "at least one image", f"shape {x.shape}", "Pass images (N, H, W, C).")
    expect_norm(where, norm)
    fix = "Pass epsilon=8 / 255, say: it has the unit of the pixels."
    epsilon = number(where, "epsilon >= 0", epsilon, lambda size: 0 <= size < math.inf, fix)
    expect_radius(where, epsilon, norm, bounds)
    named = isinstance(attacks, Sequence) and len(attacks) > 0
    named = named and all(name in STANDARD and attacks.count(name) == 1 for name in attacks)
    expect(named, where, f"attacks among {STANDARD}", shown(attacks), 'Pass ("apgd-ce", "apgd-t"), say.')
    flat = "Leave out square: what is flat has no squares."
    expect("square" not in attacks or x.ndim == goal.label.ndim + 3, where, "x of shape (..., H, W, C)", x.shape, flat)
    budget = Budget(epsilon, norm, bounds, expect_count(where, "steps", steps), expect_count(where, "queries", queries))
    batch_size = expect_count(where, "batch_size", batch_size)
    tell = on_progress or (lambda _: None)

    lead = goal.label.shape
    logits_fn = logits_fn if lead else trusted(jax.tree_util.Partial(_each, logits_fn))
    rows = lambda array: np.asarray(array).reshape(-1, *array.shape[len(lead) :])  # noqa: E731
    classes = logits_of(outputs.eval_shape(logits_fn, x if lead else x[None])).shape[-1]
    of = Images(logits_fn, rows(x), rows(goal.label), classes, batch_size)
    keys = (jax.random.fold_in(key, number) for number in itertools.count())

    some, label, count = of.sample(np.arange(len(of.x)))
    expect_no_probabilities(where, np.asarray(logits_of(outputs(logits_fn, some)), np.float32)[:count])
    warnings = signs_of_net(logits_fn, some, Goal(label), bounds, count)
    clean = of.judged(of.x, bounds)
    right = ~clean.success & np.isfinite(clean.confidence)
    standing, images, fell_to = right.copy(), of.x.copy(), np.where(right, "", "clean").astype("<U8")
    done = []
    for name in attacks:
        left = of.attacked(name, keys, standing, budget, tell)
        images[left.fell], fell_to[left.fell] = left.images[left.fell], name
        before, standing = standing, standing & ~left.fell
        done.append(Attacked(name, int(before.sum()), int(left.fell.sum()), float(standing.mean()), left.calls))
        if name == "square" and len(done) > 1:
            warnings += sign_of_black_box(done[-1].fell, len(standing))
    if standing.any():
        some, label, count = of.sample(np.flatnonzero(standing))
        climb = lambda key, epsilon: climbed(  # noqa: E731
            key, logits_fn, some, label, None, "apgd", classes, budget._replace(epsilon=epsilon)
        )[0]
        options = {"epsilon": epsilon, "norm": norm, "bounds": bounds, "count": count}
        warnings += signs_of_standing(next(keys), logits_fn, some, Goal(label), climb, **options)
    last = of.judged(images, bounds)
    per_image = (~right | last.success, fell_to, images, last.prediction, last.confidence)
    found = (array.reshape((*lead, *array.shape[1:])) for array in per_image)
    allowed = {"steps": steps, "queries": queries}
    return RobustReport(epsilon, norm, float(right.mean()), tuple(done), tuple(warnings), *found, **allowed)


def _each(logits_fn: LogitsFn, x: jax.Array) -> Any:
    """Return the outputs of a function of one image for a batch."""
    return jax.vmap(logits_fn)(x)
