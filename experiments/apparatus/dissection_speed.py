"""How many units and images a second are compared with all concepts, beside a Python loop."""

import statistics
import time
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from experiments.apparatus.trained import Trained
from jaxcnn import data, report
from jaxcnn.explain import dissection
from jaxcnn.explain.dissection import Dissection
from jaxcnn.surgery import activations

__all__ = ["measured_speed", "one_by_one", "speed_section"]


def measured_speed(mine: Trained, examples: data.Dataset, one: Dissection, shuffles: int) -> dict[str, Any]:
    """Return units x images a second, by wall clock and by processor time, without and with masks exchanged.

    Of `dissect` and of a Python loop over images and units, in turns: medians of three runs each.
    """
    masks, names = dissection.scene_concepts(examples)
    forward = jax.jit(lambda image: activations(mine.net, *mine[1:3], data.to_float(image), [one.at])[1][one.at])
    options: Any = {"names": names, "at": one.at, "thresholds": one.thresholds, "key": jax.random.key(0)}
    found = {}
    for count in (0, shuffles):

        def whole(count: int = count) -> Any:
            return dissection.dissect(mine.net, *mine[1:3], examples["image"], masks, shuffles=count, **options)

        def loop(count: int = count) -> Any:
            return one_by_one(forward, examples["image"], masks, names, one.thresholds, count)

        seconds: dict[str, list[tuple[float, float]]] = {"dissect": [], "loop": []}
        for way in ("dissect", "loop") * 4:
            began, busy = time.perf_counter(), time.process_time()
            (whole if way == "dissect" else loop)()
            seconds[way].append((time.perf_counter() - began, time.process_time() - busy))
        rates = {}
        for way, taken in seconds.items():
            wall, processor = (statistics.median(times) for times in zip(*taken[1:], strict=True))  # the first compiles
            amount = examples.size * len(one.iou)
            rates[way] = {"a_second": amount / wall, "a_second_of_processor": amount / processor}
        found[f"shuffles_{count}"] = rates
    return found


def one_by_one(
    forward: Any,
    images: np.ndarray,
    masks: Mapping[str, np.ndarray],
    names: Mapping[str, Any],
    thresholds: np.ndarray,
    shuffles: int = 0,
) -> list[dict[str, np.ndarray]]:
    """Return pixels in unit and label, (units, labels) by category, one image and unit after the other.

    As published implementations go: units whose map never reaches the threshold are left out. First with the images'
    own masks, then with those of the image after them, and so on.
    """
    found = [{c: np.zeros((len(thresholds), len(names[c])), int) for c in masks} for _ in range(1 + shuffles)]
    for number, image in enumerate(images):
        maps = np.asarray(forward(image[None]))[0]
        high, wide, _ = maps.shape
        rows, columns = (interpolation(n, size) for n, size in ((high, image.shape[0]), (wide, image.shape[1])))
        for unit, threshold in enumerate(thresholds):
            if maps[..., unit].max() < threshold:
                continue
            on = rows @ maps[..., unit] @ columns.T >= threshold
            for shuffle, counts in enumerate(found):
                for category, labels in masks.items():
                    there = labels[(number + shuffle) % len(images)][on]
                    counts[category][unit] += np.bincount(there, minlength=len(names[category]))
    return found


def interpolation(units: int, size: int) -> np.ndarray:
    """Return the matrix (size, units) of bilinear interpolation."""
    places = np.clip((np.arange(size) + 0.5) * units / size - 0.5, 0, units - 1)
    return np.maximum(1 - np.abs(places[:, None] - np.arange(units)), 0).astype(np.float32)


def speed_section(speed: Mapping[str, Any], path: str) -> report.Section:
    """Return how fast it is."""
    rows = [
        {
            "masks exchanged": f"{name.removeprefix('shuffles_')} times",
            "way": {"dissect": "one program", "loop": "Python loop"}[way],
            **{words.replace("_", " "): round(rate) for words, rate in rates.items()},
        }
        for name, ways in speed.items()
        for way, rates in ways.items()
    ]
    caption = (
        f"Units x images at {path}, the net included, by wall clock and by the time of one processor, whatever else "
        "runs on it: dissect, and a loop over images and units that leaves out units which are off. Medians of three "
        "runs by turns."
    )
    return report.Section("Speed", [report.Table(rows, caption)])
