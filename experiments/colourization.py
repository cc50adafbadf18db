"""What colour was it? Grey images to coloured ones, and why the mean of all likely colours is brown.

`python -m experiments.colourization` shows a small U-Net the brightness of CIFAR-10's images and asks for their
colours, in two ways: as numbers, by squared error, or as one of 81 classes at every pixel, the rare ones weighing more
(Zhang et al. 2016). Where several colours are likely the first way gives their mean, which is dull; the second may
choose. Measured on test images: the peak signal-to-noise ratio of all of them, beside that of grey images, and how
strong the colours are beside the true ones. (The mean of each image's ratio would be another question: images that are
nearly grey count most in it, and of those grey is nearest.) Without CIFAR-10 (`$JAXCNN_DATA`) it takes scenes. What it
promises: with every seed squared error is nearer to the true images than grey, and classes give stronger colours than
squared error. About 9 min on 2 cores.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.apparatus.image_sets import few_scenes, loaded, some
from experiments.apparatus.statistics import mean_sd, summary
from experiments.denoising import signal_to_noise
from experiments.framework.device import console
from experiments.framework.progress import ProgressBar
from experiments.framework.runner import Common, Result, judge, run
from jaxcnn import augment, data, losses, models, report, training
from jaxcnn.checking import expect
from jaxcnn.layers import Normalize, Sequential

GREY, MEAN, CLASSES = "grey", "squared error", "classes"
WAYS = (GREY, MEAN, CLASSES)
BRIGHTNESS = np.array([0.299, 0.587, 0.114], np.float32)  # of red, green and blue (ITU-R BT.601)
STEP, SIDE = 0.12, 9  # of a grid of colours: how far apart, and how many along each side
SHOWN = 7  # images of a picture


@dataclass(frozen=True)
class Config(Common):
    dataset: str | None = None  # one of jaxcnn.data.names(), with colours; None for cifar10 where it is, else scenes
    train_images: int = 4000  # of each seed, at most
    test_images: int = 300  # of each seed, at most
    seeds: int = 3  # other images and weights; 2 or more
    epochs: int = 8  # passes through the training images
    batch_size: int = 32  # images per step
    learning_rate: float = 4e-3  # AdamW's, after a warm-up, falling to 0 along half a cosine
    rebalanced: float = 0.5  # how much rare colours weigh more, from 0 (as all) to below 1
    temperature: float = 0.38  # of the mean over classes: 1 is the mean, near 0 the likeliest
    width: int = 12  # maps at the image's own size
    depth: int = 3  # how many times the image is halved


class Painted(NamedTuple):
    """Of one seed: test images (N, H, W, 3), and what each way makes of their brightness, in [0, 1]."""

    true: np.ndarray
    made: dict[str, np.ndarray]

    def ratios(self, way: str) -> np.ndarray:
        """Return the peak signal-to-noise ratio of each image, dB."""
        return np.asarray(signal_to_noise(self.made[way], self.true))

    def ratio(self, way: str) -> float:
        """Return that of all pixels of all images, dB: what squared error asks for."""
        return -10 * math.log10(np.square(self.made[way] - self.true).mean())

    def strength(self, way: str) -> float:
        """Return how strong the colours are beside the true ones: 0 is grey."""
        mean = lambda images: float(np.linalg.norm(colours(images), axis=-1).mean())  # noqa: E731
        return mean(self.made[way]) / mean(self.true)


def main(config: Config) -> Result:
    if config.quick:
        few = {"train_images": 64, "test_images": 16, "seeds": 2, "epochs": 1, "batch_size": 16, "width": 4, "depth": 1}
        config = dataclasses.replace(config, **few)
    where = "colourization"
    expect(config.seeds >= 2, where, "at least 2 seeds", config.seeds, "One has no standard deviation.")
    ok = 0 <= config.rebalanced < 1
    expect(ok, where, "rebalanced in [0, 1)", config.rebalanced, "0.5 is the paper's.")
    expect(config.temperature > 0, where, "a temperature above 0", config.temperature, "0.38 is the paper's.")
    if config.quick:
        train_set, test_set = few_scenes(config.train_images, config.test_images)
    else:
        train_set, test_set = loaded(config.dataset, "cifar10", "scenes")
    channels = train_set["image"].shape[-1]
    expect(channels == 3, where, "images in colours", f"{channels} channel", "Pass --dataset cifar10, say.")
    found, histories = [], []
    for seed, key in enumerate(jax.random.split(jax.random.key(config.seed), config.seeds)):
        painted, history = measured(config, train_set, test_set, seed, key)
        found.append(painted)
        histories.append(history)
    ratios = {way: np.array([one.ratio(way) for one in found]) for way in WAYS}
    strengths = {way: np.array([one.strength(way) for one in found]) for way in WAYS}
    figures = {
        "dataset": train_set.info.name,
        "psnr_db": {way: summary(values.tolist()) for way, values in ratios.items()},
        "strength_of_colours": {way: summary(values.tolist()) for way, values in strengths.items()},
        "gain_of_squared_error_db": summary((ratios[MEAN] - ratios[GREY]).tolist()),
        "history": histories[0],
    }
    nearer = bool((ratios[MEAN] > ratios[GREY]).all())
    stronger = bool((strengths[CLASSES] > strengths[MEAN]).all())
    promises = {
        "squared error is nearer to the true images than grey with every seed": nearer,
        "classes give stronger colours than squared error with every seed": stronger,
    }
    answer = sentence(config, train_set, ratios, strengths)
    judgement = judge(config, answer, promises)
    headline = [
        report.Number(way, f"{ratios[way].mean():.1f} dB", f"colours {100 * strengths[way].mean():.0f} % as strong")
        for way in WAYS
    ]
    return Result(figures, sections(config, train_set, found, histories[0]), *judgement, headline)


def brightness(images: Any) -> Any:
    """Return the brightness of images (..., 3), (..., 1): the first layer of a net that shall see no colours."""
    return (images * BRIGHTNESS).sum(-1, keepdims=True)


def colours(images: Any) -> Any:
    """Return what blue and red are beyond the brightness, (..., 2): 0 of grey."""
    return images[..., 2::-2] - brightness(images)


def coloured(grey: Any, colour: Any) -> Any:
    """Return the images (..., 3) of a brightness (..., 1) and colours (..., 2)."""
    blue, red = grey[..., 0] + colour[..., 0], grey[..., 0] + colour[..., 1]
    green = (grey[..., 0] - BRIGHTNESS[0] * red - BRIGHTNESS[2] * blue) / BRIGHTNESS[1]
    return np.stack([red, green, blue], axis=-1)


def class_of(colour: jax.Array) -> jax.Array:
    """Return the classes of colours (..., 2): the nearest of the grid, of the outermost where they lie beyond."""
    place = jnp.clip(jnp.round(colour / STEP).astype(jnp.int32) + SIDE // 2, 0, SIDE - 1)
    return place[..., 0] * SIDE + place[..., 1]


def colour_of(logits: np.ndarray, temperature: float) -> np.ndarray:
    """Return colours (..., 2): the mean over classes of probabilities sharpened by a temperature.

    Source: Zhang, Isola, Efros 2016, equation 5.
    """
    places = np.stack(np.divmod(np.arange(SIDE**2), SIDE), axis=-1) - SIDE // 2
    return np.asarray(jax.nn.softmax(logits / temperature) @ (STEP * places.astype(np.float32)))


def weights_of(images: np.ndarray, rebalanced: float) -> tuple[float, ...]:
    """Return weights of the classes, 1 in the mean over pixels: the inverse of how often each is, mixed with uniform.

    Source: Zhang et al. 2016, section 2.2, without the smoothing over neighbours.
    """
    label = np.asarray(class_of(colours(data.to_float(images))))
    share = np.bincount(label.ravel(), minlength=SIDE**2) / label.size
    weight = 1 / (rebalanced * share + (1 - rebalanced) / SIDE**2)
    return tuple((weight / (weight * share).sum()).tolist())


def tasks(config: Config, train: data.Dataset) -> dict[str, tuple[int, Callable[..., jax.Array]]]:
    """Return for each way how many numbers a net gives for every pixel, and the loss of an image."""
    weights = jnp.asarray(weights_of(train["image"], config.rebalanced))

    def squared(outputs: jax.Array, batch: Mapping[str, jax.Array]) -> jax.Array:
        return jnp.mean(jnp.square(outputs - colours(batch["image"])), axis=(-3, -2, -1))

    def of_classes(outputs: jax.Array, batch: Mapping[str, jax.Array]) -> jax.Array:
        label = class_of(colours(batch["image"]))
        return jnp.mean(weights[label] * losses.cross_entropy(outputs, label), axis=(-2, -1))

    return {MEAN: (2, squared), CLASSES: (SIDE**2, of_classes)}


def measured(
    config: Config, train_set: data.Dataset, test_set: data.Dataset, seed: int, key: jax.Array
) -> tuple[Painted, list[dict[str, Any]]]:
    """Return what a seed's nets make of test images, and the history of the one of classes."""
    train_key, test_key, *fit_keys = jax.random.split(key, 4)
    train, test = some(train_set, config.train_images, train_key), some(test_set, config.test_images, test_key)
    train = data.from_arrays(train["image"], name=train.info.name)
    true = np.asarray(data.to_float(test["image"]))
    grey, history = np.asarray(brightness(true)), []
    made = {GREY: np.repeat(grey, 3, axis=-1)}
    steps = config.epochs * (train.size // config.batch_size)
    rate = training.warmup_cosine(config.learning_rate, steps)
    for (way, (maps, loss)), fit_key in zip(tasks(config, train).items(), fit_keys, strict=True):
        console.print(f"seed {seed}, {way}", markup=False)
        unet = models.unet(maps, width=config.width, depth=config.depth, batch_norm=True, dropout=0.0)
        net = Sequential(brightness=brightness, normalize=Normalize(0.5, 0.25), unet=unet)
        with ProgressBar(console) as bar:
            result = training.fit(
                net, train, loss=loss, epochs=config.epochs, batch_size=config.batch_size, key=fit_key,
                augment=augment.batched(augment.flip), optimizer=optax.adamw(rate, weight_decay=1e-2), callbacks=[bar],
            )  # fmt: skip
        outputs = training.predict(net, result.state.params, result.state.model_state, {"image": true}, batch_size=64)
        colour = outputs if way == MEAN else colour_of(outputs, config.temperature)
        made[way], history = np.clip(coloured(grey, colour), 0, 1), result.history
    return Painted(true, made), history


def sentence(
    config: Config, dataset: data.Dataset, ratios: Mapping[str, np.ndarray], strengths: Mapping[str, np.ndarray]
) -> str:
    """Return the answer."""
    told = "; ".join(f"{way} {mean_sd(ratios[way], 2)} dB, colours {percent(strengths[way])} as strong" for way in WAYS)
    return f"{dataset.info.name}, {config.seeds} seeds, beside the true images: {told}."


def percent(values: np.ndarray) -> str:
    """Return mean and standard deviation of fractions as text."""
    return f"{mean_sd(100 * values, 0)} %"


def sections(
    config: Config, dataset: data.Dataset, found: Sequence[Painted], history: Sequence[Mapping[str, Any]]
) -> list[report.Section]:
    """Return what the page shows."""
    strong = {way: [100 * one.strength(way) for one in found] for way in (MEAN, CLASSES)}
    rows = [
        {
            "colours": way,
            "peak signal-to-noise ratio, dB": mean_sd(np.array([one.ratio(way) for one in found]), 2),
            "strength of colours": percent(np.array([one.strength(way) for one in found])),
        }
        for way in WAYS
    ]
    one = found[0]
    worst, fine = np.argsort(one.ratios(CLASSES))[:SHOWN], np.argsort(-colour_strength(one.made[CLASSES]))[:SHOWN]
    return [
        report.Section(
            "Images",
            [
                shown(one, fine, "to which classes give the strongest colours"),
                shown(one, worst, "whose colours are farthest from the true ones, worst first"),
            ],
        ),
        report.Section(
            "Near, or strong",
            [
                report.Picture(
                    report.seed_dots(strong, quantity="strength of colours, % of the true ones", decimals=0),
                    f"{dataset.info.name}: mean distance from grey, of that of the true images; a dot a seed, mean ± "
                    "standard deviation.",
                    "Dots of the strength of colours, a line for squared error and one for classes.",
                ),
                report.Table(rows, f"Mean ± standard deviation of {config.seeds} seeds."),
                report.Picture(
                    report.curves(history), "Loss of classes by epoch, first seed, nats.", "A curve of the loss."
                ),
            ],
        ),
    ]


def colour_strength(images: np.ndarray) -> np.ndarray:
    """Return the mean distance from grey of each image."""
    return np.linalg.norm(colours(images), axis=-1).mean((1, 2))


def shown(found: Painted, chosen: np.ndarray, what: str) -> report.Picture:
    """Return a picture of some test images: as they are, and by each way."""
    rows = {"true": found.true[chosen]} | {way: found.made[way][chosen] for way in WAYS}
    captions = {"true": [""] * len(chosen)} | {
        way: [f"{ratio:.1f} dB" for ratio in found.ratios(way)[chosen]] for way in WAYS
    }
    return report.Picture(
        report.image_rows(rows, captions),
        f"Test images {what}, first seed: as they are, their brightness, which is all that the nets see, and coloured "
        "by squared error and by classes, with the peak signal-to-noise ratio.",
        "Four rows of the same images: true, grey, in dull colours, in stronger colours.",
    )


if __name__ == "__main__":
    run(main, Config)
