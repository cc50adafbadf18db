"""Can a net find images of classes that it never saw? A Siamese net, and what is most similar to its eyes.

`python -m experiments.matching` trains a small net on pairs of some classes of Fashion-MNIST, drawn anew for each of
five seeds: images of one class are drawn together, those of different classes pushed apart (Hadsell et al. 2006; with
`--loss triplet` Hermans et al. 2017). Then test images search each other, those of the classes that it saw and those of
the others, the latter also moved by some pixels: how often is one of the 1, 5, 10 most similar ones of the same class?
Pixels and an untrained net stand beside it; queries are shown with what was found, worst first. Without Fashion-MNIST
(`$JAXCNN_DATA`) it takes the digits. What it promises: the trained net's mean average precision is above that of the
pixels and of the untrained net for classes it saw, and above that of the pixels for moved images of classes it never
saw, beyond the 95 % interval of the difference. Whether it is for images that are not moved, it says. About 9 min on 2
cores.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import numpy as np

from experiments.apparatus.image_sets import loaded, some
from experiments.apparatus.small_nets import small_vgg
from experiments.apparatus.statistics import better, in_points, mean_sd, summary
from experiments.framework.device import console
from experiments.framework.progress import LanesBar
from experiments.framework.runner import Common, Result, judge, run
from jaxcnn import augment, data, initializers, layers, matching, report, search, training
from jaxcnn.checking import expect
from jaxcnn.explain import inside

TRAINED, UNTRAINED, PIXELS = "trained", "untrained", "pixels"
WAYS = (TRAINED, UNTRAINED, PIXELS)
AT = (1, 5, 10)
PRECISION = "mean average precision"
MEASURES = (*(f"recall at {k}" for k in AT), PRECISION)
SEEN, UNSEEN, MOVED = "seen", "unseen", "unseen, moved"  # classes of test images
TESTS = (SEEN, UNSEEN, MOVED)
PROMISED = {SEEN: (UNTRAINED, PIXELS), MOVED: (PIXELS,)}  # what the trained net is better than
SHOWN, FOUND = 6, 6  # queries of a picture, and what is shown of what each found


@dataclass(frozen=True)
class Config(Common):
    dataset: str | None = None  # one of jaxcnn.data.names(); None for fashion_mnist where it is, else digits
    loss: Literal["contrastive", "triplet"] = "contrastive"
    margin: float = 1.0  # of the loss; embeddings have length 1, so that none are farther apart than 2
    unseen: int = 4  # classes that a net does not see, others for every seed; 2 or more
    train_images: int = 3000  # of the other classes, for each net, at most
    test_images: int = 1000  # of the seen classes, and of the unseen ones, of the test set, at most
    move: float = 0.1  # of an image's side: how far images are moved, in training and in the test of moved ones
    seeds: int = 5  # other classes, images and weights; 2 or more
    epochs: int = 8  # passes through the training images
    batch_size: int = 64  # images per step, each a pair with every other one
    learning_rate: float = 0.3  # peak of the schedule: warm-up over a tenth, then half a cosine
    embedding: int = 32  # numbers that an image becomes
    width: int = 12  # maps of the first stage


class Parts(NamedTuple):
    """What a seed has: its unseen classes, the numbers of its training images, and the sets it is tested with."""

    unseen: tuple[int, ...]
    train: np.ndarray
    tests: dict[str, data.Dataset]


class Found(NamedTuple):
    """What one way of embedding finds: embeddings (N, D), and what they retrieve."""

    embedding: np.ndarray
    retrieved: matching.Retrieved

    def measures(self) -> dict[str, float]:
        """Return the means over queries."""
        recall = np.nanmean(self.retrieved.recall, axis=0)
        return dict(zip(MEASURES, [*recall, np.nanmean(self.retrieved.average_precision)], strict=True))


def main(config: Config) -> Result:
    if config.quick:
        few = {"train_images": 256, "test_images": 100, "seeds": 2, "epochs": 1, "width": 4}
        config = dataclasses.replace(config, dataset="digits", **few)
    expect(config.seeds >= 2, "matching", "at least 2 seeds", config.seeds, "One has no standard deviation.")
    train_set, test_set = loaded(config.dataset, "fashion_mnist", "digits")
    names = train_set.info.class_names
    ok = 2 <= config.unseen <= len(names) - 2
    fix = "Two classes at least have to be seen, and two not."
    expect(ok, "matching", f"2 to {len(names) - 2} unseen classes", config.unseen, fix)
    key, fit_key = jax.random.split(jax.random.key(config.seed))
    parts = divided(config, train_set, test_set, jax.random.split(key, config.seeds))
    found = measured(config, train_set, parts, fit_key)
    values = {
        test: {
            measure: {way: np.array([seed[test][way].measures()[measure] for seed in found]) for way in WAYS}
            for measure in MEASURES
        }
        for test in TESTS
    }
    figures = {
        "dataset": train_set.info.name,
        "unseen": [[names[label] for label in part.unseen] for part in parts],
        "found": {
            test: {measure: {w: summary(v.tolist()) for w, v in by_way.items()} for measure, by_way in of.items()}
            for test, of in values.items()
        },
        **{
            f"over_{way}": {
                test: {measure: summary((by[TRAINED] - by[way]).tolist()) for measure, by in of.items()}
                for test, of in values.items()
            }
            for way in (UNTRAINED, PIXELS)
        },
    }
    promises = {
        f"{PRECISION} above that of {way} ({test})": better(*(values[test][PRECISION][each] for each in (TRAINED, way)))
        for test, ways in PROMISED.items()
        for way in ways
    }
    answer = sentence(config, train_set, values)
    judgement = judge(config, answer, promises)
    headline = [
        report.Number(
            f"classes {test}", percent(of[PRECISION][TRAINED]), f"{PRECISION}, pixels {percent(of[PRECISION][PIXELS])}"
        )
        for test, of in values.items()
    ]
    sections = [compared(config, train_set, values), shown(parts[0], found[0][UNSEEN], names)]
    return Result(figures, sections, *judgement, headline)


def divided(config: Config, train_set: data.Dataset, test_set: data.Dataset, keys: jax.Array) -> list[Parts]:
    """Return the parts of each seed; all have equally many images."""
    classes, drawn = len(train_set.info.class_names), []
    for key in keys:
        class_key, train_key, test_key = jax.random.split(key, 3)
        order = np.asarray(jax.random.permutation(class_key, classes))
        unseen = tuple(sorted(order[: config.unseen].tolist()))
        seen = np.flatnonzero(~np.isin(train_set["label"], unseen))
        seen = seen[np.asarray(jax.random.permutation(train_key, len(seen)))]
        new = np.isin(test_set["label"], unseen)
        drawn.append((unseen, seen, new, test_key))
    train_count = min(config.train_images, *(len(seen) for _, seen, _, _ in drawn))
    test_count = min(config.test_images, *(min(new.sum(), (~new).sum()) for _, _, new, _ in drawn))
    parts = []
    for unseen, seen, new, key in drawn:
        seen_key, new_key, move_key = jax.random.split(key, 3)
        others = some(test_set.take(new), test_count, new_key)
        tests = {SEEN: some(test_set.take(~new), test_count, seen_key), UNSEEN: others}
        moved = augment.batched(mover(config, train_set))(move_key, data.to_float(others["image"]))
        tests[MOVED] = data.from_arrays(np.asarray(moved), others["label"], class_names=others.info.class_names)
        parts.append(Parts(unseen, seen[:train_count], tests))
    return parts


def mover(config: Config, dataset: data.Dataset) -> Callable[[jax.Array, Any], Any]:
    """Return the augmentation that moves an image by whole pixels."""
    return partial(augment.shift, max_shift=max(1, round(config.move * dataset["image"].shape[1])))


def embedder(config: Config, info: data.DatasetInfo) -> layers.Sequential:
    """Return the net: a small VGG whose last layer gives an embedding of length 1."""
    trunk = small_vgg(info, config.width)[:-1]
    last = layers.Dense(config.embedding, kernel_init=initializers.lecun_normal)
    return layers.Sequential(**trunk.layers, embed=last, unit=matching.unit_length)


def measured(
    config: Config, train_set: data.Dataset, parts: Sequence[Parts], key: jax.Array
) -> list[dict[str, dict[str, Found]]]:
    """Return, for each seed and test, what each way finds; the nets of all seeds are lanes of one program."""
    net = embedder(config, train_set.info)
    pool, index = np.unique(np.stack([part.train for part in parts]), return_inverse=True)
    lanes, (fit_key, init_key) = index.reshape(len(parts), -1), jax.random.split(key)
    steps = config.epochs * (lanes.shape[1] // config.batch_size)
    make = {"contrastive": matching.pair_loss, "triplet": matching.triplet_loss}[config.loss]
    with LanesBar(console) as bar:
        trainings = search.random_restarts(
            net, train_set.take(pool), restarts=len(lanes), examples=lanes, key=fit_key, epochs=config.epochs,
            batch_size=config.batch_size, loss=make(config.margin), callbacks=[bar],
            augment=augment.batched(mover(config, train_set)),
            optimizer=training.sgd(training.warmup_cosine(config.learning_rate, steps)),
        )  # fmt: skip
    found = []
    for lane, (part, one_key) in enumerate(zip(parts, jax.random.split(init_key, len(parts)), strict=True)):
        state = trainings.state(lane)
        weights = {
            TRAINED: (state.params, state.model_state),
            UNTRAINED: net.init(one_key, train_set.spec),
        }
        found.append({})
        for name, test in part.tests.items():
            rows = {way: training.predict(net, *of, test) for way, of in weights.items()}
            rows[PIXELS] = np.asarray(data.to_float(test["image"])).reshape(test.size, -1)
            label = test["label"]
            found[-1][name] = {way: Found(x, host(matching.retrieve(x, label, at=AT))) for way, x in rows.items()}
        told = "; ".join(
            f"{name}: {', '.join(f'{way} {100 * one.measures()[PRECISION]:.1f} %' for way, one in of.items())}"
            for name, of in found[-1].items()
        )
        unseen = ", ".join(train_set.info.class_names[label] for label in part.unseen)
        console.print(f"seed {lane}, {PRECISION}, unseen {unseen}. {told}", markup=False)
    return found


def host(retrieved: matching.Retrieved) -> matching.Retrieved:
    """Return what was retrieved as NumPy arrays."""
    return matching.Retrieved(*map(np.asarray, retrieved))  # pyrefly: ignore


def percent(values: np.ndarray) -> str:
    """Return mean and standard deviation of fractions as text."""
    return f"{mean_sd(100 * values)} %"


Values = Mapping[str, Mapping[str, Mapping[str, np.ndarray]]]
"""By test, measure and way, one number a seed."""


def sentence(config: Config, dataset: data.Dataset, values: Values) -> str:
    """Return the answer."""
    told = []
    for test, of in values.items():
        means = ", ".join(f"{way} {percent(by_seed)}" for way, by_seed in of[PRECISION].items())
        beside = summary((of[PRECISION][TRAINED] - of[PRECISION][PIXELS]).tolist())
        told.append(f"{test}: {means} ({in_points(beside)} points beside pixels)")
    return (
        f"{dataset.info.name}, {config.unseen} classes never seen in training, {config.loss} loss, {config.seeds} "
        f"seeds, {PRECISION} by classes of test images: {'; '.join(told)}."
    )


def compared(config: Config, dataset: data.Dataset, values: Values) -> report.Section:
    """Return how the ways compare."""
    dots = {f"{t}: {way}": (100 * values[t][PRECISION][way]).tolist() for t in TESTS for way in (TRAINED, PIXELS)}
    rows = [
        {"classes": test, "similar by": way} | {measure: percent(of[measure][way]) for measure in MEASURES}
        for test, of in values.items()
        for way in WAYS
    ]
    return report.Section(
        "Which are found",
        [
            report.Picture(
                report.seed_dots(dots, quantity=f"{PRECISION}, %", decimals=1),
                f"{dataset.info.name}: {PRECISION} of test images that search each other, those of classes that the "
                f"net saw and of {config.unseen} that it did not; a dot a seed, with classes of its own; mean ± "
                "standard deviation.",
                f"Dots of {PRECISION} for each kind of test images, of the trained net and of the pixels.",
            ),
            report.Table(
                rows,
                "Recall at k: of how many queries one of the k most similar images is of the same class. Mean average "
                "precision looks at all images of the class. What is similar is said by the cosine of embeddings. "
                f"Mean ± standard deviation of {config.seeds} seeds. By chance both recall at 1 and precision of "
                f"unseen classes are {100 / config.unseen:.0f} %.",
            ),
        ],
    )


def shown(part: Parts, found: Mapping[str, Found], names: Sequence[str]) -> report.Section:
    """Return queries of unseen classes with what they found, worst first, and all images as points."""
    test = part.tests[UNSEEN]
    precision = np.nan_to_num(found[TRAINED].retrieved.average_precision, nan=np.inf)
    order = np.argsort(precision, kind="stable")
    label = np.searchsorted(part.unseen, test["label"])
    points = {way: inside.project(found[way].embedding).points for way in (TRAINED, PIXELS)}
    return report.Section(
        "Queries and what they found",
        [
            queries(test, found, order[:SHOWN], names, "The queries with the lowest average precision, worst first"),
            queries(test, found, np.arange(min(SHOWN, test.size)), names, "The first queries"),
            report.Picture(
                report.embedding_scatter(points, label, [names[at] for at in part.unseen]),
                "Test images of the unseen classes of the first seed, on the two axes of largest variance: embedded by "
                "the trained net, and as pixels.",
                "Two panels of points, coloured by class.",
            ),
        ],
    )


def queries(
    test: data.Dataset, found: Mapping[str, Found], chosen: np.ndarray, names: Sequence[str], what: str
) -> report.Picture:
    """Return a picture of some queries, each with the most similar images."""
    image, label, retrieved = test["image"], test["label"], found[TRAINED].retrieved
    rows, captions = {}, {}
    for number, at in enumerate(chosen, 1):
        name = f"{number}. {names[label[at]]}: average precision {retrieved.average_precision[at]:.2f}"
        nearest = retrieved.nearest[at, :FOUND]
        rows[name] = image[[at, *nearest]]
        captions[name] = ["query", *("right" if label[n] == label[at] else names[label[n]] for n in nearest)]
    return report.Picture(
        report.image_rows(rows, captions),
        f"{what}, of unseen classes of the first seed: on the left the query, then the images most similar to the "
        "trained net, with the class of those that are wrong.",
        "Rows of images: a query, and what was found for it.",
    )


if __name__ == "__main__":
    run(main, Config)
