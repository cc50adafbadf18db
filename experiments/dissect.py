"""Which units of a trained net detect what, and what does it lose without them?

`python -m experiments.dissect` trains a small VGG on scenes, whose shapes, parts, textures and colours are known pixel
by pixel, and compares where each unit of each stage is on with where each concept is: of the trained net, of the same
net before its training, and of both with the masks of other images, which shows what comes by chance. It switches units
of the last stage off: those that detect best against random ones, on images that were not dissected. A net built by
hand, whose units are known, checks the method. `python -m experiments.dissect runs/NAME` takes a net that
`experiments.train --dataset scenes` has trained. What it promises: every planted detector is found with an IoU above
0.9 and no random unit by more than chance; and training makes more units detectors beyond chance. About 8 min on
2 cores.

Source: Bau et al. 2017 (network dissection), 2020 (the role of individual units).
"""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.apparatus.dissection_speed import measured_speed, speed_section
from experiments.apparatus.layer_views import activation_functions
from experiments.apparatus.planted_units import planted_found, planted_section
from experiments.apparatus.trained import OfNet, Trained, trained
from experiments.apparatus.unit_counts import category_counts
from experiments.apparatus.unit_removal import removal_section, removals, worth
from experiments.framework.device import console
from experiments.framework.runner import Result, judge, run
from jaxcnn import data, report
from jaxcnn.checking import expect
from jaxcnn.explain import dissection
from jaxcnn.explain.dissection import Dissection
from jaxcnn.explain.inner import layer_shapes
from jaxcnn.surgery import paths

TRAINED, UNTRAINED = "trained", "untrained"


@dataclass(frozen=True)
class Config(OfNet):
    dataset: str = "scenes"  # one with the masks of scenes
    at: tuple[str, ...] = ()  # layers; the last activation function of each stage unless given
    images: int = 1000  # of the test set that are dissected; the others measure what units are worth
    quantile: float = 0.02  # share of places where a unit is on; the paper's 0.005 is for smaller concepts
    threshold_iou: float = 0.04  # from which IoU on a unit is called a detector
    shuffles: int = 5  # times that masks are exchanged between images
    draws: int = 20  # of random units, beside those that detect best
    shown: int = 3  # units a stage in pictures
    planted_scenes: int = 128  # that the net built by hand is dissected on


class Layers(NamedTuple):
    """What was found in each layer of the trained net and of the untrained one."""

    trained: Mapping[str, Dissection]
    untrained: Mapping[str, Dissection]


def main(config: Config) -> Result:
    if config.quick:
        few = {"images": min(config.images, 96), "shuffles": 2, "draws": 3, "planted_scenes": 32}
        config = dataclasses.replace(config, epochs=config.epochs or 1, **few)
    where = "dissect"
    expect(config.images >= 2, where, "at least 2 images", config.images, "Pass 1000, say.")
    expect(config.draws >= 2, where, "at least 2 draws", config.draws, "One has no standard deviation.")
    expect(config.shuffles >= 1, where, "at least one shuffle", config.shuffles, "It shows what comes by chance.")
    planted_key, net_key, shuffle_key, draw_key = jax.random.split(jax.random.key(config.seed), 4)
    planted = planted_found(config.planted_scenes, config.shuffles, planted_key)
    mine = trained(where, config)
    fix = "Pass --dataset scenes."
    expect("object_mask" in mine.test, where, "a set with the masks of scenes", mine.test, fix)
    fix = "Leave some to measure on."
    expect(config.images < mine.test.size, where, f"fewer than {mine.test.size} images", config.images, fix)
    looked_at, others = mine.test.take(range(config.images)), mine.test.take(range(config.images, mine.test.size))
    at = config.at or stages(mine)
    found = dissected(config, mine, looked_at, at, net_key, shuffle_key)
    removed = removals(mine, others, found.trained[at[-1]], config.draws, draw_key)
    timed = looked_at.take(range(min(config.images, 16 if config.quick else 128)))
    speed = measured_speed(mine, timed, found.trained[at[-1]], config.shuffles)
    figures = {
        "planted": planted,
        "layers": {
            path: {TRAINED: recorded(found.trained[path]), UNTRAINED: recorded(found.untrained[path])} for path in at
        },
        "removal": removed,
        "speed": speed,
    }
    sections = [
        counted_section(config, found),
        *(pictures_of(config.shown, mine, looked_at, found.trained[path]) for path in at),
        removal_section(at[-1], removed),
        planted_section(planted),
        speed_section(speed, at[-1]),
    ]
    before, after = (
        sum(int(one.beyond_chance.sum()) for one in layers.values()) for layers in (found.untrained, found.trained)
    )
    promises = {
        "every planted detector is found, with an IoU above 0.9": planted["lowest_iou"] > 0.9,
        "no random unit is beyond chance": planted["random_beyond_chance"] == 0,
        "training brings units that agree with a concept": after > before,
    }
    units = sum(len(one.iou) for one in found.trained.values())
    answer = (
        f"{after} of {units} units of the trained net agree with a concept by more than chance, {before} of the "
        f"untrained one; {worth(removed)} The {planted['units']} planted detectors are found with an IoU of "
        f"{planted['lowest_iou']:.3f} or more, and {planted['random_beyond_chance']} of {planted['random']} random "
        f"units beyond chance."
    )
    judgement = judge(config, answer, promises)
    headline = [
        report.Number("detectors beyond chance", f"{after} of {units}", f"{before} before training"),
        report.Number("planted detectors", f"{planted['lowest_iou']:.3f}", "lowest IoU"),
        report.Number("speed", f"{speed['shuffles_0']['dissect']['a_second']:,.0f}", "units x images a second"),
    ]
    return Result(figures, sections, *judgement, headline)


