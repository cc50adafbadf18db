"""Where is it, exactly? Four landmarks and the box of an object by regression, from a vector or from a map.

`python -m experiments.localisation` draws scenes of one arrow, heart or crescent, whose landmarks (tip, end, both
sides) and box are exact, and trains the same residual trunk with two heads to give all six points in pixels: a dense
layer of everything, and a heat map for each point of which the mean place is taken (soft-argmax, Sun et al. 2018). The
loss is the smooth absolute error of the points (Girshick 2015); zoom and shifts carry them along. Reported, over seeds:
the error in pixels, the percentage of correct keypoints (within a tenth of the box's longer side), overlap of the box.
What it promises: with one head at least 0.90 of the points are correct. About 33 min on 2 cores.
"""

import dataclasses
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.apparatus.statistics import summary
from experiments.framework.device import console
from experiments.framework.progress import ProgressBar
from experiments.framework.runner import Common, Result, judge, run
from jaxcnn import augment, data, detection, layers, models, report, training
from jaxcnn import functional as F
from jaxcnn.checking import expect
from jaxcnn.data.scenes import LANDMARKS, landmarks
from jaxcnn.initializers import Normal
from jaxcnn.summary import summarize

PROMISED = 0.90
POINTS = 6  # four landmarks, and the upper left and lower right corner of the box
STRIDE = 8  # pixels of a cell of the trunk's maps
HALF = 0.5  # overlap from which on a box counts as right
SHOWN = 8


@dataclass(frozen=True)
class Config(Common):
    width: int = 16  # maps of the trunk's first stage
    depth: int = 10  # of the ResNet, 10, 14 or 18, whose first three stages are the trunk
    hidden: int = 64  # units before the six points of the dense head
    size: int = 64  # pixels of a scene's side, a multiple of 8
    train_images: int = 5000
    test_images: int = 500
    seeds: int = 3  # 2 or more, from --seed on: other scenes and weights
    epochs: int = 30  # passes through the training scenes
    batch_size: int = 32
    learning_rate: float = 4e-3  # AdamW's, after a warm-up, falling to 0 along half a cosine
    beta: float = 1.0  # pixels, within which the loss is the squared error
    threshold: float = 0.1  # of the box's longer side, within which a point is correct
    zoom: tuple[float, float] = (0.85, 1.15)  # of training scenes
    shift: float = 4.0  # pixels that training scenes are moved at most


class Found(NamedTuple):
    """What one net gives on the test scenes."""

    points: np.ndarray  # (N, POINTS, 2)
    error: np.ndarray  # (N, POINTS - 2), distances of the landmarks in pixels
    correct: np.ndarray  # (N, POINTS - 2)
    overlap: np.ndarray  # (N,), of the box
    seconds: float
    history: list


def main(config: Config) -> Result:
    if config.quick:
        small = {"train_images": 96, "test_images": 32, "seeds": 2, "epochs": 1, "width": 4, "size": 32}
        config = dataclasses.replace(config, **small)
    expect(config.seeds >= 2, "localisation", "at least 2 seeds", config.seeds, "One has no standard deviation.")
    found: dict[str, list[Found]] = {name: [] for name in HEADS}
    sizes, tests = {}, []
    for seed in range(config.seed, config.seed + config.seeds):
        keys = jax.random.split(jax.random.key(seed), 3)
        train, test = (
            drawn(config, key, n) for key, n in ((keys[0], config.train_images), (keys[1], config.test_images))
        )
        tests.append(test)
        for name, head in HEADS.items():
            net = layers.Sequential(
                normalize=layers.Normalize(train.info.mean, train.info.std),
                trunk=trunk(config),
                **head(config),
            )
            console.print(f"seed {seed}, {name}", markup=False)
            found[name].append(trained(config, net, train, test, keys[2]))
            sizes[name] = summarize(net, train.spec).parameters
    measured = {
        name: {
            "error_pixels": summary([float(one.error.mean()) for one in runs]),
            "median_error_pixels": summary([float(np.median(one.error)) for one in runs]),
            "correct_keypoints": summary([float(one.correct.mean()) for one in runs]),
            "box_overlap": summary([float(one.overlap.mean()) for one in runs]),
            "boxes_right": summary([float((one.overlap >= HALF).mean()) for one in runs]),
            "parameters": sizes[name],
            "training_seconds": summary([one.seconds for one in runs]),
        }
        for name, runs in found.items()
    }
    best = max(measured, key=lambda name: measured[name]["correct_keypoints"]["mean"])
    last = found[best][-1]  # beside the scenes of the last seed, which are still there
    share = measured[best]["correct_keypoints"]["mean"]
    told = "; ".join(
        f"{name}: {m['error_pixels']['mean']:.2f} px (sd {m['error_pixels']['sd']:.2f}), "
        f"{m['correct_keypoints']['mean']:.3f} of the points correct, overlap of the box {m['box_overlap']['mean']:.3f}"
        for name, m in measured.items()
    )
    answer = f"{config.seeds} seeds, {config.size}x{config.size} scenes. {told}."
    judgement = judge(config, answer, {f"{PROMISED} of the points correct with one head": share >= PROMISED})
    headline = [
        report.Number("correct keypoints", f"{share:.3f}", f"within {config.threshold} of the box, {best}"),
        report.Number("error", f"{measured[best]['error_pixels']['mean']:.2f} px", f"{best}, {config.seeds} seeds"),
    ]
    figures = {**measured, "test_scenes": config.test_images, "best": best}
    return Result(figures, sections(found, measured, best, tests[-1], last), *judgement, headline)


