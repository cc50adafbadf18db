"""What a net loses without units: those that detect best beside random ones, and each one alone."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from experiments.apparatus.lines import spread_lines
from experiments.apparatus.statistics import mean_sd
from experiments.apparatus.trained import Trained
from jaxcnn import data, report
from jaxcnn.data.scenes import PARTS_OF
from jaxcnn.explain import dissection
from jaxcnn.explain.dissection import Dissection

__all__ = ["removal_section", "removals", "worth"]


def removals(mine: Trained, others: data.Dataset, one: Dissection, draws: int, key: jax.Array) -> dict[str, Any]:
    """Return accuracies without the units that detect best, and without random ones; and what each unit is worth."""
    count = len(one.iou)
    numbers = [n for n in (1, 2, 4, 8, 16, 32, 64, 128, 256) if n <= count // 2] or [1]
    best = np.array([row["unit"] for row in one.rows()])
    random = [np.asarray(jax.random.permutation(k, count)) for k in jax.random.split(key, draws)]
    orders = [best, best[::-1], *random]
    sets = np.full((len(orders) * len(numbers), max(numbers)), -1)
    for row, (order, n) in enumerate((order, n) for order in orders for n in numbers):
        sets[row, :n] = order[:n]
    options: Any = {"at": one.at}
    images, labels = others["image"], others["label"]
    together = dissection.class_effects(mine.net, mine.params, mine.state, images, labels, units=sets, **options)
    alone = dissection.class_effects(mine.net, mine.params, mine.state, images, labels, **options)
    total = together.total.reshape(len(orders), len(numbers))
    accuracy = float(np.nansum(alone.accuracy * alone.images) / alone.images.sum())
    return {
        "accuracy": accuracy,
        "images": len(labels),
        "units_off": numbers,
        "best": total[0].tolist(),
        "worst": total[1].tolist(),
        "random": total[2:].tolist(),
        "own_classes": own_classes(one, alone, mine.class_names),
    }


def own_classes(one: Dissection, alone: dissection.Effects, classes: Sequence[str]) -> dict[str, Any]:
    """Return what the classes that have a detector's concept lose without it, beside what they lose without others."""
    rows = []
    for row in one.rows(one.beyond_chance):
        own = [k for k, name in enumerate(classes) if belongs(row, name)]
        if not own or len(own) == len(classes):
            continue
        change = alone.logit_change[:, own].mean(axis=1)  # of these classes, without each unit
        rest = [k for k in range(len(classes)) if k not in own]
        unit = row["unit"]
        rows.append(
            {
                **{name: row[name] for name in ("unit", "category", "concept", "iou")},
                "own_logit": float(change[unit]),
                "other_logit": float(alone.logit_change[unit, rest].mean()),
                "own_logit_without_another_unit": float(np.delete(change, unit).mean()),
                "own_accuracy": float(alone.accuracy_change[unit, own].mean()),
                "other_accuracy": float(alone.accuracy_change[unit, rest].mean()),
            }
        )
    mean = lambda name: float(np.mean([row[name] for row in rows])) if rows else None  # noqa: E731
    names = ("own_logit", "other_logit", "own_logit_without_another_unit", "own_accuracy", "other_accuracy")
    return {"units": len(rows), **{name: mean(name) for name in names}, "rows": rows}


def belongs(row: Mapping[str, Any], name: str) -> bool:
    """Return whether objects of a class have a concept: are it, or have it as a part that not all have."""
    concept = row["concept"]
    return concept == name if row["category"] == "object" else row["category"] == "part" and concept in PARTS_OF[name]


def worth(removed: Mapping[str, Any]) -> str:
    """Return in a sentence what the best detectors are worth beside random units."""
    best, random = np.array(removed["best"]), np.array(removed["random"])
    at = len(best) - 1
    told = f"without the {removed['units_off'][at]} that detect best its accuracy falls from "
    told += f"{100 * removed['accuracy']:.1f} to {100 * best[at]:.1f} %, without as many random ones to "
    told += f"{mean_sd(100 * random[:, at])} %."
    own = removed["own_classes"]
    if own["units"]:
        told += (
            f" Without one detector of an object or a part the logit of the classes that have it changes by "
            f"{own['own_logit']:+.3f}, without another unit by {own['own_logit_without_another_unit']:+.3f}."
        )
    return told


def removal_section(path: str, removed: Mapping[str, Any]) -> report.Section:
    """Return what the net loses without units."""
    lines = {
        "random units": 100 * np.array(removed["random"]),
        "best detectors": 100 * np.array([removed["best"]]),
        "worst detectors": 100 * np.array([removed["worst"]]),
    }
    chart = spread_lines("accuracy, %", "units switched off", removed["units_off"], lines, logarithmic="x", ticks=True)
    own = removed["own_classes"]
    blocks: list[Any] = [
        report.Picture(
            chart,
            f"Accuracy on {removed['images']} images that were not dissected, {100 * removed['accuracy']:.1f} % with "
            f"all units, without the units of {path} that have the highest or the lowest IoU, and without random ones "
            f"({len(removed['random'])} draws, a band of one standard deviation).",
            "Lines of accuracy against the number of units switched off: best detectors, worst detectors, random.",
        )
    ]
    if own["units"]:
        caption = (
            "Detectors of objects and parts, switched off one by one: by how much the logit of the images' own class "
            "changes, in mean over classes that have the concept and over those that have not, and the accuracy."
        )
        rows = [
            {
                "unit": row["unit"],
                "detects": f"{row['category']} {row['concept']}",
                "IoU": round(row["iou"], 3),
                "logit, has it": round(row["own_logit"], 3),
                "logit, has not": round(row["other_logit"], 3),
                "without another unit": round(row["own_logit_without_another_unit"], 3),
                "accuracy, has it": f"{100 * row['own_accuracy']:+.1f} %",
                "has not": f"{100 * row['other_accuracy']:+.1f} %",
            }
            for row in own["rows"][:12]
        ]
        blocks.append(report.Table(rows, caption))
    return report.Section("Without them", blocks)
