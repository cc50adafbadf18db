"""Adversarial images between nets: which of those made on one fool another, that the attack has never seen."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn.attack.goal import Bounds, logits
from jaxcnn.attack.judgement import judge
from jaxcnn.checking import expect, shown
from jaxcnn.classifier import LogitsFn, as_tree

__all__ = ["Transfer", "ensemble", "transfer"]

Attack = Callable[[LogitsFn, jax.Array, jax.Array], jax.Array]


@dataclass(frozen=True, eq=False)
class Transfer:
    """How often adversarial images made on one net fool another, with the nets' names."""

    sources: tuple[str, ...]
    victims: tuple[str, ...]
    success: np.ndarray  # (sources, victims, ...) in [0, 1], NaN where none counts; behind it axes of the attack's own
    counted: np.ndarray  # (sources, victims), the images that both nets know

    def rate(self, source: str, victim: str) -> float | np.ndarray:
        """Return the success of the images made on one net against the other."""
        found = self.success[self.sources.index(source), self.victims.index(victim)]
        return found if found.ndim else float(found)


def transfer(
    attack: Attack,
    logits_fns: Mapping[str, LogitsFn],
    x: jax.Array,
    y: Any,
    *,
    victims: Mapping[str, LogitsFn] | None = None,
    target: Any = None,
    bounds: Bounds = (0.0, 1.0),
) -> Transfer:
    """Return how often adversarial images made on each net fool each net: black boxes, attacked through others.

        success[s, v] = #{n: f_s and f_v know x_n, and x'_n(s) fools f_v} / #{n: f_s and f_v know x_n}

    A net knows an image that it takes for what it is; fooled means that the goal is reached, for another class or for
    the target. What s = v gives is the success of the attack itself.

        pgd = lambda logits_fn, x, y: attack.pgd(key, logits_fn, x, y, epsilon=8 / 255)
        found = attack.transfer(pgd, {"plain": plain, "residual": residual}, x, y)
        found.rate("plain", "residual")

    Args:
        attack: (logits_fn, x, y) -> adversarial images, (..., H, W, C) or with axes in front, of several epsilons say;
            called once for each net.
        logits_fns: the nets that images are made on, by name.
        x: images (..., H, W, C), within the bounds.
        y: their true classes, one for all or one each.
        victims: the nets that are to be fooled; the same unless given.
        target: the classes that the attack wants, or None for any but y.
        bounds: the least and the largest value of a pixel.

    Returns:
        `Transfer`.

    Raises:
        ValueError: no nets, images out of bounds, classes that are none, an attack that gives other shapes.
        TypeError: attack is no function, no dict of functions.

    Source: Szegedy et al. 2014, section 4.2; Liu et al. 2017, sections 2 and 3, who count, too, what both nets know.
    """
    where = "transfer"
    expect(callable(attack), where, "an attack as a function (logits_fn, x, y)", shown(attack), _ATTACK, TypeError)
    sources = _nets(where, "logits_fns", logits_fns)
    against = sources if victims is None else _nets(where, "victims", victims)
    options = {"target": target, "bounds": bounds}
    known = _known(against, x, y, bounds)
    mine = known if against is sources else _known(sources, x, y, bounds)
    rows, counts = [], []
    for net, own in zip(sources.values(), mine, strict=True):
        both = [own & other for other in known]
        adversarial = attack(net, x, y)
        fooled = [judge(other, x, adversarial, y, **options).success for other in against.values()]
        counts.append([int(each.sum()) for each in both])
        rows.append([_share(found, each) for found, each in zip(fooled, both, strict=True)])
    return Transfer(tuple(sources), tuple(against), np.array(rows), np.array(counts))


def ensemble(logits_fns: Sequence[LogitsFn]) -> LogitsFn:
    """Return several nets as one, images -> the mean of their logits: what fools it is more likely to fool others.

    Args:
        logits_fns: images -> logits, all of the same classes.

    Returns:
        A function of images, a pytree as `training.predictor`'s.

    Raises:
        ValueError: no nets.
        TypeError: what is no function.

    Source: Dong et al. 2018, section 3.4 (ensemble in logits); Liu et al. 2017, section 5, average probabilities.
    """
    fix = "Pass [first_logits_fn, second_logits_fn], say."
    ok = isinstance(logits_fns, Sequence) and all(map(callable, logits_fns))
    expect(ok, "ensemble", "logits_fns as a list of functions of images", shown(logits_fns), fix, TypeError)
    expect(len(logits_fns) > 0, "ensemble", "at least one net", "none", fix)
    return jax.tree_util.Partial(_mean_logits, tuple(as_tree(fn) for fn in logits_fns))


def _mean_logits(logits_fns: tuple[LogitsFn, ...], x: jax.Array) -> jax.Array:
    each = [logits(fn, x) for fn in logits_fns]
    shapes = [found.shape for found in each]
    expect(
        len(set(shapes)) == 1, "ensemble", "nets of the same classes", f"logits of shapes {shapes}", "Leave some out."
    )
    return jnp.stack(each).mean(0)


def _nets(where: str, name: str, nets: Any) -> dict[str, LogitsFn]:
    ok = isinstance(nets, Mapping) and all(isinstance(key, str) and callable(net) for key, net in nets.items())
    fix = 'Pass {"plain": logits_fn, "residual": other_logits_fn}, say.'
    expect(ok, where, f"{name} as a dict from names to functions of images", shown(nets), fix, TypeError)
    expect(len(nets) > 0, where, f"{name} of at least one net", "none", fix)
    return dict(nets)


def _known(nets: Mapping[str, LogitsFn], x: jax.Array, y: Any, bounds: Bounds) -> list[np.ndarray]:
    """Return, for each net, which images it takes for what they are."""
    return [~judge(net, x, x, y, bounds=bounds).success for net in nets.values()]


def _share(success: np.ndarray, counted: np.ndarray) -> np.ndarray:
    """Return which part of those that count is fooled, for each of the attack's own axes."""
    hits = (success & counted).sum(tuple(range(-counted.ndim, 0)))
    return hits / counted.sum() if counted.any() else np.full(hits.shape, np.nan)


_ATTACK = "Pass lambda logits_fn, x, y: attack.pgd(key, logits_fn, x, y, epsilon=8 / 255), say."
