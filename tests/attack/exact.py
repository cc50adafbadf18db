"""The least perturbations of linear nets, which are known exactly."""

import jax
import numpy as np

from tests.attack.conftest import Known


def with_classes(linear: Known, count: int) -> Known:
    """Return the linear net without all but its first classes."""
    kernel, bias = linear.logits_fn.args
    logits_fn = jax.tree_util.Partial(linear.logits_fn.func, kernel[:, :count], bias[:count])
    return Known(logits_fn, linear.x, logits_fn(linear.x).argmax(-1))


def least_sizes(linear: Known, norm: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the size (N,) of the least change that makes the net err, and the class (N,) that it then gives.

    (z_y - z_j) / ||w_y - w_j||_q where no pixel meets its bounds; of "l0" how many values have to go to theirs.
    """
    kernel, bias = (np.asarray(a, float) for a in linear.logits_fn.args)
    pixels = np.asarray(linear.x, float).reshape(len(linear.x), -1)
    scores = pixels @ kernel + bias
    sizes = np.full(scores.shape, np.inf)
    for row, (x, y) in enumerate(zip(pixels, np.asarray(linear.y), strict=True)):
        for other in set(range(scores.shape[1])) - {int(y)}:
            way, gap = kernel[:, other] - kernel[:, y], scores[row, y] - scores[row, other]
            sizes[row, other] = _least(np.abs(way), np.where(way > 0, 1 - x, x), gap, norm)
    return sizes.min(1), sizes.argmin(1)


def _least(weight: np.ndarray, room: np.ndarray, gap: float, norm: str) -> float:
    """Return the size of the least lengths within their room whose weighted sum is the gap."""
    if gap > weight @ room:
        return np.inf
    if norm in ("l1", "l0"):  # the best value first, as far as it goes
        order = np.argsort(-weight if norm == "l1" else -weight * room)
        gains = np.cumsum((weight * room)[order])
        last = int(np.searchsorted(gains, gap))
        if norm == "l0":
            return last + 1
        return room[order][:last].sum() + (gap - np.r_[0, gains][last]) / weight[order][last]
    pace = weight if norm == "l2" else np.ones_like(weight)
    low, high = 0.0, 1e3
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (low, middle) if weight @ np.minimum(middle * pace, room) >= gap else (middle, high)
    lengths = np.minimum(high * pace, room)
    return np.linalg.norm(lengths) if norm == "l2" else lengths.max()