def stages(mine: Trained) -> tuple[str, ...]:
    """Return the last activation function with a map in each of the net's own layers; else these layers."""
    spec: Any = mine.train.spec
    own = [path for path in paths(mine.net) if "/" not in path]
    maps = [path for path, shape in layer_shapes(*mine[:3], spec, paths(mine.net)).items() if len(shape) == 4]
    acts = [path for path in activation_functions(mine.net) if path in maps]
    last = [[path for path in acts if path.startswith(f"{name}/")][-1:] for name in own]
    return tuple(itertools.chain(*last)) or tuple(name for name in own if name in maps)


def dissected(
    config: Config, mine: Trained, examples: data.Dataset, at: Sequence[str], net_key: jax.Array, key: jax.Array
) -> Layers:
    """Return what the layers of the trained net and of the same net before training detect."""
    masks, names = dissection.scene_concepts(examples)
    options: Any = {"names": names, "quantile": config.quantile, "threshold_iou": config.threshold_iou}
    nets = {TRAINED: mine[1:3], UNTRAINED: mine.net.init(net_key, mine.train.spec)}
    found: dict[str, dict[str, Dissection]] = {}
    for name, (params, state) in nets.items():
        found[name] = {}
        for path in at:
            again: Any = {"key": jax.random.clone(key), "shuffles": config.shuffles, **options}
            one = dissection.dissect(mine.net, params, state, examples["image"], masks, at=path, **again)
            found[name][path] = one
            told = f"{one.beyond_chance.sum()} of {len(one.iou)} units beyond chance ({one.chance:.3f})"
            console.print(f"{name:10}{path:16}{told}  {told_counts(one)}", markup=False)
    return Layers(found[TRAINED], found[UNTRAINED])


def told_counts(one: Dissection) -> str:
    return ", ".join(f"{category} {count}" for category, count in one.counts(one.beyond_chance).items())


def recorded(one: Dissection) -> dict[str, Any]:
    """Return the figures of a layer."""
    alive = np.isfinite(one.thresholds)
    return {
        "units": len(one.iou),
        "never_on": int((~alive).sum()),
        "interpretable": one.counts(),
        "beyond_chance": one.counts(one.beyond_chance),
        "unique_beyond_chance": one.unique(one.beyond_chance),
        "chance": one.chance,
        "median_iou": float(np.median(one.best_iou)),
        "highest_iou": float(one.best_iou.max()),
        "median_share_of_ceiling": float(np.median(one.iou.max(1) / one.ceiling.max(1).clip(1e-9))),
        "best": one.rows(alive)[:10],
    }


def counted_section(config: Config, found: Layers) -> report.Section:
    """Return how many units of each layer detect what, trained and untrained."""
    counts, rows = {}, []
    for path, one in found.trained.items():
        for name, dissected in ((TRAINED, one), (UNTRAINED, found.untrained[path])):
            counts[f"{path}, {name}"] = dissected.counts(dissected.beyond_chance)
            rows.append(
                {
                    "layer": path,
                    "net": name,
                    "units": len(dissected.iou),
                    f"IoU {config.threshold_iou:g} or more": int(dissected.interpretable.sum()),
                    "beyond chance": int(dissected.beyond_chance.sum()),
                    "concepts": sum(dissected.unique(dissected.beyond_chance).values()),
                    "median IoU": round(float(np.median(dissected.best_iou)), 3),
                    "highest IoU": round(float(dissected.best_iou.max()), 3),
                    "by chance": round(dissected.chance, 3),
                }
            )
    picture = report.Picture(
        category_counts(counts),
        "Units that agree with a concept better than any unit of the layer does with the masks of other images, by the "
        "category of the concept that they agree with best.",
        "A bar for each layer of the trained and the untrained net, in parts for object, part, texture and colour.",
    )
    how = (
        f"A unit is on in the {100 * config.quantile:g} % of all places where its activation is highest; its map is "
        "enlarged to the image. IoU: the pixels where unit and concept are both, by those where one of them is. A rule "
        f"such as {config.threshold_iou:g} is arbitrary: with masks of other images, in {config.shuffles} exchanges, "
        "they reach what the last column says. A unit that is on in few pixels cannot have a high IoU with a concept "
        "of many, such as a colour, which has a tenth of all."
    )
    return report.Section("What units detect", [picture, report.Table(rows), how])


def pictures_of(shown: int, mine: Trained, examples: data.Dataset, one: Dissection) -> report.Section:
    """Return the images that excite the best detectors of a layer, with their masks."""
    rows = one.rows(one.beyond_chance)[:shown] or one.rows()[:shown]
    units = [row["unit"] for row in rows]
    few = examples.take(range(min(examples.size, 400)))
    masks, names = dissection.scene_concepts(few)
    on = dissection.unit_masks(
        mine.net, mine.params, mine.state, few["image"], at=one.at, thresholds=one.thresholds, units=units
    )
    pictures, titles = [], []
    for place, row in enumerate(rows):
        top = np.argsort(-on[..., place].sum(axis=(1, 2)), kind="stable")[:6]
        label = names[row["category"]].index(row["concept"])
        concept = masks[row["category"]][top] == label
        pictures.append({"image": few["image"][top], "on": on[top][..., place], "concept": concept})
        titles.append(f"unit {row['unit']}: {row['category']} {row['concept']}, IoU {row['iou']:.2f}")
    picture = report.Picture(
        report.detectors(pictures, titles),
        f"{one.at}: the units with the highest IoU. Where the unit is off the image is veiled; the line is the outline "
        f"of its concept. The images of {few.size} on which the unit is on most.",
        "Rows of scenes, a unit each, veiled outside of where the unit is on, with the concept outlined.",
    )
    return report.Section(f"Detectors of {one.at}", [picture])


if __name__ == "__main__":
    run(main, Config)
