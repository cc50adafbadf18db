"""Parts of a data set with the classes in equal proportion."""

import jax
import numpy as np

from jaxcnn.checking import expect
from jaxcnn.data.dataset import Dataset

__all__ = ["split"]


def split(dataset: Dataset, fraction: float, *, key: jax.Array) -> tuple[Dataset, Dataset]:
    """Return (the rest, a random `fraction`), each class divided in that proportion, both in the original order.

    Args:
        dataset: with or without labels.
        fraction: of the examples of every class that go into the second part, in (0, 1), rounded to whole examples.
        key: a PRNG key; the same key gives the same parts.

    Raises:
        ValueError: a fraction out of range, or one that leaves a part empty.
    """
    expect(0 < fraction < 1, "split", "a fraction in (0, 1)", fraction, "0.2 holds out every fifth example.")
    draw = np.asarray(jax.random.uniform(key, (dataset.size,)))
    label = dataset["label"] if "label" in dataset else np.zeros(dataset.size, np.int32)
    order = np.lexsort((draw, label))
    counts = np.bincount(label)
    # Within each class, in random order, the first round(fraction * count) are held out.
    rank = np.arange(dataset.size) - np.repeat(np.cumsum(counts) - counts, counts)
    held = np.zeros(dataset.size, bool)
    held[order] = rank < np.floor(fraction * counts + 0.5)[label[order]]
    expect(
        bool(held.any()) and not held.all(),
        "split",
        "a fraction that leaves examples on both sides",
        f"{fraction} of {dataset.size} examples",
        "Use more examples or another fraction.",
    )
    return dataset.take(~held), dataset.take(held)
