"""Can a classifier of single digits find digits in a larger image? Slid over it, as a convolution.

`python -m experiments.sliding_windows` trains LeNet-5 on windows of 32x32 pixels: a digit fills the window, or what is
there is none. Its dense layer then becomes a convolution of the same weights (`surgery.fully_convolutional`), so that
one pass over an image of several digits, at a few scales, gives what the classifier says of every window (Vaillant et
al. 1994, Matan et al. 1992). Windows that overlap a better one are suppressed. What it promises: the outputs of every
crop, to rounding; less time than the crops take; and an average precision of 0.80 at an overlap of 0.5. About 2 min on
2 cores.
"""

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.ndimage import map_coordinates

from experiments.apparatus.image_sets import load
from experiments.framework.device import console
from experiments.framework.progress import ProgressBar
from experiments.framework.runner import Common, Result, judge, run
from jaxcnn import data, detection, models, report, surgery, training
from jaxcnn.layers import Normalize, Sequential

PROMISED = 0.80
ROUNDING = 1e-3  # of logits
WINDOW, STRIDE = 32, 4  # pixels of LeNet-5's window, and between windows
CELLS = 3  # a canvas has so many cells by so many, with a digit in some of them
MOST = 6  # digits of a canvas
MARGIN = 1  # empty pixels around a digit's 8x8
NONE = 10  # the class of a window without a digit
INSIDE = 0.6  # overlap of a window and a digit's square from which on it shows that digit
SHOWN = 6
CLEAR = 0.7  # the least score of a box in pictures


@dataclass(frozen=True)
class Config(Common):
    size: int = 128  # pixels of a canvas's side
    scales: tuple[float, ...] = (1.5, 1.25, 1.0, 0.8)  # that canvases are resized to
    windows: int = 30000  # to train on
    canvases: int = 200  # to test on
    epochs: int = 12  # passes through the windows
    batch_size: int = 64
    learning_rate: float = 0.03  # of SGD with momentum, falling to 0 along half a cosine
    overlap: float = 0.3  # of windows, above which the better one alone is kept
    repeats: int = 7  # of each time that is measured; the median counts


class Scene(NamedTuple):
    """A canvas before it is painted, as a function of the plane; lengths in pixels."""

    digits: jax.Array  # (MOST, 10, 10), in [0, 1]
    label: jax.Array  # (MOST,), -1 for none
    boxes: jax.Array  # (MOST, 4), the squares that the digits are drawn in
    ground: jax.Array  # (16, 16), in [0, 1]