def trunk(config: Config) -> layers.Sequential:
    """Return the layers that both heads stand on: images of half the size, then three stages."""
    stages = models.resnet(config.depth, width=config.width, small_images=True)[:-3]
    return layers.Sequential(down=layers.Conv(config.width, 5, stride=2), **stages.layers)


def drawn(config: Config, key: jax.Array, n: int) -> data.Dataset:
    """Return scenes of one object with "keypoints" (n, 4, 2) beside "boxes" (n, 1, 4)."""
    scenes = data.Scenes(size=config.size, objects=(1, 1), classes=tuple(LANDMARKS))
    whole = scenes.dataset(key, n)
    points = np.asarray(landmarks(scenes, key, np.arange(n)))[:, 0]
    return data.from_arrays(
        whole["image"], whole["label"], boxes=whole["boxes"], keypoints=points, class_names=scenes.classes,
        name="scenes of one object", source=whole.info.source,
    )  # fmt: skip


def trained(config: Config, net: layers.Sequential, train: data.Dataset, test: data.Dataset, key: jax.Array) -> Found:
    """Return what a net gives on the test scenes after training."""
    steps = config.epochs * (train.size // config.batch_size)
    rate = training.warmup_cosine(config.learning_rate, steps)
    moves = partial(augment.affine, factor=config.zoom, max_shift=config.shift, padding_mode="edge")
    started = time.perf_counter()
    with ProgressBar(console) as bar:
        result = training.fit(
            net,
            train,
            optimizer=optax.adamw(rate, weight_decay=1e-2),
            loss=WithCorners(detection.point_loss(beta=config.beta)),
            epochs=config.epochs,
            batch_size=config.batch_size,
            key=key,
            augment=augment.batched(moves),
            callbacks=[bar],
        )
    seconds = time.perf_counter() - started
    points = training.predict(net, result.state.params, result.state.model_state, {"image": test["image"]})
    truth, box = test["keypoints"], test["boxes"][:, 0]
    size = (box[:, 2:] - box[:, :2]).max(1)
    found_box = jnp.asarray(points[:, -2:].reshape(-1, 1, 4))
    overlap = detection.intersection_over_union(found_box, jnp.asarray(box[:, None]))[:, 0, 0]
    given, size = jnp.asarray(points[:, :-2]), jnp.asarray(size)
    correct = detection.correct_keypoints(given, jnp.asarray(truth), size, threshold=config.threshold)
    error = np.linalg.norm(points[:, :-2] - truth, axis=-1)
    return Found(points, error, np.asarray(correct), np.asarray(overlap), seconds, result.history)


@dataclass(frozen=True)
class WithCorners:
    """The loss of landmarks and of both corners of the box, which augmentations cut off at the frame."""

    points: detection.PointLoss

    def __call__(self, outputs: jax.Array, batch: Mapping[str, jax.Array]) -> jax.Array:
        """Return the loss of each image, (N,)."""
        return self.points(outputs, self._with_corners(batch))

    def validate(self, outputs: jax.ShapeDtypeStruct, arrays: Mapping[str, np.ndarray]) -> None:
        """Raise `ValueError` unless the six points fit the outputs; `fit` calls it before any work."""
        self.points.validate(outputs, self._with_corners(arrays))

    def _with_corners(self, arrays: Mapping[str, Any]) -> dict[str, Any]:
        corners = arrays["boxes"].reshape(-1, 2, 2)
        return {self.points.name: jnp.concatenate([arrays["keypoints"], corners], 1)}


@dataclass(frozen=True)
class Pixels:
    """Vectors (..., 2 POINTS) as points in pixels, 0 the middle of the image and 1 half a side from it."""

    size: int

    def __call__(self, y: jax.Array) -> jax.Array:
        """Return (..., POINTS, 2)."""
        return self.size / 2 * (1 + y.reshape(*y.shape[:-1], POINTS, 2))


def dense(config: Config) -> dict[str, layers.Layer | Callable[[jax.Array], jax.Array]]:
    return {
        "flatten": layers.Flatten(),
        "hidden": layers.Dense(config.hidden),
        "act": F.relu,
        "head": layers.Dense(2 * POINTS, kernel_init=Normal(0.01)),
        "points": Pixels(config.size),
    }


def heat_maps(config: Config) -> dict[str, layers.Layer | Callable[[jax.Array], jax.Array]]:
    return {"head": layers.Conv(POINTS, 1, kernel_init=Normal(0.01)), "points": detection.SoftArgmax(STRIDE)}


HEADS = {"dense": dense, "soft-argmax": heat_maps}


def sections(found, measured, best, test, last) -> list[report.Section]:
    """Return the sections of the page; the scenes are those of the last seed."""
    each = last.error.mean(1)
    worst, first = np.argsort(-each)[:SHOWN], np.arange(min(SHOWN, len(each)))
    rows = [
        {
            "head": name,
            "error, px": f"{m['error_pixels']['mean']:.2f} ± {m['error_pixels']['sd']:.2f}",
            "median, px": f"{m['median_error_pixels']['mean']:.2f}",
            "correct points": f"{m['correct_keypoints']['mean']:.3f} ± {m['correct_keypoints']['sd']:.3f}",
            "overlap of the box": f"{m['box_overlap']['mean']:.3f}",
            "boxes right": f"{m['boxes_right']['mean']:.3f}",
            "parameters": f"{m['parameters']:,}",
            "training, s": f"{m['training_seconds']['mean']:.0f}",
        }
        for name, m in measured.items()
    ]
    labels = test["label"]
    points = [
        {"shape": shape, "point": point, "error, px": f"{last.error[labels == number, at].mean():.2f}"}
        for number, shape in enumerate(LANDMARKS)
        for at, point in enumerate(LANDMARKS[shape])
        if (labels == number).any()
    ]
    dots = report.seed_dots(
        {name: [float(one.error.mean()) for one in runs] for name, runs in found.items()}, quantity="error, pixels"
    )
    curves = report.curves(last.history)
    return [
        report.Section(
            "Points",
            [
                shown(test, last, worst, each, f"The test scenes with the largest error, {best}"),
                shown(test, last, first, each, f"The first test scenes, {best}"),
            ],
        ),
        report.Section(
            "Heads",
            [
                report.Table(rows, "Means of the seeds ± standard deviation."),
                report.Picture(dots, "Mean error of the landmarks, a dot a seed.", "Dots of errors for both heads."),
                report.Picture(curves, f"Loss of each epoch, {best}, last seed.", "A curve of the training loss."),
                report.Table(points, f"Error of each landmark, {best}, last seed.", folded=True),
            ],
        ),
    ]


def shown(test, last, chosen, each, what: str) -> report.Picture:
    """Return a picture of some test scenes with their points and box."""
    drawn = report.keypoints(
        test["image"][chosen],
        test["keypoints"][chosen],
        last.points[chosen, :-2],
        [f"{each[at]:.1f} px" for at in chosen],
        true_boxes=test["boxes"][chosen, 0],
        found_boxes=last.points[chosen, -2:].reshape(-1, 4),
    )
    text = (
        f"{what}: true landmarks as blue rings, found ones as orange dots with a line between; true box in blue "
        "dashes, found one in orange; below, the mean error of the landmarks."
    )
    return report.Picture(drawn, text, "Scenes with true and found points and boxes.")


if __name__ == "__main__":
    run(main, Config)
