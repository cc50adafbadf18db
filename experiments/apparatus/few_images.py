"""Lanes that learn from few images each: drawn anew for every seed, equally long, measured on a test set."""

import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.apparatus.image_sets import loaded, some, split_off
from experiments.apparatus.statistics import mean_sd, summary
from experiments.framework.device import console
from experiments.framework.progress import LanesBar
from jaxcnn import data, layers, losses, search, training
from jaxcnn.checking import expect


def expect_sizes(where: str, sizes: Sequence[int]) -> None:
    """Raise `ValueError` unless the sizes rise and divide the last, so that lanes can be equally long."""
    rising = all(a < b for a, b in itertools.pairwise(sizes))
    ok = len(sizes) >= 2 and sizes[0] >= 1 and rising and all(sizes[-1] % n == 0 for n in sizes)
    what = "two or more rising numbers of images that divide the last"
    expect(ok, where, what, sizes, "Pass 5, 10, 20, 50 and 100, say.")


def drawn(dataset: data.Dataset, sizes: Sequence[int], keys: jax.Array) -> tuple[data.Dataset, np.ndarray]:
    """Return all images that are drawn, as one set, and which of them each lane has: for each size one lane a key.

    A lane with fewer images has each of them more often, so that all lanes are equally long.
    """
    blank, numbers = np.zeros((dataset.size, 1, 1, 1), np.uint8), np.arange(dataset.size)
    labels = data.from_arrays(blank, dataset["label"], class_names=dataset.info.class_names, number=numbers)
    lanes = [data.per_class(labels, n, key=key)["number"] for n in sizes for key in keys]
    lanes = np.stack([np.resize(lane, max(map(len, lanes))) for lane in lanes])
    pool, index = np.unique(lanes, return_inverse=True)
    return dataset.take(pool), index.reshape(lanes.shape)


class Parts(NamedTuple):
    """What an experiment learns from, chooses on and tests on."""

    pool: data.Dataset  # all images that some lane learns from
    lanes: np.ndarray  # which of them each lane has, (sizes * seeds, images)
    held_out: data.Dataset
    test: data.Dataset
    key: jax.Array  # for all else

    @property
    def info(self) -> data.DatasetInfo:
        """What is known of the set."""
        return self.pool.info

    @property
    def spec(self) -> jax.ShapeDtypeStruct:
        """Shape and dtype of its images."""
        return self.pool.spec


