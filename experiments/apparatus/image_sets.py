"""Sets of images in memory: by their names, some of them, apart from others, with wrong labels."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments.framework.device import console
from experiments.framework.runner import Common
from jaxcnn import data
from jaxcnn.checking import expect


@dataclass(frozen=True)
class Choice(Common):
    """The options that choose a data set."""

    dataset: str = "digits"  # one of jaxcnn.data.names(), a set of TFDS, or "folder"
    path: str | None = None  # of the images, for "folder": a folder for each class, or a zip of such
    skip_corrupt: bool = False  # leave out images of the folder that cannot be decoded, and name them
    image_size: int | None = None  # pixels: resize the images of a set on disk; those of several sizes are else 224

    def loaded(self) -> tuple[Any, Any]:
        """Return training and test set; a set without an official test set is split by the run's seed."""
        options = {"path": self.path, "skip_corrupt": self.skip_corrupt, "image_size": self.image_size}
        return data.load(self.dataset, split_seed=self.seed, **options)

    def called(self) -> str:
        """Return the set's name as a part of a run's: that of its folder, where it is one."""
        name = Path(self.path).stem if self.dataset == "folder" and self.path else self.dataset
        return re.sub(r"[^\w.-]+", "-", name)


def load(
    where: str, name: str, seed: int = 0, *, scenes: tuple[int, int] | None = None, **options: Any
) -> tuple[data.Dataset, data.Dataset]:
    """Return the training and the test set of that name, in memory; options are those of `data.load`.

    `scenes` are how many are drawn for either set, should scenes be it: to draw them all takes longer than a small run.
    """
    if name == "scenes" and scenes is not None:
        return few_scenes(*scenes)
    train_set, test_set = data.load(name, split_seed=seed, **options)
    return in_memory(where, train_set), in_memory(where, test_set)


def loaded(
    name: str | None, usual: str, otherwise: str, *, scenes: tuple[int, int] | None = None
) -> tuple[data.Dataset, data.Dataset]:
    """Return the set called `name`, else the usual one; another one, and a line that says so, where that is missing."""
    try:
        return load("loaded", name or usual, scenes=scenes)
    except (FileNotFoundError, ImportError) as missing:
        if name is not None:
            raise
        console.print(f"{otherwise}, since there is no {usual}. {missing}", markup=False)
        return load("loaded", otherwise, scenes=scenes)


def in_memory(where: str, dataset: data.Dataset | data.Stream) -> data.Dataset:
    """Return the set; raise `ValueError` for a stream."""
    fix = "Choose a smaller set, or images of one size."
    expect(isinstance(dataset, data.Dataset), where, "a set that fits into memory", dataset, fix)
    return dataset  # pyrefly: ignore


def taken(part: data.Dataset | data.Stream, index: Any) -> data.Dataset:
    """Return the examples of some indices, in memory: those of a stream are read and decoded."""
    chosen = part.take(index)
    return chosen.dataset() if isinstance(chosen, data.Stream) else chosen


def some(dataset: data.Dataset, count: int, key: jax.Array) -> data.Dataset:
    """Return so many random examples, or all there are."""
    return dataset.take(np.asarray(jax.random.permutation(key, dataset.size))[:count])


def split_off(dataset: data.Dataset, count: int, key: jax.Array) -> tuple[data.Dataset, data.Dataset]:
    """Return so many random examples, and the rest."""
    fits = 1 <= count < dataset.size
    expect(fits, "split_off", f"1 to {dataset.size - 1} held-out images", count, "Pass --held-out 100, say.")
    order = np.asarray(jax.random.permutation(key, dataset.size))
    some_, rest = (dataset.take(np.sort(part)) for part in np.split(order, [count]))
    return some_, rest


def relabelled(dataset: data.Dataset, fraction: float, *, key: jax.Array) -> data.Dataset:
    """Return the set with this part of its labels, drawn at random, exchanged; `["true"]` has the right ones."""
    where, fix = "relabelled", "0.2 exchanges every fifth label."
    expect(0 <= fraction < 1, where, "a fraction in [0, 1)", fraction, fix)
    info, label, classes = dataset.info, dataset["label"], len(dataset.info.class_names)
    which, by = jax.random.split(key)
    exchanged = np.asarray(jax.random.permutation(which, dataset.size)) < round(fraction * dataset.size)
    other = (label + np.asarray(jax.random.randint(by, label.shape, 1, classes))) % classes
    given = np.where(exchanged, other, label)
    names = {"class_names": info.class_names, "name": info.name, "source": info.source}
    return data.from_arrays(dataset["image"], given, true=label, **names)


def few_scenes(train: int, test: int) -> tuple[data.Dataset, data.Dataset]:
    """Return so many scenes: to draw all of `data.load("scenes")` takes 10 s."""
    keys = jax.random.split(jax.random.key(0))
    drawn = data.Scenes().dataset(keys[0], train)
    return drawn, data.Scenes().dataset(keys[1], test).with_moments_of(drawn)
