"""Which pixels decide the mask or the box of an object, and whether they lie on it."""

from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.apparatus.largest_object import Objects
from experiments.apparatus.located import blind, picture
from experiments.apparatus.scene_tasks import Task
from experiments.apparatus.trust_measures import localization, rows, summaries
from jaxcnn import explain, report, surgery, training
from jaxcnn.training import TrainState

__all__ = ["Explained", "explained_outputs"]

WHAT = {"segmentation": "the pixels that it gives to an object", "detection": "the box that it gives to an object"}


class Explained(NamedTuple):
    """What is shown, the figures, and how often each method's largest value lies on the object."""

    section: report.Section
    figures: dict[str, Any]
    hits: dict[str, float]


def explained_outputs(config: Any, task: Task, state: TrainState, objects: Objects, key: jax.Array) -> Explained:
    """Return what methods say of the score that stands for each object, beside what is known without looking."""
    weights = state.params, state.model_state
    at = next(path for path in surgery.paths(task.net) if path.split("/")[-1] == config.stage)
    logits_fn, x, target = training.predictor(task.net, *weights), objects.x, objects.asked
    part = x.shape[1] // 4
    maps = {
        "Grad-CAM": explain.grad_cam(task.net, *weights, x, target, at=at, upsample=True),
        "HiResCAM": explain.hires_cam(task.net, *weights, x, target, at=at, upsample=True),
        "integrated gradients": explain.integrated_gradients(logits_fn, x, target, steps=16).sum(-1),
        "occlusion": explain.occlusion(logits_fn, x, target, window=part, stride=part // 2).sum(-1),
    } | blind(key, objects.region.shape)
    found = localization(maps, objects.region)
    words = (
        f"The score is one number of the outputs: that of {WHAT[task.name]} "
        f"(class activation maps of {at}). On {len(x)} scenes whose largest object the net finds: pointing game, "
        "how often the largest value lies on the object; IoU, the overlap of object and map, cut where it is largest; "
        f"energy inside, the share of what is positive that lies on the object, which takes up "
        f"{objects.region.mean():.0%} of the image. Mean ± standard deviation over objects."
    )
    blocks = [words, report.Table(rows(found)), picture(x, objects.region, maps)]
    hits = {name: float(np.mean(values["pointing game"])) for name, values in found.items()}
    title = f"{task.name.capitalize()}: what decides?"
    return Explained(report.Section(title, blocks), {"objects": len(x), "methods": summaries(found)}, hits)