def parts(config: Any) -> tuple[Any, Parts]:
    """Return the parts of the set that a config names, Fashion-MNIST or the digits where it names none.

    Every seed has images of its own, `config.per_class` (one number or several) of each class; `config.held_out`
    training images, a fifth of all at most, are nobody's. The config comes back with the numbers that the set has
    room for: of the digits, in the place of a larger set, there are few.
    """
    train_set, test_set = loaded(config.dataset, "fashion_mnist", "digits")
    images_key, test_key, split_key, key = jax.random.split(jax.random.key(config.seed), 4)
    held_out, rest = split_off(train_set, min(config.held_out, train_set.size // 5), split_key)
    several = isinstance(config.per_class, tuple)
    wanted = config.per_class if several else (config.per_class,)
    fewest = int(np.bincount(rest["label"], minlength=len(rest.info.class_names)).min())
    sizes = tuple(n for n in wanted if n <= fewest) or (fewest,)
    if sizes != wanted or held_out.size < config.held_out:
        told = ", ".join(map(str, sizes))
        console.print(f"{told} images of each class and {held_out.size} held out: there are no more", markup=False)
    pool, lanes = drawn(rest, sizes, jax.random.split(images_key, config.seeds))
    config = dataclasses.replace(config, per_class=sizes if several else sizes[0], held_out=held_out.size)
    return config, Parts(pool, lanes, held_out, some(test_set, config.test_images, test_key), key)


class Tuned(NamedTuple):
    """Trainings of which those at the learning rate that is best on held-out images count."""

    net: layers.Sequential
    trainings: search.Trainings
    rate: float
    numbers: range  # of the lanes that count
    held_out: np.ndarray  # their accuracy on held-out images, (lanes,)

    def states(self) -> list[training.TrainState]:
        """Return the states of the lanes that count."""
        return [self.trainings.state(number) for number in self.numbers]

    def accuracy(self, dataset: data.Dataset) -> np.ndarray:
        """Return the accuracy of each lane that counts, (lanes,)."""
        return accuracies(self.net, self.states(), dataset)


def tuned(config: Any, net: layers.Sequential, of: Parts, **options: Any) -> Tuned:
    """Return the trainings of all lanes with each of `config.rates`, and which rate is best on held-out images.

    It is said where that is the lowest or the highest: a wider choice may do better.
    """
    found = trained(config, net, of.pool, of.lanes, config.rates, of.key, **options)
    held_out = accuracies(net, found, of.held_out).reshape(len(config.rates), -1)
    best, count = best_rate(config.rates, held_out), held_out.shape[1]
    return Tuned(net, found, config.rates[best], range(best * count, (best + 1) * count), held_out[best])


def chosen_rate(
    config: Any, net: layers.Sequential, pool: data.Dataset, lanes: np.ndarray, held_out: data.Dataset, key: jax.Array,
    **options: Any,
) -> float:  # fmt: skip
    """Return the rate of `config.rates` that is best on held-out images for these lanes, on average."""
    if len(config.rates) == 1:
        return config.rates[0]
    found = trained(config, net, pool, lanes, config.rates, key, **options)
    return config.rates[best_rate(config.rates, accuracies(net, found, held_out).reshape(len(config.rates), -1))]


def best_rate(rates: Sequence[float], held_out: np.ndarray) -> int:
    """Return the place of the rate with the highest mean accuracy, (rates, lanes), and say whether it is an end."""
    means = held_out.mean(axis=1)
    best = int(means.argmax())
    told = ", ".join(f"{rate:g} {100 * mean:.1f} %" for rate, mean in zip(rates, means, strict=True))
    end = "" if 0 < best < len(rates) - 1 or len(rates) == 1 else ", the end of the choice: a wider one may do better"
    console.print(f"held out, by learning rate: {told}; chosen {rates[best]:g}{end}", markup=False)
    return best


def trained(
    config: Any, net: layers.Sequential, pool: data.Dataset, lanes: np.ndarray, rates: Sequence[float], key: jax.Array,
    optimizer: Callable[..., Any] = training.sgd, **options: Any,
) -> search.Trainings:  # fmt: skip
    """Return the trainings of all lanes with each rate, all of them `config.steps` or `config.epochs` long."""
    per_epoch = max(1, lanes.shape[1] // config.batch_size)
    if hasattr(config, "epochs"):
        epochs = config.epochs
    else:
        expect(config.steps >= per_epoch, "trained", f"steps for an epoch, {per_epoch}", config.steps, "Pass more.")
        epochs = config.steps // per_epoch
    steps = epochs * per_epoch
    make = lambda rate: optimizer(training.warmup_cosine(rate, steps))  # noqa: E731
    with LanesBar(console) as bar:
        return search.sweep(
            net, pool, over={"rate": rates}, restarts=len(lanes), examples=lanes, optimizer=make, epochs=epochs,
            batch_size=config.batch_size, key=key, callbacks=[bar], **options,
        )  # fmt: skip


def mistakes(found: search.Trainings, dataset: data.Dataset) -> np.ndarray:
    """Return which images of a set each lane gets wrong, 1.0 or 0.0, (lanes, N)."""
    image, label = jnp.asarray(dataset["image"]), jnp.asarray(dataset["label"])

    def wrong(numbers: Any, state: training.TrainState) -> jax.Array:
        logits = training.predictor(found.make_net(numbers), state.params, state.model_state)(image)
        return 1 - losses.accuracy(logits, label)

    return np.asarray(jax.jit(jax.vmap(wrong))(found.numbers, found.states), np.float64)


def of_the_best(values: np.ndarray, loss: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Return, of lanes in that order with restarts last, the value of the restart with the lowest training loss."""
    best = np.where(np.isfinite(loss), loss, np.inf).reshape(shape).argmin(axis=-1)
    return np.take_along_axis(values.reshape(shape), best[..., None], axis=-1)[..., 0]


def accuracies(
    net: layers.Sequential, found: search.Trainings | Sequence[training.TrainState], dataset: data.Dataset
) -> np.ndarray:
    """Return the accuracy of each lane or state, (lanes,)."""
    states = [found.state(lane) for lane in range(len(found))] if isinstance(found, search.Trainings) else found
    return np.array([training.evaluate(net, s.params, s.model_state, dataset)["accuracy"] for s in states])


def crossing(sizes: Sequence[int], one: np.ndarray, other: np.ndarray) -> float | None:
    """Return from how many images on `other` is better than `one`, by the means of seeds; None if that lies outside.

    Between two sizes the difference is taken as linear in the logarithm of the number.
    """
    gain = (other - one).mean(axis=0)
    for at in range(len(sizes) - 1):
        if gain[at] <= 0 and (gain[at + 1 :] > 0).all():
            share = gain[at] / (gain[at] - gain[at + 1])
            return float(sizes[at] * (sizes[at + 1] / sizes[at]) ** share)
    return None


def leads(sizes: Sequence[int], one: np.ndarray, other: np.ndarray) -> str:
    """Return in words with how many images `other` is better than `one`, by the means of seeds."""
    at, ahead = crossing(sizes, one, other), (other - one).mean(axis=0) > 0
    if at is not None and not ahead[: np.flatnonzero(~ahead)[-1]].any():
        return f"from {at:.0f} images on"
    if ahead.all() or not ahead.any():
        return "throughout" if ahead.all() else "nowhere"
    return f"with {' and '.join(str(n) for n, is_so in zip(sizes, ahead, strict=True) if is_so)} images alone"


def by_size(sizes: Sequence[int], values: np.ndarray) -> dict[str, Any]:
    """Return the summary over seeds for each number of images, of values (seeds, sizes)."""
    return {str(n): summary(values[:, at].tolist()) for at, n in enumerate(sizes)}


def rows(sizes: Sequence[int], found: Mapping[str, np.ndarray]) -> list[dict[str, Any]]:
    """Return the rows of a table: for each number of images mean and standard deviation, %, of what each name has."""
    return [
        {"images of each class": n, **{name: mean_sd(100 * values[:, at]) for name, values in found.items()}}
        for at, n in enumerate(sizes)
    ]
