"""Parts of a data set with the classes in equal proportion."""

from typing import TypeVar

import jax
import numpy as np

from jaxcnn.checking import expect, expect_key, is_int, number, shown
from jaxcnn.data.dataset import Dataset
from jaxcnn.data.stream import Stream

__all__ = ["fold_of", "folds", "held_out", "labels_of", "per_class", "split"]

Part = TypeVar("Part", Dataset, Stream)


def split(dataset: Part, fraction: float, *, key: jax.Array) -> tuple[Part, Part]:
    """Return (the rest, a random `fraction`), each class divided in that proportion, both in the original order.

    Args:
        dataset: with or without labels.
        fraction: of the examples of every class that go into the second part, in (0, 1), rounded to whole examples.
        key: a PRNG key; the same key gives the same parts.

    Raises:
        ValueError: a fraction out of range, or one that leaves a part empty.
    """
    _expect_set("split", dataset)
    held = held_out(labels_of(dataset), fraction, key=key)
    return dataset.take(~held), dataset.take(held)


def labels_of(dataset: Dataset | Stream) -> np.ndarray:
    """Return the labels, int32 (N,); without labels all examples are of one class."""
    return dataset["label"] if "label" in dataset else np.zeros(dataset.size, np.int32)


def held_out(label: np.ndarray, fraction: float, *, key: jax.Array) -> np.ndarray:
    """Return which examples `split` puts into the second part: a bool for each.

    Args:
        label: int (N,), the class of each example.
        fraction, key: as in `split`, with the same errors.
    """
    fix = "0.2 holds out every fifth example."
    fraction = number("split", "a fraction in (0, 1)", fraction, lambda f: 0 < f < 1, fix)
    expect_key("split", key, known=True)
    held = _rank(label, key) < np.floor(fraction * np.bincount(label) + 0.5)[label]
    expect(
        bool(held.any()) and not held.all(),
        "split",
        "a fraction that leaves examples on both sides",
        f"{fraction} of {len(label)} examples",
        "Use more examples or another fraction.",
    )
    return held


def folds(dataset: Part, k: int, *, key: jax.Array) -> list[tuple[Part, Part]]:
    """Return `k` pairs (the rest, a fold) for cross-validation: each example is in exactly one fold.

    Args:
        dataset: with or without labels.
        k: the number of folds, 2..size. Of each class, and in all, two folds have equally many examples or differ by
            one.
        key: a PRNG key; the same key gives the same folds.

    Returns:
        k pairs, both sets in the original order.

    Raises:
        ValueError: k out of range.
    """
    fold = fold_of("folds", dataset, k, key=key)
    return [(dataset.take(fold != i), dataset.take(fold == i)) for i in range(k)]


def fold_of(where: str, dataset: Dataset | Stream, k: int, *, key: jax.Array, name: str = "k") -> np.ndarray:
    """Return the fold of each example, 0..k-1.

    Args:
        where, name: who asks, and what k is called there.
        dataset, k, key: as in `folds`, with the same errors.
    """
    _expect_set(where, dataset)
    expect_key(where, key, known=True)
    in_range = is_int(k, 2, dataset.size)
    expect(in_range, where, f"{name} in 2..{dataset.size}", shown(k), "5 or 10 folds are usual.")
    label = labels_of(dataset)
    fold = np.empty(dataset.size, np.int64)
    fold[np.lexsort((_rank(label, key), label))] = np.arange(dataset.size) % k  # dealt like cards, class after class
    return fold


def per_class(dataset: Part, n: int, *, key: jax.Array) -> Part:
    """Return `n` random examples of every class, in the original order.

    Args:
        dataset: with labels.
        n: at least 1, at most the size of the smallest class.
        key: a PRNG key; the same key gives the same examples, and those of a smaller n are among those of a larger.

    Raises:
        ValueError: no labels, or n out of range.
    """
    _expect_set("per_class", dataset)
    expect_key("per_class", key, known=True)
    expect("label" in dataset, "per_class", "a data set with labels", dataset, "Pass labels to from_arrays.")
    counts = np.bincount(dataset["label"], minlength=len(dataset.info.class_names))
    fewest = f"the fewest examples are of {dataset.info.class_names[counts.argmin()]!r}"
    in_range = is_int(n, 1, counts.min())
    expect(in_range, "per_class", f"n in 1..{counts.min()}", shown(n), f"Choose another: {fewest}.")
    return dataset.take(_rank(dataset["label"], key) < n)


def _expect_set(where: str, dataset: Dataset | Stream) -> None:
    fix = "Make one with data.from_arrays(image, label)."
    expect(isinstance(dataset, Dataset | Stream), where, "a data.Dataset", shown(dataset), fix, TypeError)


def _rank(label: np.ndarray, key: jax.Array) -> np.ndarray:
    """Return the place of each example in a random order of its class, from 0."""
    with jax.ensure_compile_time_eval():  # the key is known, in a function under `jit` too
        draw = np.asarray(jax.random.uniform(key, (len(label),)))
    order = np.lexsort((draw, label))
    counts = np.bincount(label)
    rank = np.empty(len(label), np.int64)
    rank[order] = np.arange(len(label)) - np.repeat(np.cumsum(counts) - counts, counts)
    return rank