def main(config: Config) -> Result:
    if config.quick:
        small = {"size": 96, "scales": (1.25, 1.0), "windows": 512, "canvases": 8, "epochs": 1, "repeats": 1}
        config = dataclasses.replace(config, **small)
    keys = jax.random.split(jax.random.key(config.seed), 4)
    train_digits, test_digits = (padded(part) for part in load("sliding_windows", "digits", config.seed))
    windows = training_windows(config, keys[0], *train_digits)
    net = Sequential(
        normalize=Normalize(windows.info.mean, windows.info.std), net=models.lenet5(NONE + 1, classic=True)
    )
    steps = config.epochs * (config.windows // config.batch_size)
    started = time.perf_counter()
    with ProgressBar(console) as bar:
        result = training.fit(
            net,
            windows,
            optimizer=training.sgd(training.warmup_cosine(config.learning_rate, steps)),
            epochs=config.epochs,
            batch_size=config.batch_size,
            key=keys[1],
            callbacks=[bar],
        )
    seconds = time.perf_counter() - started
    weights = result.state.params, result.state.model_state
    whole, *whole_weights = surgery.fully_convolutional(net, *weights, windows.spec)
    classify, slide = training.predictor(net, *weights), training.predictor(whole, *whole_weights)
    images, scenes = canvases(config, keys[2], *test_digits)

    @jax.jit
    def find(images: jax.Array) -> detection.Found:
        options = {"window": WINDOW, "stride": STRIDE, "background": NONE, "limit": 20, "overlap": config.overlap}
        return detection.sliding_windows(slide, images, scales=config.scales, **options)

    parts = [find(images[at : at + 1]) for at in range(len(images))]
    boxes = jax.tree.map(lambda *rows: np.concatenate(rows), *parts)
    found, clear = boxes.rows(), boxes.rows(CLEAR)
    truth = [{"boxes": b, "box_class": c} for b, c in zip(scenes.boxes, scenes.label, strict=True)]
    precision = detection.average_precision(found, truth, NONE)
    half = precision.at(0.5)
    each = [detection.average_precision([f], [t], NONE).at(0.5) for f, t in zip(found, truth, strict=True)]
    off, times = beside_crops(config, classify, slide, images[0])
    figures = {
        "average_precision_50": half,
        "average_precision": float(precision),
        "average_precision_50_of_digit": [float(value) for value in precision.table[:, 0]],
        "largest_difference": off,
        "milliseconds": times,
        "windows_of_a_canvas": ((config.size - WINDOW) // STRIDE + 1) ** 2,
        "training_seconds": seconds,
        "test_canvases": config.canvases,
        "history": result.history,
    }
    ratio = {name: value / times["together"] for name, value in times.items()}
    promises = {
        f"an average precision of {PROMISED}": half >= PROMISED,
        "the outputs of every crop": off < ROUNDING,
        "less time than the crops take": min(ratio["batch"], ratio["one by one"]) > 1,
    }
    answer = (
        f"{config.canvases} canvases of digits, LeNet-5 trained on {config.windows} windows: average precision "
        f"{half:.3f} at an overlap of 0.5. All {figures['windows_of_a_canvas']} windows of a canvas take "
        f"{times['together']:.1f} ms together; one batch of as many crops takes "
        f"{ratio['batch']:.1f} times as long, one by one {ratio['one by one']:.1f} times. Outputs differ by {off:.0e} "
        "at most."
    )
    judgement = judge(config, answer, promises)
    headline = [
        report.Number("average precision", f"{half:.3f}", "at an overlap of 0.5"),
        report.Number("time saved", f"{ratio['batch']:.0f}x", "one pass, against one batch of all its windows"),
    ]
    shown = pictures(images, truth, clear, each, precision, times, result.history)
    return Result(figures, shown, *judgement, headline)


def padded(digits: data.Dataset) -> tuple[jax.Array, jax.Array]:
    """Return digits (N, 10, 10) in [0, 1], with a margin, and their labels."""
    image = np.pad(digits["image"][..., 0], ((0, 0), (MARGIN, MARGIN), (MARGIN, MARGIN)))
    return data.to_float(image), jnp.asarray(digits["label"])


def draw(key: jax.Array, digits: jax.Array, labels: jax.Array, size: int) -> Scene:
    """Return a random canvas: one to six digits in cells of a grid, of different sizes, on a ground of clouds."""
    keys = jax.random.split(key, 6)
    chosen = jax.random.randint(keys[0], (MOST,), 0, len(labels))
    there = jnp.arange(MOST) < jax.random.randint(keys[1], (), 1, MOST + 1)
    cell = jax.random.permutation(keys[2], CELLS**2)[:MOST]
    room = size / CELLS
    side = room * jax.random.uniform(keys[3], (MOST, 1), minval=0.5, maxval=0.95)
    corner = room * jnp.stack([cell % CELLS, cell // CELLS], -1)
    corner = corner + jax.random.uniform(keys[4], (MOST, 2)) * (room - side)
    boxes = jnp.where(there[:, None], jnp.concatenate([corner, corner + side], -1), 0)
    ground = 0.5 * jax.random.uniform(keys[5], (16, 16))
    return Scene(digits[chosen], jnp.where(there, labels[chosen], -1), boxes, ground)


def paint(scene: Scene, x: jax.Array, y: jax.Array, size: int) -> jax.Array:
    """Return a canvas's grey values at some points of the plane, in pixels."""

    def ink(digit: jax.Array, box: jax.Array, label: jax.Array) -> jax.Array:
        step = jnp.maximum(box[2] - box[0], 1) / digit.shape[0]
        places = [(y - box[1]) / step - 0.5, (x - box[0]) / step - 0.5]
        return jnp.where(label >= 0, map_coordinates(digit, places, order=1), 0)

    clouds = map_coordinates(scene.ground, [y / size * 16 - 0.5, x / size * 16 - 0.5], order=1, mode="nearest")
    return jnp.maximum(clouds, jax.vmap(ink)(scene.digits, scene.boxes, scene.label).max(0))


def sampled(scene: Scene, key: jax.Array, box: jax.Array, pixels: int, size: int) -> jax.Array:
    """Return a square of a canvas as an image (pixels, pixels, 1) with a little noise."""
    at = (jnp.arange(pixels) + 0.5) / pixels
    x, y = jnp.meshgrid(box[0] + at * (box[2] - box[0]), box[1] + at * (box[3] - box[1]))
    grey = paint(scene, x, y, size) + 0.03 * jax.random.normal(key, (pixels, pixels))
    return jnp.clip(grey, 0, 1)[..., None]


def canvases(config: Config, key: jax.Array, digits: jax.Array, labels: jax.Array) -> tuple[jax.Array, Scene]:
    """Return test images and what is on them."""

    def one(key: jax.Array) -> tuple[jax.Array, Scene]:
        scene_key, noise_key = jax.random.split(key)
        scene = draw(scene_key, digits, labels, config.size)
        all_of_it = jnp.array([0.0, 0.0, config.size, config.size])
        return sampled(scene, noise_key, all_of_it, config.size, config.size), scene

    images, scenes = jax.jit(lambda keys: jax.lax.map(one, keys))(jax.random.split(key, config.canvases))
    return images, jax.tree.map(np.asarray, scenes)


def training_windows(config: Config, key: jax.Array, digits: jax.Array, labels: jax.Array) -> data.Dataset:
    """Return windows of canvases, half of them near a digit's square, and what each shows: a digit, or none."""

    def one(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        keys = jax.random.split(key, 5)
        scene = draw(keys[0], digits, labels, config.size)
        side = scene.boxes[0, 2] - scene.boxes[0, 0]  # the first digit is there on every canvas
        near = jax.random.bernoulli(keys[1])
        reach = jnp.where(near, 0.15, 1.0)  # of the window's centre from the digit's, in sides
        grown = jnp.exp(jax.random.uniform(keys[2], minval=-1.0, maxval=1.0) * jnp.where(near, 0.2, 0.6))
        centre = scene.boxes[0, :2] + side * (0.5 + reach * jax.random.uniform(keys[3], (2,), minval=-1.0, maxval=1.0))
        half = side * grown / 2
        window = jnp.concatenate([centre - half, centre + half])
        overlaps = detection.intersection_over_union(window[None], scene.boxes)[0]
        best = overlaps.argmax()
        label = jnp.where(overlaps[best] >= INSIDE, scene.label[best], NONE)
        return sampled(scene, keys[4], window, WINDOW, config.size), label

    def many(keys: jax.Array) -> tuple[jax.Array, jax.Array]:
        return jax.lax.map(one, keys, batch_size=64)

    images, label = jax.jit(many)(jax.random.split(key, config.windows))
    names = [*map(str, range(NONE)), "none"]
    return data.from_arrays(np.asarray(images), np.asarray(label), class_names=names, name="windows of digits")


def beside_crops(
    config: Config,
    classify: Callable[[jax.Array], jax.Array],
    slide: Callable[[jax.Array], jax.Array],
    image: jax.Array,
) -> tuple[float, dict[str, float]]:
    """Return the largest difference between both nets on one canvas, and the milliseconds that three ways take."""
    places = range(0, config.size - WINDOW + 1, STRIDE)
    crops = jnp.stack([image[i : i + WINDOW, j : j + WINDOW] for i in places for j in places])
    alone = [crop[None] for crop in crops]
    of_crops, of_image = jax.jit(classify), jax.jit(slide)
    ways: dict[str, Callable[[], Any]] = {
        "together": lambda: of_image(image[None]),
        "batch": lambda: of_crops(crops),
        "one by one": lambda: [of_crops(crop) for crop in alone],
    }
    both = [np.asarray(ways[name]()).reshape(len(crops), -1) for name in ("together", "batch")]
    taken: dict[str, list[float]] = {name: [] for name in ways}
    jax.block_until_ready([way() for way in ways.values()])
    for _ in range(config.repeats):
        for name, way in ways.items():
            started = time.perf_counter()
            jax.block_until_ready(way())
            taken[name].append(1e3 * (time.perf_counter() - started))
    return float(np.abs(both[0] - both[1]).max()), {name: float(np.median(t)) for name, t in taken.items()}


def pictures(images, truth, clear, each, precision, times, history) -> list[report.Section]:
    """Return the sections of the page."""
    rows = [{"digit": n, "average precision at 0.5": f"{value:.3f}"} for n, value in enumerate(precision.table[:, 0])]
    timed = [{"windows of a canvas": name, "ms": f"{value:.2f}"} for name, value in times.items()]
    worst, first = np.argsort(each, kind="stable")[:SHOWN], np.arange(min(SHOWN, len(each)))
    return [
        report.Section(
            "Boxes",
            [
                shown(images, truth, clear, each, worst, "The canvases with the lowest precision"),
                shown(images, truth, clear, each, first, "The first canvases"),
            ],
        ),
        report.Section(
            "What it takes",
            [
                report.Table(
                    timed, "Median time of one scale: one pass over the canvas, or the classifier on its crops."
                )
            ],
        ),
        report.Section(
            "Digits",
            [report.Table(rows), report.Picture(report.curves(history), "Each epoch.", "A curve of the loss.")],
        ),
    ]


def shown(images, truth, clear, each, chosen, what: str) -> report.Picture:
    """Return a picture of some canvases with their boxes."""
    captions = [f"precision {each[at]:.2f}" for at in chosen]
    names = [str(number) for number in range(NONE)]
    wanted, found = ([rows[at] for at in chosen] for rows in (truth, clear))
    drawn = report.boxes(np.asarray(images)[chosen], wanted, found, names, captions, columns=3)
    text = (
        f"{what}: squares of the digits in blue dashes, windows of a score of {CLEAR} or more in orange, with digit "
        "and score; below, the average precision of that canvas at an overlap of 0.5."
    )
    return report.Picture(drawn, text, "Canvases with outlines of true and found squares.")


if __name__ == "__main__":
    run(main, Config)
